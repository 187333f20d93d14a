"""`walk_forward`: year after year, a split of each asset: what came before, and the year to be judged on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.data.markets.bars import Bars, days_of
from recurra.data.split import Split
from recurra.errors import DataError

PER_YEAR = 252  # bars that count as a year where times are no dates
HOLIDAYS = np.timedelta64(15, "D")
LEAST = 30  # bars of a year that is judged


def walk_forward(sequences: Sequence[Bars], years: int, rolling: bool, gap: int) -> list[list[Split]]:
    """A split of each asset for each year that is judged, by `skfolio.model_selection.WalkForward`.

    The year before the judged one validates; all years before that train, or with `rolling` so many that there are
    `years` in all. All assets are cut at the same times. No year is judged on a bar before `gap` bars after the last
    that something was learned from: between training and validation the task leaves the same gap.

    Args:
        sequences: of all assets.
        years: before the first that is judged, at least 2.
        rolling: whether the first year is left out when one is added.
        gap: bars.

    Raises:
        DataError: there are too few years.
    """
    import pandas as pd
    from skfolio.model_selection import WalkForward

    ticks = np.unique(np.concatenate([s.ticks for s in sequences]))
    days = days_of(ticks, sequences[0].clock)
    how = {"purged_size": gap, "expand_train": not rolling, "reduce_test": True}
    if days is None:
        cut, index = WalkForward(PER_YEAR, years * PER_YEAR, **how), pd.RangeIndex(len(ticks))
    else:
        dates = days.astype("datetime64[D]")
        begun = dates[0].astype("datetime64[Y]").astype("datetime64[D]")
        if dates[0] - begun < HOLIDAYS:  # the year's first session: the year is whole
            dates[0] = begun
        cut, index = WalkForward(1, years, freq="YS", **how), pd.DatetimeIndex(dates)
    try:
        found = list(cut.split(pd.DataFrame({"": np.zeros(len(ticks))}, index=index)))
    except ValueError:
        found = []
    found = [(train, test) for train, test in found if len(test) >= LEAST and len(train) > 2 * LEAST]
    if not found:
        raise DataError(
            f"{len(ticks)} bars are too few for {years} years before the first that is judged (a year is some "
            f"{PER_YEAR} bars), expected at least one year more: give more bars, or fewer `years`"
        )
    folds = []
    for train, test in found:
        judged = ticks[test[0]]
        end = ticks[test[-1]]
        first = ticks[train[0]] if rolling else ticks[0]
        valid = _year_before(ticks, int(test[0]), days)
        folds.append([_split(s, first, valid, judged, end) for s in sequences])
    return folds


def _year_before(ticks: np.ndarray, first: int, days: np.ndarray | None) -> int:
    """Where the year before a judged one begins, as a tick."""
    if days is None:
        return int(ticks[max(0, first - PER_YEAR)])
    return int(ticks[np.searchsorted(days, days[first] - 365)])


def _split(bars: Bars, first: int, valid: int, judged: int, end: int) -> Split:
    """Of one asset; what lies before `first` is kept, as context."""
    begin, a, b = (int(at) for at in np.searchsorted(bars.ticks, [first, valid, judged]))
    return Split(a, b, int(np.searchsorted(bars.ticks, end, "right")), begin)
