"""`Transform`: what is learned of the training part, and turns sequences into a network's rows, whole or live."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.scale import FARTHEST, Scaler
from recurra.data.sequences import Steps
from recurra.data.split import Split
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]
MOST_COLUMNS = 10_000


class LiveTransform(Protocol):
    """The rows of a transform, one at a time."""

    def push(self, x: Any) -> F32:
        """The network's row [R] of the next step.

        Raises:
            DataError: it cannot be taken; nothing has changed.
        """

    def state(self) -> dict[str, NDArray[Any]]:
        """All that it remembers, by name: copies, for `restore`."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave, in this or another process."""


class Transform(ABC):
    """Rows of numbers for the network, and targets for its loss, of sequences; learned from the training part alone.

    `rows` of a whole sequence and the `live` twin's rows, one at a time, have the same bits.

    Attributes:
        input_size: I, the numbers that the encoder sees in a step.
        row_size: R, all numbers of a row: the encoder's, and what the head sees besides.
        inputs: the names of what it reads of a step.
        fields: how many fields its first numbers are, and the numbers of each; (0, 0) where they are none.
        tables: where the encoder's numbers are ids of symbols, how many there are of each; empty: they are quantities.
    """

    input_size: int
    row_size: int
    inputs: tuple[str, ...]
    fields: tuple[int, int] = (0, 0)
    tables: Sequence[int] = ()

    @abstractmethod
    def rows(self, sequence: Any, start: int, stop: int) -> F32:
        """The network's rows of the steps start .. stop - 1: float32 [stop - start, R]."""

    def seen(self, sequence: Any, start: int, stop: int) -> F32:
        """Of the same rows what the encoder sees: float32 [stop - start, I]."""
        return self.rows(sequence, start, stop)[:, : self.input_size]

    def prepare(self, sequences: Sequence[Any]) -> None:  # noqa: B027  (nothing, if it costs the same)
        """Make ready for some sequences what costs less for many than for each, before their rows are asked for."""

    @abstractmethod
    def targets(self, sequence: Any, start: int, stop: int) -> F32:
        """What the loss compares the outputs of these steps with: float32 [stop - start, ...]; NaN where missing."""

    @property
    def quantities(self) -> int:
        """How many of a row's first numbers are quantities, which training may add noise to; the rest are flags."""
        return len(self.inputs)

    def varied(self, sequence: Any, stop: int, rng: np.random.Generator) -> tuple[F32, F32] | None:
        """Rows [T, R] and targets of a sequence up to `stop` as it might have been, for training; T may be another.
        None: training reads it as it is."""
        return None

    @abstractmethod
    def live(self, name: str = "") -> LiveTransform:
        """The same rows of a sequence, one at a time."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """As JSON, to the last bit: part of a model file."""

    @classmethod
    @abstractmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`.

        Raises:
            DataError: it is not what `to_dict` writes.
        """


