"""`LiveText`: an answer to the text so far, after every piece of it that is typed; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.text.symbols import Symbols
from recurra.errors import DataError
from recurra.runtime.model import Model
from recurra.runtime.session import Session
from recurra.tasks.live.base import Live, Remembered
from recurra.tasks.live.sequences import LiveSequences
from recurra.tasks.live.stepwise import Steps

if TYPE_CHECKING:
    from recurra.tasks.base import Task

F32: TypeAlias = NDArray[np.float32]
Outputs: TypeAlias = list[tuple[str, F32]]  # tokens, and what the network gives after each

MOST_READ = 4096  # tokens that are kept for a network of both directions


class LiveText(LiveSequences):
    """Answers of a model of texts, for any number of texts side by side, while they are typed.

    An observation is a piece of a text, a string or bytes of UTF-8 that may be cut anywhere; or a mapping with it as
    `text`, or with a whole `token`. The answer is that of `predict` to the text so far, to the last bit: what may
    still be in the middle of a word counts as it stands, and is read again when more has come. An empty line of a
    stream ends a text.

    A network of one direction looks ahead by nothing, and reads each token once. One of both directions reads the text
    so far anew with each piece, whose answers may change with what follows; it keeps 4096 tokens at most.

    Args:
        model: from `recurra.load`.
        task, transform: those of the model.

    Attributes:
        look_ahead: tokens that an answer waits for: 0; None where it may change to the end.
    """

    reads_anew = True
    column = "text"

    def __init__(self, model: Model, task: Task, transform: Symbols) -> None:
        Live.__init__(self, model, transform, [self.column], [])
        self.task, self.transform = task, transform
        self.look_ahead = 0 if model.streams else None

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any] | None]:
        """Take a piece of a text: the answer to the text so far; None as long as that has no token.

        Args:
            observation: a string, bytes of UTF-8, or a mapping with `text` or `token`.
            series: the name of the text, where there are several.

        Raises:
            DataError: it is no text, or is no UTF-8; nothing has changed.
        """
        one = self._series.get(series) or self._begun(series)
        certain, pending = yield from self.outputs(one, observation)
        self._series[series] = one
        found = (pending or certain)[-1:] or one.rows.last
        return self.task.answer(self.task.decode(found[0][1][None], self.transform, series)[0]) if found else None

    def outputs(self, one: Remembered, observation: Any) -> Steps[tuple[Outputs, Outputs]]:
        """What the network gives after each token that an observation makes certain, and after each that would follow
        if the text ended here."""
        typed, pending = self._rows(one.rows, observation)
        reading = one.rows
        if not self.model.streams:
            reading.seen += typed
            every = [*reading.seen, *pending]
            out: Any = self.model.run(np.stack([row for _, row in every])) if every else []
            given = [(token, o) for (token, _), o in zip(every, out, strict=True)]
            return given[: len(reading.seen)], given[len(reading.seen) :]
        certain = yield from _stepped(one.session, typed)
        reading.last = certain[-1:] or reading.last
        if not pending:
            return certain, []
        return certain, (yield from _stepped(one.session.fork(), pending))

    def _rows(self, reading: Reading, observation: Any) -> tuple[Outputs, Outputs]:
        """The tokens with their rows that an observation makes certain, and those that would follow."""
        symbols = reading.symbols
        if isinstance(observation, Mapping) and "token" in observation:
            token = observation["token"]
            return [(token, symbols.push(token))], []
        piece = self._cell(observation, self.column) if isinstance(observation, Mapping) else observation
        if not isinstance(piece, (str, bytes, bytearray)):
            raise DataError(f"a piece of a text is {str(piece)[:40]!r}, expected a string, or bytes of UTF-8")
        if len(reading.seen) + len(piece) > MOST_READ and not self.model.streams:
            raise DataError(
                f"the text is longer than a network of both directions can read anew, {MOST_READ} tokens: end it, or "
                "train one of one direction"
            )
        typed = symbols.typed(piece if isinstance(piece, str) else bytes(piece))
        return typed, symbols.pending()

    def empty_line(self) -> bool:
        """End the text."""
        ends = bool(self._series)
        self.end()
        return ends

    @property
    def fields(self) -> list[str]:
        """What the task answers."""
        return super().fields[1:]

    def _begun(self, name: str) -> Remembered:
        return Remembered(Reading(self._transform), self.model.session())


def _stepped(session: Session, rows: Outputs) -> Steps[Outputs]:
    """Tokens, and what the network gives after each."""
    found: Outputs = []
    for token, row in rows:
        found.append((token, (yield session, row)))
    return found


class Reading:
    """What is remembered of a text beside the network's state."""

    def __init__(self, transform: Symbols) -> None:
        self.symbols = transform.live()
        self.last: Outputs = []  # what came out after the last certain token, where the network streams
        self.seen: Outputs = []  # all certain tokens with their rows, where it does not

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies, for `restore`."""
        kept = {f"{name}.{i}": row for name in ("last", "seen") for i, (_, row) in enumerate(getattr(self, name))}
        tokens = {name: "\0".join(token for token, _ in getattr(self, name)) for name in ("last", "seen")}
        texts = {f"{name}.tokens": np.frombuffer(b"\0" + t.encode(), np.uint8) for name, t in tokens.items()}
        return {**self.symbols.state(), **{name: np.array(row) for name, row in kept.items()}, **texts}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self.symbols.restore(state)
        for name in ("last", "seen"):
            tokens: Sequence[str] = state[f"{name}.tokens"].tobytes()[1:].decode().split("\0")
            count = sum(key.startswith(f"{name}.") for key in state) - 1
            setattr(self, name, [(tokens[i], state[f"{name}.{i}"]) for i in range(count)])
