"""`ReadsRows`: the rows of a live forecaster, read and put on the step of their series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.live import LiveFeatures
from recurra.data.forecasting.static import Cells, cell_of
from recurra.data.forecasting.step import TICKS
from recurra.errors import DataError
from recurra.tasks.live.base import Live, is_empty

MOST_GAP = 10_000  # rows in a row that are taken as missing; a longer silence needs a new start


@dataclass(frozen=True)
class Row:
    """A row that was read and can be taken."""

    group: str
    tick: int
    targets: list[float]
    past: list[float]
    ahead: list[float]
    static: Cells
    announces: bool


class ReadsRows(Live):
    """What knows the times of its series: where a row belongs, and how many were left out before it."""

    features: Features

    def place(self, row: Mapping[str, Any]) -> tuple[str, int]:
        """The series of a row, and its time as a whole number.

        Raises:
            DataError: one of them is missing, or the time is none.
        """
        c = self.features.columns
        name = "" if c.series is None else self._series_of(row, c.series)
        last = self.last(name)
        if c.time is None:
            return name, 0 if last is None else last + 1
        value = self._cell(row, c.time)
        if is_empty(value):
            raise DataError(f"the time {c.time!r} is missing, expected a time")
        try:
            tick = self.features.clock.read(value, last)
            self.features.clock.check(tick)
            return name, self._on_step(name, tick)
        except (ValueError, OverflowError) as error:
            raise DataError(f"the time {c.time!r}: {error}") from None

    def _on_step(self, name: str, tick: int) -> int:
        """A time, or its place on the step of its series where it is near to that: clocks are a little off."""
        step, last = self.features.step, self.last(name)
        if last is None:
            return step.anchor(tick)
        if tick == step.after(last):  # as mostly: the rest is for arrays
            return tick
        n, near = step.nearest(np.array([tick]), last)
        return int(step.add(last, n)[0]) if near[0] else tick

    def last(self, series: str = "") -> int | None:
        """The time of the last observation of a series, as a whole number; None before the first."""
        rows = self._rows(series)
        return None if rows is None else rows.tick

    def _rows(self, group: str) -> LiveFeatures | None:
        """What the first target's series of a group remembers; those of the others go with it."""
        one = self._series.get(self.named(group)[0])
        return None if one is None else one.rows

    def named(self, group: str) -> list[str]:
        """The names of the series of all targets in a group."""
        columns = self.features.columns
        return [columns.name(group, target) for target in columns.targets]

    def _read(self, row: Mapping[str, Any]) -> Row:
        """A row, its values checked; nothing is changed."""
        c = self.features.columns
        group, tick = self.place(row)
        targets = [self._number(row, n) for n in c.targets]
        past = [self._number(row, n) for n in c.past]
        ahead = [self._number(row, n) for n in c.ahead]
        last = self.last(group)
        silent = all(is_empty(row.get(n, "")) for n in (*c.targets, *c.past))
        known = c.time is not None and any(v == v for v in ahead)
        announces = silent and known and (last is None or tick > last)
        return Row(group, tick, targets, past, ahead, tuple(cell_of(row.get(n)) for n in c.static), announces)

    def _missing_before(self, row: Row) -> int:
        """How many rows were left out before this one."""
        last, f = self.last(row.group), self.features
        if last is None or row.tick == f.step.after(last):
            return 0
        if self._alone(row, last):
            return 0
        if row.tick <= last:
            what = "comes twice" if row.tick == last else f"comes after {f.clock.text(last)}"
            raise DataError(f"{self._when(row)} {what}, expected a later time: it is left out")
        n, fits = f.step.index(np.array([row.tick]), last)
        if not fits[0] and self._begins_anew(row, last):
            return self._missing_before(row)
        if not fits[0]:
            raise DataError(
                f"{self._when(row)} comes after {f.clock.text(last)}, expected a whole number of steps of {f.step} "
                "later: it is left out"
            )
        if n[0] > MOST_GAP:
            raise DataError(
                f"{self._when(row)} comes {n[0]} steps after {f.clock.text(last)}, expected at most {MOST_GAP}: "
                "correct the time, or start anew"
            )
        return int(n[0]) - 1

    def _alone(self, row: Row, last: int) -> bool:
        """Whether the only row so far is further away than any gap: one of the two times is wrong, and the series
        begins anew with this one, so that no single wrong time decides which others are taken."""
        f = self.features
        rows = self._rows(row.group)
        if rows is None or rows.count > 1:
            return False
        n, _ = f.step.index(np.array([max(row.tick, last)]), min(row.tick, last))
        if n[0] <= MOST_GAP:
            return False
        self.end(row.group)
        self.notes.append(
            f"{self._when(row)} is far from the first row, of {f.clock.text(last)}: the series begins anew"
        )
        return True

    def _begins_anew(self, row: Row, last: int) -> bool:
        """Whether the series' steps are from now on those of this row: where the one before was the first of all, which
        alone said when they begin, or where these are the training's and the others are not."""
        step, rows = self.features.step, self._rows(row.group)
        assert rows is not None
        if step.unit not in TICKS or (rows.count > 1 and not step.trained(row.tick) > step.trained(last)):
            return False
        n = max(1, round((row.tick - last) / step.count))
        for name in self.named(row.group):
            self._series[name].rows.move(row.tick - n * step.count)
        self.notes.append(f"{self._when(row)} is on another step of {step} than the rows before: it begins there anew")
        return True

    def _when(self, row: Row) -> str:
        text = self.features.clock.text(row.tick)
        return f"{text} of {row.group!r}" if row.group else text
