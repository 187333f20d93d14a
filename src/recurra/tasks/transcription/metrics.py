"""Word and character error rates, by jiwer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from recurra.errors import need
from recurra.tasks.base import Floats
from recurra.tasks.metrics import Metric


class ErrorRate(Metric):
    """Edits (words or letters wrong, missing or too many) over those of the truth; truth and answers are texts."""

    less, percent = True, True
    what: ClassVar[str]

    def value(self, truth: Any, answers: Any) -> float:
        """Over all texts."""
        return error_rate(self.what, truth, answers)

    def units(self, truth: Any, answers: Any) -> Floats:
        """For each word (letter) of the truth the mean of edits of its text."""
        found = []
        for true, said in zip(truth, answers, strict=True):
            count = max(1, len(true.split() if self.what == "wer" else true))
            found.append(np.full(count, error_rate(self.what, [true], [said])))
        return np.concatenate(found)


class WordErrorRate(ErrorRate):
    """Of words."""

    key, name, error, what = "wer", "word error rate", "word error rate", "wer"


class CharacterErrorRate(ErrorRate):
    """Of letters."""

    key, name, error, what = "cer", "character error rate", "character error rate", "cer"


def error_rate(what: str, true: Sequence[str], said: Sequence[str]) -> float:
    """The word ("wer") or character ("cer") error rate of texts, by jiwer.

    >>> error_rate("wer", ["yes no yes"], ["yes yes"])
    0.3333333333333333
    """
    need("word error rates", "jiwer", extra="audio")
    import jiwer

    kept = [(t, s) for t, s in zip(true, said, strict=True) if t.strip()]
    if not kept:
        return float(any(s.strip() for s in said))
    return float(getattr(jiwer, what)([t for t, _ in kept], [s for _, s in kept]))
