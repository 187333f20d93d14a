"""`Listener`: a network's outputs become words and segments, a step at a time; files and streams alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.transcription.ctc import PrefixBeam, Search, Word

PAUSE = 0.8  # seconds without a letter that end a segment
LONGEST = 30.0  # seconds after which a segment ends at any rate, so that memory is bounded
SURE = np.log(0.5)  # of the blank, for a step to count as one without a letter


@dataclass(frozen=True)
class Segment:
    """What was said between two pauses.

    Attributes:
        words: with times in seconds: `(text, start, end, confidence)`.
        start, end: of the segment, seconds.
        settled: how many of its words will not change any more; all, once it has ended.
        final: whether it has ended.
    """

    words: tuple[tuple[str, float, float, float], ...]
    start: float
    end: float
    settled: int
    final: bool

    @property
    def text(self) -> str:
        """The words."""
        return " ".join(word[0] for word in self.words)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        keys = ("word", "start", "end", "confidence")
        words = [dict(zip(keys, (w, round(a, 3), round(b, 3), round(c, 4)), strict=True)) for w, a, b, c in self.words]
        return {
            "text": self.text,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "words": words,
            "settled": self.settled,
            "final": self.final,
        }


class Listener:
    """Segments of outputs, as they come.

    Args:
        letters: of the outputs from number 1 on.
        seconds: of a step.
        search: how texts are looked for.
    """

    def __init__(self, letters: Sequence[str], seconds: float, search: Search | None = None) -> None:
        self.beam, self.seconds = PrefixBeam(letters, search), seconds
        self.quiet = 0  # steps since the last letter

    def take(self, logs: NDArray[Any]) -> list[Segment]:
        """The segments that ended in these steps [n, K + 1]."""
        ended = []
        for step in logs:
            self.quiet = self.quiet + 1 if step[0] > SURE else 0
            self.beam.push(step)
            if self.quiet * self.seconds >= PAUSE or (self.beam.step - self.beam.begun) * self.seconds >= LONGEST:
                ended += self.finish()
        return ended

    def partial(self) -> Segment:
        """What there is of the segment that has not ended."""
        words = self.beam.words(self.beam.beams[0][0])
        return self._segment(words, min(self.beam.settled(), len(words)), False)

    def finish(self) -> list[Segment]:
        """End the segment: it, if anything was said."""
        words = self.beam.words()
        self.quiet = 0
        ended = [self._segment(words, len(words), True)] if words else []
        self.beam.reset(self.beam.step)
        return ended

    def _segment(self, words: Sequence[Word], settled: int, final: bool) -> Segment:
        s = self.seconds
        timed = tuple((w.text, w.first * s, (w.last + 1) * s, w.confidence) for w in words)
        first = timed[0][1] if timed else self.beam.begun * s
        return Segment(timed, first, timed[-1][2] if timed else first, settled, final)
