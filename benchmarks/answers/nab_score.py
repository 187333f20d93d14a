"""The score of the Numenta Anomaly Benchmark, written anew from what was published of it.

Lavin and Ahmad 2015, "Evaluating Real-time Anomaly Detection Algorithms", section III, with the details of `sweeper.py`
in NAB 1.1.

A detection within a window of an anomaly counts by how early it is, the best one of each window; one outside costs by
how far it is behind the window before it. A window without one costs a whole miss. Of a file the first 15 %, 750 rows
at most, are for settling in. 0 is what nothing gets, 100 what the first row of every window gets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SETTLING, MOST_SETTLING = 0.15, 750
RIGHT, FALSE, MISSED = 1.0, 0.11, 1.0  # the standard profile


@dataclass(frozen=True)
class Stream:
    """A file: its values, and the first and last row of each window.

    Attributes:
        name: its path.
        x: float64 [T].
        windows: rows, both in it.
    """

    name: str
    x: NDArray[np.float64]
    windows: tuple[tuple[int, int], ...]

    @property
    def settling(self) -> int:
        """Rows that nothing is asked of."""
        return min(math.floor(SETTLING * len(self.x)), MOST_SETTLING)


def sigmoid(position: float) -> float:
    """From nearly 1 at -1, the beginning of a window, over 0 at its end to -1 far behind it."""
    return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def worth(stream: Stream) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a detection at each row is worth [T], and the number of its window [T], -1 outside."""
    values, window = np.zeros(len(stream.x)), np.full(len(stream.x), -1)
    before: tuple[int, int] | None = None
    inside = dict(enumerate(stream.windows))
    for row in range(len(stream.x)):
        here = next((k for k, (first, last) in inside.items() if first <= row <= last), None)
        if here is not None:
            first, last = stream.windows[here]
            position = -(last - row + 1) / (last - first + 1)
            values[row], window[row] = sigmoid(position) * RIGHT / sigmoid(-1.0), here
            if row == last:
                before = (first, last)
        elif before is None:
            values[row] = -FALSE
        else:
            values[row] = sigmoid((row - before[1]) / max(1, before[1] - before[0])) * FALSE
    return values, window


def raw(stream: Stream, detected: NDArray[np.bool_], known: tuple[Any, Any] | None = None) -> float:
    """The score of one file, not yet on the scale of 0 to 100."""
    values, window = known or worth(stream)
    rows = np.flatnonzero(detected)
    rows = rows[rows >= stream.settling]
    total = float(values[rows[window[rows] < 0]].sum())
    for k in range(len(stream.windows)):
        best = values[rows[window[rows] == k]]
        if len(best):
            total += float(best.max())
        elif stream.windows[k][1] >= stream.settling:
            total -= MISSED
    return total


def score(streams: Sequence[Stream], detected: Sequence[NDArray[np.bool_]]) -> float:
    """Over all files, 0 to 100; less where false alarms cost more than is found."""
    total = sum(raw(one, found) for one, found in zip(streams, detected, strict=True))
    count = sum(last >= one.settling for one in streams for _, last in one.windows)
    return 100.0 * (total + MISSED * count) / ((RIGHT + MISSED) * count)
