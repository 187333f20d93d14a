"""`Classifier`: the label of a sequence, of any length; live, a probability for each label after every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.leakage import check_constant_columns
from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import DataError
from recurra.tasks.base import Floats, Task
from recurra.tasks.baselines import LogisticOnSummaries, MostFrequent
from recurra.tasks.classification.occlusion import Explanation, explained
from recurra.tasks.classification.text_baselines import LogisticOnWords
from recurra.tasks.estimator import Estimator
from recurra.tasks.metrics import Accuracy, LogLoss, MacroF1

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.tasks.bench import Bench, ModelPredictor

TEMPERATURES = np.geomspace(0.25, 4.0, 49)  # that probabilities are calibrated by


class Classify(Task):
    """A label for each sequence, or for each of its steps."""

    name = "classify"
    metrics = (Accuracy(), MacroF1(), LogLoss())
    baselines = (MostFrequent, LogisticOnSummaries)
    inputs = ("audio", "irregular", "text", "numbers")
    text_baselines = (MostFrequent, LogisticOnWords)

    labels: np.ndarray[Any, Any]

    def targets(self, found: Sequences) -> list[Floats]:
        """The number of each label, [] or, for one at each step, [T], NaN where a step has none; in `fit`, which sees
        them first, the labels are learned.

        Raises:
            DataError: a label is missing, all are one, or one was not in training.
        """
        y = [label.decode(errors="replace") if isinstance(label, bytes) else label for label in found.y or []]
        steps = [None if np.ndim(label) == 0 else _of_steps(i, label, found) for i, label in enumerate(y)]
        for i, label in enumerate(y):
            if steps[i] is None and _no_label(label):
                raise DataError(
                    f"y: number {i} is {str(label)[:40]!r}, expected a label for each sequence: leave out those without"
                )
        pairs = zip(y, steps, strict=True)
        flat = [one for label, each in pairs for one in ([label] if each is None else each)]
        there = [not _no_label(label) for label in flat]
        given = [label for label, known in zip(flat, there, strict=True) if known]
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
        values = np.full(len(flat), np.nan)
        values[there] = [numbers[label] for label in labels.tolist()]
        cuts = np.cumsum([1 if each is None else len(each) for each in steps])[:-1]
        return [v[0] if e is None else v for v, e in zip(np.split(values, cuts), steps, strict=True)]

    def strata(self, sequences: Sequence[Any]) -> list[str] | None:
        """All labels are in all parts alike, where each sequence has one."""
        return None if self.each else [f"{float(s.target):.0f}" for s in sequences]

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """Every label must be there to be learned.

        Raises:
            DataError: one is not in the training part.
        """
        seen = {int(k) for s, split in zip(sequences, splits, strict=True) if split.train_end for k in _known(s.target)}
        if len(seen) < len(self.labels):
            lost = next(label for k, label in enumerate(self.labels.tolist()) if k not in seen)
            raise DataError(f"y: the label {lost!r} is not in the training part, expected every label there")
        return super().transform(sequences, splits)

    def suspicions(self, bench: Bench) -> list[str]:
        """A column that is the label, and sequences cut from one recording on both sides of a split."""
        if not self.each and self.input.name == "numbers":
            labels = np.array([float(s.target) for s in bench.sequences])
            check_constant_columns([s.x for s in bench.sequences], labels)
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
        """Cross entropy; steps without a label do not count."""
        from torch.nn import functional

        there = targets.isfinite()
        if there.all():
            return functional.cross_entropy(output.flatten(0, -2), targets.long().flatten())
        losses = functional.cross_entropy(output[there], targets[there].long(), reduction="sum")
        return losses / there.sum().clamp(min=1)

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
            for member in network.members:
                for parameter in member.head[-1].parameters():
                    parameter /= best

    def described(self, bench: Bench) -> dict[str, Any]:
        """How many sequences, or steps, have each label, too."""
        known = np.concatenate([_known(s.target) for s in bench.sequences]).astype(int)
        counts = np.bincount(known, minlength=len(self.labels))
        labels = {str(label): int(count) for label, count in zip(self.labels.tolist(), counts, strict=True)}
        return {**super().described(bench), "labels": labels}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """Which labels are taken for which on the test part, rows being the truth; whether probabilities are honest."""
        truth, answers = bench.predictions(predictor, bench.pieces("test"))
        truth, answers = truth[np.isfinite(truth)], answers[np.isfinite(truth)]
        K, said = len(self.labels), answers.argmax(-1)
        counts = np.bincount(truth.astype(int) * K + said, minlength=K * K).reshape(K, K)
        confusion = {
            "kind": "confusion",
            "labels": [str(v) for v in self.labels.tolist()],
            "counts": counts.tolist(),
            "of": "steps" if self.each else "sequences",
        }
        calibration = {"kind": "calibration", **_calibration(answers.max(-1), said == truth)}
        return [*self.input.sections(bench, predictor), confusion, calibration]

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


def _no_label(label: Any) -> bool:
    """Whether a label is missing; pandas' NA says of no comparison whether it holds."""
    try:
        return label is None or bool(label != label) or (isinstance(label, str) and not label)
    except TypeError:
        return True


