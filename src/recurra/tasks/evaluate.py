"""How well forecasts do on a part of the data, beside the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.series import Series
from recurra.data.forecasting.step import DAY
from recurra.data.split import Split
from recurra.runtime.model import Model
from recurra.runtime.ops.forecast import middle_of
from recurra.tasks.baselines import quantile_offsets
from recurra.tasks.metrics import Score, naive_scale

Floats = NDArray[np.float64]

CHUNK = 2048  # origins at once
MOST_ERRORS = 2_000  # origins of each series from which a baseline's interval is learned


class Forecasts(Protocol):
    """Something that forecasts: the values, or their quantiles."""

    name: str
    kind: str

    def forecast(self, series: Series, start: int, stop: int) -> Floats:
        """[M, N] or [M, N, Q], in the target's units, of the origins start to stop."""


class Network:
    """A model of the runtime, from the first row of each series on, as a live session would run it.

    Args:
        model: whose rows `features` makes.
        features: fitted.
        quantiles: Q.
        name: in tables.
    """

    kind = "model"

    def __init__(self, model: Model, features: Features, quantiles: int, name: str) -> None:
        self.model, self.features, self.quantiles, self.name = model, features, quantiles, name

    def forecast(self, series: Series, start: int, stop: int) -> Floats:
        """[M, N, Q]."""
        return np.concatenate([part for _, part in self.parts(series, start, stop)])

    def parts(self, series: Series, start: int, stop: int) -> Iterator[tuple[int, Floats]]:
        """The same in parts, each with its first origin; only a part is in memory at once."""
        session, shape = self.model.session(), (-1, self.features.horizon, self.quantiles)
        for first in range(0, stop, CHUNK):
            last = min(first + CHUNK, stop)
            out = session.run(self.features.rows(series, first, last))
            if last > start:
                kept = out[max(0, start - first) :].reshape(shape)
                yield max(start, first), self.features.unscale(series.name, kept)


@dataclass(frozen=True)
class Bench:
    """The data on which forecasters are compared, and how.

    Attributes:
        features: fitted; all forecasters have its horizon.
        series, splits: the data, and its parts.
        levels: of the quantiles.
    """

    features: Features
    series: Sequence[Series]
    splits: Sequence[Split]
    levels: Sequence[float]

    @property
    def groups(self) -> dict[str, int]:
        """By what errors are told apart: the hour and the weekday of the target, where steps are short enough."""
        step = self.features.step
        seconds = {"second": step.count, "weekday": DAY}.get(step.unit, 0)
        hours = {"hour": 24} if 0 < seconds < DAY else {}
        return hours | ({"weekday": 7} if 0 < seconds <= DAY else {})

    def pieces(self, part: str) -> list[tuple[Series, int, int]]:
        """The origins of a part, of each series that has some."""
        N = self.features.horizon
        ranges = [(one, *split.origins(part, N)) for one, split in zip(self.series, self.splits, strict=True)]
        return [piece for piece in ranges if piece[2] > piece[1]]

    def score(self, forecaster: Forecasts, part: str, offsets: Floats | None = None) -> Score:
        """The errors of a forecaster on a part; `offsets` [N, Q] makes quantiles of a forecast without."""
        score = Score(self.features.horizon, self.levels, self.groups)
        ends = {one.name: split.train_end for one, split in zip(self.series, self.splits, strict=True)}
        season = min((s for s in self.features.seasons if s > 1), default=1)
        for one, start, stop in self.pieces(part):
            scale = naive_scale(one.target[: ends[one.name]], season)
            for first, forecast in _parts(forecaster, one, start, stop):
                if forecast.ndim == 2:
                    forecast = forecast[..., None] + (np.zeros(len(self.levels)) if offsets is None else offsets)
                targets = first + 1 + np.arange(len(forecast))[:, None] + np.arange(self.features.horizon)
                score.add(one.target[targets], forecast, scale=scale, keys=self._keys(one, targets))
        return score

    def offsets(self, forecaster: Forecasts) -> Floats:
        """The quantiles of a forecaster's errors on the validation part, [N, Q]; 0 for the middle one, the forecast."""
        errors = []
        for one, start, stop in self.pieces("valid"):
            start = max(start, stop - MOST_ERRORS)
            targets = start + 1 + np.arange(stop - start)[:, None] + np.arange(self.features.horizon)
            errors.append(one.target[targets] - forecaster.forecast(one, start, stop))
        offsets = quantile_offsets(np.concatenate(errors), self.levels)
        offsets[:, middle_of(self.levels)] = 0.0
        return offsets

    def _keys(self, one: Series, targets: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        if not self.groups:
            return {}
        first, last = int(targets[0, 0]), int(targets[-1, -1]) + 1
        wall = one.clock.wall(one.ticks[first:last])[targets - first]
        keys = {"hour": wall // 3600 % 24, "weekday": (wall // DAY + 3) % 7}  # 1970 began on a Thursday
        return {name: keys[name] for name in self.groups}


def _parts(forecaster: Any, one: Series, start: int, stop: int) -> Iterator[tuple[int, Floats]]:
    if isinstance(forecaster, Network):
        yield from forecaster.parts(one, start, stop)
        return
    for first in range(start, stop, CHUNK):
        yield first, forecaster.forecast(one, first, min(first + CHUNK, stop))
