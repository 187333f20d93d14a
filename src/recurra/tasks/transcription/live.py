"""`Hearer`: a live session of a transcriber; no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.errors import SessionError
from recurra.runtime.sealed import seal, unseal
from recurra.tasks.transcription.listen import Listener, Segment

if TYPE_CHECKING:
    from recurra.tasks.transcription.task import Transcribe

_KIND = b"RcrH"  # a snapshot's payload is that of the samples' session


class Hearer:
    """Somebody is listened to: `push` samples of any number.

    What it says does not depend on how the samples came, and is what `Transcriber.transcribe` says of the whole.

    Attributes:
        seconds: of sound so far.
    """

    def __init__(self, live: Any, listener: Listener, task: Transcribe, transform: Any) -> None:
        self.live, self.listener, self.task, self.transform = live, listener, task, transform
        self.seconds = 0.0

    def push(self, samples: Any, rate: int | None = None) -> list[Segment]:
        """The segments that ended in these samples.

        Raises:
            DataError: they are no samples; nothing has changed.
        """
        outputs = self.live.outputs(samples, "", rate)
        self.seconds += np.size(samples) / (rate or self.transform.bank.rate)
        return self._take(outputs)

    @staticmethod
    def together(hearers: Sequence[Hearer], samples: Sequence[Any]) -> list[list[Segment]]:
        """What `push` gives for a piece of each of many sounds, at the rate of training; in the same bits, and faster.

        Raises:
            DataError: one has no samples; those before it have taken theirs.
        """
        lives = [hearer.live for hearer in hearers]
        found = []
        for hearer, x, outputs in zip(hearers, samples, type(lives[0]).together(lives, samples), strict=True):
            hearer.seconds += np.size(x) / hearer.transform.bank.rate
            found.append(hearer._take(outputs))
        return found

    def _take(self, outputs: Any) -> list[Segment]:
        return self.listener.take(self.task.decode(outputs, self.transform, "")) if len(outputs) else []

    def partial(self) -> Segment:
        """The segment that has not ended; its first `settled` words will not change."""
        return self.listener.partial()

    def finish(self) -> list[Segment]:
        """The sound has ended: the last segments, with what is still said in the look-ahead after it."""
        ended = [*self._take(self.live.finish()), *self.listener.finish()]
        self.listener.reset()
        return ended

    def snapshot(self) -> bytes:
        """All that it remembers, as bytes, for `restore` in this or another process."""
        return seal(_KIND, self._owner(), self.live.snapshot(), heard=self.seconds, text=self.listener.state())

    def restore(self, snapshot: bytes) -> None:
        """Go on from a snapshot.

        Raises:
            SessionError: it is no snapshot, damaged, of another version, model or search; nothing has changed.
        """
        about, body = unseal(snapshot, _KIND, self._owner())
        before = self.listener.state()
        try:
            seconds = float(about["heard"])
            self.listener.restore(about["text"])
            self.live.restore(body)
        except (LookupError, TypeError, ValueError, SessionError) as error:
            self.listener.restore(before)
            raise SessionError(f"restore: the snapshot is inconsistent ({error}): take an older one") from error
        self.seconds = seconds

    def fork(self) -> Hearer:
        """Another one that goes on from here."""
        live = type(self.live)(self.live.model, self.task, self.transform)
        other = Hearer(live, self.listener.fork(), self.task, self.transform)
        other.live.restore(self.live.snapshot())
        other.seconds = self.seconds
        return other

    def _owner(self) -> bytes:
        """What a snapshot belongs to."""
        return hashlib.sha256(self.live.model.fingerprint.encode() + self.listener.fingerprint).digest()
