"""Tables from files: CSV, which PyArrow only makes faster, and Parquet by PyArrow."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.arrow import TextColumns, csv_cells, pyarrow
from recurra.data.table import MISSING, Table, as_table, check_names
from recurra.errors import DataError

_LARGE = 1 << 20  # bytes; a smaller file is read before PyArrow is imported
_PEEKED = 1 << 16  # bytes in which the header stands
_MARKS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a ZIP file or a spreadsheet",
    b"\x1f\x8b": "gzip",
}


def read_table(path: str | os.PathLike[str]) -> Table:
    """The table in a CSV file (UTF-8, one header line, commas, semicolons or tabs) or in a `.parquet` file.

    Cells of a CSV file stay text until they are asked for as numbers or times, so columns that are not used may hold
    anything. Empty lines and comments, which begin with #, are passed over, and so are empty cells behind a row and a
    line of units below the header.

    Raises:
        DataError: the file is empty, ragged, of another encoding or kind, or has two columns of one name.
        MissingExtraError: a Parquet file, and PyArrow or narwhals is not installed.
        OSError: there is no such file, or it cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/a.csv").write_text("day,y\\n2024-01-01,3\\n2024-01-02,4\\n")
    ...     table = read_table(f"{folder}/a.csv")
    >>> table.numbers("y"), table.where(1)
    (array([3., 4.]), 'a.csv, line 3')
    """
    file = Path(path)
    with file.open("rb") as opened:
        start = opened.read(4)
    if not start:
        raise DataError(f"{file.name}: the file is empty, expected a header line and rows")
    if start == b"PAR1" or file.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(file)
    for mark, kind in _MARKS.items():
        if start.startswith(mark):
            raise DataError(
                f"{file.name}: the file is {kind}, expected CSV in UTF-8 or Parquet: save it as one of these"
            )
    content = file.read_bytes()
    return parse_csv(content, file.name, fast=len(content) > _LARGE)


def _read_parquet(file: Path) -> Table:
    pa = pyarrow("reading a Parquet file")
    with as_parquet(file):
        table = pa.parquet.read_table(file)
    return of_arrow(table, file.name)


@contextlib.contextmanager
def as_parquet(file: Path) -> Iterator[None]:
    """Say in Recurra's words what PyArrow finds wrong with a file.

    Raises:
        DataError: it is no Parquet file.
        OSError: it cannot be read.
    """
    pa = pyarrow("reading a Parquet file")
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if not isinstance(error, pa.ArrowException) and error.errno is not None:
            raise
        short = " ".join(str(error).split())[:200]
        raise DataError(f"{file.name}: no Parquet file ({short}): write it again, or copy it again") from error


def of_arrow(table: Any, source: str, first: int = 0) -> Table:
    """PyArrow's table, whose columns of text stay Arrow's; `first` rows of the file come before it."""
    pa = pyarrow("reading a Parquet file")
    check_names(table.column_names, source)
    texts = {name: table[name] for name in table.column_names if _is_text(pa, table[name].type)}
    rest = table.drop_columns(list(texts))
    if not texts or not rest.column_names:
        return replace(as_table(table, source), first=first)
    numbers = as_table(rest, source)
    texts = {name: column.cast(pa.string()) for name, column in texts.items()}
    return replace(numbers, columns=TextColumns(texts, numbers.columns), first=first)


def _is_text(pa: Any, kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def parse_csv(content: bytes, source: str, *, fast: bool) -> Table:
    """The table in the text of a CSV file.

    The csv module of the standard library says what the rows are, and which line is wrong. PyArrow finds the same rows
    many times as fast where it is installed and sure of them; what it is not sure of is read by the csv module.

    Args:
        content: the text in UTF-8.
        source: what to call it in messages.
        fast: whether PyArrow may be used.

    Raises:
        DataError: see `read_table`.
    """
    lines = _Lines(content, source)
    commented = _begins_with_comments(content)
    first = next((text for text in lines if text.strip() and not (commented and text.startswith("#"))), "")
    separator = delimiter(first)
    rows = lines.rows(first, separator)
    header = next(rows, [])
    if not header:
        raise DataError(f"{source}: the file has no line with text, expected a header line and rows")
    names, begun = check_header(header, f"{source}, line {lines.number}"), lines.number
    columns: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...] = ()
    if _has_units(lines.rest(), separator):
        units = next(rows)
        notes = (f"{source}, line {lines.number}: {', '.join(units)[:60]!r} are units, no row",)
        begun = lines.number
    read = csv_cells(lines.rest(), names, separator) if fast else None
    if read is not None:
        columns, numbers = read[0], read[1] + begun
    else:
        found = [(_fitting(row, names, f"{source}, line {lines.number}"), lines.number) for row in rows]
        cells = np.array([row for row, _ in found], dtype=object).reshape(-1, len(names))
        columns = dict(zip(names, cells.T, strict=True))
        numbers = np.array([number for _, number in found], np.int64)
    if not len(numbers):
        raise DataError(f"{source}: there is a header line and no rows, expected at least one row")
    return Table(columns, source, numbers, separator=separator, notes=notes)


def _has_units(below: bytes, separator: str) -> bool:
    r"""Whether the first line below a header has the units of columns: words where the next line has numbers.

    >>> _has_units(b",MW,C\n2024-01-01,5.1,3\n", ","), _has_units(b"Oslo,NA,3\nRome,5,7\n", ",")
    (True, False)
    """
    lines = below[:_PEEKED].decode("utf-8", "replace").splitlines()[:2]
    if len(lines) < 2:
        return False
    units, values = ([cell.strip() for cell in line.split(separator)] for line in lines)
    if len(units) != len(values) or any(unit[:1].isdigit() or _is_number(unit) for unit in units):
        return False
    said = [value for unit, value in zip(units, values, strict=True) if unit.lower() not in MISSING]
    return any(map(_is_number, said)) and all(value[:1].isdigit() or _is_number(value) for value in said)


def _begins_with_comments(content: bytes) -> bool:
    """Whether lines that begin with # stand before a header, and are not the header themselves."""
    lines = [line for line in content[:_PEEKED].decode("utf-8-sig", "replace").splitlines() if line.strip()]
    below = next((line for line in lines if not line.startswith("#")), "")
    return not any(_is_number(cell) for cell in below.split(delimiter(below)))


