"""`Lagged`: rows by which a network says what the next step will be, or rebuilds the one that it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.sequences import Steps
from recurra.data.split import Split
from recurra.data.transform import Standardize, Transform
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Lagged(Transform):
    """Standardized steps, so many steps late, as rows; and the step itself, standardized, as the target.

    With a lag of 1 the output of a step is a forecast of its numbers, from the steps before it: of their changes, so
    that a stream may go where it never was; of what is missing the row has the last number that was there, and a flag.
    With 0 the network sees what it is to rebuild. Before the first step everything is missing.

    Attributes:
        plain: how a step is standardized.
        lag: 0 or 1.
        changes: whether targets are changes since the step of the row.

    >>> steps = Steps("", np.array([[1.0], [3.0]]), np.array(np.nan), "", 0.0)
    >>> learned = Lagged.fit([steps], [Split(2, 2, 2)], ["x"])
    >>> learned.rows(steps, 0, 2).tolist(), learned.targets(steps, 0, 2).tolist()
    ([[0.0, 1.0], [-1.0, 0.0]], [[-1.0], [2.0]])
    """

    plain: Standardize
    lag: int = 1
    changes: bool = False

    @classmethod
    def fit(cls, sequences: Sequence[Steps], splits: Sequence[Split], columns: Sequence[str], lag: int = 1) -> Self:
        """Learn from the training part; every column has a flag, as what is missing may come later."""
        plain = Standardize.fit(sequences, splits, columns)
        return cls(Standardize(plain.inputs, plain.scalers, tuple(range(len(columns)))), lag, lag == 1)

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the numbers of a step."""
        return self.plain.inputs

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """The numbers and their flags."""
        return self.plain.input_size

    @property
    def row_size(self) -> int:  # type: ignore[override]
        """As many."""
        return self.plain.row_size

    def rows(self, sequence: Steps, start: int, stop: int) -> F32:
        """See `Transform`."""
        first = max(0, start - self.lag)
        x = sequence.x[first : stop - self.lag]
        found = self.filled(x, _last_known(sequence.x, first) if self.changes else x[:0])
        return found if first == start - self.lag else np.concatenate([self._nothing[None], found])

    def filled(self, x: NDArray[np.float64], before: NDArray[np.float64]) -> F32:
        """Steps [T, I] standardized, with flags; for changes what is missing is as it was last, first as `before`."""
        found = self.plain.scaled(x)
        if self.changes and np.isnan(x).any():
            held = np.concatenate([before[None], x])
            at = np.maximum.accumulate(np.where(np.isnan(held), 0, np.arange(len(held))[:, None]), 0)
            held = np.take_along_axis(held, at, 0)[1:]
            found[:, : len(self.inputs)] = self.plain.scaled(held)[:, : len(self.inputs)]
        return found

    @property
    def _nothing(self) -> F32:
        """The row before the first step."""
        return self.plain.scaled(np.full(len(self.inputs), np.nan))

    def targets(self, sequence: Steps, start: int, stop: int) -> F32:
        """See `Transform`: [stop - start, I]."""
        return self.targets_of(sequence.x[start:stop], self.rows(sequence, start, stop))

    def targets_of(self, x: NDArray[np.float64], rows: F32) -> F32:
        """What is to be said of the numbers [..., I] of steps whose rows are given; what is missing stays NaN."""
        numbers: F32 = self.plain.scaled(x)[..., : len(self.inputs)].copy()
        numbers[np.isnan(x)] = np.nan
        return numbers - self.base(rows)

    def base(self, rows: F32) -> F32:
        """What outputs are added to [..., I], standardized."""
        numbers = rows[..., : len(self.inputs)]
        return numbers if self.changes else np.zeros_like(numbers)

    def live(self, name: str = "") -> _LiveLagged:
        """See `Transform`."""
        return _LiveLagged(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {**self.plain.to_dict(), "lag": self.lag, "changes": self.changes}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        if described.get("lag") not in (0, 1):
            raise DataError("the model's transform has no lag of 0 or 1: save the model again")
        return cls(Standardize.from_dict(described), int(described["lag"]), bool(described.get("changes", False)))


def _last_known(x: NDArray[np.float64], stop: int) -> NDArray[np.float64]:
    """The last number that is there in each column before a row [I]; NaN where there is none."""
    found = np.full(x.shape[1], np.nan)
    for k in range(x.shape[1]):
        there = stop - 1
        while there >= 0 and np.isnan(x[there, k]):
            there -= 1
        found[k] = x[there, k] if there >= 0 else np.nan
    return found


class _LiveLagged:
    """One step at a time; the row of the last one is kept, and the last numbers that were there."""

    def __init__(self, transform: Lagged) -> None:
        self.transform, self.before = transform, transform._nothing
        self.known = np.full(len(transform.inputs), np.nan)

    def push(self, x: Any) -> F32:
        """The row [R] of a step."""
        numbers = self.transform.plain.numbers(x)
        row: F32 = self.transform.filled(numbers[None], self.known)[0]
        self.known = np.where(np.isnan(numbers), self.known, numbers)
        late, self.before = self.before, row
        return late if self.transform.lag else row

    def state(self) -> dict[str, NDArray[Any]]:
        """The last row and numbers."""
        return {"before": self.before.copy(), "known": self.known.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from it."""
        if state["before"].shape != self.before.shape:
            raise DataError("the last row of the snapshot has another width")
        self.before = state["before"].astype(np.float32)
        self.known = state["known"].astype(np.float64) if "known" in state else np.full(len(self.known), np.nan)
        if self.known.shape != (len(self.transform.inputs),):
            raise DataError("the last numbers of the snapshot have another width")
