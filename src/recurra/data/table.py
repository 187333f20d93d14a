"""`Table`: named columns of a file, a frame or an array, which remember where each row came from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data import arrow
from recurra.errors import DataError, MissingExtraError

MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "#na", "nan", "null", "none", "<na>", "nat", "?", "-", "--", "n.a.", "..", "...", ":"}
)  # cells of a text file, in small letters
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?")  # a number whose decimals follow a comma
_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Table:
    """Columns of equal length. Text files keep their cells as text until a column is asked for as numbers.

    Attributes:
        columns: a NumPy array [T] for each name, in order.
        source: what to call it in messages: the file's name, or "the table".
        lines: the line of the file that each row is on [T], or None where rows have no lines.
        zones: the time zones of columns of times that have one; such times are held as UTC.
        index: the name of the column that was a frame's index of times, if any.
        separator: what separated the cells of a text file; where that is a semicolon, a comma may begin decimals.
        notes: what of a file was passed over.
        first: how many rows of the file come before these.
    """

    columns: Mapping[str, NDArray[Any]]
    source: str = "the table"
    lines: NDArray[np.int64] | None = None
    zones: Mapping[str, str] = field(default_factory=dict)
    index: str | None = None
    separator: str = ","
    notes: tuple[str, ...] = ()
    first: int = 0

    def __len__(self) -> int:
        if self.lines is not None:
            return len(self.lines)
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def where(self, row: int) -> str:
        """How a message calls a row: `demand.csv, line 13` or `the table, row 11`."""
        return (
            f"{self.source}, row {self.first + row}" if self.lines is None else f"{self.source}, line {self.lines[row]}"
        )

    def column(self, name: str, role: str = "column") -> NDArray[Any]:
        """A column as it is.

        Raises:
            DataError: there is none of this name; the message has the nearest names.
        """
        self.require(name, role)
        return self.columns[name]

    def require(self, name: str, role: str = "column") -> None:
        """Raise DataError where there is no column of this name; the message has the nearest names."""
        if name not in self.columns:
            raise DataError(f"{self.source}: there is no {role} {name!r}; {nearest(name, self.columns)}")

    def joined(self, name: str) -> Table:
        """With the column `date+time`, where there is none of that name but its parts are there.

        >>> table = Table({"date": np.array(["2024-01-05"]), "hour": np.array(["7:30"])})
        >>> table.joined("date+hour").columns["date+hour"]
        array(['2024-01-05 7:30'], dtype=object)
        """
        parts = parts_of(name, self.columns)
        if len(parts) == 1:
            return self
        columns = {each: self.columns[each] for each in self.columns}
        columns[name] = np.array([joined(row) for row in zip(*(columns[p] for p in parts), strict=True)], object)
        return replace(self, columns=columns)

    def numbers(self, name: str, role: str = "column") -> NDArray[np.float64]:
        """A column as float64 [T], NaN where a value is missing; true and false are 1 and 0.

        Raises:
            DataError: there is no such column, or a value in it is no finite number; the message names the row.

        >>> Table({"y": np.array(["1.5", "NA", "true"])}).numbers("y")
        array([1.5, nan, 1. ])
        """
        self.require(name, role)
        strings = self.strings(name)
        quick = None if strings is None else arrow.numbers(strings, MISSING)
        if quick is not None:
            return quick
        column = self.columns[name]
        if column.dtype.kind in "biuf":
            values = column.astype(np.float64)
        elif column.dtype.kind in "mM":
            raise DataError(f"{self.source}: the {role} {name!r} holds times, expected numbers: name another column")
        else:
            if self.separator == ";":
                column = self._with_points(column, name, role)
            values = np.array([self._number(cell, row, name, role) for row, cell in enumerate(column)], np.float64)
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            raise DataError(
                f"{self.where(int(infinite[0]))}: the {role} {name!r} is infinite, expected a finite number: "
                "leave the cell empty where the value is missing"
            )
        return values

    def groups(self, name: str) -> dict[str, NDArray[np.int64]]:
        """The rows of each series, by its name in a column, in the order in which they first come.

        Raises:
            DataError: there is no such column, or a name is missing; the message names the row.

        >>> Table({"shop": np.array(["b", "a", "b"], object)}).groups("shop")
        {'b': array([0, 2]), 'a': array([1])}
        """
        self.require(name, "series column")
        coded = self._coded(name)
        if coded is not None:
            names, codes = coded
            ends = np.cumsum(np.bincount(codes, minlength=len(names)))[:-1]
            return dict(zip(names, np.split(np.argsort(codes, kind="stable"), ends), strict=True))
        rows: dict[str, list[int]] = {}
        for row, value in enumerate(self.columns[name]):
            series = "" if value is None or value != value else str(value).strip()
            if not series:
                raise DataError(f"{self.where(row)}: the series {name!r} is missing, expected a name in every row")
            rows.setdefault(series, []).append(row)
        return {series: np.array(found) for series, found in rows.items()}

    def _coded(self, name: str) -> tuple[list[str], NDArray[np.int64]] | None:
        """The different names in a column of many, as they come, and which each row has; None: ask row by row."""
        strings = self.strings(name)
        if strings is not None:
            return arrow.codes(strings)
        column = self.columns[name]
        if column.dtype.kind not in "iu":
            return None
        values, first, codes = np.unique(column, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return [str(value) for value in values[order].tolist()], rank[codes]

    def strings(self, name: str) -> Any:
        """A column of text as Arrow's strings; None where it is another, or PyArrow is not installed."""
        if isinstance(self.columns, arrow.TextColumns):
            return self.columns.arrow.get(name)
        column = self.columns[name]
        return arrow.strings(column) if column.dtype.kind in "OU" else None

    def _with_points(self, column: NDArray[Any], name: str, role: str) -> NDArray[Any]:
        """The cells of a column with a point before their decimals, where a comma is there now."""
        commas = [with_point(cell) if isinstance(cell, str) else cell for cell in column]
        if all(a is b for a, b in zip(commas, column, strict=True)):
            return column
        pointed = (row for row, cell in enumerate(column) if isinstance(cell, str) and commas[row] is cell)
        odd = next((row for row in pointed if "." in column[row]), None)
        if odd is not None:
            raise DataError(
                f"{self.where(odd)}: the {role} {name!r} is {str(column[odd])[:40]!r} among numbers with a comma "
                "before their decimals, expected one way for all: write all with a comma, or all with a point"
            )
        return np.array(commas, object)

    def _number(self, cell: Any, row: int, name: str, role: str) -> float:
        try:
            return number(cell)
        except ValueError:
            cure = "correct it, or leave it empty where it is missing"
            if role in ("known-ahead column", "input column"):
                cure = "encode words as numbers, one column of 0 and 1 for each, or name the columns to take"
            elif isinstance(cell, str) and cell.count(",") == 1 and cell.replace(",", "").strip("+- ").isdecimal():
                cure = "write decimals with a point"
            raise DataError(
                f"{self.where(row)}: the {role} {name!r} is {str(cell)[:40]!r}, expected a number: {cure}"
            ) from None


