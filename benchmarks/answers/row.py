"""`Row`: one line of the table, or a few where there is more than one metric; and what its run came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[3] / "shared" / "data"  # beside the repository


class MissingDataError(Exception):
    """The data of a row are not on this machine; the message says which and what to do."""


@dataclass(frozen=True)
class Metric:
    """How a row's answers are judged.

    Attributes:
        name: in the table.
        reach: the value to be reached; None: the row is printed as it is.
        recurrent: the best that was published of a recurrent network on this split; None: nothing comparable is known.
        less: whether less is better.
    """

    name: str
    reach: float | None = None
    recurrent: float | None = None
    less: bool = True

    def reached(self, value: float) -> bool:
        """Whether a value is as good as it is to be, as the table's digits show them."""
        if self.reach is None:
            return True
        ours, goal = float(self.text(value)), float(self.text(self.reach))
        return ours <= goal if self.less else ours >= goal

    @staticmethod
    def text(value: float | None) -> str:
        """Three digits after the point below 10, two above."""
        return "-" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


@dataclass(frozen=True)
class Row:
    """One data set with its known answers.

    Attributes:
        name: on the command line.
        data, split: in words.
        metrics: in the order of the numbers that the three answers give.
        read: the data as the answers take them; raises MissingDataError where they are not there.
        naive, simple, ours: each a number for every metric on the test part.
        tried: what was tried on training data, for where ours falls short.
    """

    name: str
    data: str
    split: str
    metrics: tuple[Metric, ...]
    read: Callable[[], Any]
    naive: Callable[[Any], Sequence[float]]
    simple: Callable[[Any], Sequence[float]]
    ours: Callable[[Any], Sequence[float]]
    tried: str = ""


@dataclass(frozen=True)
class Result:
    """A row's numbers, in the order of its metrics, and how long ours took."""

    row: Row
    naive: tuple[float, ...]
    simple: tuple[float, ...]
    ours: tuple[float, ...]
    minutes: float

    @property
    def reached(self) -> bool:
        """Whether every metric is as good as it is to be."""
        return all(metric.reached(value) for metric, value in zip(self.row.metrics, self.ours, strict=True))


def measure(row: Row) -> Result:
    """Run one row.

    Raises:
        MissingDataError: its data are not there.
    """
    data = row.read()
    naive, simple = tuple(row.naive(data)), tuple(row.simple(data))
    began = time.perf_counter()
    ours = tuple(row.ours(data))
    return Result(row, naive, simple, ours, (time.perf_counter() - began) / 60)


def shared(name: str) -> Path:
    """The path of a file of `../shared/data`.

    Raises:
        MissingDataError: it is not there.
    """
    path = SHARED / name
    if not path.exists():
        raise MissingDataError(f"{path} is not there, expected the data beside the repository: leave the row out")
    return path
