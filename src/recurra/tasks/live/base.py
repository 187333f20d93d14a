"""`Live`: an answer after every observation, in the bits of answers to whole sequences; no torch."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recurra.data.table import joined, nearest, number, parts_of
from recurra.errors import DataError, SessionError, SettingError
from recurra.runtime.model import Model
from recurra.runtime.sealed import seal, unseal
from recurra.runtime.session import Session

_KIND = b"RcrF"  # a snapshot's payload is a safetensors file: what each series remembers


@dataclass
class Remembered:
    """One series: what its transform remembers of it, and the network's state."""

    rows: Any
    session: Session
    more: Any = None  # what a task's live session keeps besides: with `state` and `restore`, as rows have


class Begun(dict[str, Remembered]):
    """The series of a live session by their names, so many at most."""

    most: float = math.inf

    def __setitem__(self, name: str, one: Remembered) -> None:
        if len(self) >= self.most and name not in self:
            raise DataError(
                f"there are {len(self)} series in this session, which is the limit, and {name[:40]!r} is one more: end "
                "one, or open another session"
            )
        super().__setitem__(name, one)


class Live(ABC):
    """A transform, a network and a task's decoding at work: observations in, answers out, for any number of series.

    An observation is a dict of the model's columns. What serves models knows no more of a task than this class says.

    Args:
        model: the model, from `recurra.load`.
        transform: makes the network's rows; `transform.live(series)` makes them one at a time.
        keys: the columns that say of which series, and of which time, an observation is.
        names: the other columns of an observation.

    Attributes:
        model, keys: as they were given.
        names: all columns of an observation, the keys first.
        announced: the columns of an announcement, which says what is known of a time to come; none where there is none.
        extra: columns that an observation may have besides, as an operator's word.
        notes: what had to be made up or was missing since somebody last cleared this list.

    Raises:
        SessionError: the network reads sequences in both directions.
    """

    answer: ClassVar[str] = "answer"  # what one is called
    raw: Mapping[str, Any] | None = None  # where numbers alone are an observation: their `type`, as NumPy names it
    announced: Sequence[str] = ()
    extra: Sequence[str] = ()
    reads_anew: ClassVar[bool] = False  # whether it can serve a network of both directions
    timed: bool = False  # whether an observation says its time, by which it is known again

    def __init__(self, model: Model, transform: Any, keys: Sequence[str], names: Sequence[str]) -> None:
        if not self.reads_anew:
            model.program().check_streams("a live session")
        self.model, self._transform = model, transform
        self.keys, self.names = list(keys), [*keys, *names]
        self.notes: list[str] = []
        self._series = Begun()
        self._said: set[str] = set()  # notes that are said once

    @abstractmethod
    def step(self, observation: Mapping[str, Any]) -> Any:
        """Take one observation: the answer, or None where there is none, as to an announcement.

        Raises:
            DataError: it cannot be taken; nothing has changed.
        """

    def steps(self, observation: Any, series: str = "") -> Generator[Any, Any, Any]:
        """`step`, where others take theirs at the same time: see `recurra.tasks.live.stepwise`."""
        yield from ()
        return self.step(observation)

    @property
    @abstractmethod
    def fields(self) -> list[str]:
        """The names of an answer's cells, where it is a line of a table; the keys first."""

    @abstractmethod
    def cells(self, answer: Any) -> list[str]:
        """An answer as the cells of such a line."""

    @abstractmethod
    def to_dict(self, answer: Any) -> dict[str, Any]:
        """An answer, ready for JSON."""

    def empty_line(self) -> bool:
        """Take a line without an observation between two with one: whether that changed anything."""
        return False

    def place(self, observation: Mapping[str, Any]) -> tuple[str, int] | None:
        """The series of an observation and its time as a whole number; None where the task has no times."""
        return None

    def last(self, series: str = "") -> int | None:
        """The time of the last observation of a series, as `place` has it; None before the first."""
        return None

    def announce(self, observation: Mapping[str, Any]) -> bool:
        """Take what is known of a time to come; False where it has passed.

        Raises:
            DataError: nothing can be announced to this model.
        """
        raise DataError("the model has no known-ahead columns: nothing can be announced to it")

    def adapt(self, rate: float) -> None:
        """Have intervals follow how often they hold; before the first observation.

        Raises:
            SettingError: the model's answers have no intervals, or the rate is out of range.
        """
        raise SettingError(f"adapt: a {self.answer} has no interval that could follow, expected a forecaster's model")

    @property
    def apart(self) -> str | None:
        """The column by whose names series are told apart that can be ended; None where there is none."""
        return None

    @property
    def series(self) -> list[str]:
        """The names of the series that there have been so far."""
        return list(self._series)

    def limit(self, series: int) -> None:
        """Take so many series at most; one more is a DataError."""
        self._series.most = series

    def end(self, series: str = "") -> None:
        """Forget a series that has ended; its next observation begins anew."""
        self._series.pop(series, None)

    def states(self, series: str | None = None) -> dict[str, NDArray[np.float32]]:
        """What the network remembers of a series, by name; of none named, of the first; empty before its first step."""
        name = next(iter(self._series), "") if series is None else series
        one = self._series.get(name)
        return {} if one is None else one.session.state

    def snapshot(self) -> bytes:
        """All that it remembers of all series, as bytes, for `restore` in this or another process."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {}
        for i, one in enumerate(self._series.values()):
            arrays |= {f"{i}.{name}": array for name, array in one.rows.state().items()}
            if one.more is not None:
                arrays |= {f"{i}.more.{name}": array for name, array in one.more.state().items()}
            arrays[f"{i}.session"] = np.frombuffer(one.session.snapshot(), np.uint8)
        return seal(_KIND, self._owner(), save(arrays), series=list(self._series), said=sorted(self._said))

    def restore(self, snapshot: bytes, *, version: bool = False) -> None:
        """Go on from a snapshot.

        Args:
            snapshot: from `snapshot`.
            version: whether it may be of another version of the model, trained anew; what the rows remember then stays
                as that version has scaled it.

        Raises:
            SessionError: it is no snapshot, damaged, of another version or of another model; nothing has changed.
        """
        from safetensors import SafetensorError, deserialize

        about, body = unseal(snapshot, _KIND, None if version else self._owner())
        try:
            arrays = {name: _array(tensor) for name, tensor in deserialize(body)}  # type: ignore[no-untyped-call]
            series = Begun()
            series.most = self._series.most
            for i, name in enumerate(about["series"]):
                series[name] = self._restored(f"{i}.", name, arrays, version)
            said = set(map(str, about["said"]))
        except (SafetensorError, DataError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise SessionError(f"restore: the snapshot is inconsistent ({error}): take an older one") from error
        self._series, self._said = series, said

    def _restored(self, prefix: str, name: str, arrays: Mapping[str, NDArray[Any]], version: bool) -> Remembered:
        state = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
        one = self._begun(name)
        one.session.restore(state.pop("session").tobytes(), version=version)
        if one.more is not None:
            one.more.restore({key.removeprefix("more."): a for key, a in state.items() if key.startswith("more.")})
        one.rows.restore(state)
        return one

    def _begun(self, name: str) -> Remembered:
        return Remembered(self._transform.live(name), self.model.session())

    def _series_of(self, observation: Mapping[str, Any], column: str) -> str:
        value = self._cell(observation, column)
        if is_empty(value):
            raise DataError(f"the series {column!r} is missing, expected a name")
        return str(value).strip()

    def _cell(self, observation: Mapping[str, Any], name: str) -> Any:
        parts = parts_of(name, observation)
        if len(parts) > 1:
            return joined(observation[part] for part in parts)
        if name not in observation:
            raise DataError(f"the row has no {name!r}; {nearest(name, observation)}")
        return observation[name]

    def _number(self, observation: Mapping[str, Any], name: str) -> float:
        try:
            value = number(observation.get(name))
        except ValueError:
            raise DataError(f"{name!r} is {str(observation[name])[:40]!r}, expected a number") from None
        if math.isinf(value):
            raise DataError(f"{name!r} is infinite, expected a finite number: leave it empty where it is missing")
        return value

    def _owner(self) -> bytes:
        """What a snapshot belongs to: the network's numbers, and how rows are made for it."""
        transform = json.dumps(self._transform.to_dict(), sort_keys=True)
        return hashlib.sha256(f"{self.model.fingerprint}{transform}".encode()).digest()


def is_empty(value: Any) -> bool:
    """Whether a cell of a line has no text; None is a value, which is missing."""
    return isinstance(value, str) and not value.strip()


def _array(tensor: Mapping[str, Any]) -> NDArray[Any]:
    kind = {"I64": "<i8", "F32": "<f4", "F64": "<f8", "U8": "u1"}[tensor["dtype"]]
    return np.frombuffer(bytes(tensor["data"]), kind).reshape(tensor["shape"])
