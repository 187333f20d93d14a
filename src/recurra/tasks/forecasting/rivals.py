"""What a forecaster is held against where somebody asks, and in every comparison: models of statistics, fitted to each
series, and boosted trees on what the network sees. Both are other libraries'; here is what they are given, and how long
they may take."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.series import Series
from recurra.data.split import Split
from recurra.errors import CompareError, need
from recurra.tasks.baselines import Baseline
from recurra.tasks.forecasting.baselines import CHUNK, LinearAutoregression, filled

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

Floats = NDArray[np.float64]

SECONDS = 60.0  # that one of them may take to be fitted, and again to forecast
MOST_ROWS = 600  # of a series, its last ones, that a model of statistics is fitted to and goes on from
LONGEST_SEASON = 60  # that one is fitted with
LEAST_ROWS = 8
MOST_SAMPLES = 60_000  # pairs of an origin and a horizon that trees are fitted to
ROUNDS = 150
FEW_SAMPLES = 20_000


class Statistical(Baseline):
    """One model for each series, of the library `statsforecast`: chosen and fitted on the last rows of its training
    part, then taken along, as it is, to every origin."""

    kind = "statistical"
    packages: ClassVar[tuple[str, ...]] = ("statsforecast",)
    model: ClassVar[str]  # its class there
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, horizon: int, season: int) -> None:
        self.horizon, self.season, self.steps = horizon, season, MOST_ROWS
        self.models: dict[str, Any] = {}

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Fit.

        Raises:
            CompareError: it takes too long.
        """
        need(f"the rival {cls.name}", *cls.packages, extra="rivals")
        features: Any = bench.transform
        made = cls(features.horizon, next((s for s in features.seasons if 1 < s <= LONGEST_SEASON), 1))
        check = _limit(f"{cls.name}: fitting {len(bench.sequences)} series")
        for one, split in zip(bench.sequences, bench.splits, strict=True):
            made.models[one.name] = made._fitted(one.target[: split.train_end])
            check()
        return made

    def _fitted(self, values: Floats) -> Any:
        """The library's model, or None where there are too few values."""
        import statsforecast.models

        y = _last(values)
        if len(y) < max(LEAST_ROWS, 2 * self.season):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(statsforecast.models, self.model)(season_length=self.season, **self.options).fit(y)

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, N]; see `at`."""
        return self.at(sequence, np.arange(start, stop))

    def at(self, sequence: Any, rows: NDArray[np.int64]) -> Floats:
        """Forecasts [M, N] from some rows; of a series that is too short the last value again.

        Raises:
            CompareError: it takes too long.
        """
        found, model = np.zeros((len(rows), self.horizon)), self.models.get(sequence.name)
        check = _limit(f"{self.name}: {len(rows)} forecasts")
        for i, t in enumerate(rows):
            y = _last(sequence.target[: t + 1])
            if model is None or len(y) < LEAST_ROWS:
                found[i] = y[-1] if len(y) else 0.0
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[i] = model.forward(y, self.horizon)["mean"]
            check()
        return found


class ExponentialSmoothing(Statistical):
    """AutoETS: error, trend and season, chosen by AICc (Hyndman 2002)."""

    key, name, model, words = "ets", "AutoETS", "AutoETS", "exponential smoothing, chosen by AICc"


class Theta(Statistical):
    """AutoTheta (Assimakopoulos and Nikolopoulos 2000; Fiorucci 2016)."""

    key, name, model, words = "theta", "AutoTheta", "AutoTheta", "the Theta method"


class Arima(Statistical):
    """AutoARIMA, chosen step by step (Hyndman and Khandakar 2008)."""

    key, name, model, words = "arima", "AutoARIMA", "AutoARIMA", "seasonal ARIMA, chosen step by step"
    options: ClassVar[Mapping[str, Any]] = {"approximation": True, "max_p": 3, "max_q": 3, "max_P": 1, "max_Q": 1}


class BoostedTrees(LinearAutoregression):
    """Gradient boosting on what the linear baseline sees and the horizon: one model of scikit-learn for all horizons.

    It makes the absolute error small; validation chooses the rounds.
    """

    key, kind, words, name = "trees", "trees", "gradient boosting on a window", "boosted trees"
    packages = ("sklearn",)
    model: Any

    @classmethod
    def space(cls, windows: Sequence[int]) -> dict[str, tuple[Any, ...]]:
        """Nothing is tuned."""
        return {}

    def fit_to(self, series: Sequence[Series], splits: Sequence[Split]) -> Self:
        """As `fit`, of series and their splits."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        self._scale_past(series, splits)
        (x, y), (valid_x, valid_y) = (self._samples(series, splits, part) for part in ("train", "valid"))
        options = {"loss": "absolute_error", "learning_rate": 0.08, "early_stopping": False, "random_state": 0}
        with _threads(len(x)):
            self.model = HistGradientBoostingRegressor(max_iter=ROUNDS, **options).fit(x, y)
            errors = [float(np.abs(valid_y - said).mean()) for said in self.model.staged_predict(valid_x)]
            best = int(np.argmin(errors)) + 1
            if best < ROUNDS:
                self.model = HistGradientBoostingRegressor(max_iter=best, **options).fit(x, y)
        self.parameters = sum(p.get_n_leaf_nodes() for each in self.model._predictors for p in each)
        return self

    def _samples(self, series: Sequence[Series], splits: Sequence[Split], part: str) -> tuple[Floats, Floats]:
        """Pairs of an origin and a horizon, evenly spaced, whose value is known."""
        N = self.features.horizon
        ranges = [split.origins(part, N) for split in splits]
        every = max(1, -(-sum(stop - start for start, stop in ranges) * min(N, 8) // MOST_SAMPLES))
        step = max(1, N // 8)
        xs, ys, turn = [], [], 0
        for one, (start, stop) in zip(series, ranges, strict=True):
            for rows in _chunks(np.arange(start, stop, every)):
                y = self._targets(one, rows)
                for n, x in self._with_horizon(one, rows):
                    at = (np.arange(len(rows)) + turn + n) % step == 0  # other horizons at each origin
                    at &= ~np.isnan(y[:, n])
                    xs.append(x[at])
                    ys.append(y[at, n])
                turn += len(rows)
        return np.concatenate(xs), np.concatenate(ys)

    def _with_horizon(self, one: Series, rows: NDArray[np.int64]) -> Iterator[tuple[int, Floats]]:
        for n, x in enumerate(self._inputs(one, rows)):
            x[:, 0] = n  # in place of the constant
            yield n, x

    def predict(self, series: Series, start: int, stop: int) -> Floats:
        """[M, N]; see `at`."""
        return self.at(series, np.arange(start, stop))

    def at(self, series: Series, rows: NDArray[np.int64]) -> Floats:
        """Forecasts [M, N] from some rows, which rise.

        Raises:
            CompareError: it takes too long.
        """
        check, parts = _limit(f"{self.name}: {len(rows)} forecasts"), []
        for some in _chunks(rows, max(1, CHUNK // self.features.horizon)):
            x = np.concatenate([x for _, x in self._with_horizon(series, some)])
            with _threads(len(x)):
                scaled = self.model.predict(x).reshape(-1, len(some)).T
            places = [self.features.unscaled(series, int(t), z[None])[0] for t, z in zip(some, scaled, strict=True)]
            parts.append(np.stack(places))
            check()
        return np.concatenate(parts)

    def live(self, bench: Bench) -> Callable[[], Any]:
        """The trees alone, for all horizons at once."""
        one = bench.sequences[0]
        x = np.concatenate([x for _, x in self._with_horizon(one, np.array([len(one) - 1]))])
        return lambda: self.model.predict(x)


RIVALS: tuple[type[Baseline], ...] = (BoostedTrees, ExponentialSmoothing, Theta, Arima)


def chosen_rivals(wanted: bool | str | Sequence[str]) -> list[type[Baseline]]:
    """The rivals that are asked for: all, none, or some by their names.

    Raises:
        CompareError: there is none of that name.

    >>> [rival.key for rival in chosen_rivals("trees, theta")]
    ['trees', 'theta']
    """
    if isinstance(wanted, bool):
        return list(RIVALS) if wanted else []
    names = [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    known = {rival.key: rival for rival in RIVALS}
    if names == ["all"]:
        return list(RIVALS)
    odd = next((name for name in names if name not in known), None)
    if odd is not None:
        raise CompareError(f"rivals: got {odd!r}, expected some of {', '.join(known)}, or all")
    return [known[name] for name in names]


def _limit(what: str) -> Callable[[], None]:
    """What raises CompareError once it is called too late."""
    began = time.monotonic()

    def check() -> None:
        if time.monotonic() - began > SECONDS:
            raise CompareError(f"{what} would take more than {SECONDS:.0f} s")

    return check


def _last(values: Floats) -> Floats:
    """The last rows of a series as a model of statistics takes them: what is missing is the value before it."""
    y = filled(values)
    return np.ascontiguousarray(y[~np.isnan(y)][-MOST_ROWS:])


def _chunks(rows: NDArray[np.int64], size: int = CHUNK) -> Iterator[NDArray[np.int64]]:
    for i in range(0, len(rows), size):
        yield rows[i : i + size]


def _threads(samples: int) -> Any:
    """One thread of OpenMP where there is little to do: others would cost more than they bring."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1 if samples < FEW_SAMPLES else None, "openmp")
