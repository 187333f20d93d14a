"""`Tape`: what the bars so far say of an asset, of all bars or of one at a time, in the same bits.

Everything is a difference of running sums, or of logarithms, between a bar and one before it: one addition a bar, in
the order of time, whether the bars come as an array or one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

SPANS = (1, 5, 21, 63, 252)  # bars of a return
VARIANCES = (1, 5, 22, 66, 252)  # bars of a mean variance
LONGEST = 252
USUAL = 63  # bars of the variance in which returns are told
FLOOR = 1e-8  # of a variance: a hundredth of a per cent a bar
PARKINSON = 1 / (4 * math.log(2))
WEEK = 7
MONDAY = 3  # 1970 began on a Thursday
SUMS = ("log", "squares", "variances", "last", "gaps", "days")  # the running arrays


def each(function: Any, values: Iterable[float]) -> Floats:
    """A function of `math` of each number: one and many have the same bits on every machine."""
    return np.array([function(v) for v in values], np.float64)


@dataclass(frozen=True)
class Tape:
    """Arrays [n] of the last n of T bars.

    Attributes:
        log: of the close.
        squares: the sum of squared returns so far.
        variances: the sum of variances so far: of Parkinson where a bar has its range, else squared returns.
        last: the variance of the bar.
        gaps: the log of the open over the close before; 0 where there is no open.
        days: the date in days; -1 where times count.
        inputs: [n, E], what else is known.
        first: which bar is the first of these.
        ranges: whether bars have ranges.
    """

    log: Floats
    squares: Floats
    variances: Floats
    last: Floats
    gaps: Floats
    days: Floats
    inputs: Floats
    first: int = 0
    ranges: bool = False

    @classmethod
    def of(cls, prices: Floats, days: NDArray[np.int64] | None, inputs: Floats) -> Tape:
        """Of prices [T, 1] or [T, 4] and inputs [T, E]."""
        log = each(math.log, prices[:, -1].tolist())
        returns = np.concatenate([[0.0], log[1:] - log[:-1]])
        ranges, gaps = prices.shape[1] > 1, np.zeros(len(log))
        last = returns * returns
        if ranges:
            opened, high, low = (each(math.log, prices[:, k].tolist()) for k in range(3))
            last = (high - low) * (high - low) * PARKINSON
            last[0] = 0.0
            gaps[1:] = opened[1:] - log[:-1]
        dated = np.full(len(log), -1.0) if days is None else days.astype(np.float64)
        return cls(log, np.cumsum(returns * returns), np.cumsum(last), last, gaps, dated, inputs, 0, ranges)

    @property
    def stop(self) -> int:
        """T."""
        return self.first + len(self.log)

    def cut(self, stop: int) -> Tape:
        """Without the bars from `stop` on."""
        arrays = [getattr(self, name)[: stop - self.first] for name in (*SUMS, "inputs")]
        return _tape(arrays, self.first, self.ranges)

    def pushed(self, price: Floats, day: float, inputs: Floats) -> Tape:
        """With one more bar: prices [1 or 4] and inputs [E]; only the last bars that can matter are kept."""
        ranges = len(price) > 1
        log = [math.log(p) for p in price.tolist()]
        if not len(self.log):
            one = [np.array([v]) for v in (log[-1], 0.0, 0.0, 0.0, 0.0, day)]
            return _tape([*one, inputs[None]], 0, ranges)
        change = log[-1] - float(self.log[-1])
        last = (log[1] - log[2]) * (log[1] - log[2]) * PARKINSON if ranges else change * change
        gap = log[0] - float(self.log[-1]) if ranges else 0.0
        new = (log[-1], self.squares[-1] + change * change, self.variances[-1] + last, last, gap, day)
        keep = slice(max(0, len(self.log) - LONGEST), None)
        arrays = [np.append(getattr(self, n)[keep], v) for n, v in zip(SUMS, new, strict=True)]
        arrays.append(np.concatenate([self.inputs[keep], inputs[None]]))
        return _tape(arrays, self.first + keep.start, ranges)

    def state(self) -> dict[str, NDArray[Any]]:
        """As arrays."""
        return {n: getattr(self, n) for n in (*SUMS, "inputs")} | {"first": np.array([self.first])}

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[Any]], ranges: bool) -> Tape:
        """From `state`."""
        arrays = [np.array(state[n], np.float64) for n in (*SUMS, "inputs")]
        n = len(arrays[0])
        if any(len(a) != n for a in arrays) or n > LONGEST + 1 or int(state["first"][0]) < 0:
            raise ValueError("the bars of the snapshot contradict one another")
        return _tape(arrays, int(state["first"][0]), ranges)

    @staticmethod
    def names(ranges: bool, dated: bool, inputs: tuple[str, ...]) -> list[str]:
        """The K features of `rows`."""
        found = [f"return over {n}" for n in SPANS]
        found += [f"variance over {n}" for n in (VARIANCES if ranges else VARIANCES[1:])]
        found += ["fall", "size of the last return", *([] if not ranges else ["night", "variance of returns over 22"])]
        if dated:
            found += ["Monday", "Tuesday", "Wednesday", "Thursday", "days since the bar before"]
        return [*found, *inputs]

    def deviation(self, start: int, stop: int) -> Floats:
        """The usual size of a return, of the last 63 bars or those that there are, at the bars start .. stop - 1."""
        found: Floats = np.sqrt(np.maximum(self._mean(self.squares, np.arange(start, stop), USUAL), FLOOR))
        return found

    def rows(self, start: int, stop: int) -> Floats:
        """[stop - start, K]: what each of these bars says, of itself and those before it; NaN where too few are."""
        at = np.arange(start, stop)
        usual, here = self.deviation(start, stop), at - self.first
        found = []
        for n in SPANS:
            enough = at >= n
            change = self.log[here] - self.log[np.where(enough, here - n, here)]
            found.append(np.where(enough, change / usual / math.sqrt(n), np.nan))
        for n in VARIANCES if self.ranges else VARIANCES[1:]:
            mean = np.maximum(self._mean(self.variances, at, n), FLOOR)
            found.append(np.where(at >= 1, each(math.log, mean.tolist()), np.nan))
        change = self.log[here] - self.log[np.where(at >= 1, here - 1, here)]
        found += [np.minimum(change, 0.0) / usual, np.abs(change) / usual]
        if self.ranges:
            found.append(self.gaps[here] / usual)
            found.append(each(math.log, np.maximum(self._mean(self.squares, at, 22), FLOOR).tolist()))
        if len(self.days) and self.days[-1] >= 0:
            today = self.days[here]
            weekday = (today + MONDAY) % WEEK
            found += [(weekday == k).astype(np.float64) for k in range(4)]
            found.append(np.where(at >= 1, today - self.days[np.where(at >= 1, here - 1, here)], np.nan))
        return np.concatenate([np.stack(found, 1), self.inputs[here]], 1)

    def _mean(self, sums: Floats, at: NDArray[np.int64], n: int) -> Floats:
        """The mean of the last n bars' numbers, or of those that there are, from their running sum."""
        count = np.minimum(at, n)
        here = at - self.first
        found: Floats = (sums[here] - sums[here - count]) / np.maximum(count, 1)
        return found


def _tape(arrays: Sequence[Floats], first: int, ranges: bool) -> Tape:
    """Of the running arrays, and the inputs last."""
    log, squares, variances, last, gaps, days, inputs = arrays
    return Tape(log, squares, variances, last, gaps, days, inputs, first, ranges)
