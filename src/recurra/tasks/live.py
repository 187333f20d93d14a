"""`LiveForecaster`: a forecast after every observation, in the bits of forecasts from whole tables; no torch."""

from __future__ import annotations

import hashlib
import json
import math
import time as stopwatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.features import Features
from recurra.data.forecasting.live import LiveFeatures
from recurra.data.table import nearest, number
from recurra.errors import DataError, ModelFileError, SessionError
from recurra.runtime.model import Model
from recurra.runtime.sealed import seal, unseal
from recurra.runtime.session import Session

MOST_GAP = 10_000  # rows in a row that are taken as missing; a longer silence needs a new start

_KIND = b"RcrF"  # a snapshot's payload is a safetensors file: what each series remembers


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

    @property
    def time(self) -> NDArray[Any]:
        """The N times that are forecast: datetime64[s] (UTC where the data's times have a zone) or int64."""
        f = self._features
        return f.clock.array(f.step.add(self._tick, np.arange(1, f.horizon + 1)))


@dataclass
class _Stream:
    """One series: what it remembers of its rows, and the network's state."""

    features: LiveFeatures
    session: Session


@dataclass(frozen=True)
class _Row:
    """A row that was read and can be taken."""

    series: str
    tick: int
    target: float
    past: list[float]
    ahead: list[float]
    announces: bool


