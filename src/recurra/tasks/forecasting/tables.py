"""Forecasts as a table of the kind that was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.batches import Piece
from recurra.data.forecasting.features import Features
from recurra.data.forecasting.series import Series
from recurra.data.table import Table
from recurra.errors import DataError
from recurra.tasks.frames import as_frame, as_given, zone_of

Columns = dict[str, NDArray[Any]]


class NothingObservedError(DataError):
    """There is no row to go on from."""


def forecasts_of(
    series: Sequence[Series],
    predictor: Any,
    every: bool,
    said: Callable[[NDArray[Any]], Columns],
    each: int = 1,
) -> Columns:
    """The forecasts after the last observed row of each series, or after every one, a row for each horizon.

    Args:
        series: to be forecast.
        predictor: gives quantiles [M, N, Q] after M rows of each of many pieces.
        every: whether after every row.
        said: columns of those quantiles, with `each` times N rows for each of the M.
        each: see `said`.

    Raises:
        NothingObservedError: no row was observed.
    """
    parts: list[Columns] = []
    pieces = [Piece(one, 0 if every else one.observed - 1, one.observed) for one in series if one.observed]
    for (one, start, stop), values in predictor.many(pieces):
        M, N = values.shape[:2]
        ticks = one.step.add(int(one.ticks[0]), np.arange(start, stop + N))
        at = np.arange(stop - start)[:, None] + np.arange(1, N + 1)
        count = M * each * N
        parts.append(
            {
                "series": np.full(count, one.group, dtype=object),
                **({"target": np.full(count, one.variable, dtype=object)} if one.columns.others else {}),
                "origin": np.repeat(one.time[start:stop], each * N),
                "time": one.clock.array(ticks[np.repeat(at, each, 0)].reshape(-1)),
                "horizon": np.tile(np.arange(1, N + 1), M * each),
                **said(values),
            }
        )
    if not parts:
        raise NothingObservedError(
            "predict: no row has a target or a past column, expected some observed rows to go on from"
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def as_it_was_given(columns: Columns, given: Any, features: Features) -> Any:
    """Columns as a frame of the kind that was given, with its zone; as arrays where arrays or a file were."""
    clock, names = features.clock, features.columns
    framed = clock.zone is not None and clock.kind == "time" and not isinstance(given, (str, Path, Mapping, Table))
    if framed and clock.dates:  # of the wall: a frame has instants
        for name in ("origin", "time"):
            walls = columns[name].astype("datetime64[s]").astype(np.int64)
            columns[name] = clock.instants(walls)[0].astype("datetime64[s]")
    columns["series"] = as_given(columns["series"], given, names.series)
    return as_frame(columns, given, (zone_of(given, names.time) or clock.zone) if framed else None)
