"""Labelled sequences: which label belongs to a sequence, of any length, read to its end.

Letters: T steps, B batch, I channels. Sequences are [T, I]; a part is "train", "valid" or "test".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recurra.compare.leakage import check_sequences
from recurra.compare.problem import PARTS, Array, Problem
from recurra.errors import CompareError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.compare.candidates import Candidate

BATCH = 32
SHARES = (0.70, 0.15, 0.15)


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
        """The logits [B, labels] after the last step of each row."""
        result: Tensor = network.head(network.dropout(network.encoder.last(x, lengths)))
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


def labelled(
    x: Any,
    y: Any,
    *,
    test: tuple[Any, Any] | None = None,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
) -> Labelled:
    """Split, impute and scale labelled sequences; all that is learned is learned from the training part.

    Args:
        x: an array [n, T, I] or [n, T], or a list of arrays [T, I] or [T] of any lengths.
        y: n labels: numbers or text.
        test: other sequences and labels, which are then the test part; else a share of x is.
        groups: for each sequence what it was taken from (a recording, a person): no group is on both sides of a split.
        seed: of the split.

    Raises:
        ShapeError, CompareError: sequences, labels or groups do not fit one another, or are too few.
        LeakageError: a channel is the label, or the test part repeats steps of the training part.
    """
    raw, names = _sequences(x), _labels(y)
    if len(raw) != len(names):
        raise ShapeError(f"labels: got {len(names)} for {len(raw)} sequences, expected one for each")
    parts = _split(names, _groups(groups, len(raw)), test is None, seed)
    if test is not None:
        more, more_names = _sequences(test[0]), _labels(test[1])
        if len(more) != len(more_names) or not more:
            raise ShapeError(f"test: got {len(more_names)} labels for {len(more)} sequences, expected one for each")
        raw, names = raw + more, names + more_names
        parts = np.concatenate([parts, np.full(len(more), PARTS.index("test"), parts.dtype)])
    _check_channels(raw)
    labels = sorted(set(names), key=_natural)
    if len(labels) < 2:
        raise CompareError(f"labels: all are {labels[0]!r}, expected at least two different ones")
    number = {label: k for k, label in enumerate(labels)}
    y_numbers = np.array([number[name] for name in names], np.int64)
    unseen = sorted({names[i] for i in np.flatnonzero(parts > 0)} - {names[i] for i in np.flatnonzero(parts == 0)})
    if unseen:
        raise CompareError(
            f"labels: {unseen[0]!r} is not in the training part, expected every label there: get more data"
        )
    check_sequences(raw, y_numbers, parts)
    mean, scale, flagged = _learn([raw[i] for i in np.flatnonzero(parts == 0)])
    x_scaled = tuple(_scaled(s, mean, scale, flagged) for s in raw)
    return Labelled(x_scaled, y_numbers, tuple(labels), parts, mean, scale, flagged)


def _sequences(x: Any) -> list[Array]:
    if isinstance(x, np.ndarray) and x.dtype != object and x.ndim not in (2, 3):
        raise ShapeError(f"sequences: the array has shape {x.shape}, expected [n, T, channels] or [n, T]")
    found = []
    for i, one in enumerate(x):
        try:
            array = np.asarray(one, np.float64)
        except (TypeError, ValueError):
            raise ShapeError(f"sequences: number {i} is no array of numbers, expected [T, channels] or [T]") from None
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or 0 in array.shape:
            raise ShapeError(
                f"sequences: number {i} has shape {array.shape}, expected [T, channels] with at least 1 step"
            )
        if np.isinf(array).any():
            raise ShapeError(
                f"sequences: number {i} has an infinite value, expected numbers, or NaN where one is missing"
            )
        found.append(array)
    return found


def _check_channels(raw: list[Array]) -> None:
    odd = next((i for i, s in enumerate(raw) if s.shape[1] != raw[0].shape[1]), None)
    if odd is not None:
        raise ShapeError(
            f"sequences: number {odd} has {raw[odd].shape[1]} channels, expected {raw[0].shape[1]} as the first: "
            "sequences are [T, channels], so transpose those that are [channels, T]"
        )


def _labels(y: Any) -> list[str]:
    names = [str(v) for v in np.asarray(y).ravel().tolist()]
    if any(name in ("nan", "None", "") for name in names):
        raise CompareError("labels: some are missing, expected one for each sequence: leave those sequences out")
    return names


def _natural(label: str) -> tuple[int, float, str]:
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _groups(groups: Sequence[Any] | None, count: int) -> Array:
    if groups is None:
        return np.arange(count)
    if len(groups) != count:
        raise ShapeError(f"groups: got {len(groups)} for {count} sequences, expected one for each")
    return np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]


def _split(names: list[str], groups: Array, with_test: bool, seed: int) -> Array:
    """0, 1 or 2 for each sequence; within each label (the first of a group) the shares are as near as they can be."""
    if len(names) < 10:
        raise CompareError(f"sequences: got {len(names)}, expected at least 10 to train, validate and test with")
    rng = np.random.default_rng(seed)
    parts = np.zeros(len(names), np.int8)
    first = {g: names[i] for i, g in reversed(list(enumerate(groups)))}
    ends = np.cumsum(SHARES) if with_test else np.array([SHARES[0] / (SHARES[0] + SHARES[1]), 1.0, 1.0])
    for label in sorted(set(first.values())):
        own = rng.permutation([g for g, name in first.items() if name == label])
        where = np.searchsorted(ends[:2], (np.arange(len(own)) + 0.5) / len(own))
        for g, part in zip(own, where, strict=True):
            parts[groups == g] = part
    for part in range(3 if with_test else 2):
        if not (parts == part).any():
            raise CompareError(f"sequences: too few for a {PARTS[part]} part, expected some of each label (and group)")
    return parts


def _learn(raw: list[Array]) -> tuple[Array, Array, tuple[int, ...]]:
    rows = np.concatenate(raw)
    missing = np.isnan(rows)
    if missing.all(0).any():
        raise CompareError(f"sequences: channel {int(missing.all(0).argmax())} has no value in training: leave it out")
    mean, scale = np.nanmean(rows, 0), np.nanstd(rows, 0)
    return mean, np.where(scale > 0, scale, 1.0), tuple(int(k) for k in np.flatnonzero(missing.any(0)))


def _scaled(s: Array, mean: Array, scale: Array, flagged: tuple[int, ...]) -> Array:
    z = (s - mean) / scale
    flags = np.isnan(z)[:, list(flagged)]
    filled: Array = np.concatenate([np.where(np.isnan(z), 0.0, z), flags], 1)
    return filled.astype(np.float32)
