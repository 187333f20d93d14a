"""`Served`: a model under a name, as a server sees it: states that take inputs and give answers.

There are two kinds. A model of a task has its own `Live`: an input is an observation, an answer what the task decodes,
as JSON. Any other is a program: an input is a row of numbers (or one whole number), an answer a row of numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError, RecurraError, SessionError
from recurra.runtime.model import Model
from recurra.serve.faults import Fault, ServeError

if TYPE_CHECKING:
    from recurra.runtime.session import Session
    from recurra.serve.held import Work
    from recurra.tasks.live.base import Live

_JSON = msgspec.json.Encoder()
_FEW = 6  # sessions that are run one after the other: fewer steps are as fast alone
AT_ONCE = 512  # steps of one frame that are taken in one turn, so that a long one lets others in


class Served(ABC):
    """A model under a name.

    Attributes:
        name, model: as given.
        takes_json: whether an input of a binary frame is JSON; else it is numbers.
        fingerprint: of the model, 32 bytes.
    """

    takes_json: ClassVar[bool]

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model = name, model
        self.fingerprint = bytes.fromhex(model.fingerprint)

    @abstractmethod
    def begin(self) -> Any:
        """A state at its beginning."""

    @abstractmethod
    def read(self, steps: Sequence[Any]) -> bytes:
        """Inputs of JSON as bytes.

        Raises:
            ServeError: they do not fit.
        """

    @abstractmethod
    def count(self, inputs: bytes) -> int:
        """How many steps these inputs are of.

        Raises:
            ServeError: they are of no whole number of steps, or cannot be read.
        """

    @abstractmethod
    def cut(self, inputs: bytes, steps: int) -> bytes:
        """Inputs without their first steps."""

    @abstractmethod
    def take(self, works: Sequence[Work]) -> None:
        """Take some steps of each of these works, whose sessions are all different: `Work.taken` of each."""

    @abstractmethod
    def json(self, records: Sequence[bytes]) -> Any:
        """Records of answers, ready for JSON."""

    @abstractmethod
    def binary(self, records: Sequence[bytes]) -> bytes:
        """Records of answers as the body of a binary frame."""

    @abstractmethod
    def snapshot(self, state: Any) -> bytes:
        """A state as bytes."""

    @abstractmethod
    def restore(self, snapshot: bytes) -> Any:
        """A state from its bytes.

        Raises:
            SessionError: they are of another model, or damaged.
        """

    @abstractmethod
    def states(self, state: Any) -> dict[str, list[float]]:
        """What the network remembers, by name."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a client needs to know of it."""


