"""The head of a forecaster, and the split that brings it what is known of the time ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from recurra.errors import ShapeError
from recurra.runtime.layers import Arrays, Layer, Settings, check_layer_array, check_names
from recurra.weights import Array

MOST_BESIDE = 1 << 24  # numbers beside the encoder's; a week of minutes, ten numbers each, is 100 thousand


@dataclass(frozen=True, eq=False)
class Split(Layer):
    """The first `first` features go on; the other `beside` wait for the forecast head. Only as the first layer."""

    first: int
    beside: int
    kind: ClassVar[str] = "split"
    has_arrays: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, value in (("first", self.first), ("beside", self.beside)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_BESIDE:
                raise ShapeError(f"split: `{name}` is {str(value)[:80]}, expected a number from 1 to {MOST_BESIDE}")

    @property
    def input(self) -> int:
        """All of them."""
        return self.first + self.beside

    @property
    def output(self) -> int:
        """The first ones."""
        return self.first

    def settings(self) -> dict[str, Any]:
        """Both numbers."""
        return {"first": self.first, "beside": self.beside}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Split:
        """From both numbers."""
        return cls(settings.get("first", 0), settings.get("beside", 0))

    def add_to(self, network: Any, width: int) -> None:
        """Nothing is copied there."""
        network.add_split(self.first, self.beside)


@dataclass(frozen=True, eq=False)
class Forecast(Layer):
    """Quantiles of each of N horizons from a state h [P] and, of each horizon, numbers x_n = [known_n, season_n].

        u_n = tanh(A h + e_n + B x_n)
        trust_n = softmax(W u_n + w_n)          how much of each season to take
        v_n = C u_n + c_n
        middle = trust_n . season_n + D_n . h + v_n[middle]
        the others: outward from there, by k softplus(v_n) from one to the next, so that they never cross

    Shapes: A [U, P], B [U, F + S], e [N, U], W [S, U], w [N, S], C [Q, U], c [N, Q], D [N, P], k [N, Q]; x_n has F
    numbers that are known of that time, then the values of S seasons. The output is [N * Q], horizon after horizon.

    Args:
        levels: what share of the values is to lie below each quantile: rising, between 0 and 1. The one that is
            nearest to a half is the middle.

    Raises:
        ShapeError, DtypeError: the arrays do not fit one another, or k has a negative number.

    >>> import numpy as np
    >>> from recurra.runtime import Forecast, Model, Split
    >>> sizes = {"A": (4, 3), "B": (4, 2 + 1), "e": (5, 4), "W": (1, 4), "w": (5, 1), "C": (3, 4), "c": (5, 3)}
    >>> arrays = {n: np.zeros(s, np.float32) for n, s in {**sizes, "D": (5, 3), "k": (5, 3)}.items()}
    >>> head = Forecast((0.1, 0.5, 0.9), **arrays)
    >>> model = Model([Split(3, head.beside), head])
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
    names: ClassVar[tuple[str, ...]] = ("A", "B", "e", "W", "w", "C", "c", "D", "k")

    def __post_init__(self) -> None:
        def check(name: str, *shape: int | str) -> tuple[int, ...]:
            array = getattr(self, name)
            check_layer_array(self.kind, name, array, shape)
            return tuple(array.shape)

        U, P = check("A", "U", "P")
        N, _ = check("e", "N", U)
        S, _ = check("W", "S", U)
        Q, _ = check("C", "Q", U)
        _, ahead = check("B", U, "F + S")
        for name, shape in {"w": (N, S), "c": (N, Q), "D": (N, P), "k": (N, Q)}.items():
            check(name, *shape)
        if ahead < S or N * ahead > MOST_BESIDE:
            raise ShapeError(
                f"a forecast layer: `B` takes {ahead} numbers of each of {N} horizons, expected at least {S}, one for "
                f"each season, and at most {MOST_BESIDE} in all"
            )
        if not (self.k >= 0).all():
            raise ShapeError("a forecast layer: `k` has a number below zero, expected none: quantiles would cross")
        _check_levels(self.levels, Q)

    @property
    def input(self) -> int:
        """P."""
        return int(self.A.shape[1])

    @property
    def output(self) -> int:
        """N * Q."""
        return self.horizon * len(self.C)

    @property
    def horizon(self) -> int:
        """N."""
        return len(self.e)

    @property
    def beside(self) -> int:
        """The numbers of all x_n."""
        return self.horizon * int(self.B.shape[1])

    @property
    def middle(self) -> int:
        """Which of the quantiles is nearest to a half."""
        return middle_of(self.levels)

    def settings(self) -> dict[str, Any]:
        """The levels."""
        return {"levels": [float(level) for level in self.levels]}

    def arrays(self) -> dict[str, Array]:
        """All nine."""
        return {name: getattr(self, name) for name in self.names}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Forecast:
        """From the levels and all nine arrays."""
        check_names(set(cls.names), arrays)
        levels = settings.get("levels")
        return cls(levels if isinstance(levels, list) else [], **arrays)

    def add_to(self, network: Any, width: int) -> None:
        """The arrays are copied there."""
        network.add_forecast(*self.arrays().values(), self.middle)


def middle_of(levels: Sequence[float]) -> int:
    """The index of the level nearest to a half.

    >>> middle_of([0.1, 0.5, 0.9])
    1
    """
    return min(range(len(levels)), key=lambda q: abs(levels[q] - 0.5))


def _check_levels(levels: Sequence[float], count: int) -> None:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1 for v in levels)
    if len(levels) != count or not numbers or any(a >= b for a, b in pairwise(levels)):
        raise ShapeError(
            f"a forecast layer: `levels` is {str(levels)[:80]}, expected {count} numbers between 0 and 1, rising"
        )
