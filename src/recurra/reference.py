"""The definition: a cell run over time in NumPy float64, forward and backward. All else is tested against this file.

Shapes: T steps, B batch, I input size, H hidden size, P = H or the size of a projected state; x [T, B, I],
states [B, H] (the first [B, P]), output [T, B, P].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.cells.cell import Cell
from recurra.cells.functions import ARITHMETIC, FUNCTIONS
from recurra.cells.symbols import Node, node, walk
from recurra.weights import Array, Weights


@dataclass
class Forward:
    """What a forward run returns; `steps` is what the backward run needs."""

    output: Array
    state: Sequence[Array]
    states: Sequence[Array]
    gates: Mapping[str, Array]
    steps: list[tuple[np.ndarray, np.ndarray, dict[Node, Any]]]


@dataclass
class Gradients:
    """The gradients of what went in."""

    x: Array
    state: Sequence[Array]
    weights: Weights


def forward(
    cell: Cell,
    weights: Weights,
    x: Array,
    state: Sequence[Array] | None = None,
    lengths: Sequence[int] | None = None,
    reverse: bool = False,
    reset: Array | None = None,
) -> Forward:
    """Run a cell over a batch of sequences.

    Row b has `lengths[b]` steps (T if not given); with `reverse` it is read from its own last step to its first.
    Where `reset[t, b]` is set, the row's states are zero before that step. Past a row's end the output is zero.
    """
    x = np.asarray(x, np.float64)
    weights = weights.map(lambda a: a.astype(np.float64))
    (T, B, _), H, P = x.shape, weights.hidden_size, weights.U.shape[1]
    ends = np.full(B, T) if lengths is None else np.asarray(lengths)
    widths = [P, *([H] * (len(cell.states) - 1))]
    now = [np.zeros((B, w)) for w in widths] if state is None else [np.array(s, np.float64) for s in state]
    states = [np.zeros((T, B, w)) for w in widths]
    gates = {g: np.zeros((T, B, H)) for g in cell.gates}
    steps = []
    for s in range(T):
        rows = np.flatnonzero(ends > s)
        t = ends[rows] - 1 - s if reverse else np.full(len(rows), s)
        before = [h[rows] for h in now]
        if reset is not None:
            before = [np.where(np.asarray(reset)[t, rows, None] > 0, 0.0, h) for h in before]
        values = step(cell, weights, x[t, rows], before)
        for k, new in enumerate(cell.next):
            now[k][rows] = states[k][t, rows] = values[new]
        for gate, value in cell.gate_values.items():
            gates[gate][t, rows] = values[value]
        steps.append((rows, t, values))
    return Forward(states[0], now, states, gates, steps)


def step(cell: Cell, weights: Weights, x: Array, states: Sequence[Array]) -> dict[Node, Any]:
    """One step of the equations: the value of every node."""
    H = weights.hidden_size
    values: dict[Node, Any] = {}
    for n in walk(cell.next):
        if n._op == "const":
            values[n] = n._value
        elif n._op == "state":
            values[n] = states[cell.states.index(n._value)]
        elif n._op == "param":
            values[n] = weights.parameters[n._value]
        elif n._op == "input":
            g = _rows_of(cell.input_gates, n._value, H)
            values[n] = x @ weights.W[g].T + weights.b[g]
        elif n is cell.projection:
            values[n] = values[n._args[0]] @ weights.R.T  # type: ignore[union-attr]
        elif n._op == "product":
            g = _rows_of(cell.recurrent_gates, n._value, H)
            values[n] = values[n._args[0]] @ weights.U[g].T + weights.c_[g]
        else:
            values[n] = (ARITHMETIC.get(n._op) or FUNCTIONS[n._op].value)(*(values[a] for a in n._args))
    return {n: np.broadcast_to(v, (len(x), H)) if np.ndim(v) < 2 else v for n, v in values.items()}


def backward(
    cell: Cell,
    weights: Weights,
    x: Array,
    run: Forward,
    d_output: Array | None = None,
    d_state: Sequence[Array] | None = None,
    reset: Array | None = None,
) -> Gradients:
    """Back-propagation through time: from the gradients of output and last states to those of all that went in."""
    x = np.asarray(x, np.float64)
    weights = weights.map(lambda a: a.astype(np.float64))
    H = weights.hidden_size
    dx, dw = np.zeros_like(x), weights.map(np.zeros_like)
    now = [np.zeros_like(s) for s in run.state] if d_state is None else [np.array(d, np.float64) for d in d_state]
    for rows, t, values in reversed(run.steps):
        seeds = [d[rows] for d in now]
        if d_output is not None:
            seeds[0] = seeds[0] + d_output[t, rows]
        gradients = step_back(cell, values, seeds, weights)
        for n, d in gradients.items():
            if n._op == "input":
                g = _rows_of(cell.input_gates, n._value, H)
                dx[t, rows] += d @ weights.W[g]
                dw.W[g] += d.T @ x[t, rows]
                dw.b[g] += d.sum(axis=0)
            elif n is cell.projection:
                dw.R += d.T @ values[n._args[0]]
            elif n._op == "product":
                g = _rows_of(cell.recurrent_gates, n._value, H)
                dw.U[g] += d.T @ values[n._args[0]]
                dw.c_[g] += d.sum(axis=0)
            elif n._op == "param":
                dw.parameters[n._value] += d.sum(axis=0)
        for k, name in enumerate(cell.states):
            d = gradients.get(node("state", value=name), 0.0)
            if reset is not None:
                d = np.where(np.asarray(reset)[t, rows, None] > 0, 0.0, d)
            now[k][rows] = d
    return Gradients(dx, now, dw)


def step_back(cell: Cell, values: dict[Node, Any], seeds: Sequence[Array], weights: Weights) -> dict[Node, Any]:
    """The chain rule through one step: each node hands its gradient to its arguments, from the last to the first."""
    gradients: dict[Node, Any] = {}
    for new, seed in zip(cell.next, seeds, strict=True):
        gradients[new] = gradients.get(new, 0.0) + seed
    for n in reversed(walk(cell.next)):
        if n not in gradients:
            continue
        for argument, d in _slopes(cell, n, values, gradients[n], weights):
            gradients[argument] = gradients.get(argument, 0.0) + d
    return gradients


def _slopes(cell: Cell, n: Node, values: dict[Node, Any], d: Array, weights: Weights) -> list[tuple[Node, Any]]:
    """What one node hands back to each of its arguments."""
    a = [values[m] for m in n._args]
    match n._op:
        case "add":
            slopes = [d, d]
        case "sub":
            slopes = [d, -d]
        case "mul":
            slopes = [d * a[1], d * a[0]]
        case "div":
            slopes = [d / a[1], -d * a[0] / a[1] ** 2]
        case "neg":
            slopes = [-d]
        case "product" if n is cell.projection:
            slopes = [d @ weights.R]  # type: ignore[operator]
        case "product":
            slopes = [d @ weights.U[_rows_of(cell.recurrent_gates, n._value, weights.hidden_size)]]
        case op if op in FUNCTIONS:
            slopes = [d * _evaluate(slope, values) for slope in FUNCTIONS[op].slopes(*n._args, n)]
        case _:
            return []
    return list(zip(n._args, slopes, strict=True))


def _evaluate(n: Node | float, values: dict[Node, Any]) -> Any:
    if not isinstance(n, Node):
        return n
    if n._op == "const":
        return n._value
    if n not in values:
        values[n] = (ARITHMETIC.get(n._op) or FUNCTIONS[n._op].value)(*(_evaluate(a, values) for a in n._args))
    return values[n]


def _rows_of(gates: Sequence[str], gate: str, H: int) -> slice:
    """The rows of a gate in stacked weights."""
    i = gates.index(gate)
    return slice(i * H, (i + 1) * H)
