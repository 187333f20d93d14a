"""`Ring`: a bounded memory of an endless sequence, whose next rows can be read in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Ring:
    """What was put at row t stays until row t + size takes its place; NaN where nothing was put.

    Rows are held as often as it takes for `following` to be one slice.

    Args:
        size: rows that are remembered.
        ahead: rows that `following` gives.
        width: numbers of a row, or none for a number alone.

    >>> ring = Ring(3, 4)
    >>> for t in range(5):
    ...     ring.put(t, t)
    >>> ring.following(4)  # rows 5, 6, 7, 8 hold what was put three or six rows before
    array([2., 3., 4., 2.], dtype=float32)
    """

    def __init__(self, size: int, ahead: int, *width: int) -> None:
        self.size, self.ahead = size, ahead
        self.array: NDArray[np.float32] = np.full((size + ahead, *width), np.nan, np.float32)

    def put(self, t: int, value: float | np.float32 | NDArray[np.float32], *column: int) -> None:
        """Set row t, or one column of it."""
        places: Any = (slice(t % self.size, None, self.size), *column)
        self.array[places] = value

    def at(self, t: int) -> NDArray[np.float32]:
        """What row t's place holds: a view, or a number where rows are numbers."""
        row: NDArray[np.float32] = self.array[t % self.size]
        return row

    def following(self, t: int) -> NDArray[np.float32]:
        """What the places of rows t + 1 .. t + ahead hold: a view."""
        start = (t + 1) % self.size
        return self.array[start : start + self.ahead]

    @property
    def holes(self) -> bool:
        """Whether there is a place where nothing was put."""
        return bool(np.isnan(self.array[: self.size]).any())