def parts_of(name: str, known: Collection[str]) -> list[str]:
    """The columns that a name means: itself, or both parts of a time such as `date+time`.

    >>> parts_of("day+hour", ["day", "hour"]), parts_of("a+b", ["a+b", "a", "b"])
    (['day', 'hour'], ['a+b'])
    """
    parts = name.split("+")
    return [name] if name in known or not all(part in known for part in parts) else parts


def joined(cells: Iterable[Any]) -> str:
    """The parts of a time as one text; nothing where one is missing.

    >>> joined([np.datetime64("2024-01-05"), "07:30"]), joined(["2024-01-05", None])
    ('2024-01-05 07:30', '')
    """
    said = []
    for cell in cells:
        if cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in MISSING):
            return ""
        said.append(str(cell.astype("datetime64[D]")) if isinstance(cell, np.datetime64) else str(cell).strip())
    return " ".join(said)


def with_point(cell: str) -> str:
    """A number whose decimals follow a comma, with a point; what is none, as it is.

    >>> with_point("1.234,5"), with_point("noon")
    ('1234.5', 'noon')
    """
    text = cell.strip()
    return text.replace(".", "").replace(",", ".") if _COMMA.fullmatch(text) else cell


def number(cell: Any) -> float:
    """A cell as a number; NaN where it is missing.

    Raises:
        ValueError: it is neither.

    >>> number(" 2.5"), number("n/a"), number(True), number(None)
    (2.5, nan, 1.0, nan)
    """
    if cell is None:
        return np.nan
    if isinstance(cell, str):
        text = cell.strip().lower().replace("\u2212", "-")
        if text in MISSING:
            return np.nan
        if text in _TRUTH:
            return _TRUTH[text]
        if "_" in text:  # which Python takes for a separator of thousands
            raise ValueError(cell)
        return float(text)
    try:
        return float(cell)
    except OverflowError:
        raise ValueError("a whole number that no float holds") from None
    except TypeError as error:
        if type(cell).__name__ in ("NAType", "NaTType"):
            return np.nan
        raise ValueError(str(error)) from None


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about a name that is not there.

    >>> nearest("demand", ["Demand", "Time"])
    "did you mean 'Demand'?"
    """
    known = list(names)
    by_small = {n.lower(): n for n in reversed(known)}
    small = str(name).lower()
    begun = [n for n in by_small if small and n.startswith(small)]
    close = begun or difflib.get_close_matches(small, list(by_small), 1)
    if close:
        return f"did you mean {by_small[close[0]]!r}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"expected one of: {shown}"


def check_names(names: Sequence[str], where: str) -> None:
    """Raise DataError where two columns have one name."""
    doubled = [name for i, name in enumerate(names) if name in names[:i]]
    if doubled:
        raise DataError(f"{where}: the column {doubled[0]!r} comes twice, expected different names: rename one")


def as_table(data: Any, source: str = "the table") -> Table:
    """A table of a pandas, Polars or PyArrow frame, a dict of arrays, or a NumPy array [T] or [T, columns].

    The columns of an array are named "0", "1" and so on. The index of a pandas frame is taken along as a column where
    it holds times. Strings that name files are for `read_table`.

    Raises:
        DataError: it is none of these, is empty, or has two columns of one name or of different lengths.
        MissingExtraError: it is a frame, and narwhals is not installed.

    >>> list(as_table(np.zeros((4, 2))).columns)
    ['0', '1']
    """
    if isinstance(data, Table):
        return data
    zones: dict[str, str] = {}
    index = None
    if isinstance(data, np.ndarray):
        if data.ndim not in (1, 2):
            raise DataError(f"{source}: the array has shape {data.shape}, expected [T] or [T, columns]")
        columns = {str(i): column for i, column in enumerate(data.T if data.ndim == 2 else [data])}
    elif isinstance(data, Mapping):
        columns = {str(name): _array(values) for name, values in data.items()}
    else:
        columns, zones, index = _of_frame(data, source)
    table = Table(columns, source, None, zones, index)
    lengths = {name: len(column) for name, column in columns.items() if column.ndim == 1}
    for name, column in columns.items():
        if column.ndim != 1:
            raise DataError(f"{source}: the column {name!r} has shape {column.shape}, expected one value a row")
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: the columns have the lengths {lengths}, expected one length")
    if not len(table):
        raise DataError(f"{source}: it has {len(columns)} columns and no rows, expected at least one row")
    return table


def _array(values: Any) -> NDArray[Any]:
    """Values as an array; what has no common type stays as it is."""
    if isinstance(values, np.ndarray):
        return values
    values = list(values)
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float, bool}:
        return np.array([np.nan if v is None else v for v in values]) if None in values else np.array(values)
    return np.array(values, dtype=object)


def _of_frame(frame: Any, source: str) -> tuple[dict[str, NDArray[Any]], dict[str, str], str | None]:
    """The columns of a frame, the zones of those that have one, and the name of an index of times."""
    kind = type(frame)  # a lazy frame must not be asked itself
    if not hasattr(kind, "columns") and not hasattr(kind, "to_frame"):
        raise DataError(_no_table(frame, source))
    try:
        import narwhals as nw
    except ImportError as error:
        raise MissingExtraError("reading a frame", "narwhals", "data") from error
    given = [] if hasattr(kind, "schema") else list(getattr(frame, "columns", ()))
    labels = [str(name) for name in given]
    check_names(labels, source)
    index = None
    if any(not isinstance(name, str) for name in given):  # numbers, tuples, periods, of pandas
        frame = frame.copy(deep=False)
        frame.columns = labels
    elif hasattr(frame, "name") and not isinstance(frame.name, str) and hasattr(frame, "to_frame"):
        frame = frame.to_frame()
        frame.columns = [str(name) for name in frame.columns]
        kind, labels = type(frame), list(frame.columns)
    if type(frame).__module__.partition(".")[0] == "pandas":
        frame, index = _with_index(frame)
    try:
        wrapped = nw.from_native(frame, allow_series=True)
    except TypeError as error:
        raise DataError(_no_table(frame, source)) from error
    if isinstance(wrapped, nw.Series):
        wrapped = wrapped.to_frame()
    if isinstance(wrapped, nw.LazyFrame):
        wrapped = wrapped.collect()
    columns, zones = {}, {}
    for name in wrapped.columns:
        columns[str(name)], zone = _of_series(wrapped[name])
        if zone:
            zones[str(name)] = zone
    return columns, zones, index


def _with_index(frame: Any) -> tuple[Any, str | None]:
    """A frame of pandas with the times and the named levels of its index as columns, and the name of such times.

    Periods become the times at which they begin.
    """
    frame = frame.to_frame() if hasattr(frame, "to_frame") else frame.copy(deep=False)
    several, index = hasattr(frame.index, "levels"), None
    for level in range(frame.index.nlevels):
        values = frame.index.get_level_values(level)
        is_time = type(values).__name__ in ("DatetimeIndex", "PeriodIndex")
        name = str(values.name if values.name is not None else "time")
        if is_time or (several and values.name is not None):
            index = name if is_time else index
            if name not in frame.columns:
                frame[name] = values
    for name in frame.columns:
        if type(frame[name].dtype).__name__ == "PeriodDtype":
            frame[name] = frame[name].dt.to_timestamp()
    return frame, index


def _no_table(data: Any, source: str) -> str:
    kinds = "a pandas or Polars frame, a dict of arrays or a NumPy array"
    return f"{source}: got a {type(data).__name__}, expected {kinds}"


def _of_series(series: Any) -> tuple[NDArray[Any], str | None]:
    """One column of a frame as an array, and its time zone."""
    import narwhals as nw

    kind = series.dtype
    if kind == nw.Date:
        return series.cast(nw.Datetime("us")).to_numpy().astype("datetime64[us]"), None
    if isinstance(kind, nw.Datetime):
        zone = kind.time_zone
        if zone:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return series.to_numpy().astype("datetime64[us]"), _zone_name(zone)
    if kind == nw.Boolean or kind.is_float() or kind.is_decimal():
        return series.cast(nw.Float64).to_numpy().astype(np.float64), None
    if kind.is_integer():
        return (series.cast(nw.Float64) if series.null_count() else series).to_numpy(), None
    return np.array(series.to_list(), dtype=object), None


def _zone_name(zone: str | None) -> str | None:
    """A zone as `Clock` names it: pandas calls a fixed offset UTC+05:30.

    >>> _zone_name("UTC+05:30"), _zone_name("UTC")
    ('+05:30', 'UTC')
    """
    return zone[3:] if zone is not None and zone.startswith(("UTC+", "UTC-")) else zone
