"""`Static`: what does not change within a series (its region, its size), as numbers beside every row of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.scale import Scaler
from recurra.data.table import MISSING, Table, number
from recurra.errors import DataError

F32 = NDArray[np.float32]
MOST_CATEGORIES = 200

Cells = tuple[float | str | None, ...]


def static_cells(table: Table, names: Sequence[str], rows: NDArray[np.int64], group: str) -> Cells:
    """The one value of each static column in the rows of a series: a number, a word, or None where it is missing.

    Raises:
        DataError: a column has two values within the series, or there is no such column.
    """
    found: list[float | str | None] = []
    for name in names:
        column = table.column(name, "static column")
        cells = {cell_of(column[row]): int(row) for row in reversed(rows)}
        cells.pop(None, None)
        if len(cells) > 1:
            (one, _), (other, row) = sorted(cells.items(), key=lambda item: item[1])[:2]
            raise DataError(
                f"{table.where(row)}: the static column {name!r} is {other!r}, and was {one!r} before in the series "
                f"{group!r}, expected one value for each series: name it as past or known ahead"
            )
        found.append(next(iter(cells), None))
    return tuple(found)


def cell_of(cell: Any) -> float | str | None:
    """A number, a word, or None where it is missing.

    >>> cell_of("2.5"), cell_of(" north"), cell_of(None), cell_of("n/a")
    (2.5, 'north', None, None)
    """
    try:
        value = number(cell)
    except ValueError:
        return str(cell).strip()
    return None if value != value or (isinstance(cell, str) and cell.strip().lower() in MISSING) else value


@dataclass(frozen=True)
class Static:
    """Static columns as numbers: scaled, or a 1 for the category that it is; missing and unknown ones are 0.

    Attributes:
        names: of the columns.
        kinds: of each a scaler, or its categories.
    """

    names: tuple[str, ...] = ()
    kinds: tuple[Scaler | tuple[str, ...], ...] = ()

    @classmethod
    def fit(cls, names: Sequence[str], series: Sequence[Cells]) -> Static:
        """Learn from the cells of each series.

        Raises:
            DataError: a column has more categories than can be told apart.
        """
        kinds: list[Scaler | tuple[str, ...]] = []
        for i, name in enumerate(names):
            known = [cell for cells in series if (cell := cells[i]) is not None]
            numbers = [cell for cell in known if isinstance(cell, float)]
            if known and len(numbers) == len(known):
                kinds.append(Scaler.fit([np.array(numbers)]))
                continue
            words = tuple(sorted({_word(cell) for cell in known}))
            if len(words) > MOST_CATEGORIES:
                raise DataError(
                    f"the static column {name!r} has {len(words)} categories, expected at most {MOST_CATEGORIES}: a "
                    "name of each series tells nothing of another one"
                )
            kinds.append(words)
        return cls(tuple(names), tuple(kinds))

    @property
    def size(self) -> int:
        """How many numbers."""
        return sum(1 if isinstance(kind, Scaler) else len(kind) for kind in self.kinds)

    @property
    def labels(self) -> list[str]:
        """What each number is."""
        found: list[str] = []
        for name, kind in zip(self.names, self.kinds, strict=True):
            found += [name] if isinstance(kind, Scaler) else [f"{name} is {word}" for word in kind]
        return found

    def encode(self, cells: Cells) -> F32:
        """The numbers of a series, float32 [size].

        Raises:
            DataError: a word stands where there were numbers.
        """
        found: list[float] = []
        for name, kind, cell in zip(self.names, self.kinds, cells or (None,) * len(self.names), strict=True):
            if not isinstance(kind, Scaler):
                found += [float(cell is not None and _word(cell) == word) for word in kind]
            elif isinstance(cell, str):
                raise DataError(f"the static column {name!r} is {cell[:40]!r}, expected a number as in training")
            else:
                found.append(0.0 if cell is None else kind.one(cell))
        return np.array(found, np.float32)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to the last bit."""
        kinds = [kind.to_dict() if isinstance(kind, Scaler) else list(kind) for kind in self.kinds]
        return dict(zip(self.names, kinds, strict=True))

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Static:
        """From `to_dict`; raises DataError, KeyError, TypeError or ValueError where that is something else."""
        kinds: list[Scaler | tuple[str, ...]] = []
        for kind in described.values():
            words = isinstance(kind, list) and all(isinstance(word, str) for word in kind)
            if isinstance(kind, list) and (not words or len(set(kind)) < len(kind) or len(kind) > MOST_CATEGORIES):
                raise DataError("the static columns of the model are unreadable: save the model again")
            kinds.append(tuple(kind) if isinstance(kind, list) else Scaler.from_dict(kind))
        return cls(tuple(map(str, described)), tuple(kinds))


def _word(cell: float | str) -> str:
    return cell if isinstance(cell, str) else f"{cell:g}"
