"""`LiveFeatures`: the network's input rows from a stream, one row at a time, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.anchor import HIGHEST, relative
from recurra.data.forecasting.ring import Ring
from recurra.data.forecasting.static import Cells
from recurra.errors import DataError

if TYPE_CHECKING:
    from recurra.data.forecasting.features import Features

F32 = NDArray[np.float32]
Time = int | np.datetime64
MOST_ANNOUNCED = 100_000  # times ahead of which known-ahead values are kept
_NOTHING: tuple[float, ...] = ()


class LiveFeatures:
    """The rows of `Features.rows`, to the last bit, for one series from its first row on.

    Memory: one ring of each season's length for the target, two for the known-ahead columns, and what is known ahead of
    the next N rows.

    Attributes:
        features, name: what was learned, and the series.
        tick: the time of the last row as a whole number, or None before the first.
        count: how many rows there were.
        unknown: the known-ahead columns of which a value was unknown in the last row.

    >>> from recurra.data import Features, as_table, series_of, split_by_time
    >>> series = series_of(as_table({"y": np.sin(np.arange(60.0))}), "y")
    >>> features = Features.fit(series, split_by_time(series), horizon=3, seasons=(6,))
    >>> live = features.live()
    >>> rows = [live.push(t, y) for t, y in enumerate(series[0].target)]
    >>> (np.stack(rows) == features.rows(series[0], 0, 60)).all()
    np.True_
    """

    def __init__(self, features: Features, name: str = "") -> None:
        f = self.features = features
        N, K = f.horizon, len(f.ahead)
        self.name, self.tick, self.count = name, None, 0
        self._scaler = f.scaler(name)
        self._seasons = [Ring(s, N) for s in f.seasons]
        self._holes = [True] * len(f.seasons)
        self._ahead_last = np.full(K, np.nan, np.float32)
        self._ahead_season = Ring(f.ahead_season, N, K)
        self._past_last = np.zeros(len(f.past), np.float32)
        self._future = Ring(N + 1, N, f.ahead_size)
        self._far = 0  # the time of the last of them
        self._announced: dict[int, tuple[float, ...]] = {}  # beyond it
        self.unknown: list[str] = []
        self._anchor = None if f.anchor is None else f.anchor.live(name)
        self._lags = Ring(f.trend.lags, f.trend.lags) if f.trend is not None else None
        self._static = np.full(f.static.size, np.nan, np.float32)  # as long as nobody has said

    tick: int | None

    def push(
        self, time: Time, target: float = math.nan, past: Sequence[float] = _NOTHING, ahead: Sequence[float] = _NOTHING
    ) -> F32:
        """Take the next row of the series; NaN is missing, and so is what is left out.

        Args:
            time: exactly one step after the row before; a whole number as `features.clock` reads it, or a datetime64.
            target: in its own units, as all values.
            past: P values; or none, where all are missing.
            ahead: the K known-ahead values of this very time; what is NaN here may have been announced.

        Returns:
            float32 [I + N * (F + S)].

        Raises:
            DataError: the time is not the next, or there are more or fewer values; nothing has changed.
        """
        f, N = self.features, self.features.horizon
        tick = self._whole(time)
        self._check(tick, past, ahead)
        if self.tick is None:
            self._begin(tick)
        else:
            self._far = f.step.after(self._far)
            self._fill(self.count + N, self._far)
        t, self.tick = self.count, tick
        self.count += 1
        if len(ahead):
            self._know(t, ahead)
        return self._row(t, target, past)

    def describe(self, cells: Cells) -> None:
        """Take the cells of the static columns; those that are all missing change nothing.

        Raises:
            DataError: they are others than before, or no numbers where numbers are wanted; nothing has changed.
        """
        if all(cell is None for cell in cells):
            return
        found = self.features.static.encode(cells)
        if self._static.size and self._static[0] == self._static[0] and not np.array_equal(found, self._static):
            raise DataError(
                f"the static columns of {self.name!r} are {', '.join(map(str, cells))}, and were others before, "
                "expected one value for each series: end the series to begin anew"
            )
        self._static[:] = found

    def unscaled(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Outputs after the last row in the target's units."""
        if self._anchor is None:
            return self.features.unscale(self.name, z)
        return self.features.unscale(self.name, z, self._anchor.level, self._anchor.spread)

    def announce(self, time: Time, ahead: Sequence[float]) -> None:
        """Take the known-ahead values of a time to come; what is NaN stays as it was, unknown or announced before.

        Raises:
            DataError: the time is not to come or is off the series' step, there are more or fewer than K values, or
                100,000 times have been announced.
        """
        f, tick = self.features, self._whole(time)
        if len(ahead) != len(f.ahead):
            raise DataError(
                f"{len(ahead)} known-ahead values are announced, expected {len(f.ahead)}: {f.columns.ahead}"
            )
        if self.tick is not None:
            n, fits = f.step.index(np.array([tick]), self.tick)
            if not fits[0] or n[0] < 1:
                raise DataError(
                    f"the announcement is for {f.clock.text(tick)}, expected a time after {f.clock.text(self.tick)}, a "
                    f"whole number of steps of {f.step} later"
                )
            if n[0] <= f.horizon:
                self._know(self.count - 1 + int(n[0]), ahead)
                return
        if tick not in self._announced and len(self._announced) >= MOST_ANNOUNCED:
            raise DataError(f"{MOST_ANNOUNCED} times are announced, expected no more: announce them later")
        before = self._announced.get(tick, (math.nan,) * len(f.ahead))
        self._announced[tick] = tuple(b if v != v else float(v) for v, b in zip(ahead, before, strict=True))

    def move(self, tick: int) -> None:
        """Have the last row at another time: the steps that follow begin there. What was announced for times that are
        no longer on them is forgotten."""
        f, N, K = self.features, self.features.horizon, len(self.features.ahead)
        at = K + len(f.ahead_flags)
        ticks = f.step.add(tick, np.arange(N + 1)).tolist()
        for t, time in enumerate(ticks, self.count - 1):
            place = at
            for numbers in f.calendar.one(time):
                for number in numbers:
                    self._future.put(t, number, place)
                    place += 1
        self.tick, self._far = tick, ticks[-1]
        self._forget(tick)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that it remembers, by name: copies, for `restore`."""
        announced = sorted(self._announced.items())
        return {
            "counters": np.array([self.tick is not None, self.tick or 0, self.count, self._far], np.int64),
            **{name: array.copy() for name, array in self._arrays().items()},
            "announced_times": np.array([t for t, _ in announced], np.int64),
            "announced": np.array([v for _, v in announced], np.float64).reshape(
                len(announced), len(self.features.ahead)
            ),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave, in this or another process.

        Raises:
            DataError: it is of other features; nothing has changed.
        """
        for name, array in self.state().items():
            got = state.get(name)
            lead = 1 if name.startswith("announced") else 0
            if got is None or got.dtype != array.dtype or got.shape[lead:] != array.shape[lead:]:
                raise DataError(
                    f"the state of {self.name!r} has no {name!r} that fits these features: take a snapshot of them"
                )
        known, tick, count, far = (int(n) for n in state["counters"])
        try:
            for time in (tick, far) if known else ():
                self.features.clock.check(time)
        except ValueError as error:
            raise DataError(f"the state of {self.name!r} has {error}: take another snapshot") from None
        if count < 0 or len(state["announced_times"]) != len(state["announced"]):
            raise DataError(f"the state of {self.name!r} has counts that do not fit: take another snapshot")
        self._far = far
        self.tick, self.count = (tick if known else None), count
        for name, array in self._arrays().items():
            array[...] = state[name]
        self._holes = [ring.holes for ring in self._seasons]
        times, values = state["announced_times"].tolist(), state["announced"].tolist()
        self._announced = {t: tuple(v) for t, v in zip(times, values, strict=True)}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        named = {f"season.{ring.size}": ring.array for ring in self._seasons}
        lasts = {"ahead_last": self._ahead_last, "past_last": self._past_last}
        if self._anchor is not None:
            lasts |= {"anchor": self._anchor.numbers, "anchor.lag": self._anchor.ring.array}
        if self._lags is not None:
            lasts["lags"] = self._lags.array
        if self._static.size:
            lasts["static"] = self._static
        return named | lasts | {"ahead_season": self._ahead_season.array, "future": self._future.array}

    def _whole(self, time: Time) -> int:
        return self.features.clock.tick(time) if isinstance(time, np.datetime64) else int(time)

    def _check(self, tick: int, past: Sequence[float], ahead: Sequence[float]) -> None:
        f = self.features
        if self.tick is not None and tick != f.step.after(self.tick):
            raise DataError(
                f"the row is of {f.clock.text(tick)}, expected {f.clock.text(f.step.after(self.tick))}, the next on a "
                f"step of {f.step}: push rows in order, and missing rows as missing"
            )
        for values, names, role in ((past, f.columns.past, "past"), (ahead, f.columns.ahead, "known-ahead")):
            if len(values) and len(values) != len(names):
                raise DataError(f"{len(values)} {role} values, expected {len(names)}: {', '.join(names)}")

    def _begin(self, tick: int) -> None:
        """Fill in what is known ahead; forget what was announced for times before, or off the step that begins here."""
        f, N = self.features, self.features.horizon
        ticks = f.step.add(tick, np.arange(N + 1)).tolist()
        for t, time in enumerate(ticks):
            self._fill(t, time)
        self._far = ticks[-1]
        self._forget(tick)

    def _forget(self, tick: int) -> None:
        """Forget announcements that are off the step that begins at a time, or not beyond what rows have."""
        _, fits = self.features.step.index(np.array(list(self._announced), np.int64), tick)
        kept = zip(self._announced.items(), fits.tolist(), strict=True)
        self._announced = {t: v for (t, v), fit in kept if fit and t > self._far}

    def _fill(self, t: int, tick: int) -> None:
        """Put what is known ahead of row t, whose time is given."""
        f = self.features
        row, at = np.empty(f.ahead_size, np.float32), len(f.ahead) + len(f.ahead_flags)
        row[: len(f.ahead)] = np.nan
        row[len(f.ahead) : at] = 1
        for numbers in f.calendar.one(tick):
            row[at : at + len(numbers)] = numbers
            at += len(numbers)
        self._future.put(t, row)
        if (ahead := self._announced.pop(tick, None)) is not None:
            self._know(t, ahead)

    def _know(self, t: int, ahead: Sequence[float]) -> None:
        """Put the known-ahead values of row t."""
        f = self.features
        for i, value in enumerate(ahead):
            if value == value:
                self._future.put(t, f.ahead[i].one(value), i)
                if i in f.ahead_flags:
                    self._future.put(t, 0, len(f.ahead) + f.ahead_flags.index(i))

    def _row(self, t: int, target: float, past: Sequence[float]) -> F32:
        f, N, K, F = self.features, self.features.horizon, len(self.features.ahead), self.features.ahead_size
        out = np.empty(f.row_size, np.float32)
        out[1] = missing = target != target
        anchor = self._anchor
        at = 1 + len(self._seasons) + 2 * (anchor is not None)
        out[2:at] = 0
        change: F32 | np.float32 = np.float32(0)
        if not missing:
            z = np.float32(self._scaler.one(target))
            if anchor is not None:
                last, before = self._seasons[0].at(t), anchor.ring.at(t)
                change = z - last if last == last else change
                out[at - 2] = z - before if before == before else 0
                anchor.push(t, z)
            for i, ring in enumerate(self._seasons, 1):
                before = ring.at(t)
                if i > 1 and before == before:
                    out[i] = z - before
                ring.put(t, z)
        out[0] = _known(self._seasons[0].at(t)) if anchor is None else change
        if anchor is not None:
            out[at - 1] = min(max(anchor.level, -HIGHEST), HIGHEST)
            for i in (0, *range(2, at - 1)):
                out[i] = relative(out[i], np.float32(0), anchor.spread)
        gone = [value != value for value in past] if len(past) else [True] * len(f.past)
        for i, nothing in enumerate(gone):
            if not nothing:
                self._past_last[i] = f.past[i].one(past[i])
        out[at : at + len(f.past)] = self._past_last
        at += len(f.past)
        for i in f.past_flags:
            out[at] = gone[i]
            at += 1
        if self._static.size:
            out[at : at + len(self._static)] = np.nan_to_num(self._static)
            at += len(self._static)
        now = out[at : at + F]
        now[:] = self._future.at(t)
        beside = out[f.input_size :].reshape(N, F + f.season_size)
        beside[:, :F] = self._future.following(t)
        self.unknown = []
        for i in range(K):
            self._fill_ahead(t, i, now, beside)
        shorter: Any = np.float32(0) if anchor is None else anchor.level
        for i, ring in enumerate(self._seasons):
            found = ring.following(t)
            if self._holes[i]:
                self._holes[i] = ring.holes
                found = np.where(np.isnan(found), shorter, found)
            shorter = found
            beside[:, F + i] = found if anchor is None else relative(found, anchor.level, anchor.spread)
        if self._lags is not None and f.trend is not None:
            self._lags.put(t, self._seasons[0].at(t))
            lags = self._lags.following(t)
            level, spread = (np.float32(0), np.float32(1)) if anchor is None else (anchor.level, anchor.spread)
            lags = np.where(np.isnan(lags), level, lags)
            beside[:, -1] = f.trend.one(relative(lags, level, spread))
        return out

    def _fill_ahead(self, t: int, i: int, now: F32, beside: F32) -> None:
        """Remember one known-ahead value, and fill those that are unknown from memory."""
        if now[i] == now[i]:
            self._ahead_last[i] = now[i]
            self._ahead_season.put(t, now[i], i)
        else:
            now[i] = _known(self._ahead_season.at(t)[i], self._ahead_last[i])
        unknown = np.isnan(beside[:, i])
        if unknown.any():
            self.unknown.append(self.features.columns.ahead[i])
            earlier = self._ahead_season.following(t)[unknown, i]
            beside[unknown, i] = np.where(np.isnan(earlier), _known(self._ahead_last[i]), earlier)


def _known(*choices: Any) -> Any:
    """The first that is no NaN, else 0."""
    return next((c for c in choices if c == c), np.float32(0))
