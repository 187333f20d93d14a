"""`LiveForecaster`: a forecast after every observation, in the bits of forecasts from whole tables; no torch."""

from __future__ import annotations

import hashlib
import time as stopwatch
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.live import LiveFeatures
from recurra.data.forecasting.step import TICKS
from recurra.errors import DataError, ModelFileError, SessionError, SettingError
from recurra.runtime.model import Model
from recurra.tasks.forecasting.adaptive import RATE, Adaptive, check_rate
from recurra.tasks.forecasting.residuals import Residuals
from recurra.tasks.live.base import Live, Remembered, is_empty

MOST_GAP = 10_000  # rows in a row that are taken as missing; a longer silence needs a new start


@dataclass(frozen=True)
class Forecast:
    """What follows one observation.

    Attributes:
        series: the name of the series, "" where there is only one.
        origin: the time of the observation, as text.
        quantiles: float64 [N, Q], in the target's units.
        levels: the Q levels of the quantiles.
        seconds: what it took, from the row to the forecast.
    """

    series: str
    origin: str
    quantiles: NDArray[np.float64]
    levels: tuple[float, ...]
    seconds: float
    _tick: int
    _features: Features
    _residuals: Residuals | None = None

    @property
    def time(self) -> NDArray[Any]:
        """The N times that are forecast: datetime64[s] (UTC where the data's times have a zone) or int64."""
        f = self._features
        return f.clock.array(f.step.add(self._tick, np.arange(1, f.horizon + 1)))

    def paths(self, count: int = 100, seed: int = 0) -> NDArray[np.float64]:
        """Whole futures [count, N], each as likely as any other; see `Forecaster.paths`.

        Raises:
            SettingError: the count is out of range, or the model does not know how its errors go together.
        """
        return known_residuals(self._residuals).paths(self.quantiles, self.levels, count, seed)


@dataclass(frozen=True)
class _Row:
    """A row that was read and can be taken."""

    series: str
    tick: int
    target: float
    past: list[float]
    ahead: list[float]
    announces: bool


