"""Tables to files: CSV, or Parquet by PyArrow; whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.arrow import pyarrow
from recurra.data.forecasting.clock import Clock
from recurra.files import in_one_move

ROW_GROUP = 1 << 17  # rows of a Parquet file that are written at once


def write_table(path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]], clock: Clock) -> None:
    """Write columns to a `.parquet` file, or to any other name as CSV; numbers to the last bit.

    Times (datetime64) are written as the clock writes them: with their offset from UTC where they have a zone.

    Raises:
        MissingExtraError: a Parquet file, and PyArrow is not installed.
        OSError: the file cannot be written; what was there is untouched.
    """
    write_tables(path, [columns], clock)


def write_tables(path: str | os.PathLike[str], parts: Iterable[Mapping[str, NDArray[Any]]], clock: Clock) -> int:
    """The same of a table that comes in parts, each written before the next is asked for; returns its rows."""
    with in_one_move(path) as file:
        return (_write_parquet if is_parquet(path) else _write_csv)(file, parts, clock)


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a Parquet file."""
    return Path(path).suffix.lower() in (".parquet", ".pq")


def csv_text(columns: Mapping[str, NDArray[Any]], clock: Clock) -> str:
    """Columns as the text of a CSV file.

    >>> print(csv_text({"day": np.array(["2024-01-01"], "M8[s]"), "q0.5": np.array([0.1])}, Clock(dates=True)), end="")
    day,q0.5
    2024-01-01,0.1
    """
    out = io.BytesIO()
    _write_csv(out, [columns], clock)
    return out.getvalue().decode()


def _write_csv(file: IO[bytes], parts: Iterable[Mapping[str, NDArray[Any]]], clock: Clock) -> int:
    text, rows = io.TextIOWrapper(file, encoding="utf-8", newline=""), 0
    writer = csv.writer(text, lineterminator="\n")
    for k, columns in enumerate(parts):
        if not k:
            writer.writerow(columns)
        writer.writerows(zip(*(_cells(column, clock) for column in columns.values()), strict=True))
        rows += len(next(iter(columns.values())))
    text.detach()
    return rows


def _cells(column: NDArray[Any], clock: Clock) -> list[Any]:
    if column.dtype.kind != "M":
        return list(column.tolist())
    times, inverse = np.unique(column, return_inverse=True)
    texts = [clock.text(clock.tick(time)) for time in times]
    return [texts[i] for i in inverse]


def _write_parquet(file: IO[bytes], parts: Iterable[Mapping[str, NDArray[Any]]], clock: Clock) -> int:
    pa, writer, rows, count, waiting = pyarrow("writing a Parquet file"), None, 0, 0, []
    try:
        for columns in parts:
            waiting.append(as_arrow(columns, clock))
            count += len(waiting[-1])
            writer = writer or pa.parquet.ParquetWriter(file, waiting[0].schema)
            if count >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                rows, count, waiting = rows + count, 0, []
        if writer is not None and waiting:
            writer.write_table(pa.concat_tables(waiting))
    finally:
        if writer is not None:
            writer.close()
    return rows + count


def as_arrow(columns: Any, clock: Clock) -> Any:
    """Columns as PyArrow's table; what is one stays as it is."""
    if not isinstance(columns, Mapping):
        return columns
    pa = pyarrow("writing a Parquet file")
    arrays = {}
    for name, column in columns.items():
        if column.dtype.kind == "M":
            unit = "us" if clock.ticks > 1000 else "ms"
            zone = None if clock.dates else clock.zone
            arrays[name] = pa.array(column.astype(f"datetime64[{unit}]"), pa.timestamp(unit, tz=zone))
        else:
            arrays[name] = pa.array(column.tolist() if column.dtype == object else column)
    return pa.table(arrays)
