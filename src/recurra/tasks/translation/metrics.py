"""Metrics of what is written: truth and answers [M] are objects, the tokens of one text each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from recurra.errors import need
from recurra.tasks.metrics import Floats, Metric


def sequences(texts: Sequence[Sequence[str]]) -> Any:
    """Tokens of each of some texts, as an array of objects [M]."""
    found = np.empty(len(texts), object)
    found[:] = [tuple(tokens) for tokens in texts]
    return found


class Edits(Metric):
    """Tokens to be inserted, left out or exchanged, as a share of those that are right (Levenshtein 1966).

    >>> Edits().value(sequences([("a", "b", "c", "d")]), sequences([("a", "c", "d")]))
    0.25
    """

    key, name, error, percent = "edits", "token error rate", "tokens to be changed, as a share", True

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of all tokens together."""
        counts = np.array([len(t) for t in truth])
        return float((self.units(truth, answers) * np.maximum(1, counts)).sum() / max(1, counts.sum()))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Of each text."""
        need("the token error rate", "rapidfuzz", extra="text")
        from rapidfuzz.distance import Levenshtein

        pairs = zip(truth, answers, strict=True)
        return np.array([Levenshtein.distance(t, a) / max(1, len(t)) for t, a in pairs])


class Exact(Metric):
    """The share of texts of which not every token is right.

    >>> Exact().value(sequences([("a",), ("b",)]), sequences([("a",), ("c",)]))
    0.5
    """

    key, name, error, percent = "wrong", "texts with an error", "whether a text has an error", True

    def value(self, truth: Floats, answers: Floats) -> float:
        """The mean."""
        return float(self.units(truth, answers).mean())

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """1 or 0."""
        return np.array([float(t != a) for t, a in zip(truth, answers, strict=True)])


class Bleu(Metric):
    """BLEU of the tokens as they are, 0 to 100, by sacrebleu (Papineni 2002, Post 2018)."""

    key, name, less = "bleu", "BLEU", False

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of all texts together."""
        need("BLEU", "sacrebleu", extra="text")
        import sacrebleu

        said, wanted = ([" ".join(tokens) for tokens in texts] for texts in (answers, truth))
        return float(sacrebleu.corpus_bleu(said, [wanted], tokenize="none", force=True).score)


class Rouge(Metric):
    """ROUGE (Lin 2004) by rouge-score, with its stemmer: F1 of what a text shares with the wanted one, 0 to 100.

    Args:
        kind: "1" and "2", words and pairs of them; "L", the longest sequence of words that is in both.

    >>> round(Rouge("1").value(sequences([("a", "red", "fox")]), sequences([("the", "red", "foxes")])), 1)
    66.7
    """

    less = False

    def __init__(self, kind: str) -> None:
        self.kind = f"rouge{kind}"
        self.key, self.name = self.kind.lower(), f"ROUGE-{kind}"  # type: ignore[misc]
        self.error = f"1 - {self.name}"  # type: ignore[misc]

    def value(self, truth: Floats, answers: Floats) -> float:
        """The mean."""
        return 100 * (1 - float(self.units(truth, answers).mean()))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """1 - F1 of each text."""
        scorer = _scorer(self.kind)
        pairs = [(" ".join(t), " ".join(a)) for t, a in zip(truth, answers, strict=True)]
        return np.array([1 - scorer.score(*pair)[self.kind].fmeasure for pair in pairs])


@cache
def _scorer(kind: str) -> Any:
    need("ROUGE", "rouge_score", extra="text")
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=True)


ROUGE = (Rouge("L"), Rouge("1"), Rouge("2"))