class LiveForecaster(Live):
    """Forecasts of a model that `recurra.Forecaster` made, one observation after the other, for any number of series.

    A row is a dict of the model's columns. Values that are missing (None, NaN, an empty text, no key) are taken as the
    training took them, and `notes` says so. A row with a later time, known-ahead columns, and neither target nor past
    columns (empty texts or no keys) announces what is known ahead: it gives no forecast. Rows that were left out are
    taken as missing.

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
        super().__init__(model, self.features, keys, [c.target, *c.past, *c.ahead])
        self.timed = c.time is not None
        self.announced = [*keys, *c.ahead] if c.ahead and c.time is not None else []

    @cached_property
    def fields(self) -> list[str]:
        """The series, the time of the observation, and the quantiles for 1, 2 .. N steps later: q0.1+1, q0.5+1 .."""
        return [*self._keys, *(f"q{q:g}+{n}" for n in range(1, self.features.horizon + 1) for q in self.levels)]

    @cached_property
    def _keys(self) -> list[str]:
        return self.keys if self.features.columns.time is not None else [*self.keys, "row"]

    def _of_keys(self, forecast: Forecast) -> list[str]:
        return [forecast.origin] if self.features.columns.series is None else [forecast.series, forecast.origin]

    def cells(self, answer: Forecast) -> list[str]:
        """A forecast as the cells of a line; numbers to the last bit."""
        return [*self._of_keys(answer), *map(repr, answer.quantiles.ravel().tolist())]

    def to_dict(self, answer: Forecast) -> dict[str, Any]:
        """A forecast, ready for JSON: for each level the list of N quantiles."""
        quantiles = {f"q{q:g}": v for q, v in zip(answer.levels, answer.quantiles.T.tolist(), strict=True)}
        return dict(zip(self._keys, self._of_keys(answer), strict=True)) | quantiles

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

    def step(self, row: Mapping[str, Any]) -> Forecast | None:
        """Take one row: the forecast of what follows it, or None for an announcement.

        Raises:
            DataError: a value is no number, or the time is none, not after the last, off the step, or too far ahead;
                nothing has changed.
        """
        began = stopwatch.perf_counter()
        read = self._read(row)
        if read.announces:
            self._remembered(read.series).rows.announce(read.tick, read.ahead)
            return None
        missing = self._missing_before(read)
        one, f = self._remembered(read.series), self.features
        live, session = one.rows, one.session
        for _ in range(missing):
            assert live.tick is not None
            session.step(live.push(f.step.after(live.tick)))
            if one.more is not None:
                one.more.skip()
        if missing:
            self.notes.append(
                f"{missing} {'row' if missing == 1 else 'rows'} before {self._when(read)} taken as missing"
            )
        out = session.step(live.push(read.tick, read.target, read.past, read.ahead))
        self._say(read, live)
        quantiles = live.unscaled(out.reshape(f.horizon, len(self.levels)))
        if one.more is not None:
            one.more.take(read.target)
            quantiles = one.more.give(quantiles)
        origin, seconds = f.clock.text(read.tick), stopwatch.perf_counter() - began
        return Forecast(read.series, origin, quantiles, self.levels, seconds, read.tick, f, self.residuals)

    def announce(self, row: Mapping[str, Any]) -> bool:
        """Take known-ahead values of a time to come, whatever else the row has; False where the time has passed.

        Raises:
            DataError: as `step`; or the model has no known-ahead columns, or no times.
        """
        c = self.features.columns
        if not c.ahead or c.time is None:
            lack = "known-ahead columns" if c.time is not None else "column of times"
            raise DataError(f"the model has no {lack}: nothing can be announced to it")
        name, tick = self.place(row)
        ahead = [self._number(row, n) for n in c.ahead]
        last = self.last(name)
        if last is not None and tick <= last:
            return False
        self._remembered(name).rows.announce(tick, ahead)
        return True

    def place(self, row: Mapping[str, Any]) -> tuple[str, int]:
        """The series of a row, and its time as a whole number.

        Raises:
            DataError: one of them is missing, or the time is none.
        """
        c = self.features.columns
        name = "" if c.series is None else self._series_of(row, c.series)
        last = self.last(name)
        if c.time is None:
            return name, 0 if last is None else last + 1
        value = self._cell(row, c.time)
        if is_empty(value):
            raise DataError(f"the time {c.time!r} is missing, expected a time")
        try:
            tick = self.features.clock.read(value, last)
            self.features.clock.check(tick)
            return name, self._on_step(name, tick)
        except (ValueError, OverflowError) as error:
            raise DataError(f"the time {c.time!r}: {error}") from None

    def _on_step(self, name: str, tick: int) -> int:
        """A time, or its place on the step of its series where it is near to that: clocks are a little off."""
        step, last = self.features.step, self.last(name)
        if last is None:
            return step.anchor(tick)
        if tick == step.after(last):  # as mostly: the rest is for arrays
            return tick
        n, near = step.nearest(np.array([tick]), last)
        return int(step.add(last, n)[0]) if near[0] else tick

    def last(self, series: str = "") -> int | None:
        """The time of the last observation of a series, as a whole number; None before the first."""
        one = self._series.get(series)
        return None if one is None else one.rows.tick

    def _remembered(self, name: str) -> Remembered:
        one = self._series.get(name)
        if one is None:
            one = self._series[name] = self._begun(name)
            if self.features.scalers and name not in self.features.scalers:
                self.notes.append(f"the series {name!r} was not in training: it is scaled like all others together")
        return one

    def _read(self, row: Mapping[str, Any]) -> _Row:
        """A row, its values checked; nothing is changed."""
        c = self.features.columns
        name, tick = self.place(row)
        target = self._number(row, c.target)
        past = [self._number(row, n) for n in c.past]
        ahead = [self._number(row, n) for n in c.ahead]
        last = self.last(name)
        silent = all(is_empty(row.get(n, "")) for n in (c.target, *c.past))
        known = c.time is not None and any(v == v for v in ahead)
        if silent and known and (last is None or tick > last):
            return _Row(name, tick, target, past, ahead, True)
        return _Row(name, tick, target, past, ahead, False)

    def _missing_before(self, row: _Row) -> int:
        """How many rows were left out before this one."""
        last, f = self.last(row.series), self.features
        if last is None or row.tick == f.step.after(last):
            return 0
        if self._alone(row, last):
            return 0
        if row.tick <= last:
            what = "comes twice" if row.tick == last else f"comes after {f.clock.text(last)}"
            raise DataError(f"{self._when(row)} {what}, expected a later time: it is left out")
        n, fits = f.step.index(np.array([row.tick]), last)
        if not fits[0] and self._begins_anew(row, last):
            return self._missing_before(row)
        if not fits[0]:
            raise DataError(
                f"{self._when(row)} comes after {f.clock.text(last)}, expected a whole number of steps of {f.step} "
                "later: it is left out"
            )
        if n[0] > MOST_GAP:
            raise DataError(
                f"{self._when(row)} comes {n[0]} steps after {f.clock.text(last)}, expected at most {MOST_GAP}: "
                "correct the time, or start anew"
            )
        return int(n[0]) - 1

    def _alone(self, row: _Row, last: int) -> bool:
        """Whether the only row so far is further away than any gap: one of the two times is wrong, and the series
        begins anew with this one, so that no single wrong time decides which others are taken."""
        f = self.features
        if self._series[row.series].rows.count > 1:
            return False
        n, _ = f.step.index(np.array([max(row.tick, last)]), min(row.tick, last))
        if n[0] <= MOST_GAP:
            return False
        self.end(row.series)
        self.notes.append(
            f"{self._when(row)} is far from the first row, of {f.clock.text(last)}: the series begins anew"
        )
        return True

    def _begins_anew(self, row: _Row, last: int) -> bool:
        """Whether the series' steps are from now on those of this row: where the one before was the first of all, which
        alone said when they begin, or where these are the training's and the others are not."""
        step, rows = self.features.step, self._series[row.series].rows
        if step.unit not in TICKS or (rows.count > 1 and not step.trained(row.tick) > step.trained(last)):
            return False
        n = max(1, round((row.tick - last) / step.count))
        rows.move(row.tick - n * step.count)
        self.notes.append(f"{self._when(row)} is on another step of {step} than the rows before: it begins there anew")
        return True

    def _say(self, row: _Row, live: LiveFeatures) -> None:
        """Note what was missing in a row."""
        c = self.features.columns
        for name, value in zip((c.target, *c.past), (row.target, *row.past), strict=True):
            if value != value:
                self.notes.append(f"{name!r} is missing at {self._when(row)}")
        for name in live.unknown:
            what = f"values of {name!r} within the horizon are unknown: those of earlier rows are taken"
            if what not in self._said:
                self._said.add(what)
                self.notes.append(f"{what}; announce them by rows with a later time and no {c.target!r}")

    def _when(self, row: _Row) -> str:
        text = self.features.clock.text(row.tick)
        return f"{text} of {row.series!r}" if row.series else text


def residuals_of(described: Mapping[str, Any], horizon: int, levels: int) -> Residuals | None:
    """What a model's preprocessing says of its errors; None of models of earlier versions.

    Raises:
        ModelFileError: it is unreadable.
    """
    said = described.get("residuals")
    try:
        return None if said is None else Residuals.from_dict(said, horizon, levels)
    except (DataError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"what the model knows of its errors is unreadable ({error}): save it again") from error


def known_residuals(residuals: Residuals | None) -> Residuals:
    """Or SettingError where there are none."""
    if residuals is None:
        raise SettingError("the model does not know how its errors go together: fit it anew, with this version")
    return residuals
