"""`Decoder`: a model of a task, as a server sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from recurra.errors import DataError, RecurraError
from recurra.runtime.model import Model
from recurra.serve.faults import Fault, ServeError
from recurra.serve.served import Served, log
from recurra.tasks.live.stepwise import Steps, together

if TYPE_CHECKING:
    from recurra.serve.held import Work
    from recurra.tasks.live.base import Live

_JSON = msgspec.json.Encoder()
_RAW = b"\0"  # begins inputs that are numbers, as no JSON does
SERIES = 1000  # of one session, at most
AT_ONCE = 512  # steps of one frame that are taken in one turn, so that a long one lets others in


class Decoder(Served):
    """A model of a task: observations in, answers out, by the task's own `Live`."""

    takes_json = True

    def __init__(self, name: str, model: Model, source: str) -> None:
        from recurra.tasks.opening import opened

        super().__init__(name, model)
        self._task, self._transform = opened(model, source)
        self._first = self.begin()
        self.size, self._raw = 0, self._first.raw
        task = [self.model.preprocessing.get("task"), self._first.keys, self._first.names, self._first.fields]
        self.architecture = hashlib.sha256(f"{model.architecture}{task}".encode()).hexdigest()

    def begin(self) -> Live:
        """See `Served`."""
        live: Live = self._task.live(self.model, self._transform)
        live.limit(SERIES)
        return live

    def read(self, steps: Sequence[Any]) -> bytes:
        """See `Served`."""
        return _JSON.encode(steps)

    def frame(self, body: bytes) -> bytes:
        """See `Served`: JSON, or one observation of numbers where the task takes those."""
        return body if self._raw is None else _RAW + body

    def count(self, inputs: bytes) -> int:
        """See `Served`."""
        return len(self._observations(inputs))

    def cut(self, inputs: bytes, steps: int) -> bytes:
        """See `Served`."""
        return b"" if inputs.startswith(_RAW) else _JSON.encode(self._observations(inputs)[steps:])

    def take(self, works: Sequence[Work]) -> None:
        """See `Served`; an observation that cannot be taken ends its frame, and those before it count."""
        for work, error in zip(works, together([self._taken(work) for work in works]), strict=True):
            if error is not None:
                log.error("an observation of %s failed", self.name, exc_info=error)
                work.refused = ServeError(Fault.INTERNAL, f"the step failed ({type(error).__name__})")

    def _taken(self, work: Work) -> Steps[None]:
        live, lines = work.held.state, []
        try:
            for observation in self._observations(work.inputs)[work.done : work.done + AT_ONCE]:
                lines.append((yield from self._answer(live, observation)))
        except DataError as error:
            work.refused = ServeError(Fault.INVALID, str(error))
        finally:
            work.taken(b"".join(lines), len(lines))

    def _answer(self, live: Live, observation: Any) -> Steps[bytes]:
        live.notes.clear()
        try:
            answer = yield from live.steps(observation)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            if isinstance(error, RecurraError):
                raise DataError(str(error)) from error
            raise DataError(f"an observation cannot be taken ({type(error).__name__}: {error})") from error
        said = None if answer is None else live.to_dict(answer)
        return _JSON.encode({"answer": said} | ({"notes": list(live.notes)} if live.notes else {})) + b"\n"

    def _observations(self, inputs: bytes) -> list[Any]:
        if self._raw is not None and inputs.startswith(_RAW):
            return [_numbers(inputs[1:], np.dtype(self._raw["type"]))]
        try:
            found = msgspec.json.decode(inputs)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ServeError(Fault.INVALID, f"no JSON ({error}), expected a list of observations") from None
        if not isinstance(found, list) or not found:
            raise ServeError(Fault.INVALID, f"inputs are a {type(found).__name__}, expected a list of observations")
        return found

    def first_answers(self, answers: bytes, steps: int) -> bytes:
        """See `Served`."""
        return b"".join(answers.splitlines(keepends=True)[:steps])

    def json(self, answers: bytes, first: int) -> list[Any]:
        """See `Served`."""
        return [msgspec.Raw(line) for line in answers.splitlines()]

    def binary(self, answers: bytes) -> bytes:
        """See `Served`: a list in JSON."""
        return b"[" + answers[:-1].replace(b"\n", b",") + b"]"

    def snapshot(self, state: Live) -> bytes:
        """See `Served`."""
        return state.snapshot()

    def restore(self, snapshot: bytes, version: bool = False) -> Live:
        """See `Served`."""
        live = self.begin()
        live.restore(snapshot, version=version)
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
            "binary": None if live.raw is None else dict(live.raw),
        }


def _numbers(body: bytes, kind: np.dtype[Any]) -> Any:
    if not body or len(body) % kind.itemsize:
        raise ServeError(
            Fault.INVALID, f"a binary frame has {len(body)} bytes, expected some numbers of {kind.itemsize} bytes each"
        )
    return np.frombuffer(body, kind)
