"""`LineFormat`: observations from lines of CSV or JSON, and answers as lines of the same format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from recurra.data.readers import check_header, delimiter, ragged
from recurra.data.table import nearest, parts_of, with_point
from recurra.errors import DataError
from recurra.tasks.live.base import Live


class LineFormat:
    """How the lines of a stream are read and written: JSON, or CSV with a header.

    A line of JSON is an object, or the list of the values of all columns in their order.

    Args:
        names: the columns that an observation has.
        header: the columns of CSV, which may be more and in another order; empty for JSON.
        separator: what separates the cells of CSV; where that is a semicolon, a comma may begin decimals.
        keys: the names that are no numbers.
        extra: columns that an observation may have: taken where they are in the header, too.
    """

    def __init__(
        self,
        names: Sequence[str],
        header: Sequence[str] = (),
        separator: str = ",",
        keys: Sequence[str] = (),
        extra: Sequence[str] = (),
    ) -> None:
        names, keys = _parts(names, header), [*_parts(keys, header), *extra]
        self.names = [*names, *(name for name in extra if name in header and name not in names)]
        self.header, self.separator = list(header), separator
        self._numbers = [name for name in self.names if name not in keys] if separator == ";" else []
        self._places = [self.header.index(name) for name in self.names] if self.header else []

    @classmethod
    def of(cls, first: str, names: Sequence[str], keys: Sequence[str] = (), extra: Sequence[str] = ()) -> LineFormat:
        """The format of a stream whose first line this is.

        Raises:
            DataError: it is the header of a CSV file that lacks one of the names, or no header.

        >>> LineFormat.of("time;y", ["time", "y"]).observation("2024-01-01;5")
        {'time': '2024-01-01', 'y': '5'}
        >>> LineFormat.of("[1, 2]", ["a", "b"]).observation("[3, null]")
        {'a': 3, 'b': None}
        """
        if first.lstrip().startswith(("{", "[")):
            return cls(names)
        separator = delimiter(first)
        header = check_header(_cells(first, separator), "line 1")
        for name in _parts(names, header):
            if name not in header:
                raise DataError(f"line 1: there is no column {name!r}; {nearest(name, header)}")
        return cls(names, header, separator, keys, extra)

    @property
    def is_json(self) -> bool:
        """Whether the lines are JSON."""
        return not self.header

    def is_header(self, line: str) -> bool:
        """Whether a line is the header again."""
        return not self.is_json and line.rstrip("\r\n").split(self.separator) == self.header

    def observation(self, line: str) -> dict[str, Any]:
        """A line as an observation.

        Raises:
            DataError: it is no JSON object or list of all values, or has too few or too many cells.
        """
        if not self.is_json:
            cells = _cells(line, self.separator)
            if len(cells) != len(self.header):
                raise DataError(f"{ragged(cells, self.header)}: {_short(line)}")
            found = {name: cells[place] for name, place in zip(self.names, self._places, strict=True)}
            return found | {name: with_point(found[name]) for name in self._numbers}
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"no JSON ({error}), expected an object such as {{...}}: {_short(line)}") from None
        if isinstance(values, list) and len(values) == len(self.names):
            return dict(zip(self.names, values, strict=True))
        if not isinstance(values, dict):
            raise DataError(
                f"{_short(line)} is no JSON object, expected one such as {{...}}, or a list of {len(self.names)} "
                f"values: {', '.join(self.names[:12])}"
            )
        return values

    def head(self, live: Live) -> str:
        """The line before the first answer: of CSV the header, of JSON none."""
        return "" if self.is_json else self._line(live.fields)

    def line(self, live: Live, answer: Any) -> str:
        """An answer as a line."""
        return json.dumps(live.to_dict(answer)) + "\n" if self.is_json else self._line(live.cells(answer))

    def _line(self, cells: Sequence[str]) -> str:
        text = self.separator.join(cells)
        if '"' not in text and text.count(self.separator) == len(cells) - 1 and "\n" not in text:
            return text + "\n"
        out = io.StringIO()
        csv.writer(out, delimiter=self.separator, lineterminator="\n").writerow(cells)
        return out.getvalue()


def _parts(names: Sequence[str], header: Sequence[str]) -> list[str]:
    """The columns of CSV that have some names, where a time may be in two."""
    return [part for name in names for part in (parts_of(name, header) if header else [name])]


def _cells(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.rstrip("\r\n").split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except (csv.Error, StopIteration) as error:
        raise DataError(f"no CSV ({error}), expected a whole row on one line: {_short(line)}") from None


def _short(line: str) -> str:
    return repr(line.strip()[:60])
