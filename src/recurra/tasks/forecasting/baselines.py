"""What a forecaster must beat: the same value again, and a linear model that sees what the network sees.

`predict(series, start, stop)` gives float64 [M, N] in the target's units, of the origins start to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.series import Series
from recurra.data.forecasting.step import DAY, HOUR, WEEK, Step
from recurra.data.split import Split
from recurra.errors import CompareError
from recurra.tasks.baselines import Baseline

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

Floats = NDArray[np.float64]

PENALTIES = (1e-1, 1e0, 1e1, 1e2, 1e3, 1e4)
MOST_ORIGINS = 20_000  # that the linear model is fitted to, evenly spaced where there are more
MOST_LAGS = 64
MOST_PAST = 256  # lags of past columns together
CHUNK = 2048
SEASONS_BACK = 8  # in search of a value that is there


class Naive(Baseline):
    """The value one season earlier, again; with a season of 1, the last value.

    Where that is missing, the season before it, and so on; where there is none, the last value that is known.

    >>> from recurra.data import as_table, series_of
    >>> one = series_of(as_table({"y": np.array([1.0, 2.0, np.nan, 4.0, 5.0])}), "y")[0]
    >>> Naive(3, 2, one.step).predict(one, 3, 5)  # after the rows 3 and 4
    array([[1., 4., 1.],
           [4., 5., 4.]])
    """

    key, kind, words = "last", "naive", "the last value again"

    def __init__(self, horizon: int, season: int, step: Step) -> None:
        self.horizon, self.season, self.name = horizon, season, season_name(step, season)
        self.steps = season

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """With a season of 1."""
        features = _features(bench)
        return cls(features.horizon, 1, features.step)

    @classmethod
    def each(cls, bench: Bench) -> list[Self]:
        """One for each season, the last value first."""
        features = _features(bench)
        return [cls(features.horizon, season, features.step) for season in features.seasons]

    def live(self, bench: Bench) -> Callable[[], Any]:
        """The season is remembered; what is left is to copy it."""
        return np.zeros(self.horizon, np.float32).copy

    def predict(self, series: Series, start: int, stop: int) -> Floats:
        """Forecasts [M, N] in the target's units, of the origins start to stop."""
        n = np.arange(1, self.horizon + 1)
        at = np.arange(start, stop)[:, None] + n - self.season * -(-n // self.season)
        y = series.target
        found: Floats = np.where(at >= 0, y[np.maximum(at, 0)], np.nan)
        for _ in range(SEASONS_BACK):
            if not np.isnan(found).any():
                break
            at = at - self.season
            found = np.where(np.isnan(found) & (at >= 0), y[np.maximum(at, 0)], found)
        last = filled(y[:stop])[start:, None]
        return np.where(np.isnan(found), last, found)


class Seasonal(Naive):
    """The value one season earlier, again, of the season that errs least in training."""

    key, words = "seasonal", "one season ago again, of the season that errs least in training"

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Try each season.

        Raises:
            CompareError: there is none.
        """
        tried = cls.each(bench)[1:]
        if not tried:
            raise CompareError("no season was found in the training part, so there is none to repeat")
        return min(tried, key=lambda naive: bench.error(naive, "train"))


def season_name(step: Step, season: int) -> str:
    """What people call the same value again.

    >>> season_name(Step(1800, "second"), 336), season_name(Step(1, "row"), 7)
    ('last week again', '7 rows before again')
    """
    if season == 1:
        return "last value again"
    seconds = season * step.count if step.unit == "second" else 0
    names = {HOUR: "last hour again", DAY: "yesterday again", WEEK: "last week again", 52 * WEEK: "last year again"}
    if seconds in names:
        return names[seconds]
    if (step.unit, season * step.count) in {("weekday", 5), ("weekday", 260), ("month", 12)}:
        return "last week again" if season * step.count == 5 else "last year again"
    return f"{season} {'rows' if step.unit == 'row' else 'steps'} before again"


class LinearAutoregression(Baseline):
    """A ridge regression for each horizon, on what the network sees, and on the last values besides.

    Its inputs are the encoder's at the origin, what is known of the horizon, the seasons' values of the horizon, and
    lags of the target and of the past columns. All penalties share the sums of products, of which there are as many as
    horizons; the one with the least error on the validation part is taken.

    Args:
        features: fitted.
        lags: of the target; None: the shortest season, 64 at most.
        penalties: to choose from.
    """

    key, kind, words = "linear", "linear", "ridge regression on a window"
    name = "linear autoregression"

    def __init__(self, features: Features, lags: int | None = None, penalties: Sequence[float] = PENALTIES) -> None:
        self.features, self.penalties = features, penalties
        shortest = min((s for s in features.seasons if s > 1), default=features.horizon)
        self.lags = self.steps = lags or int(np.clip(shortest, 8, MOST_LAGS))
        self.penalty = 0.0
        self.weights: Floats = np.zeros((0, 0))  # [N, inputs]
        self.past_mean: Floats = np.zeros(0)
        self.past_scale: Floats = np.ones(0)

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Fit to the training part; choose the penalty on the validation part, where `params` has none."""
        params = params or {}
        penalties = (params["alpha"],) if "alpha" in params else PENALTIES
        return cls(_features(bench), params.get("window"), penalties).fit_to(bench.sequences, bench.splits)

    @classmethod
    def space(cls, windows: Sequence[int]) -> dict[str, tuple[Any, ...]]:
        """The penalty, and the lags."""
        return {"alpha": (PENALTIES[0], 1e1, PENALTIES[-1]), "window": (windows[-1], *windows[:-1])}

    def live(self, bench: Bench) -> Callable[[], Any]:
        """One product for each horizon."""
        one = bench.sequences[0]
        inputs = list(self._inputs(one, np.array([len(one) - 1])))
        return lambda: [x @ w for x, w in zip(inputs, self.weights, strict=True)]

    def state_bytes(self, bench: Bench) -> int:
        """The lags."""
        return 4 * self.lags

    def fit_to(self, series: Sequence[Series], splits: Sequence[Split]) -> Self:
        """As `fit`, of series and their splits."""
        N = self.features.horizon
        self._scale_past(series, splits)
        grams: list[Floats] = []
        moments: list[Floats] = []
        for one, rows in self._origins(series, splits, "train"):
            y = self._targets(one, rows)
            for n, x in enumerate(self._inputs(one, rows)):
                there = ~np.isnan(y[:, n])
                x, target = x[there], y[there, n]
                if len(grams) <= n:
                    grams.append(np.zeros((x.shape[1], x.shape[1])))
                    moments.append(np.zeros(x.shape[1]))
                grams[n] += x.T @ x
                moments[n] += x.T @ target
        valid = [
            (self._targets(one, rows), list(self._inputs(one, rows)))
            for one, rows in self._origins(series, splits, "valid")
        ]
        best = np.inf
        for penalty in self.penalties:
            ridge = np.full(len(moments[0]), penalty)
            ridge[0] = 1e-6  # of the constant
            weights = np.stack([np.linalg.solve(grams[n] + np.diag(ridge), moments[n]) for n in range(N)])
            errors = [np.abs(y - np.stack([x[n] @ weights[n] for n in range(N)], 1)) for y, x in valid]
            error = float(np.nanmean(np.concatenate(errors))) if errors else 0.0
            if error < best:
                best, self.penalty, self.weights = error, penalty, weights
        self.parameters = int(self.weights.size)
        return self

    def _scale_past(self, series: Sequence[Series], splits: Sequence[Split]) -> None:
        past = np.concatenate([one.past[: split.train_end] for one, split in zip(series, splits, strict=True)])
        if past.shape[1]:
            self.past_mean = np.nan_to_num(np.nanmean(past, 0)) if len(past) else np.zeros(past.shape[1])
            spread = np.nan_to_num(np.nanstd(past, 0))
            self.past_scale = np.where(spread > 0, spread, 1.0)

    def predict(self, series: Series, start: int, stop: int) -> Floats:
        """Forecasts [M, N] in the target's units, of the origins start to stop."""
        out = np.empty((stop - start, self.features.horizon))
        for first in range(start, stop, CHUNK):
            rows = np.arange(first, min(first + CHUNK, stop))
            scaled = [x @ w for x, w in zip(self._inputs(series, rows), self.weights, strict=True)]
            out[rows - start] = self.features.unscaled(series, int(first), np.stack(scaled, 1))
        return out

    def _origins(
        self, series: Sequence[Series], splits: Sequence[Split], part: str
    ) -> Iterator[tuple[Series, NDArray[np.int64]]]:
        """Rows of a part to fit to, evenly spaced, in chunks."""
        ranges = [split.origins(part, self.features.horizon) for split in splits]
        every = max(1, -(-sum(stop - start for start, stop in ranges) // MOST_ORIGINS))
        for one, (start, stop) in zip(series, ranges, strict=True):
            rows = np.arange(start, stop, every)
            for i in range(0, len(rows), CHUNK):
                yield one, rows[i : i + CHUNK]

    def _targets(self, one: Series, rows: NDArray[np.int64]) -> Floats:
        first = int(rows[0])
        return self.features.targets(one, first, int(rows[-1]) + 1)[rows - first].astype(np.float64)

    def _inputs(self, one: Series, rows: NDArray[np.int64]) -> Iterator[Floats]:
        """For each horizon the inputs [M, inputs], the constant first."""
        features, first, stop = self.features, int(rows[0]), int(rows[-1]) + 1
        every = features.rows(one, first, stop)[rows - first].astype(np.float64)
        encoder, ahead = np.split(every, [features.input_size], 1)
        low = max(0, first - self.lags)
        parts = [np.ones((len(rows), 1)), encoder, features.lags(one, rows, self.lags).astype(np.float64)]
        if one.past.shape[1]:
            past = (one.past[low:stop] - self.past_mean) / self.past_scale
            lags = max(1, min(self.lags, MOST_PAST // one.past.shape[1]))
            parts += [_lagged(column, rows - low, lags) for column in past.T]
        shared = np.concatenate(parts, 1)
        ahead = ahead.reshape(len(rows), features.horizon, -1)
        for n in range(features.horizon):
            yield np.concatenate([shared, ahead[:, n]], 1)


def _features(bench: Bench) -> Features:
    features = bench.transform
    assert isinstance(features, Features)
    return features


def _lagged(values: Floats, rows: NDArray[np.int64], lags: int) -> Floats:
    """Of each row the values 0 to lags - 1 rows before; the last known where one is missing, 0 where there is none."""
    known = np.nan_to_num(filled(values))
    return np.asarray(known[np.maximum(rows[:, None] - np.arange(lags), 0)])


def filled(values: Floats) -> Floats:
    """Missing values as the last one before them; NaN where there is none."""
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return np.asarray(values[last])


def quantile_offsets(errors: Floats, levels: Sequence[float]) -> Floats:
    """What to add to a forecast for each quantile [N, Q], from its errors y - f [M, N] on the validation part.

    >>> quantile_offsets(np.array([[-1.0], [0.0], [1.0], [np.nan]]), [0.25, 0.5, 0.75])
    array([[-0.5,  0. ,  0.5]])
    """
    known = np.where(np.isnan(errors).all(0), 0.0, errors)
    offsets: Any = np.nanquantile(known, levels, axis=0).T
    return np.ascontiguousarray(offsets)
