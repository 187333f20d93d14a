"""Keras' recurrent layers and the runtime's, both ways: cells, gates in their order, directions."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import keras
import numpy as np

from recurra.cells import gru, gru_reset_before, lstm, rnn
from recurra.cells.cell import Cell
from recurra.errors import ExportError
from recurra.keras.activations import MEANINGS
from recurra.keras.cells import recipe_of_cell
from recurra.keras.layers import GRU, LAYERS, LSTM, SimpleRNN
from recurra.keras.recurrent import EquationCell, Recurrent
from recurra.keras.scan import to_numpy
from recurra.runtime import ops
from recurra.weights import Array, Weights

KINDS = (*(kind.stock for kind in LAYERS), Recurrent, keras.layers.RNN)
_CELLS = (keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell)
_MERGED = {"sum": 1.0, "ave": 0.5}  # what each direction counts for


def array_of(layer: Any, value: Any) -> Array:
    """A weight, which must be float32."""
    array = to_numpy(value)
    if array.dtype != np.float32:
        raise ExportError(f"from_keras: {layer.name} has weights of {array.dtype}, expected float32")
    return np.array(array, order="C")


def read_recurrent(layer: Any) -> list[ops.Op]:
    """A layer of one direction; one op for each cell of a stack."""
    if layer.go_backwards:
        raise ExportError(f"from_keras: {layer.name} reads backwards, expected forwards, or inside Bidirectional")
    return [ops.Recurrent(cell, [weights]) for cell, weights in _recurrences(layer)]


def read_bidirectional(layer: Any) -> list[ops.Op]:
    """Both directions side by side, at every step or at the end; or added, or multiplied."""
    if layer.merge_mode not in (known := ("concat", "mul", *_MERGED)):
        raise ExportError(
            f"from_keras: {layer.name} has merge_mode={layer.merge_mode!r}, expected one of: {', '.join(known)}"
        )
    both = [layer.forward_layer, layer.backward_layer]
    if [part.go_backwards for part in both] != [False, True]:
        raise ExportError(f"from_keras: {layer.name} reads backwards first, expected its first layer to read forwards")
    forward, backward = map(_recurrences, both)
    if [cell.fingerprint for cell, _ in forward] != [cell.fingerprint for cell, _ in backward] or len(forward) > 1:
        names = [", ".join(cell.name for cell, _ in one) for one in (forward, backward)]
        raise ExportError(
            f"from_keras: the directions of {layer.name} are {names[0]} and {names[1]}, expected one cell"
        )
    (cell, first), (_, second) = *forward, *backward
    found: list[ops.Op] = [ops.Recurrent(cell, [first, second])]
    if not layer.return_sequences:
        found.append(ops.Pool("last", directions=2))
    if layer.merge_mode in _MERGED:
        share = _MERGED[layer.merge_mode] * np.eye(first.U.shape[1], dtype=np.float32)
        found.append(ops.Linear(np.concatenate([share, share], 1)))
    elif layer.merge_mode == "mul":
        ways = np.split(np.eye(2 * first.U.shape[1], dtype=np.float32), 2)
        found.append(ops.Branches([[ops.Linear(np.ascontiguousarray(way))] for way in ways], "multiply"))
    return found


def _recurrences(layer: Any) -> list[tuple[Cell, Weights]]:
    """The cell, or the cells of a stack, with weights as the engine takes them."""
    if type(layer) not in (*KINDS, *LAYERS):
        raise ExportError(
            f"from_keras: {layer.name} is a {type(layer).__name__}, which may change what it computes: expected one of "
            f"{', '.join(kind.__name__ for kind in KINDS)}"
        )
    stacked = isinstance(layer.cell, keras.layers.StackedRNNCells)
    return [_recurrence(layer, cell) for cell in (layer.cell.cells if stacked else [layer.cell])]


def _recurrence(layer: Any, cell: Any) -> tuple[Cell, Weights]:
    if type(cell) is EquationCell:
        return cell.cell, _equation_weights(layer, cell)
    if type(cell) not in _CELLS:
        raise ExportError(f"from_keras: {layer.name} has a {type(cell).__name__}, expected one of Keras' own cells")
    found = recipe_of_cell(cell, False)
    if isinstance(found, str):
        raise ExportError(f"from_keras: {layer.name}: {found}")
    H, gates = cell.units, len(found.order)
    order = np.concatenate([np.arange(H) + H * gate for gate in found.order])
    W, U = (array_of(layer, kernel).T[order] for kernel in (cell.kernel, cell.recurrent_kernel))
    biases = np.zeros((2, gates * H), np.float32)
    if cell.bias is not None:
        given = np.atleast_2d(array_of(layer, cell.bias))  # two where a GRU resets after the product
        biases[: len(given)] = given
    b, c = biases[:, order]
    return found.cell, Weights(*(np.ascontiguousarray(a) for a in (W, U, b, c)))  # type: ignore[arg-type]


def _equation_weights(layer: Any, cell: EquationCell) -> Weights:
    """Those of a cell of ours, zeros for what it does not have."""
    given = {name: array_of(layer, v).T for name, v in cell._named.items()}
    shapes = Weights.shapes(cell.cell, given["W"].shape[1], cell.units, cell.projection_size)
    arrays = {n: np.ascontiguousarray(given.get(n, np.zeros(shape, np.float32))) for n, shape in shapes.items()}
    return Weights.of(cell.cell, arrays)


def made_of(i: str, layer: ops.Recurrent, stock: bool) -> tuple[Any, list[Array]]:
    """A layer of Keras, or of ours for Keras, with its weights."""
    if any(np.any(a) for states in layer.initial for a in states):
        raise ExportError(f"to_keras: layer {i} begins with learned states, expected zeros, as Keras has them")
    known = _keras_class(layer.cell)
    if known is None and stock:
        raise ExportError(f"to_keras: layer {i} is a {layer.cell.name}, which Keras does not have: use stock=False")
    both = []
    for direction, weights in enumerate(layer.weights):
        options: dict[str, Any] = {"return_sequences": True, "go_backwards": direction == 1}
        if known is None:
            P = None if weights.R is None else len(weights.R)
            both.append((Recurrent(layer.cell, weights.hidden_size, P, **options), _own(weights)))
        else:
            kind, settings = known
            made = (kind.stock if stock else kind)(weights.hidden_size, **dict(settings), **options)
            both.append((made, _theirs(kind, dict(settings), weights)))
    if len(both) == 1:
        return both[0]
    (forward, first), (backward, second) = both
    return keras.layers.Bidirectional(forward, backward_layer=backward), first + second


def _own(weights: Weights) -> list[Array]:
    """In the order of `EquationCell`, without what is empty."""
    return [a.T for _, a in weights.items() if a.size]


def _theirs(kind: type, settings: dict[str, Any], weights: Weights) -> list[Array]:
    """In Keras' order of gates and with its biases."""
    if kind is not GRU:
        return [weights.W.T, weights.U.T, weights.b + weights.c_]

    def order(a: Array) -> Array:  # from r, z, n to z, r, n
        r, z, n = np.split(a, 3)
        return np.concatenate([z, r, n])

    W, U, b, c = map(order, (weights.W, weights.U, weights.b, weights.c_))
    return [W.T, U.T, np.stack([b, c]) if settings["reset_after"] else b + c]


@lru_cache(maxsize=256)
def _keras_class(cell: Cell) -> tuple[Any, tuple[tuple[str, Any], ...]] | None:
    """Which of Keras' layers a cell is, and with which options."""
    for kind, ours, fixed in (
        (SimpleRNN, rnn, {}),
        (LSTM, lstm, {}),
        (GRU, gru, {"reset_after": True}),
        (GRU, gru_reset_before, {"reset_after": False}),
    ):
        if (ours.gates, len(ours.states), ours.parameters) != (cell.gates, len(cell.states), cell.parameters):
            continue
        words = sorted(MEANINGS, key=lambda word: word not in ("tanh", "sigmoid"))
        for chosen in product(words, repeat=len(ours.options)):
            options = {name: MEANINGS[word] for name, word in zip(ours.options, chosen, strict=True)}
            if ours(**options).fingerprint == cell.fingerprint:
                return kind, tuple((fixed | dict(zip(ours.options, chosen, strict=True))).items())
    return None
