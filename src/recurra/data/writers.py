"""Tables to files: CSV, or Parquet by PyArrow; whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.arrow import pyarrow
from recurra.data.forecasting.clock import Clock
from recurra.files import write_atomically


def write_table(path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]], clock: Clock) -> None:
    """Write columns to a `.parquet` file, or to any other name as CSV; numbers to the last bit.

    Times (datetime64) are written as the clock writes them: with their offset from UTC where they have a zone.

    Raises:
        MissingExtraError: a Parquet file, and PyArrow is not installed.
        OSError: the file cannot be written; what was there is untouched.
    """
    if Path(path).suffix.lower() in (".parquet", ".pq"):
        write_atomically(path, _parquet(columns, clock))
    else:
        write_atomically(path, csv_text(columns, clock))


def csv_text(columns: Mapping[str, NDArray[Any]], clock: Clock) -> str:
    """Columns as the text of a CSV file.

    >>> print(csv_text({"day": np.array(["2024-01-01"], "M8[s]"), "q0.5": np.array([0.1])}, Clock(dates=True)), end="")
    day,q0.5
    2024-01-01,0.1
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_cells(column, clock) for column in columns.values()), strict=True))
    return out.getvalue()


def _cells(column: NDArray[Any], clock: Clock) -> list[Any]:
    if column.dtype.kind != "M":
        return list(column.tolist())
    times, inverse = np.unique(column, return_inverse=True)
    texts = [clock.text(clock.tick(time)) for time in times]
    return [texts[i] for i in inverse]


def _parquet(columns: Mapping[str, NDArray[Any]], clock: Clock) -> bytes:
    pa = pyarrow("writing a Parquet file")
    arrays = {}
    for name, column in columns.items():
        if column.dtype.kind == "M":
            unit = "us" if clock.ticks > 1000 else "ms"
            zone = None if clock.dates else clock.zone
            arrays[name] = pa.array(column.astype(f"datetime64[{unit}]"), pa.timestamp(unit, tz=zone))
        else:
            arrays[name] = pa.array(column.tolist() if column.dtype == object else column)
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(arrays), sink)
    return sink.getvalue()
