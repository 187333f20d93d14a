"""Seasons: which lengths a series repeats itself after, and the memory of what was one season ago."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.step import LONGEST_SEASON, Step

_BETTER = 0.95  # a season's error against that of lags beside it
_CLEAR = 0.8  # the same, of a lag that nothing suggests
_ABOUT = 0.1  # by which such errors are about as good
_ROUNDING = 1e-5  # of errors in series of about one scale, where nothing is left of them
_DEGREE = 3  # of a trend
_MOST_LAG = 2000  # rows, where the step suggests no season
_MOST_ROWS = 50_000  # rows of each series that are looked at

Floats = NDArray[np.float64]


def find_seasons(parts: Sequence[Floats], step: Step) -> tuple[int, ...]:
    """The seasons of series that are about one scale, shortest first, from their training rows alone.

    A day, a week or a year is a season where the naive forecast from that lag is at least 5 % better than from lags a
    quarter longer and shorter (which are whole days apart, say, once the day is a season: a week must beat other
    days). Rows without times, and those within seconds, are searched for the lag that repeats best, and then for a
    multiple of it.

    >>> t = np.arange(400)
    >>> find_seasons([np.sin(t / 12 * 2 * np.pi)], Step(1, "month"))
    (12,)
    """
    parts = [part[-_MOST_ROWS:] for part in parts]
    level = [_level(part) for part in parts]
    found: list[int] = []
    for season in step.seasons() if step.unit not in ("row", "millisecond", "microsecond") else _searched(level):
        base = found[-1] if found else 1
        if min(_score(parts, season, base), _score(level, season, base)) < _BETTER:
            found.append(season)
    return tuple(found)


def _level(part: Floats) -> Floats:
    """A series without its trend, a polynomial of the time that is too smooth for a season that comes three times."""
    there = np.isfinite(part)
    if there.sum() < 10 * _DEGREE:
        return part
    powers = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(part)), _DEGREE)
    fitted = np.linalg.lstsq(powers[there], part[there], rcond=None)[0]
    return np.asarray(part - powers @ fitted)


def _score(parts: Sequence[Floats], season: int, base: int) -> float:
    """The naive error at a lag over that at lags beside it; infinite where no series has two whole seasons."""
    beside = base * max(1, round(season / 4 / base))
    if season <= beside or max(map(len, parts)) < 2 * season + beside:
        return np.inf
    around = _error(parts, season - beside) + _error(parts, season + beside)
    found = 2 * _error(parts, season) / around if around > _ROUNDING else np.inf
    return float(found) if np.isfinite(found) else np.inf


def _error(parts: Sequence[Floats], lag: int) -> float:
    """The mean distance between values that are `lag` rows apart, less what a trend adds to it in each part."""
    apart = [part[lag:] - part[:-lag] for part in parts if len(part) > lag]
    known = [found for change in apart if len(found := change[np.isfinite(change)])]
    if not known:
        return np.nan
    return float(np.concatenate([np.abs(change - np.median(change)) for change in known]).mean())


def _searched(parts: Sequence[Floats]) -> list[int]:
    """The lag at which rows repeat best, or a divisor of it that repeats well, too; and a multiple."""
    most = min(_MOST_LAG, max(map(len, parts)) // 3)
    errors = np.array([np.nan] * 2 + [_error(parts, lag) for lag in range(2, most + 1)])
    lags = [lag for lag in range(4, most) if errors[lag] <= errors[lag - 1] and errors[lag] <= errors[lag + 1]]
    scores = {lag: _score(parts, lag, 1) for lag in lags}
    if min(scores.values(), default=np.inf) > _CLEAR:
        return []
    best = _shortest(scores)
    divisors = {d: _score(parts, d, 1) for d in range(4, best // 2 + 1) if best % d == 0}
    shorter = min(divisors, key=lambda d: divisors[d], default=0)
    season = shorter if shorter and divisors[shorter] <= _CLEAR else best
    most = min(LONGEST_SEASON, max(map(len, parts)) // 2)
    multiples = {lag: _score(parts, lag, season) for lag in range(2 * season, most + 1, season)}
    return [season, _shortest(multiples)] if multiples else [season]


def _shortest(scores: dict[int, float]) -> int:
    """The shortest lag that repeats about as well as the best one."""
    least = min(scores.values())
    return min(lag for lag, score in scores.items() if score <= least + _ABOUT)


def remembered(values: NDArray[np.float32], season: int) -> NDArray[np.float32]:
    """What a memory of one season holds at each row's place: the row's value, or where it is missing the one a season
    before, and so on; NaN where there is none. values [T] in, [T] out.

    >>> remembered(np.array([1, 2, np.nan, 4, 5], np.float32), 2)
    array([1., 2., 1., 4., 5.], dtype=float32)
    """
    if not np.isnan(values).any():
        return values
    T = len(values)
    padded = np.full(-(-T // season) * season, np.nan, np.float32)
    padded[:T] = values
    turns = padded.reshape(-1, season)
    last = np.maximum.accumulate(np.where(np.isnan(turns), -1, np.arange(len(turns))[:, None]), 0)
    filled = np.take_along_axis(turns, np.maximum(last, 0), 0)
    return np.asarray(filled.reshape(-1)[:T])


def recalled(memory: NDArray[np.float32], season: int, rows: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
    """For each origin row t and n = 1 .. horizon, what was remembered at the same time one season earlier, at row
    t + n - season * ceil(n / season): memory [T] and rows [R] in, [R, horizon] out; NaN before the first row."""
    n = np.arange(1, horizon + 1)
    at = rows[:, None] + (n - season * -(-n // season))
    return np.where(at < 0, np.float32(np.nan), memory[np.maximum(at, 0)])
