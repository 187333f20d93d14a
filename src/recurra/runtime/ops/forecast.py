"""The head of a forecaster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from recurra.errors import ShapeError
from recurra.runtime.ops.op import MOST_NUMBERS, Op, Shapes
from recurra.weights import Array

FUTURE = "future"


@dataclass(frozen=True, eq=False)
class Forecast(Op):
    """Quantiles of each of N horizons from a state h [I] and, of each horizon, numbers x_n = [known_n, season_n].

        u_n = tanh(A h + e_n + B x_n)
        trust_n = softmax(W u_n + w_n)          how much of each season to take
        v_n = C u_n + c_n
        middle = trust_n . season_n + D_n . h + v_n[middle]
        the others: outward from there, by k softplus(v_n) from one to the next, so that they never cross

    Shapes: A [U, I], B [U, F + S], e [N, U], W [S, U], w [N, S], C [Q, U], c [N, Q], D [N, I], k [N, Q]; x_n has F
    numbers that are known of that time, then the values of S seasons, and the x_n one after the other are the program's
    input `future`. The output is [N * Q], horizon after horizon.

    Args:
        levels: what share of the values is to lie below each quantile: rising, between 0 and 1. The one that is
            nearest to a half is the middle.

    Raises:
        ShapeError, DtypeError: the arrays do not fit one another, or k has a negative number.

    >>> import numpy as np
    >>> from recurra.runtime import Forecast, Model
    >>> sizes = {"A": (4, 3), "B": (4, 2 + 1), "e": (5, 4), "W": (1, 4), "w": (5, 1), "C": (3, 4), "c": (5, 3)}
    >>> arrays = {n: np.zeros(s, np.float32) for n, s in {**sizes, "D": (5, 3), "k": (5, 3)}.items()}
    >>> model = Model([Forecast((0.1, 0.5, 0.9), **arrays)])
    >>> model.inputs
    {'x': 3, 'future': 15}
    >>> model.run(np.arange(3 + 5 * 3, dtype=np.float32)[None])[0, ::3]  # the season's value of each horizon
    array([ 5.,  8., 11., 14., 17.], dtype=float32)
    """

    levels: Sequence[float]
    A: Array
    B: Array
    e: Array
    W: Array
    w: Array
    C: Array
    c: Array
    D: Array
    k: Array
    kind: ClassVar[str] = "forecast"
    shapes: ClassVar[Shapes] = {
        "A": ("U", "I"),
        "B": ("U", "F + S"),
        "e": ("N", "U"),
        "W": ("S", "U"),
        "w": ("N", "S"),
        "C": ("Q", "U"),
        "c": ("N", "Q"),
        "D": ("N", "I"),
        "k": ("N", "Q"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        N, S, Q, ahead = (self.sizes[letter] for letter in ("N", "S", "Q", "F + S"))
        if ahead < S or N * ahead > MOST_NUMBERS:
            raise ShapeError(
                f"a forecast layer: `B` takes {ahead} numbers of each of {N} horizons, expected at least {S}, one for "
                f"each season, and at most {MOST_NUMBERS} in all"
            )
        if not (self.k >= 0).all():
            raise ShapeError("a forecast layer: `k` has a number below zero, expected none: quantiles would cross")
        _check_levels(self.levels, Q)

    @property
    def output_size(self) -> int:
        """Quantiles of all horizons."""
        return self.horizon * self.sizes["Q"]

    @property
    def horizon(self) -> int:
        """How many steps ahead."""
        return self.sizes["N"]

    @property
    def reads(self) -> Mapping[str, int]:
        """What is known of each horizon, and its seasons."""
        return {FUTURE: self.horizon * self.sizes["F + S"]}

    @property
    def middle(self) -> int:
        """Which of the quantiles is nearest to a half."""
        return middle_of(self.levels)

    def settings(self) -> dict[str, Any]:
        """The levels."""
        return {"levels": [float(level) for level in self.levels]}

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [self.middle, offsets[FUTURE]]


def middle_of(levels: Sequence[float]) -> int:
    """The index of the level nearest to a half.

    >>> middle_of([0.1, 0.5, 0.9])
    1
    """
    return min(range(len(levels)), key=lambda q: abs(levels[q] - 0.5))


def _check_levels(levels: object, count: int) -> None:
    some = levels if isinstance(levels, (list, tuple)) else []
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1 for v in some)
    if len(some) != count or not numbers or any(a >= b for a, b in pairwise(some)):
        raise ShapeError(
            f"a forecast layer: `levels` is {str(levels)[:80]}, expected {count} numbers between 0 and 1, rising"
        )