class Program(Served):
    """A model of no task: rows of numbers in, rows of numbers out."""

    takes_json = False

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name, model)
        self.program = model.program()
        self.program.check_streams(f"serve {name}")
        self.width, self.ids = self.program.input_size, bool(self.program.vocabulary_size)
        self.dtype = np.dtype("<i8" if self.ids else "<f4")
        self.row = 8 if self.ids else 4 * self.width
        self._nothing = np.full(self.program.output_size, np.nan, np.float32).tobytes()

    def begin(self) -> Session:
        """See `Served`."""
        return self.program.session()

    def read(self, steps: Sequence[Any]) -> bytes:
        """See `Served`."""
        wanted = "a whole number" if self.ids else f"a list of {self.width} numbers or null"
        try:
            if self.ids:
                if not all(type(step) is int for step in steps):
                    raise ValueError("a step is no whole number")
                array: NDArray[Any] = np.array(steps, "<i8").reshape(len(steps))
            else:
                rows = [[np.nan if v is None else v for v in (s if isinstance(s, list) else [s])] for s in steps]
                if any(type(v) not in (int, float) for row in rows for v in row):
                    raise ValueError("there is something that is no number")
                with np.errstate(over="ignore"):  # beyond float32 it is infinite
                    array = np.array(rows, "<f4").reshape(len(steps), self.width)
        except (ValueError, TypeError, OverflowError) as error:
            raise ServeError(
                Fault.INVALID, f"an input does not fit ({error}), expected {wanted} for each step"
            ) from None
        inputs = array.tobytes()
        self.count(inputs)
        return inputs

    def count(self, inputs: bytes) -> int:
        """See `Served`."""
        steps, rest = divmod(len(inputs), self.row)
        if rest or not steps:
            raise ServeError(
                Fault.INVALID, f"inputs have {len(inputs)} bytes, expected a multiple of {self.row}: a step"
            )
        if self.ids:
            try:
                self.program.refuse_ids("step", np.frombuffer(inputs, "<i8"))
            except RecurraError as error:
                raise ServeError(Fault.INVALID, str(error)) from None
        return steps

    def cut(self, inputs: bytes, steps: int) -> bytes:
        """See `Served`."""
        return inputs[steps * self.row :]

    def take(self, works: Sequence[Work]) -> None:
        """See `Served`."""
        if all(work.steps == 1 for work in works):  # as mostly
            X = self._array(b"".join([work.inputs for work in works]), len(works))
            self._spread(works, self.program.step_many([work.held.state for work in works], X))
        elif len(works) <= _FEW:
            for work in works:
                self._alone(work)
        else:
            self._together(sorted(works, key=lambda work: -work.left))

    def _alone(self, work: Work) -> None:
        steps, held, size = min(AT_ONCE, work.left), work.held, self.program.output_size * 4
        out = held.state.run(self._array(work.inputs[work.done * self.row : (work.done + steps) * self.row], steps))
        content, stride = out.tobytes(), self.program.stride
        answers = (content[at : at + size] for at in range(0, len(content), size))
        work.taken([b"" if (held.steps + i) % stride else next(answers) for i in range(steps)])

    def _together(self, works: Sequence[Work]) -> None:
        """The longest first, so that those that still run at a step are the first rows."""
        counts, size = [min(AT_ONCE, work.left) for work in works], self.program.output_size
        T, N = counts[0], len(works)
        X = np.zeros((T, N) if self.ids else (T, N, self.width), self.dtype)
        for j, (work, n) in enumerate(zip(works, counts, strict=True)):
            X[:n, j] = self._array(work.inputs[work.done * self.row : (work.done + n) * self.row], n)
        out = np.empty((T, N, size), np.float32)
        sessions, running = [work.held.state for work in works], N
        for t in range(T):
            while counts[running - 1] <= t:
                running -= 1
            self.program.step_many(sessions[:running], X[t, :running], out[t, :running])
        for j, (work, n) in enumerate(zip(works, counts, strict=True)):
            content, start, stride = out[:n, j].tobytes(), work.held.steps, self.program.stride
            work.taken([b"" if (start + i) % stride else content[4 * size * i : 4 * size * (i + 1)] for i in range(n)])

    def _spread(self, works: Sequence[Work], out: NDArray[np.float32]) -> None:
        content, size, stride = out.tobytes(), 4 * self.program.output_size, self.program.stride
        for i, work in enumerate(works):
            work.taken([b"" if work.held.steps % stride else content[size * i : size * (i + 1)]])

    def _array(self, inputs: bytes, steps: int) -> NDArray[Any]:
        array = np.frombuffer(inputs, self.dtype)
        return array if self.ids else array.reshape(steps, self.width)

    def json(self, records: Sequence[bytes]) -> Any:
        """See `Served`; what is no number is null."""
        return [np.frombuffer(record, "<f4").tolist() if record else None for record in records]

    def binary(self, records: Sequence[bytes]) -> bytes:
        """See `Served`; a step that has no answer is a row of NaN."""
        return b"".join([record or self._nothing for record in records])

    def snapshot(self, state: Session) -> bytes:
        """See `Served`."""
        return state.snapshot()

    def restore(self, snapshot: bytes) -> Session:
        """See `Served`."""
        session = self.program.session()
        session.restore(snapshot)
        return session

    def states(self, state: Session) -> dict[str, list[float]]:
        """See `Served`."""
        return {name: array.tolist() for name, array in state.state.items()}

    def describe(self) -> dict[str, Any]:
        """See `Served`."""
        return {
            "name": self.name,
            "kind": "program",
            "fingerprint": self.fingerprint.hex(),
            "inputs": dict(self.program.inputs),
            "vocabulary": self.program.vocabulary_size,
            "input_size": self.width,
            "output_size": self.program.output_size,
            "fields": [f"y{i}" for i in range(self.program.output_size)],
            "stride": self.program.stride,
        }


