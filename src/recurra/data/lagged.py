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

    With a lag of 1 the output of a step is a forecast of its numbers, from the steps before it; with 0 the network sees
    what it is to rebuild. Before the first step everything is missing.

    Attributes:
        plain: how a step is standardized.
        lag: 0 or 1.

    >>> steps = Steps("", np.array([[1.0], [3.0]]), np.array(np.nan), "", 0.0)
    >>> learned = Lagged.fit([steps], [Split(2, 2, 2)], ["x"])
    >>> learned.rows(steps, 0, 2).tolist(), learned.targets(steps, 0, 2).tolist()
    ([[0.0, 1.0], [-1.0, 0.0]], [[-1.0], [1.0]])
    """

    plain: Standardize
    lag: int = 1

    @classmethod
    def fit(cls, sequences: Sequence[Steps], splits: Sequence[Split], columns: Sequence[str], lag: int = 1) -> Self:
        """Learn from the training part; every column has a flag, as what is missing may come later."""
        plain = Standardize.fit(sequences, splits, columns)
        return cls(Standardize(plain.inputs, plain.scalers, tuple(range(len(columns)))), lag)

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
        found = self.plain.scaled(sequence.x[first : stop - self.lag])
        return found if first == start - self.lag else np.concatenate([self._nothing[None], found])

    @property
    def _nothing(self) -> F32:
        """The row before the first step."""
        return self.plain.scaled(np.full(len(self.inputs), np.nan))

    def targets(self, sequence: Steps, start: int, stop: int) -> F32:
        """See `Transform`: [stop - start, I]."""
        return self.scaled(sequence.x[start:stop])

    def scaled(self, x: NDArray[np.float64]) -> F32:
        """The numbers of steps [..., I] standardized; what is missing stays NaN."""
        numbers: F32 = self.plain.scaled(x)[..., : len(self.inputs)].copy()
        numbers[np.isnan(x)] = np.nan
        return numbers

    def live(self, name: str = "") -> _LiveLagged:
        """See `Transform`."""
        return _LiveLagged(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {**self.plain.to_dict(), "lag": self.lag}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        if described.get("lag") not in (0, 1):
            raise DataError("the model's transform has no lag of 0 or 1: save the model again")
        return cls(Standardize.from_dict(described), int(described["lag"]))


class _LiveLagged:
    """One step at a time; the row of the last one is kept."""

    def __init__(self, transform: Lagged) -> None:
        self.transform, self.before = transform, transform._nothing

    def push(self, x: Any) -> F32:
        """The row [R] of a step."""
        row = self.transform.plain.scaled(self.transform.plain.numbers(x))
        late, self.before = self.before, row
        return late if self.transform.lag else row

    def state(self) -> dict[str, NDArray[Any]]:
        """The last row."""
        return {"before": self.before.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from it."""
        if state["before"].shape != self.before.shape:
            raise DataError("the last row of the snapshot has another width")
        self.before = state["before"].astype(np.float32)