def _fitting(row: list[str], names: Sequence[str], where: str) -> list[str]:
    """A row without the empty cells that spreadsheets put behind it."""
    while len(row) > len(names) and not row[-1].strip():
        row = row[:-1]
    if len(row) != len(names):
        raise DataError(f"{where}: {ragged(row, names)}")
    return row


class _Lines(Iterator[str]):
    """The lines of a text, decoded as they are asked for; `number` is that of the last."""

    def __init__(self, content: bytes, source: str) -> None:
        self._opened, self._source, self.number = io.BytesIO(content), source, 0

    def __next__(self) -> str:
        line = next(self._opened)
        self.number += 1
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._source}, line {self.number}: byte {line[error.start]:#04x} is no UTF-8, expected text in "
                "UTF-8: save the file in that encoding"
            ) from error

    def rest(self) -> bytes:
        """What comes after the last line."""
        return self._opened.getvalue()[self._opened.tell() :]

    def rows(self, first: str, separator: str) -> Iterator[list[str]]:
        """The rows from a line on, which has been read; `number` is that of the line on which a row ends."""
        begun: int | None = (
            None  # cells of the header: a line with # before it, or with other than so many, is a comment
        )
        try:
            reader = csv.reader(itertools.chain([first], self), delimiter=separator, strict=True)
            for row in reader:
                if row and not (begun and row[0].startswith("#") and len(row) != begun):
                    begun = begun or len(row)
                    yield row
        except csv.Error as error:
            raise DataError(f"{self._source}, line {self.number}: {error}, expected CSV: check the quotes") from error


def delimiter(header: str) -> str:
    """What separates the columns of a header line: the most frequent of comma, semicolon, tab and bar.

    >>> delimiter("time;Demand;Temperature")
    ';'
    """
    return max(",;\t|", key=header.count)


def check_header(header: Sequence[str], where: str) -> list[str]:
    """The names of the columns.

    Raises:
        DataError: a name comes twice, or the header is all numbers.
    """
    names = [name.strip() or f"column {i}" for i, name in enumerate(header, 1)]
    check_names(names, where)
    if all(_is_number(name) for name in header):
        raise DataError(
            f"{where}: the first line is {','.join(header)[:40]!r}, expected the names of the columns: add them"
        )
    return names


def ragged(row: Sequence[str], names: Sequence[str]) -> str:
    """The middle of a message about a row with too few or too many cells."""
    return f"the row has {len(row)} cells, expected {len(names)}, one for each column of the header: correct the line"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
