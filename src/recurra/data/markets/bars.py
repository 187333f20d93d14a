"""`read_bars`: the prices of one asset or of many, from a table, checked row by row."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.clock import Clock
from recurra.data.forecasting.times import read_times, time_column
from recurra.data.markets.tape import Tape
from recurra.data.table import Table, nearest
from recurra.errors import DataError

Floats: TypeAlias = NDArray[np.float64]

OHLC = ("open", "high", "low", "close")
DAY = 86400


@dataclass(frozen=True)
class BarColumns:
    """What the columns of a table of prices are.

    Attributes:
        time: of times; None: rows count.
        asset: which asset a row is of, in a long table; None: one asset, or a column for each.
        prices: the close; or open, high, low and close; or, of a wide table, a close for each asset.
        inputs: more that is known at the close of a bar.
        wide: whether each of `prices` is an asset.
        calendar: of which exchange, as `exchange_calendars` names it; None: none is looked at.
    """

    time: str | None
    asset: str | None
    prices: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    wide: bool = False
    calendar: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "prices": list(self.prices), "inputs": list(self.inputs)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> BarColumns:
        """From `to_dict`."""
        time, asset, calendar = (
            None if described[n] is None else str(described[n]) for n in ("time", "asset", "calendar")
        )
        prices, inputs = (tuple(map(str, described[name])) for name in ("prices", "inputs"))
        if not prices or (not described["wide"] and len(prices) not in (1, 4)):
            raise ValueError(f"the prices are {prices}")
        return cls(time, asset, prices, inputs, bool(described["wide"]), calendar)

    @property
    def ranges(self) -> bool:
        """Whether a bar has its range: open, high, low and close."""
        return not self.wide and len(self.prices) == len(OHLC)


@dataclass(frozen=True, eq=False)
class Bars:
    """The bars of one asset, and what they say.

    Attributes:
        name: of the asset.
        ticks: int64 [T], the times, rising.
        prices: float64 [T, 1 or 4]: the close; or open, high, low, close.
        inputs: float64 [T, E], what else is known at each close; NaN where missing.
        rows: int64 [T], of the table.
        clock: of the times.
        x: float64 [T, K], features of the bars up to each, by `Tape`.
    """

    name: str
    ticks: NDArray[np.int64]
    prices: Floats
    inputs: Floats
    rows: NDArray[np.int64]
    clock: Clock
    x: Floats
    tape: Tape

    def __len__(self) -> int:
        return len(self.ticks)

    @classmethod
    def of(
        cls, name: str, ticks: NDArray[np.int64], prices: Floats, inputs: Floats, rows: NDArray[np.int64], clock: Clock
    ) -> Bars:
        """With its features."""
        tape = Tape.of(prices, days_of(ticks, clock), inputs)
        return cls(name, ticks, prices, inputs, rows, clock, tape.rows(0, len(ticks)), tape)

    def cut(self, end: int) -> Bars:
        """Without the bars from `end` on."""
        arrays = {n: getattr(self, n)[:end] for n in ("ticks", "prices", "inputs", "rows", "x")}
        return replace(self, **arrays, tape=self.tape.cut(end))

    def after(self, tick: int, rng: np.random.Generator) -> Bars:
        """The same bars up to a time, and noise instead of everything after it: prices, ranges and inputs."""
        at = int(np.searchsorted(self.ticks, tick, "right"))
        prices, inputs = self.prices.copy(), self.inputs.copy()
        left = len(self) - at
        walk = np.exp(np.cumsum(rng.normal(0, 0.05, left)) + rng.normal(0, 1))
        low, high = np.exp(-rng.random((2, left)) * 0.1) * [[1.0], [1.0]]
        bar = np.stack([walk * low, walk / high, walk * low * high, walk], 1)
        prices[at:] = prices[max(0, at - 1), -1] * bar[:, -prices.shape[1] :]
        if prices.shape[1] == 4:
            prices[at:, 1], prices[at:, 2] = prices[at:].max(1), prices[at:].min(1)
        inputs[at:] = rng.normal(size=inputs[at:].shape) * 100
        return Bars.of(self.name, self.ticks, prices, inputs, self.rows, self.clock)


def days_of(ticks: NDArray[np.int64], clock: Clock) -> NDArray[np.int64] | None:
    """The date of each tick in days since 1970; None where times only count."""
    return None if clock.kind == "count" else clock.wall(ticks) // DAY


def choose_columns(
    table: Table,
    time: str | None = None,
    asset: str | None = None,
    prices: Sequence[str] | str | None = None,
    inputs: Sequence[str] = (),
    calendar: str | None = None,
) -> tuple[BarColumns, list[str]]:
    """What is what in a table of prices, and notes on what was found by its name.

    Args:
        table: long (a row is a bar of an asset), of one asset, or wide (a column of closes for each asset).
        time, asset, inputs: as `BarColumns` has them.
        prices: the close; open, high, low and close; or the closes of several assets; None: by their names, or of a
            wide table all columns that are left.
        calendar: of which exchange.

    Raises:
        DataError: there is no such column, or none is left for prices.
    """
    time, notes = time_column(table, time, asset)
    for name in (*([asset] if asset else []), *inputs):
        table.require(name)
    given = [prices] if isinstance(prices, str) else list(prices or ())
    for name in given:
        table.require(name, "price column")
    lower = {name.lower(): name for name in reversed(list(table.columns)) if name not in inputs}
    if not given and "close" in lower:
        given = [lower[name] for name in OHLC if name in lower]
        given = given if len(given) == len(OHLC) else [lower["close"]]
        notes.append(f"the prices are {', '.join(given)}, for their names")
        other = next((name for low, name in lower.items() if low.replace(" ", "").startswith("adj")), None)
        if other is not None:
            notes.append(
                f"there is a column {other!r} too: if {given[-1]!r} is not adjusted, splits and dividends are losses "
                f"in it; choose prices={other!r} to take them out"
            )
    if asset is not None and not given:
        raise DataError(
            f"{table.source}: no column is called close, expected the price: {nearest('close', table.columns)}; name it"
        )
    if not given:
        given = [name for name in table.columns if name != time and name not in inputs]
        if not given:
            raise DataError(f"{table.source}: no column is left for prices, expected at least one")
    one = len(given) == 1 or (len(given) == 4 and [_plain(n) for n in given] == list(OHLC))
    if asset is not None and not one:
        raise DataError(
            f"{table.source}: the prices are {', '.join(given[:6])}, expected the close, or open, high, low and close "
            f"in this order, of the asset that {asset!r} names"
        )
    if not one and inputs:
        raise DataError(
            f"{table.source}: inputs={list(inputs)!r} with a column of prices for each asset, expected none: make the "
            "table long, one row for each asset and bar"
        )
    return BarColumns(time, asset, tuple(given), tuple(inputs), not one, calendar), notes


def _plain(name: str) -> str:
    return next(iter(difflib.get_close_matches(name.lower(), OHLC, 1, 0.75)), name.lower())


def read_bars(table: Table, columns: BarColumns, clock: Clock | None = None) -> tuple[list[Bars], list[str]]:
    """The bars of each asset, and notes on what was found in them.

    A bar without a close is none: it is passed over, and where it is within the life of its asset, that is noted.

    Raises:
        DataError: a price is not above zero or lies outside its bar's range, a bar comes twice or too early; the
            message names the row.
    """
    groups = {"": np.arange(len(table))} if columns.asset is None else table.groups(columns.asset)
    clock, ticks, notes = read_times(table, columns.time, None, list(groups.values()), clock=clock)
    inputs = np.stack([table.numbers(n, "input column") for n in columns.inputs], 1) if columns.inputs else None
    if inputs is None:
        inputs = np.zeros((len(table), 0))
    numbers = np.stack([table.numbers(name, "price column") for name in columns.prices], 1)
    _check_positive(table, numbers, columns.prices)
    found = []
    for name, rows in groups.items():
        _check_order(table, ticks, rows, name, clock)
        for one, at in [(p, np.array([k])) for k, p in enumerate(columns.prices)] if columns.wide else [(name, None)]:
            prices = numbers[rows] if at is None else numbers[np.ix_(rows, at)]
            there: NDArray[np.bool_] = np.asarray(np.isfinite(prices).all(1))
            if columns.ranges:
                _check_range(table, prices, rows)
            notes += _holes(table, one or columns.prices[-1], there, rows)
            own = rows[there]
            if len(own) < 2:
                raise DataError(f"{table.source}: the asset {one!r} has {len(own)} prices, expected at least two")
            found.append(Bars.of(one, ticks[own], prices[there], inputs[own], own, clock))
    return found, notes


def _check_positive(table: Table, numbers: Floats, names: Sequence[str]) -> None:
    bad = np.argwhere(numbers <= 0)
    if len(bad):
        row, k = bad[0]
        raise DataError(
            f"{table.where(int(row))}: the price {names[k]!r} is {numbers[row, k]:g}, expected one above zero "
            f"({len(bad)} are not): leave the cell empty where there was no trade"
        )


def _check_range(table: Table, prices: Floats, rows: NDArray[np.int64]) -> None:
    o, h, low, c = prices.T
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero((np.maximum(o, c) > h * (1 + 1e-9)) | (np.minimum(o, c) < low * (1 - 1e-9)))
    if len(bad):
        t = int(bad[0])
        raise DataError(
            f"{table.where(int(rows[t]))}: open {o[t]:g}, high {h[t]:g}, low {low[t]:g} and close {c[t]:g}, expected "
            f"open and close between low and high ({len(bad)} bars are not so): mend them, or give the close alone"
        )


def _check_order(table: Table, ticks: NDArray[np.int64], rows: NDArray[np.int64], name: str, clock: Clock) -> None:
    wrong = np.flatnonzero(np.diff(ticks[rows]) <= 0)
    if len(wrong):
        row, before = int(rows[wrong[0] + 1]), int(rows[wrong[0]])
        of = f" of {name!r}" if name else ""
        if ticks[row] == ticks[before]:
            raise DataError(
                f"{table.where(row)}: the bar{of} of {clock.text(int(ticks[row]))} comes twice, expected each once: "
                "keep one of them"
            )
        raise DataError(
            f"{table.where(row)}: the bar{of} of {clock.text(int(ticks[row]))} comes after that of "
            f"{clock.text(int(ticks[before]))}, expected rows in the order of time: sort them"
        )


def _holes(table: Table, name: str, there: NDArray[np.bool_], rows: NDArray[np.int64]) -> list[str]:
    """Bars without a price between two that have one."""
    known = np.flatnonzero(there)
    if not len(known):
        return []
    inside = np.flatnonzero(~there[known[0] : known[-1]]) + known[0]
    if not len(inside):
        return []
    return [
        f"{name}: {len(inside)} bars have no price, the first at {table.where(int(rows[inside[0]]))}: they are passed "
        "over, and the next return spans them"
    ]
