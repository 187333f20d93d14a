"""`Forecasts`: what a forecaster would have said at origins of the past, beside what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.series import Series
from recurra.errors import DataError, SettingError
from recurra.runtime.ops.forecast import middle_of
from recurra.tasks.backtest import MOST_FOLDS, Backtest
from recurra.tasks.base import Floats


@dataclass(frozen=True, kw_only=True)
class Forecasts(Backtest):
    """Forecasts at rolling origins: M of them, N horizons, Q quantiles; answers are [M, N, Q], truth is [M, N].

    Attributes:
        levels: of the quantiles.
        origin: of each forecast [M] the time of its last row.
    """

    levels: tuple[float, ...]
    origin: NDArray[Any]

    @property
    def quantiles(self) -> Floats:
        """[M, N, Q]."""
        return self.answers

    @property
    def residuals(self) -> Floats:
        """The truth less the middle quantile [M, N]."""
        found: Floats = self.truth - self.quantiles[..., middle_of(self.levels)]
        return found

    def mae(self) -> Floats:
        """The mean absolute error at each horizon [N]."""
        return _means(np.abs(self.residuals))

    def coverage(self) -> Floats:
        """The share of the truth between the outer quantiles, of each horizon [N]."""
        return _means(self.inside())

    def inside(self) -> Floats:
        """1 where the truth is between the outer quantiles, 0 where not [M, N]."""
        inside = (self.truth >= self.quantiles[..., 0]) & (self.truth <= self.quantiles[..., -1])
        return np.where(np.isnan(self.truth), np.nan, inside)

    def measured(self, fold: int) -> dict[str, Any]:
        """MAE and the coverage of the outer quantiles in a fold."""
        one = replace(self, **{n: getattr(self, n)[self.fold == fold] for n in ("truth", "answers")})
        numbers = (np.abs(one.residuals), one.inside())
        return {"name": "model", **{k: float(np.nanmean(v)) for k, v in zip(("mae", "coverage"), numbers, strict=True)}}

    def to_dict(self) -> dict[str, NDArray[Any]]:
        """As the columns of a table, one row for each forecast and horizon."""
        M, N, _ = self.quantiles.shape
        named = {"fold": self.fold, "series": self.series, "origin": self.origin}
        columns = {name: np.repeat(values, N) for name, values in named.items()}
        columns |= {"horizon": np.tile(np.arange(1, N + 1), M), "truth": self.truth.reshape(-1)}
        return columns | {f"q{q:g}": self.quantiles[..., k].reshape(-1) for k, q in enumerate(self.levels)}


def backtest(
    series: Sequence[Series],
    fitted: Callable[[int, Sequence[Series]], Any],
    *,
    folds: int,
    horizon: int,
    levels: tuple[float, ...],
) -> Forecasts:
    """Forecast the last `folds` times `horizon` rows of each series, each fold from the rows before it.

    Args:
        series: whole.
        fitted: of a fold and the series up to its beginning, what predicts [M, N, Q].
        folds: how many; a fold's rows follow those of the fold before.
        horizon: N.
        levels: of the quantiles.

    Raises:
        SettingError: folds is out of range.
        DataError: no series is long enough.
    """
    if not isinstance(folds, (int, np.integer)) or isinstance(folds, bool) or not 1 <= folds <= MOST_FOLDS:
        raise SettingError(f"backtest: folds is {folds!r}, expected a whole number from 1 to {MOST_FOLDS}")
    parts: list[tuple[int, str, Any, Floats, Floats]] = []
    for fold in range(folds):
        cuts = [(one, one.observed - (folds - fold) * horizon) for one in series]
        kept = [(one, end) for one, end in cuts if end > 0]
        if not kept:
            raise DataError(
                f"backtest: no series has more than {folds * horizon} rows, expected some before the first of {folds} "
                f"folds of {horizon}: take fewer folds"
            )
        predictor = fitted(fold, [upto(one, end) for one, end in kept])
        for one, end in kept:
            said = predictor.predict(upto(one, end, ahead=horizon), end - 1, end)[0][:horizon]
            parts.append((fold, one.name, one.time[end - 1], one.target[end : end + horizon], said))
    numbers, names, origins, truth, quantiles = zip(*parts, strict=True)
    found = Forecasts(
        tables=(),
        fold=np.array(numbers, np.int64),
        series=np.array(names, object),
        truth=np.stack(truth),
        answers=np.stack(quantiles),
        levels=levels,
        origin=np.array(origins),
    )
    return replace(found, tables=[[found.measured(fold)] for fold in np.unique(found.fold).tolist()])


def upto(one: Series, end: int, ahead: int = 0) -> Series:
    """A series as it was after `end` rows: of the rows ahead only what is known of them is there."""
    stop = min(len(one), end + ahead)
    target, past = one.target[:stop].copy(), one.past[:stop].copy()
    target[end:], past[end:] = np.nan, np.nan
    ticks, known = one.ticks[:stop], one.ahead[:stop]
    return replace(one, ticks=ticks, target=target, past=past, ahead=known, observed=min(one.observed, end))


def _means(values: Floats) -> Floats:
    """The mean of what is there in each column; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(0)
    return np.where(count, np.where(there, values, 0.0).sum(0) / np.maximum(count, 1), np.nan)
