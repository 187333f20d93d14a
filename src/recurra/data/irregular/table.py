"""`read_event_table`: histories of a table of events, with what its other columns say of each: its label, its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.irregular.reading import Histories, hours_of, read_events
from recurra.data.readers import read_table
from recurra.data.sequences import is_table
from recurra.data.table import Table, as_table
from recurra.errors import DataError


def read_event_table(
    source: Any, *, series: str | None = None, y: Any = None, groups: Any = None, **columns: Any
) -> Histories:
    """Histories with targets and groups.

    Args:
        source, series: as `read_events` takes them.
        y: the name of a column of the table, or a value for each history, in their order or by their names. Where the
            values of a column change within a history, each step has that of its last event; empty: not known.
        groups: likewise; of a history it is that of its first event.
        columns: what else `read_events` takes.

    Raises:
        DataError: as there, or a column or a value is missing.

    >>> table = {"id": ["a", "a", "b"], "t": [0, 1, 0], "what": ["HR"] * 3, "x": [70.0, 80.0, 90.0], "ill": [0, 0, 1]}
    >>> how = {"time": "t", "variable": "what", "value": "x"}
    >>> read_event_table(table, series="id", y="ill", **how).y
    [0, 1]
    """
    table: Table | None = None
    if is_table(source) or (isinstance(source, (str, Path)) and Path(source).suffix.lower() in (".csv", ".parquet")):
        table = read_table(source) if isinstance(source, (str, Path)) else as_table(source)
    named = [value for value in (y, groups) if isinstance(value, str)]
    if named and table is None:
        raise DataError(
            f"events: {named[0]!r} is the name of a column, expected a table of events, or a value for each"
        )
    found = read_events(source if table is None else table, series=series, **columns)
    rows = {} if table is None else {"": np.arange(len(table))} if series is None else table.groups(series)
    if isinstance(y, str) and table is not None:
        times = table.column(columns["time"], "column of events")
        y = _targets(found, rows, times, table.column(y, "column of y"))
    if isinstance(groups, str) and table is not None:
        column = table.column(groups, "column of groups")
        groups = [str(column[rows[name][0]]) for name in found.names]
    return replace(found, y=_by_name("y", y, found.names), groups=_by_name("groups", groups, found.names))


def _targets(
    found: Histories, rows: Mapping[str, NDArray[np.int64]], times: NDArray[Any], column: NDArray[Any]
) -> list[Any]:
    """One for each history, or, where one of them has several, one for each step of all."""
    known = {name: [v for v in column[at].tolist() if not _empty(v)] for name, at in rows.items()}
    if all(len(set(map(str, values))) <= 1 for values in known.values()):
        return [known[name][0] if known[name] else None for name in found.names]
    targets = []
    for name, x in zip(found.names, found.x, strict=True):
        pairs = zip(times[rows[name]].tolist(), column[rows[name]].tolist(), strict=True)
        at = {hours_of(when, name): value for when, value in pairs if not _empty(value)}
        targets.append(np.array([at.get(float(t)) for t in x[:, 0]], object))
    return targets


def _by_name(what: str, values: Any, names: Sequence[str]) -> list[Any] | None:
    if values is None:
        return None
    if isinstance(values, Mapping):
        lost = next((name for name in names if name not in values), None)
        if lost is not None:
            raise DataError(f"{what}: there is none of the history {lost!r}, expected one for each")
        return [values[name] for name in names]
    if len(values) != len(names):
        raise DataError(f"{what}: got {len(values)} for {len(names)} histories, expected one for each")
    return list(values)


def _empty(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())
