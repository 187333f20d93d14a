"""`IrregularRows`: what is known at each step of a history, as a row; nothing is binned, nothing looks ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.scale import Scaler
from recurra.data.sequences import Steps
from recurra.data.split import Split
from recurra.data.transform import MOST_COLUMNS, Transform
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]

SINCE = 2  # the field that says how long ago: 1 where never
OUTSIDE = 0.005  # the share of values at either end that scales are not learned from
HALF = 8.0  # measurements of a variable that count as a half of many
FAR = 4.0  # scaled values are squeezed beyond: z / (1 + |z| / FAR) is at most FAR


@dataclass(frozen=True)
class IrregularRows(Transform):
    """Of each of V variables at each step: its last value, scaled and squeezed; whether it was measured now; how long
    ago it was, as d / (d + pace); and, with `summaries`, the mean, the least and the greatest value so far, and how
    often it was measured, as n / (n + 8). And the time since the step before and since the first, as numbers of that
    kind. A variable that was not measured yet has 0 everywhere, and 1 for how long ago.

    Only sums, products, quotients and comparisons are used, in the order of time: whole or live, the bits are the same.

    Attributes:
        variables: their names.
        scalers: one for each.
        pace: the usual time from one measurement of a variable to the next; half of a number for time.
        span: the usual length of a history; half of a number for time.
        target: the scaler of the target; None where it is no quantity.
        summaries: whether rows have what was so far.
        forgotten: the share of variables that training takes for never measured, others in each epoch.

    >>> steps = Steps("", np.array([[0.0, 1.0], [2.0, np.nan], [3.0, 3.0]]), np.array(1.0), "", 0.0)
    >>> learned = IrregularRows.fit([steps], [Split(3, 3, 3)], ["time", "x"], summaries=False)
    >>> learned.pace, learned.rows(steps, 0, 3)[:, 1:3].round(1).astype(float).tolist()[0]
    (3.0, [1.0, 0.0])
    """

    variables: tuple[str, ...]
    scalers: tuple[Scaler, ...]
    pace: float
    span: float
    target: Scaler | None = None
    summaries: bool = True
    forgotten: float = 0.0

    @classmethod
    def fit(
        cls,
        sequences: Sequence[Steps],
        splits: Sequence[Split],
        columns: Sequence[str],
        quantity: bool = False,
        summaries: bool = True,
        forgotten: float = 0.0,
    ) -> Self:
        """Learn from the training part; a variable without a value there has rows of zeros."""
        train = [s.x[: split.train_end] for s, split in zip(sequences, splits, strict=True) if split.train_end]
        rows = np.concatenate(train)
        scalers, gaps = [], []
        for k in range(1, rows.shape[1]):
            values = rows[np.isfinite(rows[:, k]), k]
            if len(values):
                low, high = np.quantile(values, [OUTSIDE, 1 - OUTSIDE])
                values = np.clip(values, low, high)
            scalers.append(Scaler.fit([values]))
            gaps += [np.diff(x[np.isfinite(x[:, k]), 0]) for x in train]
        between = np.concatenate(gaps)
        between = between[between > 0]
        lengths = np.array([x[-1, 0] - x[0, 0] for x in train])
        pace = float(np.median(between)) if len(between) else 1.0
        span = float(np.median(lengths)) if np.median(lengths) > 0 else pace
        target = None
        if quantity:
            pairs = zip(sequences, splits, strict=True)
            target = Scaler.fit([np.ravel(s.target) for s, split in pairs if split.train_end])
        return cls(tuple(columns[1:]), tuple(scalers), pace, span, target, summaries, forgotten)

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The time and the variables."""
        return ("time", *self.variables)

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """7 V + 2, or 3 V + 2 without summaries."""
        return self.fields[0] * len(self.variables) + 2

    @property
    def row_size(self) -> int:  # type: ignore[override]
        """As many."""
        return self.input_size

    @property
    def fields(self) -> tuple[int, int]:  # type: ignore[override]
        """Value, whether it is of now, how long ago it was, and the summaries: V numbers each."""
        return 7 if self.summaries else 3, len(self.variables)

    @property
    def quantities(self) -> int:
        """V: the values themselves."""
        return len(self.variables)

    def rows(self, sequence: Steps, start: int, stop: int) -> F32:
        """See `Transform`."""
        return self.many(sequence.x, self.nothing())[0][start:stop] if stop > start else self.none

    @cached_property
    def none(self) -> F32:
        """No rows."""
        return np.zeros((0, self.row_size), np.float32)

    @cached_property
    def _scales(self) -> tuple[Floats, Floats]:
        return np.array([s.center for s in self.scalers]), np.array([s.scale for s in self.scalers])

    def nothing(self) -> dict[str, Floats]:
        """What is remembered before the first step."""
        V = len(self.variables)
        return {
            "last": np.zeros(V),
            "seen": np.full(V, -np.inf),
            "count": np.zeros(V),
            "sum": np.zeros(V),
            "least": np.full(V, np.inf),
            "most": np.full(V, -np.inf),
            "clock": np.array([np.nan, np.nan]),  # the time of the first step, and of the one before
        }

    def many(self, x: Floats, memory: Mapping[str, Floats]) -> tuple[F32, dict[str, Floats]]:
        """The rows [T, R] of steps x [T, 1 + V] after what is remembered, and what is remembered then."""
        centers, scales = self._scales
        t, z = x[:, 0], (x[:, 1:] - centers) / scales
        z = z / (1.0 + np.abs(z) / FAR)
        there = z == z
        T = len(x)

        def back(first: Floats, values: Floats) -> Floats:
            """The last of some values [T, V] that is there, at each step."""
            at = np.maximum.accumulate(np.where(there, np.arange(1, T + 1)[:, None], 0), 0)
            return np.take_along_axis(np.concatenate([first[None], values]), at, 0)

        last = back(memory["last"], z)
        seen = back(memory["seen"], np.broadcast_to(t[:, None], z.shape))
        known = seen > -np.inf
        with np.errstate(invalid="ignore"):
            late = t[:, None] - seen
            since = np.where(known, late / (late + self.pace), 1.0)
        begin = t[0] if math.isnan(memory["clock"][0]) else memory["clock"][0]
        before = np.concatenate([[t[0] if math.isnan(memory["clock"][1]) else memory["clock"][1]], t[:-1]])
        gap, age = t - before, t - begin
        parts = [last, there.astype(np.float64), since]
        filled = np.where(there, z, 0.0)
        count = np.add.accumulate(np.concatenate([memory["count"][None], there.astype(np.float64)]), 0)[1:]
        total = np.add.accumulate(np.concatenate([memory["sum"][None], filled]), 0)[1:]
        least = np.minimum.accumulate(np.concatenate([memory["least"][None], np.where(there, z, np.inf)]), 0)[1:]
        most = np.maximum.accumulate(np.concatenate([memory["most"][None], np.where(there, z, -np.inf)]), 0)[1:]
        if self.summaries:
            parts += [total / np.maximum(count, 1.0), np.where(known, least, 0.0), np.where(known, most, 0.0)]
            parts += [count / (count + HALF)]
        parts += [(gap / (gap + self.pace))[:, None], (age / (age + self.span))[:, None]]
        ends = {"last": last[-1], "seen": seen[-1], "count": count[-1], "sum": total[-1]}
        ends |= {"least": least[-1], "most": most[-1], "clock": np.array([begin, t[-1]])}
        return np.concatenate(parts, 1).astype(np.float32), ends

    def varied(self, sequence: Steps, stop: int, rng: np.random.Generator) -> tuple[F32, F32] | None:
        """As if some variables had never been measured."""
        lost = np.flatnonzero(rng.random(len(self.variables)) < self.forgotten)
        if not len(lost):
            return None
        rows = self.rows(sequence, 0, stop)
        for block in range(self.fields[0]):
            rows[:, block * len(self.variables) + lost] = 1.0 if block == SINCE else 0.0
        return rows, self.targets(sequence, 0 if sequence.target.ndim else stop - 1, stop)

    def without(self, row: F32) -> F32:
        """The row [R], and after it a row for each variable as if it had never been measured: [1 + V, R]."""
        V = len(self.variables)
        found: F32 = np.tile(row, (1 + V, 1))
        k = np.arange(V)
        for block in range(self.fields[0]):
            found[1 + k, block * V + k] = 1.0 if block == SINCE else 0.0
        return found

    def targets(self, sequence: Steps, start: int, stop: int) -> F32:
        """See `Transform`; the target of a whole sequence is that of its last step."""
        y = sequence.target
        if y.ndim == 0:
            y = np.concatenate([np.full(len(sequence) - 1, np.nan), y[None]])
        return self.target.many(y[start:stop]) if self.target else y[start:stop].astype(np.float32)

    def live(self, name: str = "") -> _LiveRows:
        """See `Transform`."""
        return _LiveRows(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {
            "input": "irregular",
            "variables": list(self.variables),
            "scalers": [s.to_dict() for s in self.scalers],
            "pace": self.pace,
            "span": self.span,
            "target": self.target and self.target.to_dict(),
            "summaries": self.summaries,
            "forgotten": self.forgotten,
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            variables = tuple(str(name) for name in described["variables"])
            scalers = tuple(Scaler.from_dict(s) for s in described["scalers"])
            pace, span = float(described["pace"]), float(described["span"])
            target = described["target"] and Scaler.from_dict(described["target"])
            summaries, forgotten = bool(described["summaries"]), float(described.get("forgotten", 0.0))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the model's transform is unreadable ({error}): save the model again") from error
        if not 0 < len(variables) == len(scalers) <= MOST_COLUMNS or not all(0 < v < math.inf for v in (pace, span)):
            raise DataError("the model's transform contradicts itself: save the model again")
        return cls(variables, scalers, pace, span, target, summaries, forgotten)


class _LiveRows:
    """One step at a time."""

    def __init__(self, transform: IrregularRows) -> None:
        self.transform, self.memory = transform, transform.nothing()

    def push(self, x: Any) -> F32:
        """The row [R] of a step [1 + V]."""
        rows, self.memory = self.transform.many(np.asarray(x, np.float64)[None], self.memory)
        row: F32 = rows[0]
        return row

    def state(self) -> dict[str, NDArray[Any]]:
        """What is remembered of each variable."""
        return {name: array.copy() for name, array in self.memory.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from it."""
        if {n: a.shape for n, a in state.items()} != {n: a.shape for n, a in self.memory.items()}:
            raise DataError("the snapshot is of other variables")
        self.memory = {name: array.astype(np.float64) for name, array in state.items()}
