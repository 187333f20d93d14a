"""`Anchor`: where a series is and how far it moves, as known at each row; forecasts are relative to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.ring import Ring
from recurra.data.scale import FARTHEST
from recurra.errors import DataError

F32 = NDArray[np.float32]
Floats = NDArray[np.float64]

FASTEST, SLOWEST = 100, 1000  # steps that a mean of changes remembers, at least and at most
LEAST = 1e-3  # a spread is at least so much of what it was in training
HELD_OUT = 0.2  # the last share of each series' training part, by which is decided whether it returns
FAR = 30.0  # a number that is relative to an anchor ends here, where it is only read
_FEW = 8  # series
MOST_LAG = 100_000
HIGHEST = np.float32(3.0)  # beyond so many deviations from the mean of training the level tells nothing more


@dataclass(frozen=True)
class Anchor:
    """How numbers are made relative to the last value, and to how far the series moved of late.

    At each row the level is the last scaled target that is known, and the spread is the mean distance of targets that
    are `lag` rows apart, with weights that fade over about `memory` rows; it begins with the mean over the training
    part. A series whose level or whose movements leave the training range is then like one that does not.

    Attributes:
        lag: rows between the values that are compared: half a horizon.
        memory: rows over which weights fade.
        pooled: the mean distance in training of all series; `spreads` has that of each, by name.
    """

    lag: int
    memory: int
    pooled: float
    spreads: Mapping[str, float]

    @classmethod
    def fit(cls, parts: Mapping[str, F32], horizon: int, seasons: tuple[int, ...]) -> Anchor:
        """Learn from the scaled training part of each series, by its name."""
        lag = max(1, horizon // 2)
        memory = min(SLOWEST, max(FASTEST, 8 * horizon, 2 * max((s for s in seasons if 2 * s <= SLOWEST), default=1)))
        found = {name: _mean_change(part, lag) for name, part in parts.items()}
        known = [value for value in found.values() if value > 0]
        pooled = float(np.mean(known)) if known else 1.0
        return cls(lag, memory, pooled, {n: v for n, v in found.items() if v > 0} if len(parts) > 1 else {})

    def begin(self, name: str) -> float:
        """The spread of a series before its first row."""
        return self.spreads.get(name, self.pooled)

    def known(self, name: str) -> bool:
        """Whether a series was in training."""
        return not self.spreads or name in self.spreads

    def seen(self, name: str) -> int:
        """How many changes the first spread of a series stands for: none, where it was not in training."""
        return self.memory if self.known(name) else 0

    def follow(self, spread: float, change: float, seen: int) -> float:
        """The spread after a row whose target is so far from that of `lag` rows before, and so many changes."""
        return spread + (abs(change) - spread) / min(self.memory, seen + 1)

    def floor(self, name: str) -> np.float32:
        """The least spread of a series."""
        return np.float32(max(LEAST * self.begin(name) * self.known(name), 1.0 / FARTHEST))

    def spreads_of(self, names: Sequence[str], targets: Sequence[F32]) -> list[F32]:
        """The spread at each row [T] of some series, by their names and scaled targets [T].

        Few are followed one after the other, many side by side; the numbers are the same.
        """
        changes = [self._changes(target) for target in targets]
        follow = self._side_by_side if len(names) > _FEW else self._one_by_one
        found = follow(names, changes)
        return [np.maximum(s.astype(np.float32), self.floor(name)) for name, s in zip(names, found, strict=True)]

    def _changes(self, target: F32) -> Floats:
        """Each target less that of `lag` rows before; NaN where one is missing."""
        changes = np.full(len(target), np.nan)
        before = _remembered_lag(target, self.lag)[: max(0, len(target) - self.lag)]
        changes[self.lag :] = target[self.lag :].astype(np.float64) - before.astype(np.float64)
        return changes

    def _one_by_one(self, names: Sequence[str], changes: Sequence[Floats]) -> list[Floats]:
        all_found = []
        for name, some in zip(names, changes, strict=True):
            spread, seen, found = self.begin(name), self.seen(name), list[float]()
            for change in some.tolist():
                if change == change:
                    spread = self.follow(spread, change, seen)
                    seen += 1
                found.append(spread)
            all_found.append(np.array(found))
        return all_found

    def _side_by_side(self, names: Sequence[str], changes: Sequence[Floats]) -> list[Floats]:
        """In the arithmetic of `follow`, a row of all series at a time."""
        longest = max(map(len, changes))
        far = np.full((longest, len(names)), np.nan)
        for b, some in enumerate(changes):
            far[: len(some), b] = some
        np.abs(far, out=far)
        there = far == far
        spread = np.array([self.begin(name) for name in names])
        seen = there.cumsum(0) + np.array([self.seen(name) for name in names])
        memory = np.minimum(self.memory, seen).astype(np.float64)  # of those before the row, and one more
        for t in range(longest):
            far[t] -= spread
            far[t] /= memory[t]
            np.add(spread, far[t], out=spread, where=there[t])
            far[t] = spread
        return [far[: len(some), b] for b, some in enumerate(changes)]

    def live(self, name: str) -> LiveAnchor:
        """The same, one row at a time."""
        return LiveAnchor(self, name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to the last bit."""
        return {"lag": self.lag, "memory": self.memory, "pooled": self.pooled, "spreads": dict(self.spreads)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Anchor:
        """From `to_dict`.

        Raises:
            DataError: a number is out of range.
        """
        lag, memory, pooled = described["lag"], described["memory"], float(described["pooled"])
        spreads = {str(name): float(value) for name, value in described["spreads"].items()}
        whole = all(type(n) is int and 1 <= n <= MOST_LAG for n in (lag, memory))
        if not whole or not all(0 < value < np.inf for value in (pooled, *spreads.values())):
            raise DataError("the anchor of the model has numbers out of range: save the model again")
        return cls(lag, memory, pooled, spreads)


class LiveAnchor:
    """Level and spread after each row of one series, in the bits of `Anchor.many`."""

    def __init__(self, anchor: Anchor, name: str) -> None:
        self.anchor, self.floor = anchor, anchor.floor(name)
        self.ring = Ring(anchor.lag, 1)
        self.numbers = np.array([0.0, anchor.begin(name), anchor.seen(name)])  # level, spread, changes

    def push(self, t: int, z: np.float32) -> None:
        """Take the scaled target of row t; NaN is missing."""
        if z != z:
            return
        change = float(z) - float(self.ring.at(t))
        if change == change:
            self.numbers[1] = self.anchor.follow(float(self.numbers[1]), change, int(self.numbers[2]))
            self.numbers[2] += 1
        self.numbers[0] = z
        self.ring.put(t, z)

    @property
    def level(self) -> np.float32:
        """Of the last row."""
        return np.float32(self.numbers[0])

    @property
    def spread(self) -> np.float32:
        """Of the last row."""
        return max(np.float32(self.numbers[1]), self.floor)


def relative(values: F32, level: F32 | np.float32, spread: F32 | np.float32) -> F32:
    """Scaled values as the network reads them."""
    found: F32 = np.clip((values - level) / spread, np.float32(-FAR), np.float32(FAR))
    return found


def _remembered_lag(target: F32, lag: int) -> F32:
    from recurra.data.forecasting.seasons import remembered

    return remembered(target, lag)


def returns(parts: Mapping[str, F32], horizon: int) -> bool:
    """Whether series come back to their mean: in the last part of each, the mean of what was before errs less than the
    last value, at the first, the middle and the last horizon together."""
    of_mean = of_last = 0.0
    for part in parts.values():
        cut = int(len(part) * (1 - HELD_OUT))
        early, last = part[:cut], _remembered_lag(part, 1)
        if not np.isfinite(early).any() or cut >= len(part):
            continue
        mean = float(np.nanmean(early))
        for n in {1, (horizon + 1) // 2, horizon}:
            truth, before = part[cut:].astype(np.float64), last[max(0, cut - n) : len(part) - n].astype(np.float64)
            truth = truth[len(truth) - len(before) :]
            there = np.isfinite(truth) & np.isfinite(before)
            of_mean += float(np.abs(truth[there] - mean).sum())
            of_last += float(np.abs(truth[there] - before[there]).sum())
    return of_mean < of_last


def _mean_change(part: F32, lag: int) -> float:
    changes = np.abs(part[lag:].astype(np.float64) - part[:-lag].astype(np.float64))
    changes = changes[np.isfinite(changes)]
    return float(changes.mean()) if len(changes) else 0.0
