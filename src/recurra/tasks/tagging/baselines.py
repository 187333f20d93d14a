"""Baselines of tags: the commonest tag of each word, and a linear model of a word and its neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.text.symbols import shape
from recurra.errors import need
from recurra.tasks.baselines import Baseline, Floats

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

ALPHA = 1e-5  # of the linear model's penalty


class CommonestTag(Baseline):
    """The tag that a word has most often in training; of a word that was not there, the commonest of all."""

    key, kind, words = "commonest", "naive", "the commonest tag of each word"
    name = "commonest tag of each word"

    def __init__(self, tags: Mapping[str, float], other: float) -> None:
        self.tags, self.other, self.parameters = tags, other, len(tags) + 1

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Count."""
        counts: defaultdict[str, Counter[float]] = defaultdict(Counter)
        every: Counter[float] = Counter()
        for sequence, _, stop in bench.pieces("train"):
            for token, tag in zip(sequence.tokens[:stop], sequence.target.tolist(), strict=False):
                counts[token.lower()][tag] += 1
                every[tag] += 1
        best = {word: min(found, key=lambda t, f=found: (-f[t], t)) for word, found in counts.items()}  # type: ignore[misc]
        return cls(best, every.most_common(1)[0][0])

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M]."""
        return np.array([self.tags.get(t.lower(), self.other) for t in sequence.tokens[start:stop]])


class LogisticOnNeighbours(Baseline):
    """Logistic regression on a word, its ends and shape, and the two words before and after it, by scikit-learn."""

    key, kind, words = "neighbours", "linear", "logistic regression on a word and its neighbours"
    name = "logistic regression"
    packages = ("sklearn",)

    def __init__(self, hashed: Any, model: Any) -> None:
        self.hashed, self.model, self.parameters = hashed, model, int(np.count_nonzero(model.coef_))

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Some passes over the training part."""
        need(f"the {cls.key} baseline", *cls.packages, extra="train")
        from sklearn.feature_extraction import FeatureHasher
        from sklearn.linear_model import SGDClassifier

        hashed = FeatureHasher(1 << 16, input_type="string")
        pieces = bench.pieces("train")
        x = hashed.transform([said for s, _, stop in pieces for said in around(s.tokens[:stop])])
        y = np.concatenate([s.target[:stop] for s, _, stop in pieces]).astype(int)
        model = SGDClassifier(loss="log_loss", alpha=ALPHA, max_iter=8, tol=None, random_state=0)
        return cls(hashed, model.fit(x, y))

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M]: each by itself."""
        said = around(sequence.tokens)[start:stop]
        return np.asarray(self.model.predict(self.hashed.transform(said)), np.float64)


def around(tokens: Sequence[str]) -> list[list[str]]:
    """What is said of each token."""
    small = ["", "", *(t.lower() for t in tokens), "", ""]
    found = []
    for i, token in enumerate(tokens):
        near = [f"{k}:{small[i + 2 + k]}" for k in (-2, -1, 0, 1, 2)]
        pairs = [f"p:{small[i + 1]} {small[i + 2]}", f"n:{small[i + 2]} {small[i + 3]}"]
        found.append([*near, *pairs, f"s:{shape(token)}", *(f"e{k}:{token[-k:].lower()}" for k in (1, 2, 3))])
    return found
