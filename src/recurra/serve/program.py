"""`Program`: a model of no task, as a server sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import RecurraError
from recurra.runtime.model import Model
from recurra.serve.faults import Fault, ServeError
from recurra.serve.served import Served

if TYPE_CHECKING:
    from recurra.runtime.session import Session
    from recurra.serve.held import Work

_TURN, _LEAST, _MOST = 8192, 16, 512  # steps of a turn and of each frame in it, so that a long one lets others in


class Program(Served):
    """A model of no task: rows of numbers in, rows of numbers out."""

    takes_json = False

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name, model)
        self.program = model.program()
        self.program.check_streams(f"serve {name}")
        self.width, self.ids = self.program.input_size, bool(self.program.vocabulary_size)
        self.dtype = np.dtype("<i8" if self.ids else "<f4")
        self.row, self.size = 8 if self.ids else 4 * self.width, 4 * self.program.output_size
        self.architecture = self.program.architecture
        self._checked = bool(self.ids or self.program.id_counts)

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
        if len(inputs) == self.row and not self._checked:
            return 1
        steps, rest = divmod(len(inputs), self.row)
        if rest or not steps:
            raise ServeError(
                Fault.INVALID, f"inputs have {len(inputs)} bytes, expected a multiple of {self.row}: a step"
            )
        if self._checked:
            try:
                self.program.refuse_ids("step", self._array(inputs, steps))
            except RecurraError as error:
                raise ServeError(Fault.INVALID, str(error)) from None
        return steps

    def cut(self, inputs: bytes, steps: int) -> bytes:
        """See `Served`."""
        return inputs[steps * self.row :]

    def take(self, works: Sequence[Work]) -> None:
        """See `Served`."""
        if max([work.steps for work in works]) > 1:
            self._take_many(works)
            return
        X = self._array(b"".join([work.inputs for work in works]), len(works))  # as mostly, made short
        content, size, at = self.program.step_many([work.held.state for work in works], X).tobytes(), self.size, 0
        for work in works:
            work.answers, work.done = content[at : (at := at + size)], 1
            work.held.steps += 1

    def _take_many(self, works: Sequence[Work]) -> None:
        most, row, at = max(_LEAST, min(_MOST, _TURN // len(works))), self.row, 0
        counts = [min(most, work.left) for work in works]
        inputs = b"".join([w.inputs[w.done * row : (w.done + n) * row] for w, n in zip(works, counts, strict=True)])
        X, sessions = self._array(inputs, sum(counts)), [work.held.state for work in works]
        content = self.program.run_many(sessions, counts, X).tobytes()
        for work, n in zip(works, counts, strict=True):
            work.taken(content[at : (at := at + n * self.size)], n)

    def first_answers(self, answers: bytes, steps: int) -> bytes:
        """See `Served`."""
        return answers[: steps * self.size]

    def _array(self, inputs: bytes, steps: int) -> NDArray[Any]:
        array = np.frombuffer(inputs, self.dtype)
        return array if self.ids else array.reshape(steps, self.width)

    def json(self, answers: bytes, first: int) -> list[Any]:
        """See `Served`; what is no number is null, and so is a step without an answer."""
        rows, stride = np.frombuffer(answers, "<f4").reshape(-1, self.program.output_size).tolist(), self.program.stride
        return rows if stride == 1 else [None if (first - 1 + i) % stride else row for i, row in enumerate(rows)]

    def binary(self, answers: bytes) -> bytes:
        """See `Served`; a step that has no answer is a row of NaN."""
        return answers

    def snapshot(self, state: Session) -> bytes:
        """See `Served`."""
        return state.to_bytes()

    def restore(self, snapshot: bytes, version: bool = False) -> Session:
        """See `Served`."""
        session = self.program.session()
        session.from_bytes(snapshot)
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
