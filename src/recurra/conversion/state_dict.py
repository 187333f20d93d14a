"""A torch `state_dict` with a description of the network that it belongs to.

The description is JSON, beside the tensors as `model.json` or inside their file under the metadata key `description`:

    {"layers": [{"kind": "gru", "name": "encoder"},
                {"kind": "activation", "function": "relu"},
                {"kind": "linear", "name": "head"}]}

Layers stand in the order in which they run. `name` is the path of the module, so that its tensors are
`encoder.weight_ih_l0` and so on; how many layers and directions there are is read from those names. Kinds:

- `lstm`, `gru`, `rnn`: tensors as torch.nn's. Optional, for weights that another program put into torch's names:
  `gates`, the order in which they are stacked ("ifgo" for torch's LSTM, "rzn" for its GRU); `reset`, "after" (torch's)
  or "before" the recurrent product; `activation` and `recurrent_activation`; `nonlinearity` ("tanh", "relu") of an
  `rnn`.
- `recurrent`: `recurra.torch.Recurrent`, with its `cell`: a name of the zoo.
- `linear`, `embedding`, `layer_norm` and `batch_norm` (`epsilon`), `conv1d` (`dilation`, `stride`; causal: padded on
  the left alone).
- `activation` (`function`, `slope` of leaky_relu), `softmax`, `dropout`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recurra import cells
from recurra.cells import Cell
from recurra.conversion.definition import ACTIVATIONS
from recurra.conversion.described import (
    GATES,
    Array,
    BatchNorm,
    Convolution,
    Dense,
    Described,
    Elementwise,
    Gated,
    Norm,
    OfCell,
    Table,
)
from recurra.errors import ConversionError
from recurra.runtime.ops.op import MOST_NUMBER
from recurra.weights import Weights

_PARTS = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c_": "bias_hh", "R": "weight_hr"}


class _Reader:
    """Tensors by name, of which each may be taken once, and the settings of the layer that takes them."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.tensors = dict(tensors)
        self.left = set(tensors)
        self.layer: dict[str, Any] = {}
        self.label = ""

    def take(self, name: str) -> Array:
        """A tensor of the layer, which must be there."""
        full = f"{self.layer['name']}.{name}" if self.layer["name"] else name
        if full not in self.tensors:
            raise ConversionError(
                f"{self.label} needs the tensor {full!r}, expected one of: {', '.join(sorted(self.tensors))[:400]}"
            )
        self.left.discard(full)
        return self.tensors[full]

    def has(self, name: str) -> bool:
        """Whether the layer has a tensor of that name."""
        return (f"{self.layer['name']}.{name}" if self.layer["name"] else name) in self.tensors

    def setting(self, name: str, default: Any, allowed: object = None) -> Any:
        """A setting of the layer; its kind is that of the default."""
        value = self.layer.get(name, default)
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ConversionError(f"{self.label}: {name} is {str(value)[:80]!r}, expected a {type(default).__name__}")
        if isinstance(default, float) and not abs(value) < MOST_NUMBER:
            raise ConversionError(f"{self.label}: {name} is {str(value)[:80]}, expected less than {MOST_NUMBER:g}")
        if allowed is not None and value not in allowed:  # type: ignore[operator]
            known = ", ".join(map(str, allowed))  # type: ignore[call-overload]
            raise ConversionError(f"{self.label}: {name} is {str(value)[:80]!r}, expected one of: {known}")
        return value


def read_state_dict(tensors: Mapping[str, Array], description: object) -> list[Described]:
    """The layers of a network, from its tensors and its description.

    Raises:
        ConversionError: the description has what is not known, or does not fit the tensors; the message names it.
    """
    listed = description.get("layers") if isinstance(description, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(layer, dict) for layer in listed) or not listed:
        raise ConversionError('the description has no list of layers, expected {"layers": [{"kind": ...}, ...]}')
    reader = _Reader(tensors)
    found: list[Described] = []
    for i, layer in enumerate(listed):
        kind = str(layer.get("kind"))
        reader.label = f"layer {i} of the description ({kind[:40]})"
        if kind not in _KINDS:
            raise ConversionError(
                f"{reader.label} is of a kind that is not known, expected one of: {', '.join(_KINDS)}"
            )
        settings, read = _KINDS[kind]
        unknown = set(layer) - {"kind", *settings}
        if unknown:
            known = ", ".join(settings) or "none"
            raise ConversionError(
                f"{reader.label} has the setting {sorted(unknown)[0][:80]!r}, expected one of: {known}"
            )
        reader.layer = {"name": "", **layer}
        try:
            found += read(reader)
        except (ValueError, IndexError, TypeError) as error:
            raise ConversionError(f"{reader.label}: its tensors do not fit: {error}") from error
    if reader.left:
        names = ", ".join(sorted(reader.left))[:400]
        raise ConversionError(f"no layer of the description takes the tensors {names}: add the layers that have them")
    return found


def _gated(reader: _Reader) -> list[Described]:
    kind = reader.layer["kind"]
    order = reader.setting("gates", "".join(GATES[kind]))
    if sorted(order) != sorted(GATES[kind]):
        raise ConversionError(f"{reader.label}: gates are {order[:80]!r}, expected the letters {''.join(GATES[kind])}")
    activation = reader.setting("nonlinearity", "tanh", ("tanh", "relu"))
    activation = reader.setting("activation", activation, ACTIVATIONS)
    recurrent_activation = reader.setting("recurrent_activation", "sigmoid", ACTIVATIONS)
    after = reader.setting("reset", "after", ("after", "before")) == "after"
    found: list[Described] = []
    while not found or reader.has(f"weight_ih_l{len(found)}"):
        suffixes = [f"_l{len(found)}"]
        suffixes += [suffixes[0] + "_reverse"] if reader.has(f"weight_ih{suffixes[0]}_reverse") else []
        directions = tuple(_direction(reader, suffix, len(order)) for suffix in suffixes)
        found.append(Gated(kind, directions, tuple(order), after, activation, recurrent_activation))
    return found


