"""Results as the kind of table that was given."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_frame(columns: Mapping[str, NDArray[Any]], like: Any, zone: str | None = None) -> Any:
    """A pandas or Polars frame where `like` is one, or a column of one, else the columns as they are.

    Args:
        columns: by name; times are datetime64, in UTC where they have a zone.
        like: a frame, or whatever else was given.
        zone: the zone of times in a frame.
    """
    like = like.to_frame() if hasattr(type(like), "to_frame") else like  # a column by itself
    if isinstance(like, (str, bytes, Mapping, np.ndarray)) or not hasattr(like, "columns"):
        return dict(columns)
    try:
        import narwhals as nw
    except ImportError:
        return dict(columns)
    frame = nw.from_native(like, pass_through=True)
    if not isinstance(frame, (nw.DataFrame, nw.LazyFrame)):
        return dict(columns)
    times = [n for n, c in columns.items() if c.dtype.kind == "M"]
    fine = {n: c.astype(_unit(c)) if n in times else c for n, c in columns.items()}
    fine = {n: c.tolist() if c.dtype == object else c for n, c in fine.items()}
    made = nw.from_dict(fine, backend=frame.implementation)
    if zone is not None:
        made = made.with_columns(nw.col(*times).dt.replace_time_zone("UTC"))
        with contextlib.suppress(Exception):  # Polars knows zones by name only; then they stay in UTC, and say so
            made = made.with_columns(nw.col(*times).dt.convert_time_zone(zone))
    return made.to_native()


def as_given(names: NDArray[Any], data: Any, column: str | None) -> NDArray[Any]:
    """Names of series as the column that they came from has them: whole numbers, where these are numbers."""
    try:
        kind = np.asarray(data[column]).dtype
    except (TypeError, KeyError, IndexError):
        return names
    return names.astype(kind) if kind.kind in "iu" else names


def zone_of(frame: Any, column: str | None) -> str | None:
    """The time zone of a frame's column of times, or of its index; None where it has none, or is no frame."""
    if isinstance(frame, (str, bytes, Mapping, np.ndarray)):
        return None
    zone = getattr(getattr(frame, "index", None), "tz", None)
    try:
        import narwhals as nw

        kind: Any = nw.from_native(frame, eager_only=True).schema.get(str(column))
    except (ImportError, TypeError):
        kind = None
    found = getattr(kind, "time_zone", None) or zone
    return None if found is None else str(found)


def _unit(times: NDArray[Any]) -> str:
    """Milliseconds, as far as they tell all of these times."""
    return "datetime64[ms]" if (times == times.astype("datetime64[ms]")).all() else "datetime64[us]"
