"""Torch modules as networks to draw: their layers in the order in which they are defined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from recurra.draw.structure import Layer, Network, Shape, of_model_layer, put_together, recurrent_layer
from recurra.errors import DrawError


def read_module(module: Any) -> Network:
    """The network of a torch module: a recurrent layer, or a module that has some among its children.

    A module with a `forward` of its own is drawn in the order in which its layers are defined.

    Raises:
        DrawError: a layer does not take what the one before it gives, so that it cannot come after it.
    """
    known = {id(p): name for name, p in module.named_parameters()}
    layers, entered, _ = _chain(_leaves(module, ""), known, type(module).__name__, None)
    return Network(type(module).__name__, entered, tuple(layers))


def _chain(
    parts: Iterable[tuple[str, Any]], known: dict[int, str], whose: str, width: int | None
) -> tuple[list[Layer], int | None, int | None]:
    """The layers of named modules that come one after the other, the features that go into them, and those out."""
    layers: list[Layer] = []
    entered = width
    for name, part in parts:
        if _is_branches(part):
            chains = [_chain(_leaves(b, f"{name}.{k}"), known, whose, width) for k, b in enumerate(part.branches)]
            entered = next((c[1] for c in chains if c[1] is not None), None) if not layers else entered
            gives = [w for _, _, w in chains]
            known_widths = [w for w in gives if w is not None]
            width = sum(known_widths) if part.how == "join" else next(iter(known_widths), None)
            layers += put_together([c[0] for c in chains], part.how, width if len(known_widths) == len(gives) else None)
            continue
        for takes, layer in _layers_of(part, known):
            if width is not None and takes is not None and takes != width:
                raise DrawError(
                    f"{whose}: {name} takes {takes} features, but {width} come from what is defined "
                    "before it: draw its parts one by one, or put them into recurra.torch.Stack"
                )
            entered = takes if entered is None and not layers else entered
            layers.append(layer)
            width = layer.width if isinstance(layer.width, int) else width
    return layers, entered, width


def _is_branches(module: Any) -> bool:
    from recurra.torch.branches import Branches

    return isinstance(module, Branches)


def _leaves(module: Any, name: str) -> Iterator[tuple[str, Any]]:
    from torch import nn

    from recurra.torch.stack import Stack

    if (
        _is_branches(module)
        or _is_recurrent(module)
        or hasattr(module, "model_layers")
        or not any(True for _ in module.children())
    ):
        if isinstance(module, (nn.Sequential, Stack)):  # nothing within: what comes in goes out
            return
        yield name or type(module).__name__, module
        return
    for child, part in module.named_children():
        yield from _leaves(part, f"{name}.{child}" if name else child)


def _is_recurrent(module: Any) -> bool:
    """Whether a module is a recurrent layer, or several, by itself."""
    from torch import nn

    return hasattr(module, "recurrences") or isinstance(module, (nn.RNNBase, nn.RNNCellBase))


def _layers_of(module: Any, known: dict[int, str]) -> Iterator[tuple[int | None, Layer]]:
    """Each layer of a module, after the features that it takes (None: any number)."""
    from torch import nn

    if _is_recurrent(module):
        for entry in _entries(module):
            cell, arrays = entry[0]
            shapes: dict[str, Shape] = {n: tuple(a.shape) for n, a in arrays.items()}
            own = {n: known[id(a)] for n, a in arrays.items() if id(a) in known}
            yield int(arrays["W"].shape[1]), recurrent_layer(cell, len(entry), shapes, own)
        return
    if hasattr(module, "model_layers"):  # it says by itself what it is in a model file
        yield from ((layer.input_size, of_model_layer(layer)) for layer in module.model_layers())
        return
    symbols = {"weight": "W", "bias": "b"} if isinstance(module, (nn.Linear, nn.Embedding)) else {}
    named = {symbols.get(n, n): p for n, p in module.named_parameters(recurse=False)}
    weights: dict[str, Shape] = {n: tuple(p.shape) for n, p in named.items()}
    own = {n: known[id(p)] for n, p in named.items()}
    takes = module.in_features if isinstance(module, nn.Linear) else None
    gives = getattr(module, "out_features", getattr(module, "embedding_dim", None))
    yield takes, Layer(_spoken(type(module).__name__), gives, weights, own_names=own)


def _entries(module: Any) -> list[Any]:
    """Cell and arrays of each layer and direction; also of torch.nn's single cells, which have no steps."""
    from torch import nn

    from recurra.torch.bridge import entries_of
    from recurra.torch.layers import CELLS

    if isinstance(module, nn.RNNCellBase):
        mode = f"RNN_{module.nonlinearity.upper()}" if isinstance(module, nn.RNNCell) else type(module).__name__[:-4]
        names = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c_": "bias_hh"}
        entries: list[Any] = [[(CELLS[mode], {symbol: getattr(module, name) for symbol, name in names.items()})]]
    else:
        entries = entries_of(module)
    without = () if getattr(module, "bias", True) else ("b", "c_")
    return [[(cell, {n: a for n, a in arrays.items() if n not in without}) for cell, arrays in e] for e in entries]


def _spoken(name: str) -> str:
    """A class's name in words: LayerNorm is a layer norm; ReLU stays."""
    words = "".join(f" {c}" if c.isupper() and i and name[i - 1].islower() else c for i, c in enumerate(name))
    return name.lower() if name.isupper() or name in ("ReLU", "GELU", "SiLU", "ELU") else words.lower()
