"""Snips: what somebody wants, and the slots of it, of spoken commands (Coucke 2018), in the usual split."""

from __future__ import annotations

import tarfile
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import recurra
from benchmarks.answers.row import Metric, Row, shared
from recurra.data.text.paths import repaired

PARTS = ("train", "valid", "test")


class Commands(NamedTuple):
    """Words, their slots, and the intent of each command."""

    words: list[list[str]]
    slots: list[list[str]]
    intents: np.ndarray[Any, Any]


def read() -> dict[str, Commands]:
    with tarfile.open(shared("snips/snips.tar.gz")) as archive:

        def lines(part: str, name: str) -> list[str]:
            file = archive.extractfile(f"snips/{part}/{name}")
            assert file is not None
            return file.read().decode().splitlines()

        def split(part: str, name: str) -> list[list[str]]:
            return [line.split() for line in lines(part, name)]

        intents = {part: np.array([line.strip() for line in lines(part, "label")]) for part in PARTS}
        return {part: Commands(split(part, "seq.in"), split(part, "seq.out"), intents[part]) for part in PARTS}


def scores(test: Commands, slots: list[list[str]], intents: Any) -> tuple[float, float, float]:
    """F1 of slots, the share of right intents, and of commands in which everything is right."""
    f1 = float(f1_score(test.slots, slots, mode="strict", scheme=IOB2))
    right = np.asarray(intents) == test.intents
    whole = right & np.array([list(a) == list(b) for a, b in zip(slots, test.slots, strict=True)])
    return f1, float(right.mean()), float(whole.mean())


def commonest(data: dict[str, Commands]) -> tuple[float, float, float]:
    """The slot that each word has most often, and the most frequent intent."""
    train, test = data["train"], data["test"]
    counts: dict[str, Counter[str]] = {}
    for words, slots in zip(train.words, train.slots, strict=True):
        for word, slot in zip(words, slots, strict=True):
            counts.setdefault(word, Counter())[slot] += 1
    best = {word: found.most_common(1)[0][0] for word, found in counts.items()}
    intent = Counter(train.intents.tolist()).most_common(1)[0][0]
    slots = [repaired([best.get(word, "O") for word in words]) for words in test.words]
    return scores(test, slots, [intent] * len(test.words))


def linear(data: dict[str, Commands]) -> tuple[float, float, float]:
    """Logistic regression: on a word and its neighbours, and on TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    from recurra.tasks.tagging.baselines import ALPHA, around

    train, test = data["train"], data["test"]
    hashed = FeatureHasher(1 << 16, input_type="string")
    model = SGDClassifier(loss="log_loss", alpha=ALPHA, max_iter=8, tol=None, random_state=0)
    model.fit(hashed.transform([said for x in train.words for said in around(x)]), np.concatenate(train.slots))
    slots = [repaired(model.predict(hashed.transform(around(x))).tolist()) for x in test.words]
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    intents = make_pipeline(words, LogisticRegression(C=30, max_iter=1000))
    intents.fit([" ".join(x) for x in train.words], train.intents)
    return scores(test, slots, intents.predict([" ".join(x) for x in test.words]))


def tagger(data: dict[str, Commands]) -> tuple[float, float, float]:
    """`recurra.Tagger` for the slots and the intent together: the mean of some networks."""
    both = [data["train"], data["valid"]]
    parts = ["train"] * len(both[0].words) + ["valid"] * len(both[1].words)
    words = [x for part in both for x in part.words]
    pairs = [(y, str(intent)) for part in both for y, intent in zip(part.slots, part.intents, strict=True)]
    reading = {"embedding": 24, "min_count": 2, "dropout": 0.3, "forgotten": 0.1}
    model = recurra.Tagger(hidden=96, dropout=0.3, epochs=20, members=3, reading=reading, parts=parts, refit=False)
    model.fit(words, pairs, evaluate=False)
    slots, intents = zip(*model.predict(data["test"].words), strict=True)
    return scores(data["test"], [list(one) for one in slots], intents)


ROW = Row(
    name="snips",
    data="Snips, 14,484 commands, 7 intents, 39 slots",
    split="13,084, 700 and 700",
    metrics=(
        Metric("F1 of slots", reach=0.945, recurrent=0.942, less=False),
        Metric("accuracy of intents", reach=0.980, recurrent=0.980, less=False),
        Metric("all of it right", reach=0.87, recurrent=0.87, less=False),
    ),
    read=read,
    naive=commonest,
    simple=linear,
    ours=tagger,
)
