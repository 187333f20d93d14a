"""`Classifier`: the label of a sequence, of any length; live, a probability for each label after every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.leakage import check_constant_columns
from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.transform import Standardize, Transform
from recurra.errors import DataError
from recurra.tasks.base import Floats, Task
from recurra.tasks.baselines import LogisticOnSummaries, MostFrequent
from recurra.tasks.estimator import Estimator
from recurra.tasks.metrics import Accuracy, LogLoss, MacroF1

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.tasks.bench import Bench, ModelPredictor

TEMPERATURES = np.geomspace(0.25, 4.0, 49)  # that probabilities are calibrated by


class Classify(Task):
    """A label for each sequence."""

    name = "classify"
    metrics = (Accuracy(), MacroF1(), LogLoss())
    baselines = (MostFrequent, LogisticOnSummaries)

    labels: np.ndarray[Any, Any]

    def targets(self, found: Sequences) -> list[Floats]:
        """The number of each label; in `fit`, which sees them first, the labels are learned.

        Raises:
            DataError: a label is missing, all are one, or one was not in training.
        """
        given = list(found.y or [])
        for i, label in enumerate(given):
            if label is None or label != label or np.ndim(label):
                what = f"{str(label)[:40]!r}" if np.ndim(label) == 0 else f"an array of {np.size(label)}"
                raise DataError(f"y: number {i} is {what}, expected a label for each sequence: leave out those without")
        labels = np.asarray(given)
        if labels.dtype.kind not in "biufUS" or ({type(v) for v in given} & {str} and labels.dtype.kind != "U"):
            labels = np.asarray([str(label) for label in given])
        if not hasattr(self, "labels"):
            self.labels = np.unique(labels)
            if len(self.labels) < 2:
                what = f"all {len(given)} are {self.labels[0].item()!r}" if given else "there are none"
                raise DataError(f"y: {what}, expected at least two different labels")
        numbers = {label: k for k, label in enumerate(self.labels.tolist())}
        odd = next((label for label in labels.tolist() if label not in numbers), None)
        if odd is not None:
            raise DataError(f"y: the label {odd!r} was not in training, expected one of {', '.join(map(str, numbers))}")
        return [np.asarray(float(numbers[label])) for label in labels.tolist()]

    def strata(self, sequences: Sequence[Any]) -> list[str]:
        """All labels are in all parts alike."""
        return [f"{float(s.target):.0f}" for s in sequences]

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Standardize:
        """Every label must be there to be learned.

        Raises:
            DataError: one is not in the training part.
        """
        seen = {int(s.target) for s, split in zip(sequences, splits, strict=True) if split.train_end}
        if len(seen) < len(self.labels):
            lost = next(label for k, label in enumerate(self.labels.tolist()) if k not in seen)
            raise DataError(f"y: the label {lost!r} is not in the training part, expected every label there")
        return Standardize.fit(sequences, splits, self.columns)

    def suspicions(self, bench: Bench) -> list[str]:
        """A column that is the label, and sequences cut from one recording on both sides of a split."""
        check_constant_columns([s.x for s in bench.sequences], np.array([float(s.target) for s in bench.sequences]))
        return super().suspicions(bench)

    def head(self, width: int, transform: Transform, dropout: float) -> nn.Module:
        """A linear layer."""
        from torch import nn

        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, len(self.labels)))

    def link(self) -> nn.Module:
        """A softmax."""
        from torch import nn

        return nn.Softmax(-1)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy."""
        from torch.nn import functional

        return functional.cross_entropy(output, targets.long())

    def decode(self, output: Floats, transform: Transform, name: str) -> Floats:
        """The probabilities, as they are."""
        return output

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The most probable label, and the probability of each."""
        labels, names = self._names
        shares = numbers.tolist()
        return {"label": labels[numbers.argmax()], "probabilities": dict(zip(names, shares, strict=True))}

    @cached_property
    def _names(self) -> tuple[list[Any], list[str]]:
        """The labels, and as text."""
        return self.labels.tolist(), [str(label) for label in self.labels.tolist()]

    def columns_of(self, answers: Floats) -> dict[str, Any]:
        """The label, and a column for the probability of each."""
        shares = {f"p({label})": answers[:, k] for k, label in enumerate(self.labels.tolist())}
        return {"label": self.labels[answers.argmax(-1)], **shares}

    def calibrate(self, network: Any, output: Tensor, targets: Tensor) -> None:
        """Divide what the softmax sees by the temperature that has the least log loss (Guo et al. 2017)."""
        import torch
        from torch.nn import functional

        losses = [float(functional.cross_entropy(output / t, targets.long())) for t in TEMPERATURES]
        best = float(TEMPERATURES[int(np.argmin(losses))])
        with torch.no_grad():
            for parameter in network.head[-1].parameters():
                parameter /= best

    def described(self, bench: Bench) -> dict[str, Any]:
        """How many sequences have each label, too."""
        counts = np.bincount([int(s.target) for s in bench.sequences], minlength=len(self.labels))
        labels = {str(label): int(count) for label, count in zip(self.labels.tolist(), counts, strict=True)}
        return {**super().described(bench), "labels": labels}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """Which labels are taken for which on the test part, rows being the truth; whether probabilities are honest."""
        truth, answers = bench.predictions(predictor, bench.pieces("test"))
        K, said = len(self.labels), answers.argmax(-1)
        counts = np.bincount(truth.astype(int) * K + said, minlength=K * K).reshape(K, K)
        confusion = {"kind": "confusion", "labels": [str(v) for v in self.labels.tolist()], "counts": counts.tolist()}
        return [confusion, {"kind": "calibration", **_calibration(answers.max(-1), said == truth)}]

    def to_dict(self) -> dict[str, Any]:
        """The labels."""
        return {**super().to_dict(), "labels": self.labels.tolist()}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.labels = np.asarray(described["labels"])
        if self.labels.ndim != 1 or len(self.labels) < 2:
            raise ValueError(f"{len(self.labels)} labels")
        return self

    def check_output(self, size: int) -> None:
        """A probability for each label."""
        if size != len(self.labels):
            raise ValueError(f"{size} probabilities for {len(self.labels)} labels")


def _calibration(given: Floats, right: np.ndarray[Any, Any]) -> dict[str, list[Any]]:
    """In tenths of the probability `given` to the most probable label: its mean, and the share that is right.

    >>> _calibration(np.array([0.92, 0.98, 0.55]), np.array([True, False, True]))
    {'said': [0.55, 0.95], 'right': [1.0, 0.5], 'counts': [1, 2]}
    """
    tenth = np.minimum((10 * given).astype(int), 9)
    of = [tenth == k for k in np.unique(tenth)]
    said, true = ([round(float(values[one].mean()), 6) for one in of] for values in (given, right))
    return {"said": said, "right": true, "counts": [int(one.sum()) for one in of]}


class Classifier(Estimator):
    """Labels of sequences of numbers, of any length.

    A recurrent network reads each sequence; what it gives at the end is a probability for each label. The parts are
    stratified by label, or by time or group where these are given. Missing values may be anywhere. A live session
    gives the probabilities after every step, in a microsecond or a few.

    The arguments are those of `recurra.tasks.Estimator`.

    Attributes:
        classes_: the labels, in the order of `predict_proba`'s columns.

    >>> import numpy as np, recurra
    >>> rng = np.random.default_rng(0)
    >>> X, y = [rng.normal(size=(n, 2)) for n in rng.integers(5, 12, 60)], np.array(["up", "down"] * 30)
    >>> for x, label in zip(X, y): x[:, 0] += np.arange(len(x)) * (1 if label == "up" else -1)
    >>> model = recurra.Classifier(hidden=8, epochs=20).fit(X, y)
    >>> str(model.predict([np.arange(6.0)[:, None] * [1, 0]])[0])
    'up'
    """

    task = Classify
    _estimator_type = "classifier"

    @property
    def classes_(self) -> np.ndarray[Any, Any]:
        """The labels, in the order of `predict_proba`'s columns."""
        self._check_fitted()
        labels: np.ndarray[Any, Any] = self.task_.labels
        return labels

    def predict(self, X: Any, *, series: str | None = None) -> np.ndarray[Any, Any]:
        """The most probable label of each sequence, [N].

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the sequences cannot be used, or have another width than those of `fit`.
        """
        found: np.ndarray[Any, Any] = self.classes_[self.predict_proba(X, series=series).argmax(-1)]
        return found

    def predict_proba(self, X: Any, *, series: str | None = None) -> Floats:
        """The probability of each label, [N, K]; computed as a live session computes it, to the last bit."""
        return self._decoded(X, series)[1]