def _of_steps(i: int, labels: Any, found: Sequences) -> list[Any]:
    """The labels of the steps of a sequence.

    Raises:
        DataError: they are more or fewer, or none is known.
    """
    if np.ndim(labels) != 1 or len(labels) != len(found.x[i]):
        raise DataError(
            f"y: number {i} has shape {np.shape(labels)} for {len(found.x[i])} steps, expected one label for the "
            "sequence, or one for each step"
        )
    each = np.asarray(labels).tolist() if hasattr(labels, "dtype") else list(labels)
    if all(map(_no_label, each)):
        raise DataError(f"y: number {i} has no label at any step, expected some: leave that sequence out")
    return each


def _known(target: Floats) -> Floats:
    """The targets of a sequence that are there, [M]."""
    flat = np.ravel(target)
    known: Floats = flat[np.isfinite(flat)]
    return known


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
    """Labels of sequences of numbers, of any length; or of each of their steps.

    A recurrent network reads each sequence; what it gives at the end is a probability for each label. The parts are
    stratified by label, or by time or group where these are given. Missing values may be anywhere. A live session
    gives the probabilities after every step, in a microsecond or a few. Where y has an array of labels for each
    sequence, the network learns to say the label of every step from the steps so far; a label that is None, NaN or an
    empty text is not known.

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

    def _given(self, answers: Any) -> Any:
        """The most probable labels."""
        if isinstance(answers, list):
            return [self.classes_[one.argmax(-1)] for one in answers]
        return self.classes_[answers.argmax(-1)]

    def predict_proba(self, X: Any, *, series: str | None = None, steps: str | None = None) -> Any:
        """The probability of each label, [N, K], or a list of [T, K]; computed as a live session computes it, to the
        last bit. The arguments are those of `predict`."""
        return self._decoded(X, series, steps)[1]

    def explain(self, X: Any, label: Any = None) -> list[Explanation]:
        """What of each sequence made its label probable: by how much less it is where a token or step is not known.

        Args:
            X: as `predict` takes it.
            label: which one to explain; None: the most probable of each.

        Raises:
            DataError: there is no such label, or X cannot be used.

        >>> import recurra
        >>> X, y = ["a fine film", "a dull film", "so fine", "so dull"] * 10, ["good", "bad"] * 20
        >>> model = recurra.Classifier(hidden=8, epochs=20).fit(X, y, evaluate=False)
        >>> found = model.explain(["a fine film"])[0]
        >>> found.label, max(zip(found.effects, found.steps))[1]
        ('good', 'fine')
        """
        known = self.classes_.tolist()
        if label is not None and label not in known:
            raise DataError(f"explain: there is no label {label!r}, expected one of {', '.join(map(str, known[:12]))}")
        k = None if label is None else known.index(label)
        return [explained(self.task_, self._predictor(), s, k) for s in self._read(X, None, None)]
