"""Labelled sequences: which label belongs to a sequence, of any length, read to its end.

Letters: T steps, B batch, I channels. Sequences are [T, I]; a part is "train", "valid" or "test".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recurra.compare.problem import PARTS, Array, Problem

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.compare.candidates import Candidate

BATCH = 32


@dataclass(frozen=True)
class Labelled(Problem):
    """Sequences with labels, in three parts.

    Attributes:
        x: sequences [T, I], float32, scaled by the training part; missing values are its mean and raise a flag.
        y: the number of each one's label.
        labels: their names.
        parts: for each sequence 0, 1 or 2: train, valid or test.
        mean, scale: of each channel in the training part, [channels].
        flagged: the channels with missing values in training, whose flags follow the channels.
    """

    x: tuple[Array, ...]
    y: Array
    labels: tuple[str, ...]
    parts: Array
    mean: Array
    scale: Array
    flagged: tuple[int, ...] = ()
    task: ClassVar[str] = "classify"
    metric = "share of wrong labels"

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """Channels and flags."""
        return len(self.mean) + len(self.flagged)

    @property
    def windows(self) -> tuple[int, ...]:  # type: ignore[override]
        """Half and all of the longest training sequence."""
        longest = max(len(self.x[i]) for i in self.of("train"))
        return tuple(sorted({max(2, longest // 2), max(2, longest)}))

    def of(self, part: str) -> Array:
        """The numbers of the sequences of a part."""
        return np.flatnonzero(self.parts == PARTS.index(part))

    def tuning_part(self) -> Labelled:
        """Without the sequences of the test part."""
        kept = np.flatnonzero(self.parts != PARTS.index("test"))
        return replace(self, x=tuple(self.x[i] for i in kept), y=self.y[kept], parts=self.parts[kept])

    def described(self) -> dict[str, Any]:
        """Counts, lengths and labels."""
        lengths = [len(s) for s in self.x]
        return {
            "sequences": len(self.x),
            "channels": len(self.mean),
            "lengths": [min(lengths), max(lengths)],
            "labels": list(self.labels),
            "parts": {part: len(self.of(part)) for part in PARTS},
            "longest_in_training": self.windows[-1],
        }

    def pack(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The sequences one after the other, with their lengths."""
        lengths = np.array([len(s) for s in self.x], np.int64)
        arrays = {"x": np.concatenate(self.x), "lengths": lengths, "y": self.y, "parts": self.parts}
        arrays |= {"mean": self.mean, "scale": self.scale}
        return arrays, {"labels": list(self.labels), "flagged": list(self.flagged)}

    @classmethod
    def unpack(cls, arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> Labelled:
        """The sequences taken apart again."""
        x = tuple(np.split(arrays["x"], np.cumsum(arrays["lengths"])[:-1]))
        rest = {name: arrays[name] for name in ("y", "parts", "mean", "scale")}
        return cls(x=x, labels=tuple(settings["labels"]), flagged=tuple(settings["flagged"]), **rest)

    def head(self, width: int) -> nn.Module:
        """One linear layer."""
        from torch import nn

        return nn.Linear(width, len(self.labels))

    def batch(self, rows: Array) -> tuple[Tensor, Tensor, Tensor]:
        """Sequences [T, B, I] after one another, zeros at their ends, with their lengths and labels."""
        import torch

        lengths = [len(self.x[i]) for i in rows]
        x = np.zeros((max(lengths), len(rows), self.input_size), np.float32)
        for b, i in enumerate(rows):
            x[: lengths[b], b] = self.x[i]
        return torch.from_numpy(x), torch.tensor(lengths), torch.from_numpy(self.y[rows])

    def scores(self, network: Any, x: Tensor, lengths: Tensor) -> Tensor:
        """The logits [B, labels] of each row."""
        result: Tensor = network.head(network.dropout(network.encoder.summary(x, lengths)))
        return result

    def updates(self, network: Any) -> int:
        """Batches in an epoch."""
        return -(-len(self.of("train")) // BATCH)

    def steps(self, network: Any, rng: np.random.Generator) -> Iterator[Callable[[], Tensor]]:
        """Cross entropy of batches of the training part, in a new order each epoch."""
        order = rng.permutation(self.of("train"))
        for start in range(0, len(order), BATCH):
            x, lengths, y = self.batch(order[start : start + BATCH])
            yield partial(self.loss, network, x, lengths, y)

    def loss(self, network: Any, x: Tensor, lengths: Tensor, y: Tensor) -> Tensor:
        """The mean cross entropy of a batch."""
        from torch.nn import functional

        return functional.cross_entropy(self.scores(network, x, lengths), y)

    def evaluate(self, network: Any, part: str) -> Array:
        """For each sequence 1 where the most probable label is wrong, else 0."""
        wrong: Array = self.guesses(network, self.of(part)) != self.y[self.of(part)]
        return wrong.astype(np.float64)

    def loss_of(self, network: Any, part: str) -> float:
        """The mean cross entropy: finer than the share of wrong labels, to stop training by."""
        total = 0.0
        for x, lengths, y in map(self.batch, self._pieces(self.of(part))):
            total += len(y) * float(self.loss(network, x, lengths, y))
        return total / len(self.of(part))

    def evaluations(self, parts: Sequence[str]) -> float:
        """In sequences."""
        return sum(len(self.of(part)) for part in parts) / len(self.of("valid"))

    def guesses(self, network: Any, rows: Array) -> Array:
        """The most probable label of each sequence."""
        parts = [self.scores(network, *self.batch(piece)[:2]).argmax(-1).numpy() for piece in self._pieces(rows)]
        guessed: Array = np.concatenate(parts)
        return guessed

    @staticmethod
    def _pieces(rows: Array) -> list[Array]:
        return [rows[start : start + 256] for start in range(0, len(rows), 256)]

    def flattened(self, rows: Array, window: int) -> Array:
        """The last `window` steps of each sequence as one row, after zeros where it has fewer."""
        out = np.zeros((len(rows), window, self.input_size), np.float32)
        for k, i in enumerate(rows):
            tail = self.x[i][-window:]
            out[k, window - len(tail) :] = tail
        return out.reshape(len(rows), -1)

    def fit_plain(self, candidate: Candidate, params: Mapping[str, Any]) -> Any:
        """scikit-learn's `DummyClassifier` or `LogisticRegression`, with the window that it sees."""
        rows, window = self.of("train"), params.get("window", 1)
        if candidate.kind == "naive":
            from sklearn.dummy import DummyClassifier

            return DummyClassifier(strategy="prior").fit(np.zeros((len(rows), 1)), self.y[rows]), window
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=params["C"], max_iter=500, tol=1e-3)
        return model.fit(self.flattened(rows, window), self.y[rows]), window

    def evaluate_plain(self, fitted: Any, part: str) -> Array:
        """As `evaluate`."""
        model, window = fitted
        rows = self.of(part)
        wrong: Array = model.predict(self.flattened(rows, window)) != self.y[rows]
        return wrong.astype(np.float64)

    def loss_plain(self, fitted: Any) -> float:
        """The mean cross entropy on the validation part."""
        model, window = fitted
        rows = self.of("valid")
        chances = model.predict_proba(self.flattened(rows, window))
        return float(-np.log(np.clip(chances[np.arange(len(rows)), self.y[rows]], 1e-12, 1.0)).mean())

    def count_plain(self, fitted: Any) -> int:
        """The coefficients of the logistic regression; the one label of a naive candidate."""
        model, _ = fitted
        return model.coef_.size + model.intercept_.size if hasattr(model, "coef_") else 1
