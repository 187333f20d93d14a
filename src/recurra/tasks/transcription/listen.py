"""`Listener`: a network's outputs become words and segments, a step at a time; files and streams alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra import _native
from recurra.tasks.transcription.ctc import Search, Word, words_of
from recurra.tasks.transcription.lexicon import lexicon_of

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
        self.letters, self.seconds, self.search = letters, seconds, search or Search()
        self.beam = self._searching()
        self.quiet = 0  # steps since the last letter

    def _searching(self) -> Any:
        return _native.PrefixBeam(self._lexicon, self.search.beam, self.search.width)

    @cached_property
    def _lexicon(self) -> _native.Lexicon:
        return lexicon_of(self.letters, self.search)

    def _silent(self, step: NDArray[Any]) -> bool:
        """Whether a step that was pushed had no letter."""
        return bool(step[0] > SURE)

    @cached_property
    def fingerprint(self) -> bytes:
        """Of the letters and the search."""
        how = self.search
        model = sorted(how.model.entries.items()) if how.model else None
        numbers = how.beam, how.width, how.weight, how.bonus, how.unknown
        return hashlib.sha256(repr((tuple(self.letters), numbers, sorted(how.hot.items()), model)).encode()).digest()

    def reset(self) -> None:
        """Begin anew, with another sound."""
        self.beam.reset(0)
        self.quiet = 0

    def state(self) -> list[Any]:
        """All that it remembers, ready for JSON."""
        return [self.quiet, *self.beam.state()]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError, TypeError: it is something else; nothing has changed.
        """
        quiet, *beam = state
        self.beam.restore(tuple(beam))
        self.quiet = int(quiet)

    def fork(self) -> Listener:
        """Another one that goes on from here."""
        other = copy(self)
        other.beam = self._searching()
        other.restore(self.state())
        return other

    def take(self, logs: NDArray[Any]) -> list[Segment]:
        """The segments that ended in these steps [n, K + 1]."""
        ended = []
        for step in np.ascontiguousarray(logs, np.float64):
            self.beam.push(step)
            self.quiet = self.quiet + 1 if self._silent(step) else 0
            if self.quiet * self.seconds >= PAUSE or (self.beam.step - self.beam.begun) * self.seconds >= LONGEST:
                ended += self.finish()
        return ended

    def partial(self) -> Segment:
        """What there is of the segment that has not ended."""
        letters = self.beam.text(False)
        same = words_of(letters[: self.beam.common()], self.letters)
        cut = bool(same) and self.letters[letters[self.beam.common() - 1][0] - 1] != " "  # its last word may go on
        return self._segment(words_of(letters, self.letters), len(same) - cut, False)

    def finish(self) -> list[Segment]:
        """End the segment: it, if anything was said."""
        words = words_of(self.beam.text(True), self.letters)
        self.quiet = 0
        ended = [self._segment(words, len(words), True)] if words else []
        self.beam.reset(self.beam.step)
        return ended

    def _segment(self, words: Sequence[Word], settled: int, final: bool) -> Segment:
        s = self.seconds
        timed = tuple((w.text, w.first * s, (w.last + 1) * s, w.confidence) for w in words)
        first = timed[0][1] if timed else self.beam.begun * s
        return Segment(timed, first, timed[-1][2] if timed else first, settled, final)
