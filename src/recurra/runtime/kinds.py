"""All kinds of layers by name, and what a chain of them takes and gives."""

from __future__ import annotations

from collections.abc import Sequence

from recurra.errors import ShapeError
from recurra.runtime.heads import Forecast, Split
from recurra.runtime.layers import Activation, Dropout, Embedding, Layer, LayerNorm, Linear, Recurrent, Softmax

KINDS: dict[str, type[Layer]] = {
    k.kind: k for k in (Recurrent, Linear, Embedding, LayerNorm, Activation, Softmax, Dropout, Split, Forecast)
}


def widths(layers: Sequence[Layer]) -> list[int]:
    """The features that each layer gives, after the features that go into the first (1 for the ids of an embedding).

    Raises:
        ShapeError: a layer does not take what the one before it gives; the message names it.
    """
    known = next((w for w in (_first_width(layer) for layer in layers) if w is not None), None)
    if known is None:
        raise ShapeError("a network has no layer with weights, expected at least one")
    all_widths, beside = [known], 0
    for i, layer in enumerate(layers):
        before = all_widths[-1]
        if isinstance(layer, (Embedding, Split)) and i > 0:
            kind = "an embedding" if isinstance(layer, Embedding) else "a split"
            raise ShapeError(f"layer {i} is {kind}, expected it only as the first layer")
        if layer.input is not None and layer.input != before:
            raise ShapeError(f"layer {i} ({layer.kind}) takes {layer.input} features, expected {before}: what comes in")
        if isinstance(layer, Split):
            beside = layer.beside
        if isinstance(layer, Forecast):
            if layer.beside != beside:
                raise ShapeError(f"layer {i} (forecast) takes {layer.beside} numbers from beside, expected {beside}")
            beside = 0
        all_widths.append(before if layer.output is None else layer.output)
    if beside:
        raise ShapeError(f"layer 0 (split) sets {beside} numbers aside, expected a forecast layer that takes them")
    return all_widths


def _first_width(layer: Layer) -> int | None:
    return 1 if isinstance(layer, Embedding) else layer.input
