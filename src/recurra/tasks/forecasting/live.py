"""`LiveForecaster`: a forecast after every observation, in the bits of forecasts from whole tables; no torch."""

from __future__ import annotations

import hashlib
import time as stopwatch
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.live import LiveFeatures
from recurra.errors import DataError, ModelFileError, SessionError
from recurra.runtime.model import Model
from recurra.tasks.forecasting.adaptive import RATE, Adaptive, check_rate
from recurra.tasks.forecasting.answer import Forecast, known_residuals, residuals_of
from recurra.tasks.forecasting.reading import ReadsRows, Row
from recurra.tasks.live.base import Remembered
from recurra.tasks.live.stepwise import Steps, Stepwise


class LiveForecaster(ReadsRows, Stepwise):
    """Forecasts of a model that `recurra.Forecaster` made, one observation after the other, for any number of series.

    A row is a dict of the model's columns. Values that are missing (None, NaN, an empty text, no key) are taken as the
    training took them, and `notes` says so; what is static may be left out once it was said. A row with a later time,
    known-ahead columns, and neither target nor past columns (empty texts or no keys) announces what is known ahead: it
    gives no forecast. Rows that were left out are taken as missing.

    Args:
        model: the model, from `recurra.load`.

    Attributes:
        features: how rows become the network's input.
        levels: the quantiles' levels.

    Raises:
        ModelFileError: the model is no forecaster.
    """

    answer: ClassVar[str] = "forecast"

    def __init__(self, model: Model) -> None:
        if model.preprocessing.get("task") != "forecast":
            raise ModelFileError("the model is no forecaster, expected one that `recurra fit` or Forecaster.save wrote")
        try:
            self.features = Features.from_dict(
                model.preprocessing.get("transform", model.preprocessing.get("features", {}))
            )
            self.levels = tuple(float(q) for q in model.preprocessing["quantiles"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the model's preprocessing is unreadable ({error}): save the model again") from error
        f, c = self.features, self.features.columns
        self.residuals = residuals_of(model.preprocessing, f.horizon, len(self.levels))
        self._rate: float | None = None
        if (model.input_size, model.output_size) != (f.row_size, f.horizon * len(self.levels)):
            raise ModelFileError(
                f"the model takes {model.input_size} numbers and gives {model.output_size}, expected {f.row_size} and "
                f"{f.horizon * len(self.levels)} as its preprocessing says: save the model again"
            )
        keys = [n for n in (c.series, c.time) if n is not None]
        super().__init__(model, self.features, keys, [*c.targets, *c.past, *c.ahead, *c.static])
        self.timed = c.time is not None
        self.announced = [*keys, *c.ahead] if c.ahead and c.time is not None else []

    @cached_property
    def fields(self) -> list[str]:
        """The series, the time of the observation, and the quantiles for 1, 2 .. N steps later: q0.1+1, q0.5+1 ..; of
        several targets load q0.1+1 and so on, target after target."""
        steps = range(1, self.features.horizon + 1)
        c = self.features.columns
        before = [f"{target} " for target in c.targets] if c.others else [""]
        return [*self._keys, *(f"{name}q{q:g}+{n}" for name in before for n in steps for q in self.levels)]

    @cached_property
    def _keys(self) -> list[str]:
        return self.keys if self.features.columns.time is not None else [*self.keys, "row"]

    def _of_keys(self, forecast: Forecast) -> list[str]:
        return [forecast.origin] if self.features.columns.series is None else [forecast.series, forecast.origin]

    def cells(self, answer: Forecast) -> list[str]:
        """A forecast as the cells of a line; numbers to the last bit."""
        return [*self._of_keys(answer), *map(repr, answer.quantiles.ravel().tolist())]

    def to_dict(self, answer: Forecast) -> dict[str, Any]:
        """A forecast, ready for JSON: for each level the list of N quantiles; of several targets that for each."""
        keys = dict(zip(self._keys, self._of_keys(answer), strict=True))
        if not self.features.columns.others:
            return keys | self._levels_of(answer.quantiles)
        targets = zip(self.features.columns.targets, answer.quantiles, strict=True)
        return keys | {target: self._levels_of(quantiles) for target, quantiles in targets}

    def _levels_of(self, quantiles: NDArray[np.float64]) -> dict[str, list[float]]:
        return {f"q{q:g}": v for q, v in zip(self.levels, quantiles.T.tolist(), strict=True)}

    @property
    def series(self) -> list[str]:
        """The names of the series that there have been so far."""
        columns = self.features.columns
        if not columns.others:
            return list(self._series)
        end = f", {columns.target}"
        return [name.removesuffix(end) if columns.series else "" for name in self._series if self._is_first(name)]

    def _is_first(self, name: str) -> bool:
        c = self.features.columns
        return name.endswith(f", {c.target}") if c.series else name == c.target

    def end(self, series: str = "") -> None:
        """Forget a series that has ended; its next observation begins anew."""
        for name in self.named(series):
            super().end(name)

    def states(self, series: str | None = None) -> dict[str, NDArray[np.float32]]:
        """What the network remembers of a series, by name; with several targets of the first one's."""
        return super().states(None if series is None else self.named(series)[0])

    def adapt(self, rate: float = RATE) -> None:
        """Have intervals follow how often they hold: see `recurra.tasks.forecasting.adaptive.Adaptive`.

        What the session says then depends on all rows so far, and is no longer what `predict` says.

        Raises:
            SettingError: the rate is out of range, or the model does not know the tails of its errors.
            SessionError: there were rows already.
        """
        if self._series:
            raise SessionError("adapt: there were rows already, expected to be told before the first one")
        known_residuals(self.residuals)
        self._rate = check_rate(rate)

    def _begun(self, name: str) -> Remembered:
        one = super()._begun(name)
        if self._rate is not None:
            one.more = Adaptive(known_residuals(self.residuals), self.levels, self.features.horizon, self._rate)
        return one

    def _owner(self) -> bytes:
        own = super()._owner()
        return own if self._rate is None else hashlib.sha256(own + repr(self._rate).encode()).digest()

    def steps(self, row: Mapping[str, Any], series: str = "") -> Steps[Forecast | None]:
        """Take one row: the forecast of what follows it, or None for an announcement.

        Raises:
            DataError: a value is no number, or the time is none, not after the last, off the step, or too far ahead; a
                static column has changed; nothing has changed.
        """
        began = stopwatch.perf_counter()
        read, f = self._read(row), self.features
        if read.announces:
            for one in self._remembered(read.group):
                one.rows.announce(read.tick, read.ahead)
            return None
        f.static.encode(read.static)  # it and `describe` may raise, before anything has changed
        for name in self.named(read.group):
            if name in self._series:
                self._series[name].rows.describe(read.static)
        missing = self._missing_before(read)
        remembered = self._remembered(read.group)
        for one in remembered:
            one.rows.describe(read.static)
        said = []
        for one, target in zip(remembered, read.targets, strict=True):
            said.append((yield from self._taken(one, target, read, missing)))
        if missing:
            rows = "1 row" if missing == 1 else f"{missing} rows"
            self.notes.append(f"{rows} before {self._when(read)} taken as missing")
        self._say(read, remembered[0].rows)
        quantiles = np.stack(said) if f.columns.others else said[0]
        origin, seconds = f.clock.text(read.tick), stopwatch.perf_counter() - began
        return Forecast(read.group, origin, quantiles, self.levels, seconds, read.tick, f, self.residuals)

    def _taken(self, one: Remembered, target: float, read: Row, missing: int) -> Steps[NDArray[np.float64]]:
        """The quantiles [N, Q] of one series after a row, and after rows that were left out before it."""
        f, live = self.features, one.rows
        for _ in range(missing):
            yield one.session, live.push(f.step.after(live.tick))
            if one.more is not None:
                one.more.skip()
        out = yield one.session, live.push(read.tick, target, read.past, read.ahead)
        quantiles: NDArray[np.float64] = f.possible(live.unscaled(out.reshape(f.horizon, len(self.levels))))
        if one.more is None:
            return quantiles
        one.more.take(target)
        adapted: NDArray[np.float64] = f.possible(one.more.give(quantiles))
        return adapted

    def announce(self, row: Mapping[str, Any]) -> bool:
        """Take known-ahead values of a time to come, whatever else the row has; False where the time has passed.

        Raises:
            DataError: as `step`; or the model has no known-ahead columns, or no times.
        """
        c = self.features.columns
        if not c.ahead or c.time is None:
            lack = "known-ahead columns" if c.time is not None else "column of times"
            raise DataError(f"the model has no {lack}: nothing can be announced to it")
        group, tick = self.place(row)
        ahead = [self._number(row, n) for n in c.ahead]
        last = self.last(group)
        if last is not None and tick <= last:
            return False
        for one in self._remembered(group):
            one.rows.announce(tick, ahead)
        return True

    def _remembered(self, group: str) -> list[Remembered]:
        """What is remembered of the series of each target."""
        names = self.named(group)
        for name in names:
            if name not in self._series:
                self._series[name] = self._begun(name)
                if self.features.scalers and name not in self.features.scalers:
                    self.notes.append(f"the series {name!r} was not in training: it is scaled like all others together")
        return [self._series[name] for name in names]

    def _say(self, row: Row, live: LiveFeatures) -> None:
        """Note what was missing in a row."""
        c = self.features.columns
        for name, value in zip((*c.targets, *c.past), (*row.targets, *row.past), strict=True):
            if value != value:
                self.notes.append(f"{name!r} is missing at {self._when(row)}")
        for name in live.unknown:
            what = f"values of {name!r} within the horizon are unknown: those of earlier rows are taken"
            if what not in self._said:
                self._said.add(what)
                self.notes.append(f"{what}; announce them by rows with a later time and no {c.target!r}")
