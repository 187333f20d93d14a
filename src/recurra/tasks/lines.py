"""Rows from lines of CSV or JSON, and forecasts as lines of the same form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from recurra.data.readers import check_header, delimiter, ragged
from recurra.data.table import nearest
from recurra.errors import DataError
from recurra.tasks.live import Forecast


class LineForm:
    """How the lines of a stream are read and written: JSON objects, or CSV with a header.

    Attributes:
        header: the names of the columns of CSV; empty for JSON.
        separator: what separates the cells of CSV.
    """

    def __init__(self, header: Sequence[str] = (), separator: str = ",") -> None:
        self.header, self.separator = list(header), separator

    @classmethod
    def of(cls, first: str, names: Sequence[str]) -> LineForm:
        """The form of a stream whose first line this is; `names` are the columns that it must have.

        Raises:
            DataError: it is the header of a CSV file that lacks one of them, or no header.

        >>> LineForm.of("time;y", ["time", "y"]).row("2024-01-01;5")
        {'time': '2024-01-01', 'y': '5'}
        """
        if first.lstrip().startswith("{"):
            return cls()
        separator = delimiter(first)
        header = check_header(_cells(first, separator), "line 1")
        for name in names:
            if name not in header:
                raise DataError(f"line 1: there is no column {name!r}; {nearest(name, header)}")
        return cls(header, separator)

    @property
    def is_json(self) -> bool:
        """Whether the lines are JSON."""
        return not self.header

    def is_header(self, line: str) -> bool:
        """Whether a line is the header again."""
        return not self.is_json and line.rstrip("\r\n").split(self.separator) == self.header

    def row(self, line: str) -> dict[str, Any]:
        """A line as a row.

        Raises:
            DataError: it is no JSON object, or has too few or too many cells.
        """
        if self.is_json:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"no JSON ({error}), expected an object such as {{...}}: {_short(line)}") from None
            if not isinstance(row, dict):
                raise DataError(f"{_short(line)} is no JSON object, expected one such as {{...}}")
            return row
        cells = _cells(line, self.separator)
        if len(cells) != len(self.header):
            raise DataError(f"{ragged(cells, self.header)}: {_short(line)}")
        return dict(zip(self.header, cells, strict=True))

    def head(self, names: Sequence[str], horizon: int, levels: Sequence[float]) -> str:
        """The line before the first forecast: of CSV the header, of JSON none.

        >>> LineForm(["time"]).head(["time"], 2, [0.1, 0.5])
        'time,q0.1+1,q0.5+1,q0.1+2,q0.5+2\\n'
        """
        if self.is_json:
            return ""
        numbers = [f"q{level:g}+{n}" for n in range(1, horizon + 1) for level in levels]
        return self._line([*names, *numbers])

    def line(self, forecast: Forecast, series: str | None, time: str) -> str:
        """A forecast as a line: the series, the time of the observation, then quantiles for 1, 2 .. N steps later."""
        if self.is_json:
            row: dict[str, Any] = {} if series is None else {series: forecast.series}
            row[time] = forecast.origin
            columns = forecast.quantiles.T.tolist()
            row |= {f"q{level:g}": values for level, values in zip(forecast.levels, columns, strict=True)}
            return json.dumps(row) + "\n"
        own = [] if series is None else [forecast.series]
        return self._line([*own, forecast.origin, *map(repr, forecast.quantiles.ravel().tolist())])

    def _line(self, cells: Sequence[str]) -> str:
        text = self.separator.join(cells)
        if '"' not in text and text.count(self.separator) == len(cells) - 1 and "\n" not in text:
            return text + "\n"
        out = io.StringIO()
        csv.writer(out, delimiter=self.separator, lineterminator="\n").writerow(cells)
        return out.getvalue()


def _cells(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.rstrip("\r\n").split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except (csv.Error, StopIteration) as error:
        raise DataError(f"no CSV ({error}), expected a whole row on one line: {_short(line)}") from None


def _short(line: str) -> str:
    return repr(line.strip()[:60])
