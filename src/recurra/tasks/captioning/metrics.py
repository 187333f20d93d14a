"""Metrics of captions: of each picture the truth is all its captions, and the answer is one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from recurra.errors import need
from recurra.tasks.metrics import Floats
from recurra.tasks.translation import metrics as one
from recurra.tasks.translation.metrics import sequences


def references(captions: Sequence[Sequence[Sequence[str]]]) -> Any:
    """The captions of each of some pictures, as an array of objects [M]."""
    found = np.empty(len(captions), object)
    found[:] = [tuple(map(tuple, several)) for several in captions]
    return found


class Edits(one.Edits):
    """Tokens to be inserted, left out or exchanged, as a share of those of the caption that is nearest.

    >>> truth = references([[("a", "dog"), ("a", "small", "dog")]])
    >>> Edits().value(truth, sequences([("a", "big", "dog")]))
    0.3333333333333333
    """

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of all pictures together."""
        return super().value(self._nearest(truth, answers), answers)

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Of each picture."""
        return super().units(self._nearest(truth, answers), answers)

    def _nearest(self, truth: Any, answers: Any) -> Any:
        if not len(truth) or not isinstance(truth[0][0], tuple):  # they are the nearest ones
            return truth
        wrong = [
            super(Edits, self).units(sequences(several), sequences([said] * len(several)))
            for several, said in zip(truth, answers, strict=True)
        ]
        return sequences([several[int(w.argmin())] for several, w in zip(truth, wrong, strict=True)])


class Exact(one.Exact):
    """The share of pictures whose answer is none of their captions."""

    name, error = "captions with an error", "whether a caption has an error"

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """1 or 0."""
        return np.array([float(said not in several) for several, said in zip(truth, answers, strict=True)])


class Bleu(one.Bleu):
    """BLEU with all captions of a picture as references, 0 to 100, by sacrebleu (Papineni 2002, Post 2018)."""

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of all pictures together."""
        need("BLEU", "sacrebleu", extra="text")
        import sacrebleu

        said = [" ".join(tokens) for tokens in answers]
        wanted: Any = zip_longest(*[[" ".join(tokens) for tokens in several] for several in truth])
        return float(sacrebleu.corpus_bleu(said, [list(s) for s in wanted], tokenize="none", force=True).score)
