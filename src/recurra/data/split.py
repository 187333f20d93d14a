"""The parts of a series in time: training, validation, test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recurra.data.forecasting.series import Series
from recurra.errors import DataError

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """Where the parts of a series end: rows [0, train_end), [train_end, valid_end) and [valid_end, end).

    >>> split = Split(70, 85, 100)
    >>> split.origins("valid", horizon=5), split.part("test")
    ((70, 80), (85, 100))
    """

    train_end: int
    valid_end: int
    end: int

    def part(self, name: str) -> tuple[int, int]:
        """The first row of a part, and the row after its last."""
        edges = (0, self.train_end, self.valid_end, self.end)
        i = PARTS.index(name)
        return edges[i], edges[i + 1]

    def origins(self, name: str, horizon: int) -> tuple[int, int]:
        """The rows of a part from which to forecast: the row and its next `horizon` rows all lie in the part.

        Rows of earlier parts may be read as context, never as a target. Empty (start == stop) where the part is short.
        """
        start, stop = self.part(name)
        return start, max(start, stop - horizon)


def split_by_time(
    series: Sequence[Series], parts: tuple[float, float, float] = (0.70, 0.15, 0.15), *, horizon: int = 1
) -> list[Split]:
    """One split for each series.

    Several series are cut at the same two times, so that a test never lies before the training of another series; the
    times are such that the parts have these shares of all rows. Rows that only count are cut series by series.

    Raises:
        DataError: the parts are no shares of one, or no series has an origin in each part.

    >>> from recurra.data import as_table, series_of
    >>> split_by_time(series_of(as_table({"y": np.arange(20.0)}), "y"))
    [Split(train_end=14, valid_end=17, end=20)]
    """
    check_horizon(horizon)
    if len(parts) != 3 or not min(parts) > 0 or abs(sum(parts) - 1) > 1e-6:
        raise DataError(f"the parts are {parts}, expected three shares whose sum is 1, such as (0.7, 0.15, 0.15)")
    shares = np.cumsum(parts)[:2]
    if series[0].columns.time is None or len(series) == 1:
        ends = [[round(share * one.observed) for share in shares] for one in series]
    else:
        ticks = np.sort(np.concatenate([one.ticks[: one.observed] for one in series]))
        cuts = [ticks[min(round(share * len(ticks)), len(ticks) - 1)] for share in shares]
        ends = [[int(np.searchsorted(one.ticks[: one.observed], cut)) for cut in cuts] for one in series]
    splits = [Split(a, b, one.observed) for (a, b), one in zip(ends, series, strict=True)]
    for name in PARTS:
        if all(len(range(*split.origins(name, horizon))) == 0 for split in splits):
            longest = max(one.observed for one in series)
            share = min(parts)
            raise DataError(
                f"{longest} rows are too few for a horizon of {horizon}: the {name} part has "
                f"{max(len(range(*s.part(name))) for s in splits)}, expected more than {horizon}: give about "
                f"{int(np.ceil((horizon + 1) / share))} rows or more, or a horizon of at most "
                f"{max(0, int(share * longest) - 1)}"
            )
    return splits


def check_horizon(horizon: int) -> None:
    """Raise DataError unless the horizon is a whole number of steps, 1 to 10,000."""
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or not 1 <= horizon <= 10_000:
        raise DataError(f"the horizon is {horizon!r}, expected a whole number of steps from 1 to 10000")
