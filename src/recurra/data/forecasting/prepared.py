"""The arrays of a whole series, from which input rows are cut; `LiveFeatures` makes the same rows one by one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.anchor import HIGHEST, relative
from recurra.data.forecasting.calendar import Calendar
from recurra.data.forecasting.seasons import recalled, remembered
from recurra.data.forecasting.series import Series
from recurra.data.forecasting.step import Step
from recurra.errors import DataError

if TYPE_CHECKING:
    from recurra.data.forecasting.features import Features

F32 = NDArray[np.float32]


class Prepared:
    """One series, its rows ready to be cut out.

    Args:
        features: fitted.
        series: with the columns, the step and the clock of the features.
        spread: how far it moves at each row, where the anchor has followed it already.
    """

    def __init__(self, features: Features, series: Series, spread: F32 | None = None) -> None:
        f, N, T = features, features.horizon, len(series)
        self.features, self.length = f, T
        self.target = f.scaler(series.name).many(series.target)
        to_come = np.concatenate([self.target[1:], np.full(N, np.nan, np.float32)])
        self.windows = np.lib.stride_tricks.sliding_window_view(to_come, N)
        self.memories = [remembered(self.target, s) for s in f.seasons]
        ahead = np.full((T + N, len(f.ahead)), np.nan, np.float32)
        for i, scaler in enumerate(f.ahead):
            ahead[:T, i] = scaler.many(series.ahead[:, i])
        self.ahead_memories = [[remembered(a, s) for s in (1, f.ahead_season)] for a in ahead[:T].T]
        calendar = _calendar(f.calendar, series.step, int(series.ticks[0]), T + N)
        self.future = np.concatenate([ahead, np.isnan(ahead[:, list(f.ahead_flags)]), calendar], 1, dtype=np.float32)
        now = self.future[:T].copy()
        for i, (last, season) in enumerate(self.ahead_memories):
            now[:, i] = _first(now[:, i], season, last)
        past = [scaler.many(series.past[:, i]) for i, scaler in enumerate(f.past)]
        flags = [np.isnan(past[i]) for i in f.past_flags]
        values = [_first(remembered(p, 1)) for p in (self.target, *past)]
        self.level, self.spread = np.zeros(T, np.float32), np.ones(T, np.float32)
        self.last = remembered(self.target, 1)
        own, memories = values[0], list(zip(self.memories[1:], f.seasons[1:], strict=True))
        if f.anchor is not None:
            self.level = _first(self.last)
            self.spread = f.anchor.spreads_of([series.name], [self.target])[0] if spread is None else spread
            own = self._change(self.last, 1)
            memories.append((remembered(self.target, f.anchor.lag), f.anchor.lag))
        changes = [self._change(m, s) for m, s in memories]
        if f.anchor is not None:
            changes.append(np.clip(self.level, -HIGHEST, HIGHEST))
        of_now = [own, np.isnan(self.target), *changes, *values[1:], *flags]
        static = np.broadcast_to(f.static.encode(series.static), (T, f.static.size))
        self.encoder = np.concatenate([np.stack(of_now, 1, dtype=np.float32), static, now], 1, dtype=np.float32)

    def _change(self, memory: F32, season: int) -> F32:
        """The target less what was remembered of one season earlier, [T]; 0 where one is missing."""
        change = np.zeros(self.length, np.float32)
        change[season:] = _first(self.target[season:] - memory[: max(0, self.length - season)])
        return change if self.features.anchor is None else relative(change, np.float32(0), self.spread)

    def lags(self, rows: NDArray[np.int64], count: int) -> F32:
        """See `Features.lags`."""
        at = rows[:, None] + np.arange(1 - count, 1)
        level, spread = self.level[rows, None], self.spread[rows, None]
        found = np.where(at < 0, np.float32(np.nan), self.last[np.maximum(at, 0)])
        return relative(np.where(np.isnan(found), level, found), level, spread)

    def seen(self, start: int, stop: int) -> F32:
        """See `Features.seen`."""
        self._check(start, stop)
        return self.encoder[start:stop]

    def rows(self, start: int, stop: int) -> F32:
        """See `Features.rows`."""
        f, N, F = self.features, self.features.horizon, self.features.ahead_size
        self._check(start, stop)
        at = np.arange(start, stop)
        out = np.empty((len(at), f.row_size), np.float32)
        out[:, : f.input_size] = self.encoder[start:stop]
        beside = out[:, f.input_size :].reshape(len(at), N, F + f.season_size)
        beside[..., :F] = self.future[at[:, None] + np.arange(1, N + 1)]
        for i, memories in enumerate(self.ahead_memories):
            if np.isnan(beside[..., i]).any():
                last, earlier = (recalled(m, s, at, N) for m, s in zip(memories, (1, f.ahead_season), strict=True))
                beside[..., i] = _first(beside[..., i], earlier, last)
        level, spread = self.level[start:stop, None], self.spread[start:stop, None]
        before = np.broadcast_to(level, (len(at), N))
        for i, (season, memory) in enumerate(zip(f.seasons, self.memories, strict=True)):
            found = recalled(memory, season, at, N)
            before = np.where(np.isnan(found), before, found)
            beside[..., F + i] = before if f.anchor is None else relative(before, level, spread)
        if f.trend is not None:
            beside[..., -1] = f.trend.many(self.lags(at, f.trend.lags))
        return out

    def targets(self, start: int, stop: int) -> F32:
        """See `Features.targets`."""
        self._check(start, stop)
        found = self.windows[start:stop].copy()
        if self.features.anchor is None:
            return found
        return relative(found, self.level[start:stop, None], self.spread[start:stop, None])

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.length:
            raise DataError(f"rows {start} to {stop} were asked for, expected some of 0 to {self.length}")


@lru_cache(maxsize=2)
def _calendar(calendar: Calendar, step: Step, start: int, count: int) -> F32:
    """The calendar's numbers of times, which are mostly those of the series before."""
    return calendar.many(step.add(start, np.arange(count)))


def _first(*choices: F32) -> F32:
    """The first of the choices that is no NaN, else 0."""
    out = choices[0]
    for other in choices[1:]:
        out = np.where(np.isnan(out), other, out)
    return np.where(np.isnan(out), np.float32(0), out)
