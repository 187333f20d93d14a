"""Metrics of tags; truth [M, 2] has the number of each tag, and 1 where a text begins; answers [M] numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurra.tasks.metrics import Floats, Metric


class TagAccuracy(Metric):
    """The share of right tags.

    >>> TagAccuracy().value(np.array([[0, 1], [1, 0.0]]), np.array([0, 0.0]))
    0.5
    """

    key, name, error, less, percent = "accuracy", "accuracy", "share of wrong tags", False, True

    def value(self, truth: Floats, answers: Floats) -> float:
        """One less the mean error."""
        return 1.0 - float(self.units(truth, answers).mean())

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """1 where a tag is wrong."""
        return np.asarray(truth[:, 0] != answers, np.float64)


class MacroTagF1(Metric):
    """The mean over tags of 2 TP / (2 TP + FP + FN): each counts alike, however rare it is."""

    key, name, less = "macro_f1", "macro F1", False

    def value(self, truth: Floats, answers: Floats) -> float:
        """As scikit-learn's `f1_score(average="macro")`."""
        right = truth[:, 0]
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
        parts = [np.split(numbers.astype(int), cuts) for numbers in (truth[:, 0], answers)]
        right, said = ([[self.labels[k] for k in one] for one in part] for part in parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where there is none of a kind
            return float(f1_score(right, said, mode="strict", scheme=IOB2))
