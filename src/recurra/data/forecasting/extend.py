"""`extended`: series with rows that have come since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recurra.data.forecasting.series import Series
from recurra.errors import DataError

MOST_LEFT_OUT = 100_000  # rows between what is known and what comes


def extended(known: Sequence[Series], new: Sequence[Series]) -> list[Series]:
    """The known series with the new rows after the last ones that were observed; new series come behind them.

    Rows that were left out are missing. What was known ahead of new rows, and is not said in them, stays known.

    Raises:
        DataError: new rows begin before the known ones end, or off their step, or much later.

    >>> from recurra.data import as_table, series_of
    >>> tables = [as_table({"week": weeks, "y": [1.0, 2.0, 4.0]}) for weeks in ([1, 2, 3], [5, 6, 7])]
    >>> one, two = (series_of(table, "y", time="week") for table in tables)
    >>> extended(one, two)[0].target
    array([ 1.,  2.,  4., nan,  1.,  2.,  4.])
    """
    of_name = {one.name: one for one in new}
    made = [_after(one, of_name.pop(one.name)) if one.name in of_name else one for one in known]
    return [*made, *of_name.values()]


def _after(one: Series, more: Series) -> Series:
    if not one.observed:
        return more
    last, first = int(one.ticks[one.observed - 1]), int(more.ticks[0])
    n, fits = one.step.index(more.ticks[:1], last) if one.columns.time is not None else (np.ones(1, int), [True])
    name = f" of {one.name!r}" if one.name else ""
    if not fits[0] or not 1 <= n[0] <= MOST_LEFT_OUT:
        raise DataError(
            f"update: the new rows{name} begin at {more.clock.text(first)}, expected a time after "
            f"{one.clock.text(last)}, the last that is known, a whole number of steps of {one.step} later"
        )
    begin = one.observed + int(n[0]) - 1
    T = begin + len(more)
    arrays: dict[str, Any] = {}
    for key in ("target", "past", "ahead"):
        before, after = getattr(one, key), getattr(more, key)
        full = np.full((T, *before.shape[1:]), np.nan)
        kept = min(T, len(before)) if key == "ahead" else one.observed
        full[:kept] = before[:kept]
        full[begin:] = np.where(np.isnan(after), full[begin:], after)
        arrays[key] = full
    ticks = one.step.add(int(one.ticks[0]), np.arange(T))
    return replace(one, **arrays, ticks=ticks, observed=begin + more.observed, notes=(*one.notes, *more.notes))