class LiveForecaster:
    """Forecasts of a model that `recurra.Forecaster` made, one observation after the other, for any number of series.

    A row is a dict of the model's columns. Values that are missing (None, NaN, an empty text, no key) are taken as the
    training took them, and `notes` says so. A row with a later time, known-ahead columns, and neither target nor past
    columns (empty texts or no keys) announces what is known ahead: it gives no forecast. Rows that were left out are
    taken as missing.

    Attributes:
        model: the model, from `recurra.load`.
        features: how rows become the network's input.
        levels: the quantiles' levels.
        names: the columns that a row has; the first of them, its `keys`, say of which series and time it is.
        notes: what had to be made up or was missing since somebody last cleared this list.

    Raises:
        ModelFileError: the model is no forecaster.
    """

    def __init__(self, model: Model) -> None:
        if model.preprocessing.get("task") != "forecast":
            raise ModelFileError("the model is no forecaster, expected one that `recurra fit` or Forecaster.save wrote")
        self.model = model
        try:
            self.features = Features.from_dict(
                model.preprocessing.get("transform", model.preprocessing.get("features", {}))
            )
            self.levels = tuple(float(q) for q in model.preprocessing["quantiles"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the model's preprocessing is unreadable ({error}): save the model again") from error
        f, c = self.features, self.features.columns
        if (model.input_size, model.output_size) != (f.row_size, f.horizon * len(self.levels)):
            raise ModelFileError(
                f"the model takes {model.input_size} numbers and gives {model.output_size}, expected {f.row_size} and "
                f"{f.horizon * len(self.levels)} as its preprocessing says: save the model again"
            )
        model.program().check_streams("a live forecast")
        self.keys = [n for n in (c.series, c.time) if n is not None]
        self.names = [*self.keys, c.target, *c.past, *c.ahead]
        self.notes: list[str] = []
        self._streams: dict[str, _Stream] = {}
        self._told: set[str] = set()

    def step(self, row: Mapping[str, Any]) -> Forecast | None:
        """Take one row: the forecast of what follows it, or None for an announcement.

        Raises:
            DataError: a value is no number, or the time is none, not after the last, off the step, or too far ahead;
                nothing has changed.
        """
        began = stopwatch.perf_counter()
        read = self._read(row)
        if read.announces:
            self._stream(read.series).features.announce(read.tick, read.ahead)
            return None
        missing = self._missing_before(read)
        stream = self._stream(read.series)
        live, session, f = stream.features, stream.session, self.features
        for _ in range(missing):
            assert live.tick is not None
            session.step(live.push(f.step.after(live.tick)))
        if missing:
            self._note(f"{missing} {'row' if missing == 1 else 'rows'} before {self._when(read)} taken as missing")
        out = session.step(live.push(read.tick, read.target, read.past, read.ahead))
        self._say(read, live)
        quantiles = f.unscale(read.series, out.reshape(f.horizon, len(self.levels)))
        origin, seconds = f.clock.text(read.tick), stopwatch.perf_counter() - began
        return Forecast(read.series, origin, quantiles, self.levels, seconds, read.tick, f)

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
        self._stream(name).features.announce(tick, ahead)
        return True

    def place(self, row: Mapping[str, Any]) -> tuple[str, int]:
        """The series of a row, and its time as a whole number.

        Raises:
            DataError: one of them is missing, or the time is none.
        """
        c = self.features.columns
        name = ""
        if c.series is not None:
            value = self._cell(row, c.series)
            if _is_empty(value):
                raise DataError(f"the series {c.series!r} is missing, expected a name")
            name = str(value).strip()
        last = self.last(name)
        if c.time is None:
            return name, 0 if last is None else last + 1
        value = self._cell(row, c.time)
        if _is_empty(value):
            raise DataError(f"the time {c.time!r} is missing, expected a time")
        try:
            return name, self.features.clock.read(value, last)
        except (ValueError, OverflowError) as error:
            raise DataError(f"the time {c.time!r}: {error}") from None

    def last(self, series: str = "") -> int | None:
        """The time of the last observation of a series, as a whole number; None before the first."""
        stream = self._streams.get(series)
        return None if stream is None else stream.features.tick

    @property
    def series(self) -> list[str]:
        """The names of the series that there have been so far."""
        return list(self._streams)

    def snapshot(self) -> bytes:
        """All that it remembers of all series, as bytes, for `restore` in this or another process."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {}
        for i, stream in enumerate(self._streams.values()):
            arrays |= {f"{i}.{name}": array for name, array in stream.features.state().items()}
            arrays[f"{i}.session"] = np.frombuffer(stream.session.snapshot(), np.uint8)
        return seal(_KIND, self._owner(), save(arrays), series=list(self._streams), told=sorted(self._told))

    def restore(self, snapshot: bytes) -> None:
        """Go on from a snapshot.

        Raises:
            SessionError: it is no snapshot, damaged, newer or of another model; nothing has changed.
        """
        from safetensors import SafetensorError, deserialize

        about, body = unseal(snapshot, _KIND, self._owner())
        try:
            arrays = {name: _array(tensor) for name, tensor in deserialize(body)}  # type: ignore[no-untyped-call]
            streams = {name: self._restored(i, name, arrays) for i, name in enumerate(about["series"])}
        except (SafetensorError, DataError, KeyError, TypeError, ValueError) as error:
            raise SessionError(f"restore: the snapshot is inconsistent ({error}): take an older one") from error
        self._streams, self._told = streams, set(about["told"])

    def _restored(self, i: int, name: str, arrays: Mapping[str, NDArray[Any]]) -> _Stream:
        own = {key.partition(".")[2]: a for key, a in arrays.items() if key.startswith(f"{i}.")}
        stream = _Stream(self.features.live(name), self.model.session())
        stream.session.restore(own.pop("session").tobytes())
        stream.features.restore(own)
        return stream

    def _owner(self) -> bytes:
        """What a snapshot belongs to: the network's numbers, and how rows are made for it."""
        features = json.dumps(self.features.to_dict(), sort_keys=True)
        return hashlib.sha256(f"{self.model.fingerprint}{features}".encode()).digest()

    def _stream(self, name: str) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(self.features.live(name), self.model.session())
            if self.features.scalers and name not in self.features.scalers:
                self._note(f"the series {name!r} was not in training: it is scaled like all others together")
        return stream

    def _read(self, row: Mapping[str, Any]) -> _Row:
        """A row, its values checked; nothing is changed."""
        c = self.features.columns
        name, tick = self.place(row)
        target = self._number(row, c.target)
        past = [self._number(row, n) for n in c.past]
        ahead = [self._number(row, n) for n in c.ahead]
        last = self.last(name)
        silent = all(_is_empty(row.get(n, "")) for n in (c.target, *c.past))
        known = c.time is not None and any(v == v for v in ahead)
        if silent and known and (last is None or tick > last):
            return _Row(name, tick, target, past, ahead, True)
        return _Row(name, tick, target, past, ahead, False)

    def _missing_before(self, row: _Row) -> int:
        """How many rows were left out before this one."""
        last, f = self.last(row.series), self.features
        if last is None or row.tick == f.step.after(last):
            return 0
        if row.tick <= last:
            what = "comes twice" if row.tick == last else f"comes after {f.clock.text(last)}"
            raise DataError(f"{self._when(row)} {what}, expected a later time: it is left out")
        n, fits = f.step.index(np.array([row.tick]), last)
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

    def _say(self, row: _Row, live: LiveFeatures) -> None:
        """Note what was missing in a row."""
        c = self.features.columns
        for name, value in zip((c.target, *c.past), (row.target, *row.past), strict=True):
            if value != value:
                self._note(f"{name!r} is missing at {self._when(row)}")
        for name in live.unknown:
            what = f"values of {name!r} within the horizon are unknown: those of earlier rows are taken"
            if what not in self._told:
                self._told.add(what)
                self._note(f"{what}; announce them by rows with a later time and no {c.target!r}")

    def _when(self, row: _Row) -> str:
        text = self.features.clock.text(row.tick)
        return f"{text} of {row.series!r}" if row.series else text

    def _note(self, text: str) -> None:
        self.notes.append(text)

    def _cell(self, row: Mapping[str, Any], name: str) -> Any:
        if name not in row:
            raise DataError(f"the row has no {name!r}; {nearest(name, row)}")
        return row[name]

    def _number(self, row: Mapping[str, Any], name: str) -> float:
        try:
            value = number(row.get(name))
        except ValueError:
            raise DataError(f"{name!r} is {str(row[name])[:40]!r}, expected a number") from None
        if math.isinf(value):
            raise DataError(f"{name!r} is infinite, expected a finite number: leave it empty where it is missing")
        return value


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _array(tensor: Mapping[str, Any]) -> NDArray[Any]:
    kind = {"I64": "<i8", "F32": "<f4", "F64": "<f8", "U8": "u1"}[tensor["dtype"]]
    return np.frombuffer(bytes(tensor["data"]), kind).reshape(tensor["shape"])
