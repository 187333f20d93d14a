"""Described layers as layers of the runtime: gates in our order, and the cell of the same equations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recurra import cells, runtime
from recurra.cells import Cell
from recurra.conversion.described import (
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
from recurra.runtime import Activation, Affine, Embedding, LayerNorm, Linear, Op, Recurrent, Softmax
from recurra.weights import Weights


def runtime_layers(layers: Sequence[Described]) -> list[Op]:
    """The layers that compute what described layers do.

    Raises:
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


def _convolution(layer: Convolution) -> Op:
    W = _plain(layer.W.transpose(1, 0, 2))  # [K, O, I] to [O, K, I]
    return runtime.Convolution(W, None if layer.b is None else _plain(layer.b), layer.dilation, layer.stride)


def _batch_norm(layer: BatchNorm) -> Op:
    scale = layer.scale / np.sqrt(layer.variance.astype(np.float64) + layer.epsilon)
    return Affine(_plain(scale), _plain(layer.shift - layer.mean * scale))


def _elementwise(layer: Elementwise) -> Op:
    return Softmax() if layer.word == "softmax" else Activation(layer.word, layer.slope)


def _of_cell(layer: OfCell) -> Recurrent:
    cell = cells.get(layer.cell)
    begins = [f"initial:{state}" for state in cell.states if f"initial:{state}" in layer.directions[0]]
    directions = [{n: _plain(a) for n, a in arrays.items()} for arrays in layer.directions]
    initial = [[arrays[n] for n in begins] for arrays in directions] if begins else ()
    return Recurrent(cell, [Weights.of(cell, arrays) for arrays in directions], initial)


def _plain(array: Array) -> Array:
    return np.array(array, np.float32, order="C")


_LAYERS: dict[type, Callable[[Any], Op]] = {
    Gated: _gated,
    Dense: lambda layer: Linear(_plain(layer.W), None if layer.b is None else _plain(layer.b)),
    Convolution: _convolution,
    Table: lambda layer: Embedding(_plain(layer.W)),
    BatchNorm: _batch_norm,
    Norm: lambda layer: LayerNorm(_plain(layer.scale), _plain(layer.shift), layer.epsilon),
    Elementwise: _elementwise,
    OfCell: _of_cell,
}
