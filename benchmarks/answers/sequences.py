"""Labelled sequences with a test part of their own: what the rows that classify have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

import recurra

Array = NDArray[Any]

# Before the defaults were chosen, which are what was best over the three data sets of labelled sequences.
TRIED = (
    "by five folds of the training part: one pool of four or three side by side, noise of 0 to 0.6, one direction and "
    "both, dropout of 0.2 and 0.5, stopping early and training to the end on all of it"
)


class Labelled(NamedTuple):
    """Sequences [T, I] of any length with a label each."""

    X: Sequence[Array]
    y: Array


class Data(NamedTuple):
    """What is learned from, and what is answered."""

    train: Labelled
    test: Labelled


def five_folds(y: Array) -> list[tuple[Array, Array]]:
    """Rows to learn from and to answer, stratified, shuffled by seed 0."""
    return list(StratifiedKFold(5, shuffle=True, random_state=0).split(y, y))


def from_aeon(load: Callable[..., tuple[Any, Array]]) -> Data:
    """A collection that is packaged with aeon, [I, T] each there, in the archive's split."""
    parts = [load(split=split) for split in ("train", "test")]
    return Data(*(Labelled([np.asarray(x).T for x in X], np.asarray(y)) for X, y in parts))


def most_frequent(data: Data) -> tuple[float]:
    """The accuracy of the label that is the most frequent in training."""
    labels, counts = np.unique(data.train.y, return_counts=True)
    return (float((data.test.y == labels[counts.argmax()]).mean()),)


def by(model: Any, inputs: Callable[[Sequence[Array]], Array]) -> Callable[[Data], tuple[float]]:
    """The accuracy of a model of scikit-learn on rows made of the sequences."""

    def accuracy(data: Data) -> tuple[float]:
        model.fit(inputs(data.train.X), data.train.y)
        return (float(model.score(inputs(data.test.X), data.test.y)),)

    return accuracy


def classifier(data: Data) -> tuple[float]:
    """The accuracy of `recurra.Classifier` as it is made."""
    model = recurra.Classifier().fit(*data.train)
    return (float((model.predict(data.test.X) == data.test.y).mean()),)


def summaries(X: Sequence[Array]) -> Array:
    """Of each column of a sequence: means of its quarters, mean, deviation, least, largest, first, last."""
    return np.stack([np.concatenate(_summary(x)) for x in X])


def _summary(x: Array) -> list[Array]:
    quarters = [(part if len(part) else x).mean(0) for part in np.array_split(x, 4)]
    return [*quarters, x.mean(0), x.std(0), x.min(0), x.max(0), x[0], x[-1]]
