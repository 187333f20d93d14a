"""What is doubtful about prices, in words that name the row: splits, holidays, inputs that know the future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recurra.data.markets.bars import BarColumns, Bars, days_of
from recurra.data.table import Table
from recurra.errors import DataError, LeakageError, need

RATIOS = (2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 1.5)  # of shares, in splits
NEAR = 0.06  # of the log of a ratio
UNUSUAL = 8.0  # usual returns
MOST_NAMED = 5
KNOWING, SURE = 0.25, 0.6  # correlation of ranks of an input with a return to come
SAME = 0.5  # of the dates, that a calendar must share with the data


def splits_in(table: Table, sequences: Sequence[Bars]) -> list[str]:
    """Jumps of a price by the ratio of a split: a fall to a half is no loss, if there were two shares for one."""
    found = []
    for bars in sequences:
        jump = np.diff(bars.tape.log)
        usual = np.concatenate([[np.inf], bars.tape.deviation(1, len(bars) - 1)]) if len(bars) > 2 else np.ones(1)
        for t in np.flatnonzero(np.abs(jump) > np.maximum(UNUSUAL * usual, 0.3)):
            ratio = float(np.exp(abs(jump[t])))
            near = min(RATIOS, key=lambda r: abs(np.log(r / ratio)))
            if abs(np.log(near / ratio)) < NEAR:
                way = f"{near:g} shares for one" if jump[t] < 0 else f"one share for {near:g}"
                found.append(
                    f"{table.where(int(bars.rows[t + 1]))}: the price{_of(bars)} goes from {bars.prices[t, -1]:g} to "
                    f"{bars.prices[t + 1, -1]:g}, as in a split of {way}: give adjusted prices, or it counts as a "
                    f"{'loss' if jump[t] < 0 else 'gain'}"
                )
    more = len(found) - MOST_NAMED
    return found[:MOST_NAMED] + ([f"there are {more} more jumps like splits"] if more > 0 else [])


def _of(bars: Bars) -> str:
    return f" of {bars.name!r}" if bars.name else ""


def calendar_of(table: Table, sequences: Sequence[Bars], name: str) -> list[str]:
    """The sessions of an exchange beside the dates of the bars: bars on holidays, sessions without a bar.

    Raises:
        DataError: there is no such exchange, times are no dates, or the bars are those of another calendar.
        MissingExtraError: exchange_calendars is not installed.
    """
    need("a calendar of an exchange", "exchange_calendars", extra="trade")
    import exchange_calendars

    try:
        first, last = (str(np.datetime64(int(d), "D")) for d in _span(sequences))
        calendar = exchange_calendars.get_calendar(name, start=first, end=last)
    except exchange_calendars.errors.InvalidCalendarName:
        names = ", ".join(sorted(exchange_calendars.get_calendar_names(include_aliases=False))[:12])
        raise DataError(
            f"calendar={name!r} is none that exchange_calendars knows, expected one of {names}..."
        ) from None
    sessions = calendar.sessions.to_numpy().astype("datetime64[D]").astype(np.int64)
    found: list[str] = []
    for bars in sequences:
        days = _days(bars)
        closed = np.flatnonzero(~np.isin(days, sessions))
        if len(closed) > SAME * len(days):
            raise DataError(
                f"{table.where(int(bars.rows[closed[0]]))}: {len(closed)} of {len(days)} bars{_of(bars)} are on days "
                f"when {name} is closed, expected its sessions: name another calendar"
            )
        if len(closed):
            found.append(
                f"{table.where(int(bars.rows[closed[0]]))}: {len(closed)} bars{_of(bars)} are on days when {name} is "
                f"closed, the first on {np.datetime64(int(days[closed[0]]), 'D')}"
            )
        life = sessions[(sessions >= days[0]) & (sessions <= days[-1])]
        absent = life[~np.isin(life, days)]
        if len(absent):
            after = int(np.searchsorted(days, absent[0]))
            found.append(
                f"{table.where(int(bars.rows[after]))}: before it{_of(bars)} has no bar on "
                f"{np.datetime64(int(absent[0]), 'D')}, a session of {name}; {len(absent)} such bars are not there"
            )
    more = len(found) - MOST_NAMED
    return found[:MOST_NAMED] + ([f"there are {more} more such notes of the calendar"] if more > 0 else [])


def _days(bars: Bars) -> NDArray[np.int64]:
    days = days_of(bars.ticks, bars.clock)
    if days is None:
        raise DataError("a calendar needs dates, but rows only count, expected a column of times: name it")
    return days


def _span(sequences: Sequence[Bars]) -> tuple[int, int]:
    days = [_days(bars) for bars in sequences]
    return min(int(d[0]) for d in days), max(int(d[-1]) for d in days)


def check_inputs(table: Table, sequences: Sequence[Bars], columns: BarColumns, ends: Sequence[int]) -> list[str]:
    """Inputs that know a return to come better than anything does.

    Args:
        table, sequences, columns: the data.
        ends: where the training part of each asset ends: what comes after it is not looked at.

    Raises:
        LeakageError: one is that return.
    """
    notes = []
    for k, name in enumerate(columns.inputs):
        for shift in (1, 2, 5, 21):
            pairs = [_pair(bars, end, k, shift) for bars, end in zip(sequences, ends, strict=True)]
            x, y = (np.concatenate(both) for both in zip(*pairs, strict=True))
            there = np.isfinite(x) & np.isfinite(y)
            if there.sum() < 60 or np.ptp(x[there]) == 0:
                continue
            r = abs(float(np.corrcoef(_ranks(x[there]), _ranks(y[there]))[0, 1]))
            if r > SURE:
                row = table.where(int(sequences[0].rows[0]))
                raise LeakageError(
                    f"{row} and after: the input {name!r} goes with the return over the next {shift} bars (correlation "
                    f"{r:.2f}), which nobody knows at that bar: leave it out, or move it to when it is known"
                )
            if r > KNOWING:
                notes.append(
                    f"the input {name!r} tells more of the next {shift} bars than inputs do (correlation {r:.2f}): is "
                    "it known at the close of its bar?"
                )
                break
    return notes


def _pair(bars: Bars, end: int, k: int, shift: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An input, and the return over the next bars less what the last return says."""
    log = bars.tape.log[:end]
    return bars.inputs[: max(0, end - shift), k], log[shift:] - log[: max(0, end - shift)]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)


def survivors_in(sequences: Sequence[Bars]) -> str:
    """What is to be said of assets that are no more."""
    last = max(int(s.ticks[-1]) for s in sequences)
    gone = [s for s in sequences if s.ticks[-1] < last]
    if len(sequences) == 1:
        return "One asset, which is still there: whoever chose it knew that it would be."
    if gone:
        names = ", ".join(s.name for s in gone[:MOST_NAMED])
        return f"{len(gone)} of {len(sequences)} assets end before the others ({names}): losers are in the data."
    return (
        f"All {len(sequences)} assets live to the last bar: they are survivors, chosen by who knew the end. What they "
        "earned could not be earned by choosing at the beginning; compare with the same assets held, not with an index."
    )
