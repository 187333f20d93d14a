"""Errors of the elementary functions over a grid of floats, in units in the last place of the true result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.adapters.recurra_engine import available
from recurra import engine
from recurra.cells import Cell, cell, exp, mingru, rnn
from recurra.weights import Array, Weights

LARGEST = 103.0  # beyond it, e^-x is not a float any more
ROWS = 1 << 16


@cell(source="Nothing but e^x, to measure it")
def exponential(x, h):
    return exp(x.n)


@dataclass(frozen=True)
class Function:
    """A function, the cell whose first gate is it, the truth in float64, and what the peers have."""

    cell: Cell
    truth: Callable[[Array], Array]
    numpy: Callable[[Array], Array]
    torch: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Error:
    """The largest and the mean error of one library's function, in ulp, and the argument of the largest."""

    function: str
    library: str
    points: int
    largest: float
    mean: float
    at: float


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "exp": Function(exponential, np.exp, np.exp, torch.exp),
    "tanh": Function(rnn, np.tanh, np.tanh, torch.tanh),
    "sigmoid": Function(mingru, _sigmoid, _sigmoid, torch.sigmoid),
}


def errors(every: int) -> Iterator[Error]:
    """Ours, torch's and NumPy's on every so-manieth float of both signs with 2^-20 <= |x| <= LARGEST.

    A function whose cell needs a compiler that is not there is left out.
    """
    low, high = np.array([2.0**-20, LARGEST], np.float32).view(np.int32)
    positive = np.arange(low, high, every, dtype=np.int32).view(np.float32)
    x = np.concatenate([-positive[::-1], positive])
    for name, function in FUNCTIONS.items():
        if not available(function.cell):
            continue
        with np.errstate(over="ignore"):
            true = function.truth(x.astype(np.float64))
            finite = true < np.finfo(np.float32).max
            theirs = {"numpy": function.numpy(x), "torch": function.torch(torch.from_numpy(x)).numpy()}
        for library, values in {"recurra": _through(function.cell, x), **theirs}.items():
            off = np.abs(values[finite] - true[finite]) / np.spacing(np.abs(true[finite]).astype(np.float32))
            worst = int(off.argmax())
            yield Error(name, library, off.size, float(off[worst]), float(off.mean()), float(x[finite][worst]))


def _through(cell: Cell, x: Array) -> Array:
    """The first gate of a cell with one input of weight 1 and one unit, from a zero state: its sum is x itself."""
    shapes = Weights.shapes(cell, 1, 1)
    weights = Weights.of(cell, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    weights.W[0] = 1
    parts = (x[i : i + ROWS].reshape(1, -1, 1) for i in range(0, len(x), ROWS))
    runs = (engine.forward(cell, weights, part, return_gates=True) for part in parts)
    return np.concatenate([run.gates[cell.gates[0]].ravel() for run in runs])
