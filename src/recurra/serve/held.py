"""`Held`: one session in memory, and `Work`: a frame of its steps that waits to be taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from recurra.errors import SessionError
from recurra.runtime.sealed import seal, unseal
from recurra.serve.faults import Fault, ServeError
from recurra.serve.served import Served
from recurra.serve.window import Window

_KIND = b"RcrH"  # a snapshot's payload is the window and the state
_NOTHING = Window(0, 0)


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
        here: whether this is the session; False once it went to the store, or was deleted.
        last: of the works of it that wait the last one.
        logged: how many steps the store has since its snapshot.
        used: when it was used last, by the monotonic clock.
        placed: what `used` was when sessions were last put in that order.
        owner, handle: the socket that has it, and its number there.
    """

    __slots__ = (
        "ended", "handle", "here", "key", "last", "logged", "owner", "placed", "queued", "served", "state", "steps",
        "used", "window",
    )  # fmt: skip

    def __init__(self, key: str, served: Served, state: Any, window: Window) -> None:
        self.key, self.served, self.state, self.window = key, served, state, window
        self.steps = self.queued = self.logged = self.handle = 0
        self.owner: Any = None
        self.last: Work | None = None
        self.ended, self.here = False, True
        self.used = self.placed = time.monotonic()

    def gone(self) -> None:
        """It is elsewhere: whoever still has this object has no session."""
        self.here, self.state = False, None
        self.window = _NOTHING

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
            of=self.served.architecture,
            steps=self.steps,
            ended=self.ended,
            first=self.window.first,
            window=len(window),
        )

    @classmethod
    def restored(cls, key: str, served: Served, snapshot: bytes, most: int, version: bool = False) -> Held:
        """From a snapshot, which may be a stranger's: it is data, and every part of it is checked.

        Args:
            key, served: of the session.
            snapshot: all of it.
            most: answers that are kept.
            version: whether it may be of another version of the model.

        Raises:
            ServeError: it is of another model, damaged or inconsistent.
        """
        try:
            about, payload = unseal(snapshot, _KIND, None if version else served.fingerprint)
            if version and about.get("of") != served.architecture:
                raise SessionError("restore: the session is of another model than this one or a version of it")
            steps, first, size, ended = (about.get(n) for n in ("steps", "first", "window", "ended"))
            numbers = all(type(n) is int and 0 <= n < 1 << 62 for n in (steps, first, size))
            if not numbers or type(ended) is not bool or size > len(payload):  # type: ignore[operator]
                raise SessionError("restore: the snapshot is inconsistent: take an older one, or start anew")
            window = Window(most, served.size, first, payload[:size])  # type: ignore[arg-type]
            if window.first + window.count != steps + 1:  # type: ignore[operator]
                raise SessionError("restore: the snapshot's window does not end at its last step: take an older one")
            held = cls(key, served, served.restore(payload[size:], version), window)
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
        answers: to those, as `Served` has them.
        refused: why it ended early.
        reply: called once with the work, when it is done.
        tag: what its client needs to know it again.
        arrived: when it came in, by the monotonic clock; or a little earlier, in the same round of the event loop.
        after: the next work of the session.
    """

    # Made for every message: what most have in common is the class's.
    again = done = 0
    answers = b""
    arrived = 0.0
    refused: ServeError | None = None
    after: Work | None = None

    def __init__(
        self,
        held: Held,
        first: int,
        inputs: bytes,
        steps: int,
        reply: Callable[[Work], None] = lambda work: None,
        tag: Any = None,
    ) -> None:
        self.held, self.first, self.inputs, self.steps, self.reply, self.tag = held, first, inputs, steps, reply, tag

    @property
    def left(self) -> int:
        """Steps that have not been taken."""
        return self.steps - self.done

    @property
    def next(self) -> int:
        """The sequence number of the first step that was not answered."""
        return self.first + self.again + self.done

    def taken(self, answers: bytes, steps: int) -> None:
        """Note the answers to the next steps."""
        self.answers = self.answers + answers if self.done else answers
        self.done += steps
        self.held.steps += steps

    @property
    def ends(self) -> bool:
        """Whether nothing is left to be done."""
        return self.refused is not None or self.done == self.steps
