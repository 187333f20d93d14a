"""What adapters are given and what they hand back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from benchmarks.cases import Case
from recurra.cells import Cell
from recurra.weights import Array, Weights


@dataclass(frozen=True)
class Problem:
    """The numbers of a case, float32, the same for every library.

    Attributes:
        case: what is measured.
        cell: the equations.
        weights: random; a twin cell of the same gates takes the same ones.
        x: [T, B, I].
        d_output: the gradient of the output, [T, B, H].
    """

    case: Case
    cell: Cell
    weights: Weights
    x: Array
    d_output: Array

    @classmethod
    def of(cls, case: Case) -> Problem:
        rng = np.random.default_rng(0)
        weights = Weights.random(case.cell, case.I, case.H, rng=rng)
        x, d_output = (rng.standard_normal((case.T, case.B, n)).astype(np.float32) for n in (case.I, case.H))
        return cls(case, case.cell, weights, x, d_output)


@dataclass(frozen=True)
class Task:
    """One library's way to do a case.

    Attributes:
        run: what is timed; a step starts from the state that the last one left.
        read: the arrays in a result of `run`, by name: `output`, and gradients as `d_x`, `d_W`, `d_U`, `d_b`, `d_c_`.
        many: `run` so many times, without Python between where the library can do that.
        cell: the equations, if they are not the case's.
    """

    run: Callable[[], Any]
    read: Callable[[Any], dict[str, Array]]
    many: Callable[[int], Any] | None = None
    cell: Cell | None = None

    def times(self, count: int) -> None:
        """Run so many times."""
        if self.many is not None:
            self.many(count)
            return
        run = self.run
        for _ in repeat(None, count):
            run()


Make = Callable[[Problem], Task]


def regroup(array: Array, gates: tuple[str, ...], order: str) -> Array:
    """The rows of stacked gates [G*H, ...] in another library's order of gates, a letter each."""
    blocks = array.reshape(len(gates), -1, *array.shape[1:])
    return np.ascontiguousarray(blocks[[gates.index(g) for g in order]].reshape(array.shape))
