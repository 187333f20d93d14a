"""Metrics of tags; truth [M, 2] has the number of each tag, and 1 where a text begins; answers [M] numbers.

Where the text has a label too, the number of a tag has that of the label in it, as K label + tag of K tags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.tasks.metrics import Floats, Metric


class TagAccuracy(Metric):
    """The share of right tags, of K.

    >>> TagAccuracy(2).value(np.array([[0, 1], [1, 0.0]]), np.array([2, 0.0]))
    0.5
    """

    key, name, error, less, percent = "accuracy", "accuracy", "share of wrong tags", False, True

    def __init__(self, K: int) -> None:
        self.K = K

    def value(self, truth: Floats, answers: Floats) -> float:
        """One less the mean error."""
        return 1.0 - float(self.units(truth, answers).mean())

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """1 where a tag is wrong."""
        return np.asarray(truth[:, 0] % self.K != answers % self.K, np.float64)


class MacroTagF1(Metric):
    """The mean over tags of 2 TP / (2 TP + FP + FN): each counts alike, however rare it is."""

    key, name, less = "macro_f1", "macro F1", False

    def __init__(self, K: int) -> None:
        self.K = K

    def value(self, truth: Floats, answers: Floats) -> float:
        """As scikit-learn's `f1_score(average="macro")`."""
        right, answers = truth[:, 0] % self.K, answers % self.K
        found = [((answers == k) & (right == k), (answers == k), (right == k)) for k in np.union1d(right, answers)]
        return float(np.mean([2 * both.sum() / (said.sum() + true.sum()) for both, said, true in found]))


class SpanF1(Metric):
    """F1 of whole spans with their kind, as `seqeval` has it in its strict mode: both ends must be right.

    >>> SpanF1(["B-a", "I-a", "O"]).value(np.array([[0, 1], [1, 0], [2, 0.0], [0, 1]]), np.array([0, 1, 2, 2.0]))
    0.6666666666666666
    """

    key, name, less, percent = "span_f1", "F1 of spans", False, True

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)

    def value(self, truth: Floats, answers: Floats) -> float:
        """0 where there is no span."""
        import warnings

        from seqeval.metrics import f1_score
        from seqeval.scheme import IOB2

        cuts = np.flatnonzero(truth[:, 1])[1:]
        parts = [np.split(numbers.astype(int) % len(self.labels), cuts) for numbers in (truth[:, 0], answers)]
        right, said = ([[self.labels[k] for k in one] for one in part] for part in parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where there is none of a kind
            return float(f1_score(right, said, mode="strict", scheme=IOB2))


class LabelAccuracy(Metric):
    """The share of texts with the right label, which is that of their first token.

    >>> LabelAccuracy(2).value(np.array([[0, 1], [1, 0], [3, 1.0]]), np.array([1, 0, 2.0]))
    1.0
    """

    key, name, less, percent = "label_accuracy", "accuracy of labels", False, True

    def __init__(self, K: int) -> None:
        self.K = K

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of texts."""
        first = truth[:, 1] == 1
        return float((truth[first, 0] // self.K == answers[first] // self.K).mean())


class WholeAccuracy(Metric):
    """The share of texts of which the label and all tags are right.

    >>> WholeAccuracy().value(np.array([[0, 1], [1, 0], [3, 1.0]]), np.array([0, 0, 3.0]))
    0.5
    """

    key, name, less, percent = "whole", "all of it right", False, True

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of texts."""
        right = (truth[:, 0] == answers).astype(int)
        return float(np.minimum.reduceat(right, np.flatnonzero(truth[:, 1])).mean())
