"""PyArrow's ways to what the standard library would give: each is sure to be the same, or says None.

They are for large tables: a small one is read before PyArrow is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import MissingExtraError

MANY = 20_000  # rows
_YEAR_1 = -62135596800  # Python's first time, in seconds since 1970
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


def pyarrow(what: str) -> Any:
    """PyArrow with its readers.

    Raises:
        MissingExtraError: it is not installed; `what` is what it was wanted for.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(what, "pyarrow", "data") from error
    return pyarrow


class TextColumns(Mapping[str, NDArray[Any]]):
    """Columns of text held by Arrow, each an array of str once it is asked for; and others, as they are.

    Attributes:
        arrow: Arrow's strings, by name.
    """

    def __init__(self, arrow: Mapping[str, Any], others: Mapping[str, NDArray[Any]] | None = None) -> None:
        self.arrow, self.names = dict(arrow), (*(others or {}), *arrow)
        self._arrays: dict[str, NDArray[Any]] = dict(others or {})

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = np.array(self.arrow[name].to_pylist(), dtype=object)
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def strings(cells: NDArray[Any]) -> Any:
    """An array of str as Arrow's strings; None where it is short or has other things, or PyArrow is not installed."""
    if len(cells) < MANY:
        return None
    try:
        pa = pyarrow("text")
        return pa.chunked_array([pa.array(cells, pa.string())])
    except (MissingExtraError, TypeError, ValueError):
        return None


def codes(cells: Any) -> tuple[list[str], NDArray[np.int64]] | None:
    """The different ones of Arrow's strings, blanks around them apart, in the order in which they first come, and which
    of them each is [T]; None where one is missing."""
    pc = pyarrow("text").compute
    found = pc.dictionary_encode(pc.utf8_trim_whitespace(cells)).combine_chunks()
    names = found.dictionary.to_pylist()
    if found.null_count or "" in names:
        return None
    return names, found.indices.to_numpy()


def numbers(cells: Any, missing: Collection[str]) -> NDArray[np.float64] | None:
    """Arrow's strings as float64 [T], NaN for the words that mean a missing value; None where one may be no number."""
    pa = pyarrow("numbers")
    found = _finite(_cast(cells, pa.float64()))
    if found is None:
        pc = pa.compute
        cells = pc.ascii_trim_whitespace(cells)
        empty = pc.is_in(pc.ascii_lower(cells), value_set=pa.array(sorted(missing)))
        found = _finite(_cast(pc.if_else(empty, None, cells), pa.float64()))
    return found


def _finite(column: Any) -> NDArray[np.float64] | None:
    """Numbers as an array, NaN for nulls; None where there are none, or others that are not finite."""
    if column is None:
        return None
    found = _array(pyarrow("numbers").compute.fill_null(column, np.nan))
    return found if int(np.isfinite(found).sum()) == len(found) - column.null_count else None


def seconds(cells: Any) -> tuple[NDArray[np.int64], list[str]] | None:
    """Arrow's strings, such as 2024-12-31 23:30 or 2024/12/31T23:30+01:00, as seconds since 1970.

    Returns:
        int64 [T], in UTC where the times have offsets from it; and texts that have all of these offsets, none where
        the times have none. None where one may be no time, or only some have offsets.
    """
    pa = pyarrow("times")
    clean = pa.compute.replace_substring(pa.compute.ascii_trim_whitespace(cells), "/", "-")
    zone, found = None, _cast(clean, pa.timestamp("s"))
    if found is None:
        zone, found = "UTC", _cast(clean, pa.timestamp("s", "UTC"))
    if found is None or found.null_count:
        return None
    times = _array(found.cast(pa.int64()))
    if times.min(initial=_YEAR_1) < _YEAR_1:
        return None
    ends = pa.compute.utf8_slice_codeunits(clean, -6, None) if zone else clean[:0]
    return times, [clean[pa.compute.index(ends, end).as_py()].as_py() for end in ends.unique()]


def _cast(cells: Any, kind: Any) -> Any:
    """Arrow's strings as something else; None where one is none."""
    try:
        return cells.cast(kind)
    except ValueError:
        return None


def _array(column: Any) -> NDArray[Any]:
    """A copy of a column of numbers without nulls; Arrow's own way to NumPy imports pandas."""
    return np.array(np.from_dlpack(column.combine_chunks()))


def csv_cells(content: bytes, names: Sequence[str], separator: str) -> tuple[TextColumns, NDArray[np.int64]] | None:
    """The cells of a CSV file below its header, and the line that each row ends on, counted from 1.

    None where PyArrow is not installed, and where the csv module would find a fault or other cells: lone carriage
    returns, quotes that do not stand at the ends of a cell, lines with more or fewer cells, what is no UTF-8.
    """
    try:
        pa = pyarrow("CSV")
    except MissingExtraError:
        return None
    if not content or content.count(b"\r") != content.count(b"\r\n"):
        return None
    text = np.frombuffer(content, np.uint8)
    quotes, ends = np.flatnonzero(text == _QUOTE), np.flatnonzero(text == _NEWLINE)
    if not _quotes_cells(text, quotes, ord(separator)):
        return None
    if not content.endswith(b"\n"):
        ends = np.append(ends, len(text))
    lines = np.arange(1, len(ends) + 1)
    if len(quotes):
        outside = np.searchsorted(quotes, ends) % 2 == 0
        lines, ends = lines[outside], ends[outside]
    lengths = np.diff(ends, prepend=-1) - 1
    lines = lines[(lengths > 1) | ((lengths == 1) & (text[ends - 1] != _RETURN))]  # empty ones are no rows
    keys = [str(i) for i in range(len(names))]
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            pa.csv.ReadOptions(column_names=keys, use_threads=False),
            pa.csv.ParseOptions(delimiter=separator, newlines_in_values=len(quotes) > 0),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(keys, pa.string())),
        )
    except pa.ArrowException:
        return None
    if table.num_rows != len(lines):
        return None
    return TextColumns(dict(zip(names, table.columns, strict=True))), lines


def _quotes_cells(text: NDArray[np.uint8], quotes: NDArray[np.int64], separator: int) -> bool:
    """Whether quotes come in pairs around whole cells, and otherwise doubled inside of them."""
    if len(quotes) % 2:
        return False
    padded = np.pad(text, 1, constant_values=_NEWLINE)  # text[i] is padded[i + 1]
    before, after = padded[quotes[::2]], padded[quotes[1::2] + 2]
    return bool(
        np.isin(before, (separator, _NEWLINE, _QUOTE)).all()
        and np.isin(after, (separator, _NEWLINE, _RETURN, _QUOTE)).all()
    )
