"""`LiveTranscript` and `Hearer`: live sessions of a transcriber; no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import SessionError
from recurra.runtime.sealed import seal, unseal
from recurra.tasks.live.base import Remembered
from recurra.tasks.live.sound import LiveSound
from recurra.tasks.transcription.listen import Listener, Segment

if TYPE_CHECKING:
    from recurra.tasks.transcription.task import Transcribe

_KIND = b"RcrH"  # a snapshot's payload is that of the samples' session


class LiveTranscript(LiveSound):
    """What is said in sounds, while it is said, for any number of them side by side.

    An observation is samples, or a mapping with them as `samples` and, where the sound ends with them, a true `end`. An
    answer has the `segments` that have ended, and as `partial` what there is of the one that has not, whose first
    `settled` words will not change. All segments to the end are those of `Transcriber.transcribe`.
    """

    answer = "transcript"
    extra = ("end",)

    def _begun(self, name: str) -> Remembered:
        one = super()._begun(name)
        one.more = _Listening(self.task.listener(self.model, self.transform))  # type: ignore[attr-defined]
        return one

    def _answers(self, outputs: np.ndarray[Any, Any], series: str, observation: Any) -> dict[str, Any]:
        listener = self._series[series].more.listener
        ended = self._taken(listener, outputs, series)
        if isinstance(observation, Mapping) and observation.get("end") is True:
            ended += [*self._taken(listener, self.finish(series), series), *listener.finish()]
        return {"segments": [one.to_dict() for one in ended], "partial": listener.partial().to_dict()}

    def _taken(self, listener: Listener, outputs: np.ndarray[Any, Any], series: str) -> list[Segment]:
        return listener.take(self.task.decode(outputs, self.transform, series)) if len(outputs) else []

    def fork(self, series: str, name: str) -> None:
        """See `LiveSound`."""
        super().fork(series, name)
        self._series[name].more = _Listening(self._series[series].more.listener.fork())

    @property
    def fields(self) -> list[str]:
        """What has been said, and what is being said."""
        return ["text", "partial"]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """See `Live`."""
        return [" ".join(one["text"] for one in answer["segments"]), answer["partial"]["text"]]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)


class _Listening:
    """A listener, as `Remembered` keeps it."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def state(self) -> dict[str, NDArray[Any]]:
        return {"listener": np.frombuffer(json.dumps(self.listener.state()).encode(), np.uint8)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.listener.restore(json.loads(state["listener"].tobytes()))


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
