"""Described layers as layers of the runtime: gates in our order, and the cell of the same equations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recurra import cells
from recurra.cells import Cell
from recurra.conversion.described import (
    Array,
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
from recurra.runtime import Activation, Embedding, LayerNorm, Linear, Recurrent, Softmax
from recurra.runtime.layers import Layer
from recurra.weights import Weights

MOST_DELAYS = 256  # states of a convolution's cell: so many steps does it look back, over all of its taps


def runtime_layers(layers: Sequence[Described]) -> list[Layer]:
    """The layers that compute what described layers do.

    Raises:
        ConversionError: a convolution looks back too far.
        ShapeError, DtypeError: arrays do not fit one another.
    """
    return [_LAYERS[type(layer)](layer) for layer in layers]


def cell_of(layer: Gated) -> Cell:
    """The cell with a layer's equations."""
    if layer.kind == "rnn":
        return cells.rnn(activation=layer.activation)
    family = {
        "lstm": cells.lstm_projected if "R" in layer.directions[0] else cells.lstm,
        "gru": cells.gru if layer.reset_after else cells.gru_reset_before,
    }[layer.kind]
    return family(activation=layer.activation, recurrent_activation=layer.recurrent_activation)


def _gated(layer: Gated) -> Recurrent:
    cell = cell_of(layer)
    directions = []
    for arrays in layer.directions:
        rows = len(arrays["W"])
        H = rows // len(layer.gates)
        order = np.concatenate([np.arange(H) + H * layer.gates.index(gate) for gate in cell.gates])
        zero = np.zeros(rows, np.float32)
        weights = Weights(
            _plain(arrays["W"][order]),
            _plain(arrays["U"][order]),
            _plain(arrays.get("b", zero)[order]),
            _plain(arrays.get("c_", zero)[order]),
            _plain(arrays["R"]) if "R" in arrays else None,
        )
        directions.append(weights)
    return Recurrent(cell, directions)


def _convolution(layer: Convolution) -> Recurrent:
    """A causal convolution is a cell without recurrent products: each tap's product waits in a chain of states."""
    K, O, _ = layer.W.shape
    delays = [(K - 1 - k) * layer.dilation for k in range(K)]
    if sum(delays) > MOST_DELAYS:
        raise ConversionError(
            f"a convolution of {K} taps with the dilation {layer.dilation} waits {sum(delays)} steps over all taps, "
            f"expected at most {MOST_DELAYS}"
        )
    chains = [[f"d{k}_{j}" for j in range(1, delay + 1)] for k, delay in enumerate(delays)]
    now = [chain[-1] if chain else f"x.k{k}" for k, chain in enumerate(chains)]
    later = [f"x.k{k}" if j == 0 else chain[j - 1] for k, chain in enumerate(chains) for j in range(len(chain))]
    states = ", ".join(["x", "h", *(state for chain in chains for state in chain)])
    source = f"a causal convolution over time, {K} taps, dilation {layer.dilation}"
    cell = cells.from_text(
        f"def conv({states}):\n    {source!r}\n    return {', '.join([' + '.join(now[::-1]), *later])}\n"
    )
    taps = [int(gate[1:]) for gate in cell.input_gates]
    bias = np.zeros((K, O), np.float32)
    bias[K - 1] = 0 if layer.b is None else layer.b
    none = np.zeros((0, O), np.float32)
    weights = Weights(_plain(np.concatenate(layer.W[taps])), none, _plain(bias[taps].ravel()), np.zeros(0, np.float32))
    return Recurrent(cell, [weights])


def _elementwise(layer: Elementwise) -> Layer:
    return Softmax() if layer.word == "softmax" else Activation(layer.word, layer.slope)


def _of_cell(layer: OfCell) -> Recurrent:
    cell = cells.get(layer.cell)
    begins = [f"initial:{state}" for state in cell.states if f"initial:{state}" in layer.directions[0]]
    directions = [{n: _plain(a) for n, a in arrays.items()} for arrays in layer.directions]
    initial = [[arrays[n] for n in begins] for arrays in directions] if begins else ()
    return Recurrent(cell, [Weights.of(cell, arrays) for arrays in directions], initial)


def _plain(array: Array) -> Array:
    return np.array(array, np.float32, order="C")


_LAYERS: dict[type, Callable[[Any], Layer]] = {
    Gated: _gated,
    Dense: lambda layer: Linear(_plain(layer.W), None if layer.b is None else _plain(layer.b)),
    Convolution: _convolution,
    Table: lambda layer: Embedding(_plain(layer.W)),
    Norm: lambda layer: LayerNorm(_plain(layer.scale), _plain(layer.shift), layer.epsilon),
    Elementwise: _elementwise,
    OfCell: _of_cell,
}
