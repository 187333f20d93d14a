"""Baselines of tags: the commonest tag of each word, and a linear model of a word and its neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.text.symbols import shape
from recurra.errors import need
from recurra.tasks.baselines import Baseline, Floats
from recurra.tasks.classification.text_baselines import pairs

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

ALPHA = 1e-5  # of the linear model's penalty


class CommonestTag(Baseline):
    """The tag that a word has most often in training; of a word that was not there, the commonest of all. Where texts
    have labels, the commonest."""

    key, kind, words = "commonest", "naive", "the commonest tag of each word"
    name = "commonest tag of each word"

    def __init__(self, tags: Mapping[str, float], other: float, label: float = 0.0) -> None:
        self.tags, self.other, self.label, self.parameters = tags, other, label, len(tags) + 1

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Count."""
        counts: defaultdict[str, Counter[float]] = defaultdict(Counter)
        every: Counter[float] = Counter()
        K, labels = len(bench.task.labels), Counter[float]()  # type: ignore[attr-defined]
        for sequence, _, stop in bench.pieces("train"):
            labels[float(sequence.target[0] // K)] += 1
            for token, tag in zip(sequence.tokens[:stop], (sequence.target % K).tolist(), strict=False):
                counts[token.lower()][tag] += 1
                every[tag] += 1
        best = {word: min(found, key=lambda t, f=found: (-f[t], t)) for word, found in counts.items()}  # type: ignore[misc]
        return cls(best, every.most_common(1)[0][0], K * labels.most_common(1)[0][0])

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M]."""
        return self.label + np.array([self.tags.get(t.lower(), self.other) for t in sequence.tokens[start:stop]])


class LogisticOnNeighbours(Baseline):
    """Logistic regression on a word, its ends and shape, and the two words before and after it, by scikit-learn; where
    texts have labels, another on TF-IDF of words and pairs of words."""

    key, kind, words = "neighbours", "linear", "logistic regression on a word and its neighbours"
    name = "logistic regression"
    packages = ("sklearn",)

    def __init__(self, hashed: Any, model: Any, labels: Any = None, K: int = 1) -> None:
        self.hashed, self.model, self.labels, self.K = hashed, model, labels, K
        self.parameters = int(np.count_nonzero(model.coef_)) + (0 if labels is None else labels[-1].coef_.size)

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Some passes over the training part."""
        need(f"the {cls.key} baseline", *cls.packages, extra="train")
        from sklearn.feature_extraction import FeatureHasher
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, SGDClassifier
        from sklearn.pipeline import make_pipeline

        hashed = FeatureHasher(1 << 16, input_type="string")
        pieces, K = bench.pieces("train"), len(bench.task.labels)  # type: ignore[attr-defined]
        x = hashed.transform([said for s, _, stop in pieces for said in around(s.tokens[:stop])])
        y = np.concatenate([s.target[:stop] for s, _, stop in pieces]).astype(int) % K
        model = SGDClassifier(loss="log_loss", alpha=ALPHA, max_iter=8, tol=None, random_state=0)
        of_texts = np.array([int(s.target[0]) // K for s, _, _ in pieces])
        labels = None
        if of_texts.any():
            labels = make_pipeline(
                TfidfVectorizer(analyzer=pairs, sublinear_tf=True), LogisticRegression(max_iter=1000)
            )
            labels.fit([s.tokens for s, _, _ in pieces], of_texts)
        return cls(hashed, model.fit(x, y), labels, K)

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M]: each by itself."""
        said = around(sequence.tokens)[start:stop]
        label = 0 if self.labels is None else self.K * int(self.labels.predict([sequence.tokens])[0])
        return np.asarray(label + self.model.predict(self.hashed.transform(said)), np.float64)


def around(tokens: Sequence[str]) -> list[list[str]]:
    """What is said of each token."""
    small = ["", "", *(t.lower() for t in tokens), "", ""]
    found = []
    for i, token in enumerate(tokens):
        near = [f"{k}:{small[i + 2 + k]}" for k in (-2, -1, 0, 1, 2)]
        pairs = [f"p:{small[i + 1]} {small[i + 2]}", f"n:{small[i + 2]} {small[i + 3]}"]
        found.append([*near, *pairs, f"s:{shape(token)}", *(f"e{k}:{token[-k:].lower()}" for k in (1, 2, 3))])
    return found
