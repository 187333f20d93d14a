"""`read_events`: events (time, variable, value) from tables, folders and archives, with a count of what was odd."""

from __future__ import annotations

import csv
import io
import math
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.readers import read_table
from recurra.data.sequences import Sequences, is_table
from recurra.data.table import as_table, nearest
from recurra.errors import DataError

Floats: TypeAlias = NDArray[np.float64]
Event: TypeAlias = tuple[Any, Any, Any]

ENDINGS = (".txt", ".csv", ".psv")
ARCHIVES = (".tar", ".tar.gz", ".tgz")
COUNTED = {
    "events": "events that are used",
    "unknown": "values that mean unknown: left out",
    "unnamed": "lines with an empty variable name: left out",
    "unreadable": "values that are no numbers: left out",
    "impossible": "values that cannot be, such as a pressure of 0: left out",
    "repeated": "rows that say again, or otherwise, what was said of the same time: the last one is taken",
    "unmeasured": "histories with nothing but what was known at their first time",
    "empty": "histories without any value: kept, with one step that has none",
    "other": "events of variables that were not asked for: left out",
}


@dataclass(frozen=True)
class Histories(Sequences):
    """What was read: of each history x [T, 1 + V], the time of each step and V values, NaN where nothing was measured.

    A step is a time at which something was measured; steps are in the order of time.

    Attributes:
        met: how often what was met, by the keys of `COUNTED`.
    """

    met: dict[str, int] = field(default_factory=dict)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the V values."""
        return self.columns[1:]

    @property
    def notes(self) -> list[str]:
        """What was met, in words."""
        return [f"{self.met[key]:,} {words}" for key, words in COUNTED.items() if self.met.get(key)]

    def only(self, rows: Sequence[int]) -> Histories:
        """Some of the histories, in this order."""

        def of(values: Any) -> Any:
            return None if values is None else [values[i] for i in rows]

        times = None if self.times is None else self.times[list(rows)]
        return replace(
            self,
            names=tuple(self.names[i] for i in rows),
            x=tuple(self.x[i] for i in rows),
            y=of(self.y),
            groups=of(self.groups),
            times=times,
        )


def first_hours(histories: Histories, end: float) -> Histories:
    """The same without what was measured after a time; a history has one step at least.

    >>> found = read_events({"t": [0, 3], "v": ["a", "a"], "x": [1.0, 2.0]}, time="t", variable="v", value="x")
    >>> first_hours(found, 2.0).x[0].tolist()
    [[0.0, 1.0]]
    """
    cut = tuple(x[: max(1, int(np.searchsorted(x[:, 0], end, "right")))] for x in histories.x)
    return replace(histories, x=cut)


def read_events(
    source: Any,
    *,
    series: str | None = None,
    time: str = "Time",
    variable: str = "Parameter",
    value: str = "Value",
    variables: Sequence[str] | None = None,
    leave_out: Sequence[str] = (),
    unknown: Sequence[float] = (),
    positive: Sequence[str] = (),
    groups: Mapping[str, Any] | None = None,
) -> Histories:
    """Histories from events in long form.

    Args:
        source: a long table (a frame, a dict of columns, a CSV or Parquet file) with a row for each event; or a folder
            or a tar archive with such a file (.txt, .csv, .psv) for each history, which is named by its file.
        series: the column that says of which history a row is; None: all are of one, or there is a file for each.
        time, variable, value: the columns of an event. A time is a number, or hours and minutes as "07:30".
        variables: which are taken, in this order; None: all, in the order of their names.
        leave_out: variables that are not taken: numbers of records, and what is known only afterwards.
        unknown: values that mean that nothing is known, such as -1.
        positive: variables of which no value of 0 or less can be.
        groups: of each history what it is of (a patient), by its name: no group is in two parts.

    Raises:
        DataError: there is nothing to read, a column is missing, or a time is none; the message says where.
    """
    met = dict.fromkeys(COUNTED, 0)
    found: dict[str, list[Event]] = {}
    for name, events in _sources(source, series, time, variable, value):
        found.setdefault(name, []).extend(events)
    if not found:
        raise DataError(f"events: {_short(source)} has no files ending in {', '.join(ENDINGS)}, expected one a history")
    dropped, kept = set(leave_out), {}
    for name, events in found.items():
        kept[name] = _checked(events, name, dropped, set(map(float, unknown)), set(positive), met)
    every = sorted({what for events in kept.values() for _, what, _ in events})
    names = list(variables) if variables is not None else every
    said = {str(what).strip() for events in found.values() for _, what, _ in events} if positive else set()
    lost = next((what for what in positive if what not in said), None)
    if lost is not None:
        raise DataError(f"events: there is no variable {lost!r}; {nearest(lost, every)}")
    if not names:
        raise DataError("events: there is no value in any history, expected some")
    number = {what: k + 1 for k, what in enumerate(names)}
    x = tuple(_steps(events, number, met) for events in kept.values())
    of = None if groups is None else [str(groups.get(name, name)) for name in kept]
    return Histories(tuple(kept), x, ("time", *names), None, of, None, met)


def _checked(
    events: Sequence[Event], name: str, dropped: set[str], unknown: set[float], positive: set[str], met: dict[str, int]
) -> list[tuple[float, str, float]]:
    """The events of a history that say something, in the order of time; equal times in the order in which they come."""
    found = []
    for when, what, value in events:
        label = "" if what is None or what != what else str(what).strip()
        if not label:
            met["unnamed"] += 1
        elif label not in dropped:
            at = hours_of(when, name)
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not math.isfinite(number):
                met["unreadable"] += 1
            elif number in unknown:
                met["unknown"] += 1
            elif number <= 0 and label in positive:
                met["impossible"] += 1
            else:
                found.append((at, label, number))
    return sorted(found, key=lambda event: event[0])


def _steps(events: Sequence[tuple[float, str, float]], number: Mapping[str, int], met: dict[str, int]) -> Floats:
    """A row for each time at which something was measured."""
    used = [event for event in events if event[1] in number]
    met["other"] += len(events) - len(used)
    met["events"] += len(used)
    if not used:
        met["empty"] += 1
        return np.concatenate([[[0.0]], np.full((1, len(number)), np.nan)], 1)
    rows: list[dict[str, float]] = []
    times: list[float] = []
    for at, what, value in used:
        if not times or at != times[-1]:
            times.append(at)
            rows.append({})
        met["repeated"] += what in rows[-1]
        rows[-1][what] = value
    met["unmeasured"] += len(times) == 1
    x = np.full((len(times), 1 + len(number)), np.nan)
    x[:, 0] = times
    places = [(t, number[what]) for t, row in enumerate(rows) for what in row]
    x[tuple(np.array(places).T)] = [value for row in rows for value in row.values()]
    return x


def hours_of(when: Any, name: str) -> float:
    """A time as a number; hours and minutes as hours."""
    try:
        if isinstance(when, str) and ":" in when:
            hours, minutes = when.split(":")[:2]
            found = float(hours) + float(minutes) / 60.0
        else:
            found = float(when)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"events of {name!r}: the time is {str(when)[:40]!r}, expected a number, or hours as 07:30")
    return found


def _sources(source: Any, series: str | None, *columns: str) -> Iterator[tuple[str, list[Event]]]:
    """The name and the events of each history, or of each part of one."""
    path = Path(source) if isinstance(source, (str, Path)) else None
    if path is not None and path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS)
        yield from ((p.stem, _lines(p.read_bytes(), str(p), columns)) for p in files)
    elif path is not None and path.name.lower().endswith(ARCHIVES):
        yield from _archived(path, columns)
    elif path is not None or is_table(source):
        table = read_table(path) if path is not None else as_table(source)
        wanted = [table.column(name, "column of events") for name in columns]
        at = {"": np.arange(len(table))} if series is None else table.groups(series)
        for name, rows in at.items():
            yield name, list(zip(*(column[rows].tolist() for column in wanted), strict=True))
    else:
        raise DataError(f"events: got a {type(source).__name__}, expected a table, a file, a folder or a tar archive")


def _archived(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[Event]]]:
    try:
        with tarfile.open(path) as archive:
            members = [m for m in archive if m.isfile() and Path(m.name).suffix.lower() in ENDINGS]
            for member in sorted(members, key=lambda m: m.name):
                file = archive.extractfile(member)
                assert file is not None
                yield Path(member.name).stem, _lines(file.read(), member.name, columns)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path}: no tar archive that can be read ({error})") from None


def _lines(content: bytes, where: str, columns: Sequence[str]) -> list[Event]:
    """The events of one file; an empty one has none."""
    text = content.decode("utf-8", "replace")
    if not text.strip():
        return []
    first = text.split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text), delimiter="|" if "|" in first else "," if "," in first else ";")
    header = [cell.strip() for cell in next(rows)]
    lost = next((name for name in columns if name not in header), None)
    if lost is not None:
        raise DataError(f"{where}: there is no column {lost!r}; {nearest(lost, header)}")
    a, b, c = (header.index(name) for name in columns)
    most = max(a, b, c)
    return [(row[a], row[b], row[c]) for row in rows if len(row) > most]


def _short(source: Any) -> str:
    return str(source)[:80]
