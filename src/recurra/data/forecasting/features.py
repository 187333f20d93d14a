"""`Features`: all that is learned from data before the network, and the network's input rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.anchor import Anchor, returns
from recurra.data.forecasting.calendar import CYCLES, Calendar
from recurra.data.forecasting.clock import Clock
from recurra.data.forecasting.prepared import Prepared
from recurra.data.forecasting.seasons import find_seasons
from recurra.data.forecasting.series import Columns, Series, put_on_step
from recurra.data.forecasting.static import Static
from recurra.data.forecasting.step import LONGEST_SEASON, WEEK, Step
from recurra.data.forecasting.trend import MOST_ROWS, Trend, windows_for
from recurra.data.scale import Scaler
from recurra.data.split import Split, check_horizon
from recurra.data.table import Table
from recurra.data.transform import Transform
from recurra.errors import DataError

if TYPE_CHECKING:
    from recurra.data.forecasting.live import LiveFeatures

F32 = NDArray[np.float32]
_MOST_COLUMNS = 10_000


@dataclass(frozen=True, eq=False)
class Features(Transform):
    """What turns a series into the rows of numbers that the network reads, learned from the training part alone.

    A row at t is [I numbers of the encoder | for n = 1 .. N: F numbers known ahead, S seasonal numbers], float32:

    - the encoder sees the scaled target (the last one where it is missing) and whether it is missing; the scaled
      target less that of one season earlier, for each season but the first (0 where one is missing); the scaled past
      columns like the target (whether they are missing for those that were in training); the F numbers of t itself;
    - the F numbers of a time are its scaled known-ahead columns, whether they are unknown (where that happened in
      training), and its calendar;
    - the S seasonal numbers of t + n are the scaled target at the same time one season earlier,
      t + n - s * ceil(n / s), for each season s; the first season is 1, which is the last value. Where it is missing
      the season before is taken, then the shorter season, then 0, the mean; beside them is the trend's forecast.

    With an anchor all numbers of the target are relative: less its last value, over how far it moves of late, both as
    known at t. In the first one's place is the change from the value before, and there are two more: the change from
    half a horizon before, and the level, within 3 deviations of the mean of training. So a series is read alike
    wherever it has gone. One series that returns to its mean has no anchor, nor have models of earlier versions, which
    have no trend either.

    A known-ahead value that nobody has announced is taken from `ahead_season` rows earlier, then is the last known.

    Attributes:
        horizon: N, how many steps are forecast.
        columns, step, clock: the names, the distance of rows, and the meaning of times.
        seasons: (1, and those that were found or given), in rows.
        ahead_season: where unknown known-ahead values are taken from, in rows.
        calendar: the numbers of a time.
        pooled: the target's scaler for a series that was not in training; `scalers` has the others, by name.
        past, ahead: scalers of the past and known-ahead columns.
        past_flags, ahead_flags: the columns, by number, that have a number for being missing.
        anchor: what the target is relative to; None: to the training part, as for series that return to its mean.
        trend: a linear forecast from the last values; None: there is none.
        static: what does not change within a series; its numbers come after the past columns.
        counts: whether the target counts something: all that training saw are whole numbers from 0 on, and so is what
            is answered.
    """

    horizon: int
    columns: Columns
    step: Step
    clock: Clock
    seasons: tuple[int, ...]
    ahead_season: int
    calendar: Calendar
    pooled: Scaler
    scalers: Mapping[str, Scaler]
    past: tuple[Scaler, ...]
    ahead: tuple[Scaler, ...]
    past_flags: tuple[int, ...]
    ahead_flags: tuple[int, ...]
    anchor: Anchor | None = None
    trend: Trend | None = None
    static: Static = field(default_factory=Static)
    counts: bool = False
    _prepared: WeakKeyDictionary[Series, Prepared] = field(default_factory=WeakKeyDictionary, repr=False)

    @classmethod
    def fit(
        cls,
        series: Sequence[Series],
        splits: Sequence[Split],
        *,
        horizon: int,
        seasons: str | Sequence[int] = "auto",
    ) -> Features:
        """Learn from the training rows of the series.

        Args:
            series: as `series_of` gives them.
            splits: one for each, as `split_by_time` gives them.
            horizon: how many steps to forecast.
            seasons: "auto", or lengths in rows; () for none beside the last value.

        Raises:
            DataError: the horizon or the seasons are out of range, or the training part holds no target that changes.
        """
        check_horizon(horizon)
        train = [(one, split.train_end) for one, split in zip(series, splits, strict=True)]
        step, clock, columns = series[0].step, series[0].clock, series[0].columns
        pooled = Scaler.fit([one.target[:end] for one, end in train], math.nan)
        if math.isnan(pooled.scale):
            raise DataError(
                f"the target {columns.target!r} does not change in the training part, expected a column that does: "
                "give more rows"
            )
        scalers = {}
        if len(series) > 1:
            seen = [(one, end) for one, end in train if np.isfinite(one.target[:end]).any()]
            scalers = {one.name: Scaler.fit([one.target[:end]], pooled.scale) for one, end in seen}
        if isinstance(seasons, str):
            if seasons != "auto":
                raise DataError(f"seasons is {seasons!r}, expected 'auto' or lengths in rows, such as (48, 336)")
            parts = [scalers.get(one.name, pooled).many(one.target[:end]).astype(np.float64) for one, end in train]
            found = find_seasons([part for part in parts if len(part)], step)
        else:
            found = _checked_seasons(seasons)
        P, K = len(columns.past), len(columns.ahead)
        learned = cls(
            horizon=int(horizon),
            columns=columns,
            step=step,
            clock=clock,
            seasons=(1, *found),
            ahead_season=_ahead_season(found, step),
            calendar=Calendar.for_rows(clock, step, max(end for _, end in train)),
            pooled=pooled,
            scalers=scalers,
            past=tuple(Scaler.fit([one.past[:end, i] for one, end in train]) for i in range(P)),
            ahead=tuple(Scaler.fit([one.ahead[:end, i] for one, end in train]) for i in range(K)),
            past_flags=tuple(i for i in range(P) if any(np.isnan(one.past[:end, i]).any() for one, end in train)),
            ahead_flags=tuple(i for i in range(K) if any(np.isnan(one.ahead[:end, i]).any() for one, end in train)),
            static=Static.fit(columns.static, [one.static for one, end in train if end]),
            counts=all(_counts(one.target[:end]) for one, end in train),
        )
        return learned._anchored(series, splits)

    def _anchored(self, series: Sequence[Series], splits: Sequence[Split]) -> Features:
        """With an anchor and a trend, learned of the training part too."""
        train = [(one, split.train_end) for one, split in zip(series, splits, strict=True)]
        scaled = {one.name: self.scaler(one.name).many(one.target[:end]) for one, end in train}
        stays = len(series) == 1 and returns(scaled, self.horizon)  # of many, others may come that were not in training
        anchored = self._with(anchor=None if stays else Anchor.fit(scaled, self.horizon, self.seasons))
        windows = windows_for(self.horizon, self.seasons[1:], max(end for _, end in train))
        ranges = [split.origins("train", self.horizon) for split in splits]
        every = max(1, -(-sum(stop - start for start, stop in ranges) // MOST_ROWS))
        parts = []
        for one, (start, stop) in zip(series, ranges, strict=True):
            if stop > start:
                prepared, at = anchored._of(one), np.arange(start, stop, every)
                parts.append((prepared.lags(at, windows[-1]), prepared.targets(start, stop)[::every]))
        return anchored._with(trend=Trend.fit(parts, self.horizon, windows)) if parts else anchored

    def _with(self, **changes: Any) -> Features:
        return replace(self, **changes, _prepared=WeakKeyDictionary())

    @cached_property
    def ahead_size(self) -> int:
        """F: the numbers known ahead, of one time."""
        return len(self.ahead) + len(self.ahead_flags) + self.calendar.size

    @cached_property
    def season_size(self) -> int:
        """S: the seasonal numbers of one time."""
        return len(self.seasons) + (self.trend is not None)

    @cached_property
    def input_size(self) -> int:  # type: ignore[override]
        """I: the numbers that the encoder sees at one step."""
        own = 1 + len(self.seasons) + 2 * (self.anchor is not None)
        return own + len(self.past) + len(self.past_flags) + self.static.size + self.ahead_size

    @cached_property
    def row_size(self) -> int:  # type: ignore[override]
        """I + N * (F + S): the numbers of a whole row."""
        return self.input_size + self.horizon * (self.ahead_size + self.season_size)

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The columns that it reads."""
        return (*self.columns.targets, *self.columns.past, *self.columns.ahead, *self.columns.static)

    @property
    def names(self) -> list[str]:
        """What each of the first I + F + S numbers of a row is: the encoder's, then those of one time ahead."""
        c = self.columns
        changes = [f"{c.target} less {s} before" for s in self.seasons[1:]]
        ahead = [*c.ahead, *(f"{c.ahead[i]} unknown" for i in self.ahead_flags)]
        ahead += [
            f"{f}{k + 1} of {c}" for c in self.calendar.cycles for k in range(CYCLES[c][1]) for f in ("sin", "cos")
        ]
        past = [*c.past, *(f"{c.past[i]} missing" for i in self.past_flags)]
        if self.anchor is not None:
            changes.append(f"{c.target} less {self.anchor.lag} before, the half of a horizon")
            changes.append(f"level of {c.target}")
        now = [c.target, f"{c.target} missing", *changes, *past, *self.static.labels, *ahead]
        before = [f"{c.target} {s} before" for s in self.seasons] + ["trend"] * (self.trend is not None)
        return [*now, *(f"{n} to come" for n in ahead), *before]

    def scaler(self, name: str) -> Scaler:
        """The target's scaler of a series; that of all together where it was not in training."""
        return self.scalers.get(name, self.pooled)

    def rows(self, series: Series, start: int, stop: int) -> F32:
        """The network's input at rows start .. stop - 1 of a series: float32 [stop - start, I + N * (F + S)]."""
        return self._of(series).rows(start, stop)

    def seen(self, series: Series, start: int, stop: int) -> F32:
        """What the encoder sees of rows start .. stop - 1: float32 [stop - start, I]."""
        return self._of(series).seen(start, stop)

    def prepare(self, sequences: Sequence[Series]) -> None:
        """How far each of many series moves is followed side by side."""
        if self.anchor is None:
            return
        names = [one.name for one in sequences]
        scaled = [self.scaler(one.name).many(one.target) for one in sequences]
        for one, spread in zip(sequences, self.anchor.spreads_of(names, scaled), strict=True):
            self._prepared[one] = Prepared(self, one, spread)

    def targets(self, series: Series, start: int, stop: int) -> F32:
        """The scaled targets of the next N rows: float32 [stop - start, N]; NaN where missing, or past the end."""
        return self._of(series).targets(start, stop)

    def unscaled(self, series: Series, start: int, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Outputs z [M, ...] of the origins from `start` on in the target's units."""
        if self.anchor is None:
            return self.unscale(series.name, z)
        one, places = self._of(series), (slice(start, start + len(z)), *[None] * (z.ndim - 1))
        return self.unscale(series.name, z, one.level[places], one.spread[places])

    def unscale(self, name: str, z: NDArray[np.floating], level: Any = 0.0, spread: Any = 1.0) -> NDArray[np.float64]:
        """Outputs of a series in the target's units, where it was at a level and moved so far."""
        return self.scaler(name).undo(z.astype(np.float64) * spread + level)

    def possible(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is answered as the target could be: of counts whole numbers, none below 0."""
        return np.maximum(np.rint(values), 0.0) if self.counts else values

    def lags(self, series: Series, rows: NDArray[np.int64], count: int) -> F32:
        """The last values of the target before each row and at it, as the network would read them: [M, count]."""
        return self._of(series).lags(rows, count)

    def series_of(self, table: Table) -> list[Series]:
        """The series of another table with the same columns, on the step and the clock of the training.

        Raises:
            DataError: as `recurra.data.series_of`, save that a target may be constant or missing.
        """
        columns = self.columns
        if columns.time is not None and columns.time not in table.columns and table.index is not None:
            columns = replace(columns, time=table.index)
        return put_on_step(table, columns, clock=self.clock, step=self.step)

    def live(self, name: str = "") -> LiveFeatures:
        """The same rows, one at a time, from a bounded memory."""
        from recurra.data.forecasting.live import LiveFeatures

        return LiveFeatures(self, name)

    def _of(self, series: Series) -> Prepared:
        prepared = self._prepared.get(series)
        if prepared is None:
            prepared = self._prepared[series] = Prepared(self, series)
        return prepared

    def __reduce__(self) -> Any:
        """What is prepared stays here."""
        return Features.from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to the last bit: part of a model file."""
        return {
            "horizon": self.horizon,
            "columns": self.columns.to_dict(),
            "step": self.step.to_dict(),
            "clock": self.clock.to_dict(),
            "seasons": list(self.seasons),
            "ahead_season": self.ahead_season,
            "calendar": list(self.calendar.cycles),
            "pooled": self.pooled.to_dict(),
            "scalers": {name: s.to_dict() for name, s in self.scalers.items()},
            "past": [s.to_dict() for s in self.past],
            "ahead": [s.to_dict() for s in self.ahead],
            "past_flags": list(self.past_flags),
            "ahead_flags": list(self.ahead_flags),
            "anchor": None if self.anchor is None else self.anchor.to_dict(),
            "trend": None if self.trend is None else self.trend.to_dict(),
            **({"static": self.static.to_dict()} if self.static.names else {}),
            **({"counts": True} if self.counts else {}),
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Features:
        """From `to_dict`; whatever the dict says ends here or works.

        Raises:
            DataError: it is not what `to_dict` writes.
        """
        try:
            return cls._from_dict(described)
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise DataError(
                f"the features of the model are unreadable ({type(error).__name__}: {str(error)[:80]}), expected what "
                "recurra writes: save the model again"
            ) from error

    @classmethod
    def _from_dict(cls, described: Mapping[str, Any]) -> Features:
        check_horizon(described["horizon"])
        columns, clock = Columns.from_dict(described["columns"]), Clock.from_dict(described["clock"])
        seasons = tuple(described["seasons"])
        cycles = tuple(described["calendar"])
        lists = {name: tuple(described[name]) for name in ("past", "ahead", "past_flags", "ahead_flags")}
        fits = (
            seasons[0] == 1
            and _checked_seasons(seasons[1:]) == seasons[1:]
            and described["ahead_season"] in seasons
            and set(cycles) <= set(CYCLES)
            and len(set(cycles)) == len(cycles)
            and all(len(lists[n]) == len(getattr(columns, n)) <= _MOST_COLUMNS for n in ("past", "ahead"))
            and all(i in range(len(lists[n])) for n in ("past", "ahead") for i in lists[f"{n}_flags"])
            and all(sorted(set(lists[f"{n}_flags"])) == list(lists[f"{n}_flags"]) for n in ("past", "ahead"))
        )
        anchor, trend = described.get("anchor"), described.get("trend")
        learned = None if trend is None else Trend.from_dict(trend)
        static = Static.from_dict(described.get("static", {}))
        fits = fits and (learned is None or len(learned.weights) == described["horizon"])
        fits = fits and static.names == columns.static
        if not fits:
            raise DataError("the features of the model contradict themselves: save the model again")
        return cls(
            horizon=described["horizon"],
            columns=columns,
            step=Step.from_dict(described["step"]),
            clock=clock,
            seasons=seasons,
            ahead_season=described["ahead_season"],
            calendar=Calendar(clock, cycles),
            pooled=Scaler.from_dict(described["pooled"]),
            scalers={str(name): Scaler.from_dict(s) for name, s in described["scalers"].items()},
            past=tuple(Scaler.from_dict(s) for s in lists["past"]),
            ahead=tuple(Scaler.from_dict(s) for s in lists["ahead"]),
            past_flags=lists["past_flags"],
            ahead_flags=lists["ahead_flags"],
            anchor=None if anchor is None else Anchor.from_dict(anchor),
            trend=learned,
            static=static,
            counts=described.get("counts") is True,
        )


def _ahead_season(seasons: Sequence[int], step: Step) -> int:
    """The longest season up to a week, for holidays do not return on the same day of the year; else the longest."""
    short = [s for s in seasons if step.unit == "second" and s * step.count <= WEEK]
    if step.unit == "weekday":
        short = [s for s in seasons if s <= 5]
    return max(short or seasons, default=1)


def _counts(values: NDArray[np.float64]) -> bool:
    """Whether all that is known is a whole number from 0 on."""
    known = values[np.isfinite(values)]
    return bool((known >= 0).all() and (known == np.rint(known)).all())


def _checked_seasons(seasons: Sequence[int]) -> tuple[int, ...]:
    whole = all(isinstance(s, (int, np.integer)) and not isinstance(s, bool) for s in seasons)
    if (
        not whole
        or any(not 1 < s <= LONGEST_SEASON for s in seasons)
        or len(set(seasons)) < len(seasons)
        or len(seasons) > 100
    ):
        raise DataError(f"seasons are {seasons!r}, expected 'auto' or different lengths of 2 to {LONGEST_SEASON} rows")
    return tuple(sorted(int(s) for s in seasons))
