"""Networks as RTNeural's exporter writes them from Keras: JSON with a list of layers, their weights as nested lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recurra.conversion.definition import ACTIVATIONS
from recurra.conversion.described import KERAS_GATES, Array, Convolution, Dense, Described, Elementwise, Gated
from recurra.errors import ConversionError


def is_keras_json(content: object) -> bool:
    """Whether it is such a network."""
    return isinstance(content, Mapping) and isinstance(content.get("layers"), list) and "in_shape" in content


def read_keras_json(content: Mapping[str, Any]) -> list[Described]:
    """The layers of a network.

    Dense layers (`dense`, `time-distributed-dense`), `gru`, `lstm`, causal `conv1d`, `activation`; each may have an
    activation behind it.

    Raises:
        ConversionError: a layer is of a kind that is not known, or its weights do not fit; the message names it.
    """
    found: list[Described] = []
    for i, layer in enumerate(content["layers"]):
        kind = str(layer.get("type")) if isinstance(layer, Mapping) else "no layer"
        label = f"layer {i} ({kind[:40]})"
        if kind not in _KINDS:
            raise ConversionError(f"{label} is of a kind that is not known, expected one of: {', '.join(_KINDS)}")
        try:
            weights = [np.array(w, np.float32) for w in layer.get("weights", [])]
            found += _KINDS[kind](label, layer, weights)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            raise ConversionError(f"{label}: its weights do not fit: {error}") from error
    return found


def _word(label: str, layer: Mapping[str, Any], default: str) -> str:
    """The activation of a layer by its word in our language."""
    word = layer.get("activation") or default
    word = {"linear": "identity", "swish": "silu"}.get(str(word), word)
    if word not in ACTIVATIONS and word != "softmax":
        known = ", ".join([*ACTIVATIONS, "softmax"])
        raise ConversionError(f"{label} has the activation {str(word)[:80]!r}, expected one of: {known}")
    return str(word)


def _then(label: str, layer: Mapping[str, Any]) -> list[Described]:
    word = _word(label, layer, "identity")
    return [] if word == "identity" else [Elementwise(word)]


def _dense(label: str, layer: Mapping[str, Any], weights: list[Array]) -> list[Described]:
    bias = weights[1] if len(weights) > 1 else None
    return [Dense(weights[0].T, bias), *_then(label, layer)]


def _conv1d(label: str, layer: Mapping[str, Any], weights: list[Array]) -> list[Described]:
    if layer.get("groups", 1) not in (1, [1]):
        raise ConversionError(f"{label} has groups {layer['groups']}, expected 1")
    (dilation,) = np.atleast_1d(layer.get("dilation", 1))
    bias = weights[1] if len(weights) > 1 else None
    return [Convolution(weights[0].transpose(0, 2, 1), bias, int(dilation)), *_then(label, layer)]


def _gated(kind: str) -> Callable[[str, Mapping[str, Any], list[Array]], list[Described]]:
    def read(label: str, layer: Mapping[str, Any], weights: list[Array]) -> list[Described]:
        kernel, recurrent, bias = weights
        arrays = {"W": kernel.T, "U": recurrent.T}
        after = bias.ndim == 2  # two biases: Keras' reset_after
        gates = len(KERAS_GATES[kind])
        H = recurrent.shape[0]
        if recurrent.shape != (H, gates * H) or kernel.shape[1] != gates * H or bias.shape[-1] != gates * H:
            shapes = [w.shape for w in weights]
            raise ConversionError(
                f"{label} has weights of the shapes {shapes}, expected [I, {gates} H], [H, {gates} H]"
            )
        arrays |= {"b": bias[0], "c_": bias[1]} if after else {"b": bias}
        word = _word(label, layer, "tanh")
        return [Gated(kind, (arrays,), KERAS_GATES[kind], after, word)]

    return read


_KINDS: dict[str, Callable[[str, Mapping[str, Any], list[Array]], list[Described]]] = {
    "dense": _dense,
    "time-distributed-dense": _dense,
    "conv1d": _conv1d,
    "lstm": _gated("lstm"),
    "gru": _gated("gru"),
    "activation": lambda label, layer, weights: _then(label, layer),
}
