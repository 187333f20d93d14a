"""Accounts: what positions come to after costs, at the bars at which they could be taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recurra.data.markets.bars import Bars, choose_columns, days_of, read_bars
from recurra.data.table import Table
from recurra.errors import DataError
from recurra.tasks.base import Floats

YEAR = 365.25
PER_YEAR = 252.0
MOST_OTHER = 0.05  # of the dates, that a benchmark may lack


@dataclass(frozen=True)
class Market:
    """All assets on one row of times.

    Letters: D times, N assets.

    Attributes:
        ticks, days: int64 [D]; days are None where times only count.
        returns: [D, N], from the bar before; 0 where there is no bar.
        there: bool [D, N], whether there is a bar.
        alive: int64 [D], assets between their first and their last bar.
        places: of each asset, the rows of its bars.
    """

    ticks: NDArray[np.int64]
    days: NDArray[np.int64] | None
    returns: Floats
    there: NDArray[np.bool_]
    alive: NDArray[np.int64]
    places: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, sequences: Sequence[Bars]) -> Market:
        """Of the bars of all assets."""
        ticks = np.unique(np.concatenate([s.ticks for s in sequences]))
        returns = np.zeros((len(ticks), len(sequences)))
        there, alive = np.zeros(returns.shape, bool), np.zeros(len(ticks), np.int64)
        places = []
        for k, s in enumerate(sequences):
            at = np.searchsorted(ticks, s.ticks)
            close = s.prices[:, -1]
            returns[at[1:], k] = close[1:] / close[:-1] - 1
            there[at, k] = True
            alive[at[0] : at[-1] + 1] += 1
            places.append(at)
        return cls(ticks, days_of(ticks, sequences[0].clock), returns, there, alive, tuple(places))

    @property
    def per_year(self) -> float:
        """Bars of a year."""
        if self.days is None or self.days[-1] - self.days[0] < YEAR:
            return PER_YEAR
        return float((len(self.ticks) - 1) / (self.days[-1] - self.days[0]) * YEAR)

    def weights(self, positions: Sequence[Floats], delay: int) -> Floats:
        """Shares of wealth to be had from each time on, [D, N]: each asset's position [T] over the assets alive.

        A position of a bar is taken `delay` bars of its asset later. NaN: nothing is traded.
        """
        found = np.full(self.returns.shape, np.nan)
        for k, (at, position) in enumerate(zip(self.places, positions, strict=True)):
            late = np.concatenate([np.full(min(delay, len(at)), np.nan), position[: max(0, len(at) - delay)]])
            found[at, k] = late / self.alive[at]
            if at[-1] < len(self.ticks) - 1:
                found[at[-1], k] = 0.0  # it ends before the others: what there is of it is paid out
        return found


@dataclass(frozen=True)
class Account:
    """What became of wealth.

    Attributes:
        returns: [D], net of costs.
        turnover: [D], what was traded, as a share of wealth.
        paid: [D], costs, as a share of wealth.
        invested: [D], the sum of the sizes of all positions.
    """

    returns: Floats
    turnover: Floats
    paid: Floats
    invested: Floats

    @property
    def wealth(self) -> Floats:
        """[D], of one at the beginning."""
        return np.cumprod(1 + self.returns)


def kept(weights: Floats, returns: Floats, cost: float) -> Account:
    """The account of one who has, at the end of each bar, the weights [D, N] of it, paying `cost` of what is traded.

    Between trades weights drift with their returns; what is in no asset earns nothing. NaN: an asset is not traded.

    >>> held = kept(np.array([[1.0], [np.nan], [0.0]]), np.array([[0.5], [0.1], [0.0]]), 0.01)
    >>> held.returns.round(4).tolist(), held.turnover.tolist()
    ([-0.01, 0.1, -0.01], [1.0, 0.0, 1.0])
    """
    have = np.zeros(weights.shape[1])
    net, turnover, paid, invested = (np.zeros(len(weights)) for _ in range(4))
    for d in range(len(weights)):
        gross = 1 + float(have @ returns[d])
        if gross <= 0:  # all is lost
            net[d:] = np.concatenate([[-1.0], np.zeros(len(weights) - d - 1)])
            break
        have = have * (1 + returns[d]) / gross
        wanted = np.where(np.isnan(weights[d]), have, weights[d])
        traded = float(np.abs(wanted - have).sum())
        have, turnover[d], paid[d] = wanted, traded, cost * traded
        net[d] = gross * (1 - cost * traded) - 1
        invested[d] = float(np.abs(have).sum())
    return Account(net, turnover, paid, invested)


def bought(market: Market, start: int, stop: int) -> Floats:
    """Weights of who buys all assets in equal parts at a time and never trades again: [D, N]."""
    found = np.full(market.returns.shape, np.nan)
    there = market.there[start]
    found[start, there] = 1 / max(1, int(there.sum()))
    for k, at in enumerate(market.places):
        if at[-1] < stop - 1:
            found[at[-1], k] = 0.0
    return found[start:stop]


def benchmark_of(table: Table, sequences: Sequence[Bars]) -> tuple[str, Mapping[int, float], list[str]]:
    """The name of a benchmark, its price at each tick, and notes.

    Raises:
        DataError: it is not one price, or has not the dates of the assets; the message names the row.
    """
    columns, notes = choose_columns(table)
    if columns.wide and len(columns.prices) > 1:
        raise DataError(
            f"{table.source}: the benchmark has {len(columns.prices)} columns of prices, expected one: leave the others"
        )
    (bars,), more = read_bars(table, columns, sequences[0].clock if columns.time is not None else None)
    ticks = np.unique(np.concatenate([s.ticks for s in sequences]))
    own = bars.ticks[(bars.ticks >= ticks[0]) & (bars.ticks <= ticks[-1])]
    odd, absent = own[~np.isin(own, ticks)], ticks[~np.isin(ticks, bars.ticks)]
    name = columns.prices[-1]
    for found, what in ((odd, "which the assets have not"), (absent, "which the benchmark has not")):
        if not len(found):
            continue
        row = table.where(int(bars.rows[min(len(bars) - 1, int(np.searchsorted(bars.ticks, found[0])))]))
        said = f"{row}: the benchmark {name!r}: {len(found)} dates, {bars.clock.text(int(found[0]))} first, {what}"
        if len(found) > MOST_OTHER * len(ticks):
            raise DataError(f"{said}, expected those of the assets: it has another calendar; give one that has theirs")
        notes.append(f"{said}: the price before is taken")
    return name, dict(zip(bars.ticks.tolist(), bars.prices[:, -1].tolist(), strict=True)), notes + more


def benchmark_returns(market: Market, prices: Mapping[int, float]) -> Floats:
    """[D], from price to price; 0 where there is none."""
    last, found = None, []
    for tick in market.ticks.tolist():
        price = prices.get(tick, last)
        found.append(0.0 if last is None or price is None else price / last - 1)
        last = price
    return np.array(found)
