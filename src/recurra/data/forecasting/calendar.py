"""`Calendar`: where in the day, the week and the year a time is, as sines and cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock
from recurra.data.forecasting.step import DAY, MINUTE, TICKS, WEEK, Step

CYCLES = {"day": (1440, 2), "week": (7, 3), "year": (366, 2), "months": (12, 3)}  # positions, harmonics
_SECONDS = {"day": DAY, "week": WEEK, "year": 365 * DAY, "months": 365 * DAY}
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@lru_cache
def _table(cycle: str) -> NDArray[np.float32]:
    """The numbers of each position of a cycle. A table, so that one time and many have the same bits."""
    positions, harmonics = CYCLES[cycle]
    angles = [[2 * math.pi * k * p / positions for k in range(1, harmonics + 1)] for p in range(positions)]
    numbers = [[f(a) for a in row for f in (math.sin, math.cos)] for row in angles]
    return np.array(numbers, np.float32)


@dataclass(frozen=True)
class Calendar:
    """The numbers of each time: for the minute of the day two harmonics, for the day of the week three (which tell all
    seven days apart), for the day of the year two, or for steps of months the month three.

    Attributes:
        clock: how times are meant.
        cycles: which of "day", "week", "year" and "months" there are.

    >>> Calendar(Clock(), ("week",)).size
    6
    """

    clock: Clock
    cycles: tuple[str, ...]

    @classmethod
    def for_rows(cls, clock: Clock, step: Step, rows: int) -> Calendar:
        """The cycles that are longer than a step and that so many rows of training have seen at least twice."""
        if step.unit == "row":
            return cls(clock, ())
        length: float = step.count * (31 * DAY if step.unit == "month" else 1 / TICKS.get(step.unit, 1))
        length = DAY if step.unit == "weekday" else length / (len(step.days) or 1)
        year = "months" if step.unit == "month" and not step.days else "year"
        # Steps of months may be up to a year; then there is nothing left to tell.
        wanted = [c for c in ("day", "week", year) if length < _SECONDS[c]]
        passed = rows * (length if step.unit != "weekday" else 7 * DAY // 5)
        return cls(clock, tuple(c for c in wanted if passed >= 2 * _SECONDS[c]))

    @cached_property
    def size(self) -> int:
        """How many numbers a time has."""
        return sum(2 * CYCLES[c][1] for c in self.cycles)

    def many(self, ticks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Times [T] in, [T, size] out."""
        wall = self.clock.wall(ticks) if self.cycles else ticks
        return np.concatenate(
            [np.empty((len(ticks), 0), np.float32), *(_table(c)[_places(c, wall)] for c in self.cycles)], 1
        )

    def one(self, tick: int) -> Sequence[NDArray[np.float32]]:
        """The same numbers of one time, cycle by cycle."""
        wall = self.clock.wall_one(tick) if self.cycles else tick
        return [_table(c)[_place(c, wall)] for c in self.cycles]


def _places(cycle: str, wall: NDArray[np.int64]) -> NDArray[np.int64]:
    if cycle == "day":
        return wall % DAY // MINUTE
    if cycle == "week":
        return (wall // DAY + 3) % 7  # 1970 began on a Thursday, and Monday is 0
    days = (wall // DAY).astype("datetime64[D]")
    if cycle == "months":
        return days.astype("datetime64[M]").astype(np.int64) % 12
    return np.asarray((days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64))


def _place(cycle: str, wall: int) -> int:
    if cycle == "day":
        return wall % DAY // MINUTE
    if cycle == "week":
        return (wall // DAY + 3) % 7
    day = date.fromordinal(_EPOCH_DAY + wall // DAY)
    return day.month - 1 if cycle == "months" else day.toordinal() - date(day.year, 1, 1).toordinal()
