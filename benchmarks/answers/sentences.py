"""Sentences to sentences: 50,000 pairs of English and Japanese (Tanaka corpus), and synopses of Debian's packages."""

from __future__ import annotations

import lzma
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import recurra
from benchmarks.answers.row import Metric, Row, shared
from recurra.tasks.translation.metrics import ROUGE, Bleu, sequences

TRANSLATION: dict[str, Any] = {"hidden": 256, "epochs": 7, "dropout": 0.3, "learning_rate": 2e-3}
READING = {"embedding": 192, "min_count": 2}
SUMMARY: dict[str, Any] = {"hidden": 128, "epochs": 5, "dropout": 0.2, "learning_rate": 2e-3, "longest": 16}
READ = 64  # tokens of a description
SUMMARY_READING = {"embedding": 128, "most": 12_000, "longest": READ}


class Pairs(NamedTuple):
    """Tokens of each text, and of what belongs to it."""

    read: list[list[str]]
    written: list[list[str]]


def read_enja(of: str, to: str) -> Callable[[], dict[str, Pairs]]:
    """From one language to the other, in the words that are given."""

    def read() -> dict[str, Pairs]:
        with tarfile.open(shared("enja/small_parallel_enja.tar.gz")) as archive:
            content = {
                m.name.rpartition("/")[2]: archive.extractfile(m).read().decode()  # type: ignore[union-attr]
                for m in archive
                if m.isfile()
            }
        sides = {
            part: [[line.split() for line in content[f"{part}.{side}"].splitlines()] for side in (of, to)]
            for part in ("train", "dev", "test")
        }
        return {part: Pairs(*both) for part, both in sides.items()}

    return read


def read_synopses() -> dict[str, Pairs]:
    """Words and signs of descriptions, of which the first 64 are kept, and of their synopses."""
    found = {}
    for part in ("train", "valid", "test"):
        with lzma.open(shared(f"debian_synopsis/{part}.tsv.xz"), "rt", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file]
        cut = [[re.findall(r"\w+|[^\w\s]", side) for side in row] for row in rows]
        found[part] = Pairs([long[:READ] for _, long in cut], [short for short, _ in cut])
    return found


def nearest(data: Mapping[str, Pairs]) -> list[list[str]]:
    """What belongs to the training text that is nearest by TF-IDF."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, test = data["train"], data["test"]
    vectors = TfidfVectorizer(analyzer=lambda tokens: tokens, sublinear_tf=True)
    known = vectors.fit_transform(train.read)
    near = (vectors.transform(test.read) @ known.T).toarray().argmax(1)
    return [train.written[int(place)] for place in near]


def learned(model: recurra.Translator, train: Pairs, held: Pairs) -> recurra.Translator:
    """With the weights of the last epoch."""
    model.parts = ["train"] * len(train.read) + ["valid"] * len(held.read)
    return model.fit(train.read + held.read, train.written + held.written, evaluate=False)


def bleu(said: Sequence[Sequence[str]], test: Pairs) -> tuple[float]:
    return (Bleu().value(sequences(test.written), sequences(said)),)


def translated(data: Mapping[str, Pairs]) -> tuple[float]:
    """`recurra.Translator`, on the words as they are."""
    model = recurra.Translator(refit=False, reading=READING, **TRANSLATION)
    learned(model, data["train"], data["dev"])
    return bleu([t[0].tokens for t in model.translate(data["test"].read)], data["test"])


def rouge(said: Sequence[Sequence[str]], test: Pairs) -> tuple[float, ...]:
    """ROUGE-1, 2 and L."""
    longest, one, two = (metric.value(sequences(test.written), sequences(said)) for metric in ROUGE)
    return one, two, longest


def first_sentence(data: Mapping[str, Pairs]) -> tuple[float, ...]:
    ends = [np.flatnonzero([t in ".!?" for t in text]) for text in data["test"].read]
    said = [t[: int(at[0]) + 1] if len(at) else t for t, at in zip(data["test"].read, ends, strict=True)]
    return rouge(said, data["test"])


def summarized(data: Mapping[str, Pairs]) -> tuple[float, ...]:
    """`recurra.Summarizer`: copy, coverage, no three words in a row twice."""
    model = recurra.Summarizer(refit=False, reading=SUMMARY_READING, **SUMMARY)
    learned(model, data["train"], data["valid"])
    return rouge([t[0].tokens for t in model.translate(data["test"].read)], data["test"])


def row(of: str, to: str) -> Row:
    """One direction."""
    return Row(
        name=f"{of}{to}",
        data=f"Tanaka corpus, 50,000 pairs, {of} to {to}",
        split="500 and 500",
        metrics=(Metric("BLEU of the tokens", reach=32.0, less=False),),
        read=read_enja(of, to),
        naive=lambda data: bleu(data["test"].read, data["test"]),
        simple=lambda data: bleu(nearest(data), data["test"]),
        ours=translated,
    )


ROW, ROW_BACK = row("en", "ja"), row("ja", "en")
ROW_SUMMARIES = Row(
    name="summaries",
    data="Debian, 55,415 descriptions and their synopses",
    split="2,501 and 2,687, by package",
    metrics=tuple(
        Metric(f"ROUGE-{kind}", reach=reach, less=False) for kind, reach in (("1", 40.0), ("2", 20.0), ("L", 37.0))
    ),
    read=read_synopses,
    naive=first_sentence,
    simple=lambda data: rouge(nearest(data), data["test"]),
    ours=summarized,
)
