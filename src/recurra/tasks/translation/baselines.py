"""What a network that writes must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from recurra.errors import need
from recurra.tasks.baselines import Baseline
from recurra.tasks.translation.metrics import sequences

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

ENDS = (".", "!", "?", "\u3002")  # of a sentence


class Nearest(Baseline):
    """What belongs to the text of the training part that is nearest by TF-IDF of its tokens, by scikit-learn."""

    key, kind, words = "nearest", "naive", "what belongs to the nearest text of the training part"
    name = "nearest text"
    packages = ("sklearn",)

    def __init__(self, vectors: Any, known: Any, written: list[tuple[str, ...]]) -> None:
        self.vectors, self.known, self.written, self.parameters = vectors, known, written, 0

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Remember the training part."""
        need(f"the {cls.key} baseline", *cls.packages, extra="train")
        from sklearn.feature_extraction.text import TfidfVectorizer

        pairs = [piece.sequence for piece in bench.pieces("train")]
        vectors = TfidfVectorizer(analyzer=lambda tokens: tokens, sublinear_tf=True)
        known = vectors.fit_transform([pair.tokens for pair in pairs])
        return cls(vectors, known, [pair.written for pair in pairs])

    def predict(self, sequence: Any, start: int, stop: int) -> Any:
        """[1], an object."""
        near = (self.known @ self.vectors.transform([sequence.tokens]).T).toarray()[:, 0]
        return sequences([self.written[int(near.argmax())]])


class Lead(Baseline):
    """The first sentence of what is read: up to the first token that ends with a sign of `ENDS`."""

    key, kind, words = "lead", "naive", "the first sentence of the text itself"
    name = "first sentence"

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """There is nothing to learn."""
        return cls()

    def predict(self, sequence: Any, start: int, stop: int) -> Any:
        """[1], an object."""
        ends = (i for i, token in enumerate(sequence.tokens, 1) if token.strip()[-1:] in ENDS)
        return sequences([sequence.tokens[: next(ends, len(sequence))]])