@dataclass(frozen=True)
class Standardize(Transform):
    """Each number less its mean, over its deviation, both of the training part; and flags for what may be missing.

    A row has the I numbers, 0 where one is missing, and then a flag, 1 where it is missing, for each column that had
    missing values in training.

    Attributes:
        inputs: the names of the numbers of a step.
        scalers: one for each.
        flags: the columns, by number, that have a flag.
        target: the scaler of the target; None where it is no quantity.

    >>> steps = Steps("", np.array([[1.0], [3.0], [np.nan]]), np.array(5.0), "", 0.0)
    >>> learned = Standardize.fit([steps], [Split(3, 3, 3)], ["x"])
    >>> learned.rows(steps, 0, 3).tolist()
    [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> learned.live().push([3.0]).tolist()
    [1.0, 0.0]
    """

    inputs: tuple[str, ...]
    scalers: tuple[Scaler, ...]
    flags: tuple[int, ...] = ()
    target: Scaler | None = None

    @classmethod
    def fit(
        cls, sequences: Sequence[Steps], splits: Sequence[Split], columns: Sequence[str], quantity: bool = False
    ) -> Self:
        """Learn from the training part.

        Args:
            sequences, splits: of the data.
            columns: the names of the I numbers.
            quantity: whether the target is one, to be scaled too.

        Raises:
            DataError: a column has no value at all in training.
        """
        train = [(s, split.train_end) for s, split in zip(sequences, splits, strict=True) if split.train_end]
        rows = np.concatenate([s.x[:end] for s, end in train])
        missing = np.isnan(rows)
        empty = np.flatnonzero(missing.all(0))
        if len(empty):
            raise DataError(
                f"sequences: the column {columns[empty[0]]!r} has no value in the training part, expected some: leave "
                "it out"
            )
        target = None
        if quantity:
            target = Scaler.fit([np.ravel(s.target[..., :end] if s.target.ndim else s.target) for s, end in train])
        scalers = tuple(Scaler.fit([column]) for column in rows.T)
        return cls(tuple(columns), scalers, tuple(np.flatnonzero(missing.any(0)).tolist()), target)

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """I: the numbers and the flags."""
        return len(self.scalers) + len(self.flags)

    @property
    def row_size(self) -> int:  # type: ignore[override]
        """R: the encoder sees all of a row."""
        return self.input_size

    def rows(self, sequence: Steps, start: int, stop: int) -> F32:
        """See `Transform`."""
        return self.scaled(sequence.x[start:stop])

    @cached_property
    def _numbers(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Centers and scales of the columns, and those that have a flag."""
        centers, scales = (np.array([getattr(s, name) for s in self.scalers]) for name in ("center", "scale"))
        return centers, scales, np.array(self.flags, np.int64)

    def scaled(self, x: NDArray[np.float64]) -> F32:
        """The rows [..., R] of steps [..., I]; one and many have the same bits."""
        centers, scales, flags = self._numbers
        scaled = (x - centers) / scales
        np.minimum(scaled, FARTHEST, out=scaled)
        z: F32 = np.maximum(scaled, -FARTHEST, out=scaled).astype(np.float32, order="C")
        missing = z != z
        np.copyto(z, 0.0, where=missing)
        return np.concatenate([z, missing[..., flags]], -1, dtype=np.float32) if len(flags) else z

    def targets(self, sequence: Steps, start: int, stop: int) -> F32:
        """See `Transform`; the target of a whole sequence is that of its last step."""
        y = sequence.target
        if y.ndim == 0:
            y = np.concatenate([np.full(len(sequence) - 1, np.nan), y[None]])
        return self.target.many(y[start:stop]) if self.target else y[start:stop].astype(np.float32)

    def live(self, name: str = "") -> _LiveStandardize:
        """See `Transform`."""
        return _LiveStandardize(self)

    def numbers(self, x: Any) -> NDArray[np.float64]:
        """One step [I] from numbers in the order of the columns, or from a mapping by their names; None is missing.

        Raises:
            DataError: something is no number, or there are more or fewer.
        """
        if (
            type(x) is np.ndarray
            and x.dtype == np.float64
            and x.shape == (len(self.inputs),)
            and math.isfinite(x.sum())
        ):
            return x
        if isinstance(x, Mapping):
            unknown = [name for name in x if name not in self.inputs]
            if unknown:
                raise DataError(f"a step: there is no column {unknown[0]!r}, expected {', '.join(self.inputs[:12])}")
            x = [x.get(name) for name in self.inputs]
        try:
            step = np.array([math.nan if v is None else v for v in np.atleast_1d(np.asarray(x, object))], np.float64)
        except (TypeError, ValueError):
            raise DataError(f"a step: {str(x)[:60]} has something that is no number, expected numbers") from None
        if step.shape != (len(self.inputs),):
            raise DataError(
                f"a step has {step.size} numbers, expected {len(self.inputs)}: {', '.join(self.inputs[:12])}"
            )
        if np.isinf(step).any():
            raise DataError("a step has an infinite value, expected numbers, or NaN where one is missing")
        return step

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {
            "inputs": list(self.inputs),
            "scalers": [s.to_dict() for s in self.scalers],
            "flags": list(self.flags),
            "target": self.target and self.target.to_dict(),
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            inputs = tuple(str(name) for name in described["inputs"])
            scalers = tuple(Scaler.from_dict(s) for s in described["scalers"])
            flags = tuple(int(k) for k in described["flags"])
            target = described["target"] and Scaler.from_dict(described["target"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the model's transform is unreadable ({error}): save the model again") from error
        if not 0 < len(inputs) == len(scalers) <= MOST_COLUMNS or list(flags) != sorted(
            set(flags) & {*range(len(inputs))}
        ):
            raise DataError("the model's transform contradicts itself: save the model again")
        return cls(inputs, scalers, flags, target)


class _LiveStandardize:
    """One step at a time; nothing is remembered."""

    def __init__(self, transform: Standardize) -> None:
        self.transform = transform
        self.centers, self.scales, flags = transform._numbers
        self.zeros, self.high = np.zeros(len(self.centers)), np.full(len(self.centers), FARTHEST)
        self.low, self.plain = -self.high, not len(flags)

    def push(self, x: Any) -> F32:
        """The row [R] of a step: numbers in the order of the columns, or a mapping by their names."""
        if not (self.plain and type(x) is np.ndarray and x.dtype == np.float64 and x.shape == self.zeros.shape):
            x = self.transform.numbers(x)
        if not self.plain or x.dot(self.zeros) != 0.0:  # something is missing or infinite
            return self.transform.scaled(self.transform.numbers(x))
        z = x - self.centers  # as in `scaled`, with arrays that are there: a scalar costs NumPy more than the work
        z /= self.scales
        np.minimum(z, self.high, out=z)
        row: F32 = np.maximum(z, self.low, out=z).astype(np.float32)
        return row

    def state(self) -> dict[str, NDArray[Any]]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """From nothing."""
