"""Baselines of texts: linear models of which words there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.errors import need
from recurra.tasks.baselines import STRENGTHS, Baseline, Floats

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench


class LogisticOnWords(Baseline):
    """Logistic regression on TF-IDF of words and pairs of words, by scikit-learn."""

    key, kind, words = "bag_of_words", "linear", "logistic regression on TF-IDF of words and pairs of words"
    name = "bag of words"
    packages = ("sklearn",)

    def __init__(self, model: Any, classes: int) -> None:
        self.model, self.classes = model, classes
        self.parameters = int(model[-1].coef_.size + model[-1].intercept_.size)

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """The strength is chosen on the validation part where `params` has none."""
        need(f"the {cls.key} baseline", *cls.packages, extra="train")
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from sklearn.pipeline import make_pipeline

        x, y = cls._data(bench, "train")
        vx, vy = cls._data(bench, "valid")
        tried = []
        for strength in [params["strength"]] if params and "strength" in params else STRENGTHS[2:]:
            words = TfidfVectorizer(analyzer=pairs, sublinear_tf=True)
            model = make_pipeline(words, LogisticRegression(C=strength, max_iter=1000))
            model.fit(x, y)
            tried.append((log_loss(vy, model.predict_proba(vx), labels=model[-1].classes_) if len(vx) else 0.0, model))
        best = min(tried, key=lambda pair: float(pair[0]))[1]
        return cls(best, len(bench.task.labels))  # type: ignore[attr-defined]

    @classmethod
    def space(cls, windows: Sequence[int]) -> dict[str, tuple[Any, ...]]:
        """How strongly it fits."""
        return {"strength": (STRENGTHS[2], 1.0, STRENGTHS[-1])}

    @staticmethod
    def _data(bench: Bench, part: str) -> tuple[list[tuple[str, ...]], Any]:
        pieces = bench.pieces(part)
        y = [int(bench.task.truth(*piece)[-1]) for piece in pieces]
        return [piece.sequence.tokens for piece in pieces], np.array(y)

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, K]: of the tokens up to each step."""
        given = self.model.predict_proba([sequence.tokens[: end + 1] for end in range(start, stop)])
        found: Floats = np.zeros((stop - start, self.classes))
        found[:, self.model[-1].classes_] = given
        return found


def pairs(tokens: Sequence[str]) -> list[str]:
    """The words of a text in small letters, and each two in a row."""
    small = [t.lower() for t in tokens]
    return small + [f"{a} {b}" for a, b in pairwise(small)]
