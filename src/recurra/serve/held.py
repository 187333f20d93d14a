"""`Held`: one session in memory, and `Work`: a frame of its steps that waits to be taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from recurra.errors import SessionError
from recurra.runtime.sealed import seal, unseal
from recurra.serve.faults import Fault, ServeError
from recurra.serve.served import Served
from recurra.serve.window import Window

_KIND = b"RcrH"  # a snapshot's payload is the window and the state


class Held:
    """One session.

    Attributes:
        key: tenant and name.
        served: its model.
        state: of the network, and of what is around it.
        steps: how many steps it has taken; also the sequence number of the last.
        queued: the sequence number of the last step that waits or has been taken.
        window: the last answers.
        ended: whether it takes no more steps.
        waiting: how many works of it wait.
        logged: how many steps the store has since its snapshot.
        used: when it was used last, by the monotonic clock.
    """

    __slots__ = ("ended", "key", "logged", "queued", "served", "state", "steps", "used", "waiting", "window")

    def __init__(self, key: str, served: Served, state: Any, window: Window) -> None:
        self.key, self.served, self.state, self.window = key, served, state, window
        self.steps = self.queued = self.waiting = self.logged = 0
        self.ended, self.used = False, time.monotonic()

    @property
    def name(self) -> str:
        """What its client calls it."""
        return self.key.partition("/")[2]

    def snapshot(self) -> bytes:
        """All of it."""
        window = self.window.to_bytes()
        return seal(
            _KIND,
            self.served.fingerprint,
            window + self.served.snapshot(self.state),
            steps=self.steps,
            ended=self.ended,
            first=self.window.first,
            window=len(window),
        )

    @classmethod
    def restored(cls, key: str, served: Served, snapshot: bytes, most: int) -> Held:
        """From a snapshot, which may be a stranger's: it is data, and every part of it is checked.

        Raises:
            ServeError: it is of another model, damaged or inconsistent.
        """
        try:
            about, payload = unseal(snapshot, _KIND, served.fingerprint)
            steps, first, size, ended = (about.get(n) for n in ("steps", "first", "window", "ended"))
            numbers = all(type(n) is int and 0 <= n < 1 << 62 for n in (steps, first, size))
            if not numbers or type(ended) is not bool or size > len(payload):  # type: ignore[operator]
                raise SessionError("restore: the snapshot is inconsistent: take an older one, or start anew")
            window = Window(most, first, payload[:size])  # type: ignore[arg-type]
            if window.first + window.count != steps + 1:  # type: ignore[operator]
                raise SessionError("restore: the snapshot's window does not end at its last step: take an older one")
            held = cls(key, served, served.restore(payload[size:]), window)
        except (SessionError, ValueError) as error:
            of_another = "of another model" in str(error)
            raise ServeError(Fault.MISMATCH if of_another else Fault.INVALID, str(error)) from None
        held.steps = held.queued = steps  # type: ignore[assignment]
        held.ended = ended
        return held


class Work:
    """A frame of steps of one session.

    Attributes:
        held: the session.
        first: the sequence number of the first step of the frame as its client sent it.
        again: how many of its first steps had been taken before; their answers are those of the window.
        inputs: of the others.
        steps: how many these are.
        done: how many of them have been taken.
        records: their answers.
        refused: why it ended early.
        reply: called once, when it is done.
        arrived: when it came in, by the monotonic clock.
    """

    __slots__ = ("again", "arrived", "done", "first", "held", "inputs", "records", "refused", "reply", "steps")

    def __init__(
        self, held: Held, first: int, inputs: bytes, steps: int, reply: Callable[[Work], None], again: int = 0
    ) -> None:
        self.held, self.first, self.inputs, self.steps, self.reply, self.again = (
            held, first, inputs, steps, reply, again,
        )  # fmt: skip
        self.done, self.arrived = 0, time.monotonic()
        self.records: list[bytes] = []
        self.refused: ServeError | None = None

    @property
    def left(self) -> int:
        """Steps that have not been taken."""
        return self.steps - self.done

    def taken(self, records: Sequence[bytes]) -> None:
        """Note the answers to the next steps."""
        self.records += records
        self.done += len(records)
        self.held.steps += len(records)

    @property
    def ends(self) -> bool:
        """Whether nothing is left to be done."""
        return self.refused is not None or self.done == self.steps