class Decoder(Served):
    """A model of a task: observations in, answers out, by the task's own `Live`."""

    takes_json = True

    def __init__(self, name: str, model: Model, source: str) -> None:
        from recurra.tasks.estimator import opened

        super().__init__(name, model)
        self._task, self._transform = opened(model, source)
        self._first = self.begin()

    def begin(self) -> Live:
        """See `Served`."""
        return self._task.live(self.model, self._transform)

    def read(self, steps: Sequence[Any]) -> bytes:
        """See `Served`."""
        return _JSON.encode(steps)

    def count(self, inputs: bytes) -> int:
        """See `Served`."""
        return len(_observations(inputs))

    def cut(self, inputs: bytes, steps: int) -> bytes:
        """See `Served`."""
        return _JSON.encode(_observations(inputs)[steps:])

    def take(self, works: Sequence[Work]) -> None:
        """See `Served`; an observation that cannot be taken ends its frame, and those before it count."""
        for work in works:
            live, records = work.held.state, []
            try:
                for observation in _observations(work.inputs)[work.done : work.done + AT_ONCE]:
                    records.append(self._answer(live, observation))
            except DataError as error:
                work.refused = ServeError(Fault.INVALID, str(error))
            work.taken(records)

    def _answer(self, live: Live, observation: Any) -> bytes:
        live.notes.clear()
        try:
            answer = live.step(observation)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            if isinstance(error, RecurraError):
                raise DataError(str(error)) from error
            raise DataError(f"an observation cannot be taken ({type(error).__name__}: {error})") from error
        said = None if answer is None else live.to_dict(answer)
        return _JSON.encode({"answer": said} | ({"notes": list(live.notes)} if live.notes else {}))

    def json(self, records: Sequence[bytes]) -> Any:
        """See `Served`."""
        return [msgspec.Raw(record) for record in records]

    def binary(self, records: Sequence[bytes]) -> bytes:
        """See `Served`: a list in JSON."""
        return b"[" + b",".join(records) + b"]"

    def snapshot(self, state: Live) -> bytes:
        """See `Served`."""
        return state.snapshot()

    def restore(self, snapshot: bytes) -> Live:
        """See `Served`."""
        live = self.begin()
        live.restore(snapshot)
        return live

    def states(self, state: Live) -> dict[str, list[float]]:
        """See `Served`: of the series that came first."""
        return {name: array.tolist() for name, array in state.states().items()}

    def describe(self) -> dict[str, Any]:
        """See `Served`."""
        live = self._first
        return {
            "name": self.name,
            "kind": "task",
            "task": str(self.model.preprocessing.get("task")),
            "fingerprint": self.fingerprint.hex(),
            "names": list(live.names),
            "keys": list(live.keys),
            "announced": list(live.announced),
            "timed": live.timed,
        }


def _observations(inputs: bytes) -> list[Any]:
    try:
        found = msgspec.json.decode(inputs)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ServeError(Fault.INVALID, f"no JSON ({error}), expected a list of observations") from None
    if not isinstance(found, list) or not found:
        raise ServeError(Fault.INVALID, f"inputs are a {type(found).__name__}, expected a list of observations")
    return found


def open_served(path: Path, name: str) -> Served:
    """A model file as a server serves it.

    Raises:
        ModelFileError, SessionError: it is no model, or one that cannot stream.
        OSError: it cannot be read.
    """
    from recurra.runtime import load

    model = load(path)
    try:
        return Decoder(name, model, str(path)) if "task" in model.preprocessing else Program(name, model)
    except SessionError as error:
        raise SessionError(f"{path}: {error}") from error
