"""`Live`: an answer after every step, in the bits of answers to whole sequences; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recurra.errors import DataError
from recurra.runtime.model import Model
from recurra.runtime.session import Session
from recurra.tasks.estimator import opened


class Live:
    """Answers of a model that an estimator made, one step after the other, for any number of sequences side by side.

    An answer is that of the task for all steps so far: a label with a probability for each, or a number. What
    `predict` says of a whole sequence is what this says after its last step, to the last bit.

    Attributes:
        model, task, transform: what it runs.
        names: the columns of a step; the first of them, its `keys`, says of which sequence it is.

    Raises:
        ModelFileError: no estimator made the model.
        SessionError: the network reads sequences in both directions.

    >>> import numpy as np, recurra
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 9, 1)), [0, 1] * 20
    >>> live = recurra.Classifier(hidden=4, epochs=1).fit(X, y, evaluate=False).live()
    >>> sorted(live.step([0.5])["probabilities"])
    ['0', '1']
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.task, self.transform = opened(model)
        model.program().check_streams("a live session")
        series = self.task.roles.get("series")
        self.keys = [] if series is None else [series]
        self.names = [*self.keys, *self.transform.inputs]
        self._push = self.transform.live().push
        self._sessions: dict[str, Session] = {}

    def step(self, x: Any, sequence: str = "") -> dict[str, Any]:
        """Take one step of a sequence: the answer so far.

        Args:
            x: I numbers in the order of the columns; or a mapping by their names, in which what is missing may be left
                out, and the column of the sequence's name says which it is.
            sequence: its name.

        Raises:
            DataError: something is no number, or there are more or fewer; nothing has changed.
        """
        if self.keys and isinstance(x, Mapping):
            rest = {name: value for name, value in x.items() if name != self.keys[0]}
            if len(rest) < len(x):
                x, sequence = rest, str(x[self.keys[0]]).strip()
        row = self._push(x)
        session = self._sessions.get(sequence)
        if session is None:
            session = self._sessions[sequence] = self.model.session()
        output = session.step(row)
        return self.task.answer(self.task.decode(output[None], self.transform, sequence)[0])

    def end(self, sequence: str = "") -> None:
        """Forget a sequence that has ended; its next step begins anew."""
        self._sessions.pop(sequence, None)

    @property
    def sequences(self) -> list[str]:
        """The names of the sequences that have begun."""
        return list(self._sessions)

    def snapshot(self) -> bytes:
        """All that it remembers, as bytes, for `restore` in this or another process."""
        parts = [(name.encode(), session.snapshot()) for name, session in self._sessions.items()]
        return b"".join(len(b).to_bytes(4, "little") + b for part in parts for b in part)

    def restore(self, snapshot: bytes) -> None:
        """Go on from a snapshot.

        Raises:
            SessionError: it is damaged, or of another model; nothing has changed.
            DataError: it is no snapshot.
        """
        parts, at = list[bytes](), 0
        while at < len(snapshot):
            size = int.from_bytes(snapshot[at : at + 4], "little")
            parts.append(bytes(snapshot[at + 4 : at + 4 + size]))
            at += 4 + size
        if at != len(snapshot) or len(parts) % 2:
            raise DataError(
                f"restore: got {len(snapshot)} bytes that are no snapshot, expected what snapshot() returns"
            )
        sessions = {}
        for name, state in zip(parts[::2], parts[1::2], strict=True):
            session = self.model.session()
            session.restore(state)
            sessions[name.decode()] = session
        self._sessions = sessions