def _direction(reader: _Reader, suffix: str, gates: int) -> dict[str, Array]:
    required = {"W", "U"}
    arrays = {
        ours: reader.take(theirs + suffix)
        for ours, theirs in _PARTS.items()
        if ours in required or reader.has(theirs + suffix)
    }
    rows = len(arrays["W"])
    width = arrays["R"].shape[0] if "R" in arrays else rows // gates
    shapes = {"W": (rows, arrays["W"].shape[1]), "U": (rows, width), "b": (rows,), "c_": (rows,)}
    shapes["R"] = (width, rows // gates)
    for name, array in arrays.items():
        if array.shape != shapes[name] or rows % gates:
            raise ConversionError(
                f"{reader.label}: {_PARTS[name]}{suffix} has the shape {array.shape}, expected {shapes[name]} with a "
                f"multiple of {gates} rows"
            )
    return arrays


def _recurrent(reader: _Reader) -> list[Described]:
    name = reader.setting("cell", "")
    cell = cells.get(name)
    found: list[Described] = []
    while not found or any(f"_l{len(found)}" in n for n in reader.left if n.startswith(reader.layer["name"])):
        suffixes = [f"_l{len(found)}"]
        suffixes += [suffixes[0] + "_reverse"] if reader.has(f"weight_ih{suffixes[0]}_reverse") else []
        found.append(OfCell(name, tuple(_arrays_of(reader, cell, suffix) for suffix in suffixes)))
    return found


def _arrays_of(reader: _Reader, cell: Cell, suffix: str) -> dict[str, Array]:
    """The arrays of one layer and direction of `Recurrent`; those that its cell does not use are empty."""
    W = reader.take("weight_ih" + suffix)
    H = len(W) // len(cell.input_gates)
    arrays: dict[str, Array] = {"W": W}
    for ours, theirs in list(_PARTS.items())[1:]:
        if reader.has(theirs + suffix):
            arrays[ours] = reader.take(theirs + suffix)
    projection = len(arrays["R"]) if "R" in arrays else None
    for name, shape in Weights.shapes(cell, W.shape[1], H, projection).items():
        if name in cell.parameters:
            arrays[name] = reader.take(name.replace(".", "_") + suffix)
        else:
            arrays.setdefault(name, np.zeros(shape, np.float32))
    begins = {f"initial:{s}": f"initial_{s}{suffix}" for s in cell.states}
    return arrays | {ours: reader.take(theirs) for ours, theirs in begins.items() if reader.has(theirs)}


def _bias(reader: _Reader) -> Array | None:
    return reader.take("bias") if reader.has("bias") else None


def _linear(reader: _Reader) -> list[Described]:
    return [Dense(reader.take("weight"), _bias(reader))]


def _conv1d(reader: _Reader) -> list[Described]:
    W = reader.take("weight").transpose(2, 0, 1)  # torch has [O, I, K]
    dilation, stride = (reader.setting(name, 1, range(1, 10_000)) for name in ("dilation", "stride"))
    return [Convolution(W, _bias(reader), dilation, stride)]


def _layer_norm(reader: _Reader) -> list[Described]:
    scale, shift = reader.take("weight"), _bias(reader)
    epsilon = reader.setting("epsilon", 1e-5)
    return [Norm(scale, np.zeros_like(scale) if shift is None else shift, float(epsilon))]


def _batch_norm(reader: _Reader) -> list[Described]:
    mean, variance = reader.take("running_mean"), reader.take("running_var")
    scale = reader.take("weight") if reader.has("weight") else np.ones_like(mean)
    shift = _bias(reader)
    shift = np.zeros_like(mean) if shift is None else shift
    return [BatchNorm(mean, variance, scale, shift, float(reader.setting("epsilon", 1e-5)))]


def _activation(reader: _Reader) -> list[Described]:
    word = reader.setting("function", "", (*ACTIVATIONS, "leaky_relu"))
    return [Elementwise(word, float(reader.setting("slope", 0.01)))]


BY_AXES = {1: "layer_norm", 2: "linear", 3: "conv1d"}  # by the axes of `weight`
_GATED = ("name", "gates", "activation", "recurrent_activation")
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[_Reader], list[Described]]]] = {
    "lstm": (_GATED, _gated),
    "gru": ((*_GATED, "reset"), _gated),
    "rnn": (("name", "activation", "nonlinearity"), _gated),
    "recurrent": (("name", "cell"), _recurrent),
    "linear": (("name",), _linear),
    "embedding": (("name",), lambda reader: [Table(reader.take("weight"))]),
    "layer_norm": (("name", "epsilon"), _layer_norm),
    "batch_norm": (("name", "epsilon"), _batch_norm),
    "conv1d": (("name", "dilation", "stride"), _conv1d),
    "activation": (("function", "slope"), _activation),
    "softmax": ((), lambda reader: [Elementwise("softmax")]),
    "dropout": (("p",), lambda reader: []),
}
