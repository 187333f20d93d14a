"""Tables from files: CSV by the standard library, Parquet by PyArrow."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from recurra.data.table import Table, as_table
from recurra.errors import DataError, MissingExtraError

_MARKS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a ZIP file or a spreadsheet",
    b"\x1f\x8b": "gzip",
}


def read_table(path: str | os.PathLike[str]) -> Table:
    """The table in a CSV file (UTF-8, one header line, commas, semicolons or tabs) or in a `.parquet` file.

    Cells of a CSV file stay text until they are asked for as numbers or times, so columns that are not used may hold
    anything. Empty lines are passed over.

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
    return _read_csv(file)


def _read_parquet(file: Path) -> Table:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("reading a Parquet file", "pyarrow", "data") from error
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        if not isinstance(error, pa.ArrowException) and error.errno is not None:
            raise
        raise DataError(f"{file.name}: no Parquet file ({_line(error)}): write it again, or copy it again") from error
    names = table.column_names
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{file.name}: the column {name!r} comes twice, expected different names: rename one")
    return as_table(table, file.name)


def _read_csv(file: Path) -> Table:
    with file.open("rb") as opened:
        rows = _rows(file, opened)
        try:
            line, header = next(rows)
        except StopIteration:
            raise DataError(f"{file.name}: the file has no line with text, expected a header line and rows") from None
        names = check_header(header, f"{file.name}, line {line}")
        cells: list[list[str]] = []
        lines: list[int] = []
        for line, row in rows:
            if len(row) != len(names):
                raise DataError(f"{file.name}, line {line}: {ragged(row, names)}")
            cells.append(row)
            lines.append(line)
    if not cells:
        raise DataError(f"{file.name}: there is a header line and no rows, expected at least one row")
    columns = {
        name: np.array(column, dtype=object) for name, column in zip(names, zip(*cells, strict=True), strict=True)
    }
    return Table(columns, file.name, np.array(lines, np.int64))


def _rows(file: Path, raw: Iterable[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line that they end on."""
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for content in raw:
            number += 1
            yield content.decode("utf-8-sig" if number == 1 else "utf-8")

    source = lines()
    try:
        first = next((text for text in source if text.strip()), "")
        reader = csv.reader(itertools.chain([first], source), delimiter=delimiter(first), strict=True)
        yield from ((number, row) for row in reader if row)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.name}, line {number}: byte {error.object[error.start]:#04x} is no UTF-8, expected text in UTF-8: "
            "save the file in that encoding"
        ) from error
    except csv.Error as error:
        raise DataError(f"{file.name}, line {number}: {error}, expected CSV: check the quotes") from error


def delimiter(header: str) -> str:
    """What separates the columns of a header line: the most frequent of comma, semicolon and tab.

    >>> delimiter("time;Demand;Temperature")
    ';'
    """
    return max(",;\t", key=header.count)


def check_header(header: Sequence[str], where: str) -> list[str]:
    """The names of the columns.

    Raises:
        DataError: a name comes twice, or the header is all numbers.
    """
    names = [name.strip() or f"column {i}" for i, name in enumerate(header, 1)]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise DataError(f"{where}: the column {name!r} comes twice, expected different names: rename one")
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


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
