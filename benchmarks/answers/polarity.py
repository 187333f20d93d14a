"""rt_polarity: whether a sentence of a film review praises, 10 folds by line (Pang and Lee 2005); no outside vectors.

The two files are in the order in which they were collected: line i of each is in fold i mod 10.
"""

from __future__ import annotations

import zipfile
from typing import Any, NamedTuple

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import recurra
from benchmarks.answers.row import Metric, Row, shared

FOLDS = 10
HELD = 25  # of the training sentences every so many-th is for the temperature
READING = {"features": ("small", "pair"), "embedding": 48, "dropout": 0.5}


class Sentences(NamedTuple):
    """Tokens, labels, and the fold of each."""

    X: list[list[str]]
    y: np.ndarray[Any, Any]
    fold: np.ndarray[Any, Any]


def read() -> Sentences:
    with zipfile.ZipFile(shared("rt_polarity/sentence_polarity.zip")) as archive:
        found = {
            end: archive.read(f"sentence_polarity/rt-polarity.{end}").decode().splitlines() for end in ("pos", "neg")
        }
    X = [line.split() for lines in found.values() for line in lines]
    y = np.array([end for end, lines in found.items() for _ in lines])
    return Sentences(X, y, np.concatenate([np.arange(len(lines)) % FOLDS for lines in found.values()]))


def naive(data: Sentences) -> tuple[float]:
    """The most frequent label."""
    return (float((data.y == "pos").mean()),)


def counts(data: Sentences) -> tuple[float]:
    """Word counts and logistic regression."""
    model = make_pipeline(CountVectorizer(analyzer=lambda tokens: tokens), LogisticRegression(max_iter=1000))
    right = 0
    for fold in range(FOLDS):
        test = data.fold == fold
        model.fit([x for x, t in zip(data.X, test, strict=True) if not t], data.y[~test])
        right += int((model.predict([x for x, t in zip(data.X, test, strict=True) if t]) == data.y[test]).sum())
    return (right / len(data.y),)


def classifier(data: Sentences) -> tuple[float]:
    """`recurra.Classifier` on words and pairs of words, read in both directions; a model for each fold."""
    right = 0
    for fold in range(FOLDS):
        test = data.fold == fold
        parts = np.where(np.arange(len(test)) % HELD == 0, "valid", "train")[~test]
        model = recurra.Classifier(
            hidden=64, bidirectional=True, dropout=0.5, epochs=5, parts=parts, refit=False, reading=READING
        )
        model.fit([x for x, t in zip(data.X, test, strict=True) if not t], data.y[~test], evaluate=False)
        right += int((model.predict([x for x, t in zip(data.X, test, strict=True) if t]) == data.y[test]).sum())
    return (right / len(data.y),)


ROW = Row(
    name="polarity",
    data="rt_polarity, 10,662 sentences",
    split="10 folds, line i in fold i mod 10",
    metrics=(Metric("accuracy", reach=0.790, less=False),),
    read=read,
    naive=naive,
    simple=counts,
    ours=classifier,
)
