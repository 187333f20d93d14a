"""`LiveTrader`: a bar in, a position out, in the bits of positions from whole tables; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recurra.data.markets.bars import DAY
from recurra.errors import DataError
from recurra.runtime.model import Model
from recurra.tasks.live.base import is_empty
from recurra.tasks.live.stepwise import Steps, Stepwise

if TYPE_CHECKING:
    from recurra.data.markets.transform import MarketRows
    from recurra.tasks.trading.task import Trade


class LiveTrader(Stepwise):
    """Positions of a model that `recurra.Trader` made, one bar after the other, for any number of assets.

    An observation is a row of a table like that of training: of a wide one it has the close of each asset (an empty
    cell is no bar), and the answer has a position for each; else it is the bar of one asset. Each asset's bars must
    come in the order of time.

    Args:
        model: from `recurra.load`.
        task, transform: those of the model.
    """

    answer: ClassVar[str] = "position"

    def __init__(self, model: Model, task: Trade, transform: MarketRows) -> None:
        self.task, self.columns, self.clock = task, transform.columns, transform.clock
        keys = [name for name in (self.columns.asset, self.columns.time) if name is not None]
        super().__init__(model, transform, keys, transform.inputs)
        self.timed = self.columns.time is not None

    def steps(self, observation: Mapping[str, Any], series: str = "") -> Steps[dict[str, Any]]:
        """Take one bar, or a row of closes.

        Raises:
            DataError: a price is missing, no number or not above zero, or the bar is not after the last; nothing has
                changed.
        """
        tick = self._tick(observation)
        named: dict[str, Any] = {} if self.columns.time is None else {self.columns.time: self.clock.text(tick or 0)}
        if self.columns.wide:
            return named | (yield from self._row(observation, tick))
        if self.columns.asset is not None:
            series = series or self._series_of(observation, self.columns.asset)
            named = {self.columns.asset: series, **named}
        prices = self._prices(observation, self.columns.prices)
        others = np.array([self._number(observation, name) for name in self.columns.inputs], np.float64)
        return named | (yield from self._taken(series, tick, prices, others))

    def _row(self, observation: Mapping[str, Any], tick: int | None) -> Steps[dict[str, Any]]:
        """The positions of all assets that have a close in a row."""
        there = {n: observation.get(n) for n in self.columns.prices}
        some = [n for n, v in there.items() if v is not None and not is_empty(v) and v == v]
        if not some:
            raise DataError(f"the row has no price, expected that of {', '.join(self.columns.prices[:6])}")
        prices = {name: self._prices(observation, (name,)) for name in some}
        for name in some:
            self._check(name, tick)
        none = np.zeros(0)
        positions: dict[str, Any] = {}
        for name in some:
            positions[name] = (yield from self._taken(name, tick, prices[name], none))["position"]
        return positions

    def _taken(self, series: str, tick: int | None, prices: Any, inputs: Any) -> Steps[dict[str, Any]]:
        now = self._check(series, tick)
        one = self._series.get(series) or self._begun(series)
        day = -1.0 if self.clock.kind == "count" else float(self.clock.wall_one(now) // DAY)
        row = one.rows.push((now, day, prices, inputs))
        self._series[series] = one
        output = yield one.session, row
        return self.task.answer(self.task.decode(output[None], self._transform, series)[0])

    def _check(self, series: str, tick: int | None) -> int:
        """The tick of a bar: that which was said, or the next number."""
        last = self.last(series)
        if tick is None:
            return 0 if last is None else last + 1
        if last is not None and tick <= last:
            of = f" of {series!r}" if series else ""
            again = "comes twice" if tick == last else f"comes after that of {self.clock.text(last)}"
            raise DataError(
                f"the bar{of} of {self.clock.text(tick)} {again}, expected each bar once, in the order of time"
            )
        return tick

    def _tick(self, observation: Mapping[str, Any]) -> int | None:
        if self.columns.time is None:
            return None
        value = self._cell(observation, self.columns.time)
        try:
            tick = self.clock.read(value)
            self.clock.check(tick)
        except (ValueError, OverflowError) as error:
            raise DataError(f"the time {self.columns.time!r} is {str(value)[:40]!r}: {error}") from None
        return tick

    def _prices(self, observation: Mapping[str, Any], names: Any) -> Any:
        found = np.array([self._number(observation, name) for name in names], np.float64)
        for name, price in zip(names, found, strict=True):
            if not price > 0:
                got = "missing" if price != price else f"{price:g}"
                raise DataError(f"the price {name!r} is {got}, expected one above zero: leave the bar out")
        if self.columns.ranges and not found[2] <= min(found[0], found[3]) <= max(found[0], found[3]) <= found[1]:
            raise DataError(
                f"open {found[0]:g}, high {found[1]:g}, low {found[2]:g} and close {found[3]:g}, expected open and "
                "close between low and high"
            )
        return found

    def last(self, series: str = "") -> int | None:
        """The time of the last bar of an asset; None before the first."""
        one = self._series.get(series)
        return None if one is None else one.rows.tick

    def place(self, observation: Mapping[str, Any]) -> tuple[str, int] | None:
        """The asset of an observation and its time; of a row of closes the first asset that has one."""
        tick = self._tick(observation)
        if tick is None:
            return None
        if self.columns.wide:
            return next(iter(self._series), self.columns.prices[0]), tick
        return ("" if self.columns.asset is None else self._series_of(observation, self.columns.asset)), tick

    @cached_property
    def fields(self) -> list[str]:
        """The asset and the time, and what is answered; of rows of closes a position for each asset."""
        if self.columns.wide:
            return [*self.keys, *self.columns.prices]
        nothing = self.task.decode(np.zeros((1, self.model.output_size), np.float32), self._transform, "")[0]
        return [*self.keys, *self.task.answer(nothing)]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """An answer as the cells of a line; numbers to the last bit."""
        values = [answer.get(name, "") for name in self.fields]
        return [value if isinstance(value, str) else repr(value) for value in values]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)
