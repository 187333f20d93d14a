"""tinyshakespeare: what is the next of 65 characters? The first 90 % to learn from, the last 10 % to measure by."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import recurra
from benchmarks.answers.row import Metric, Row, shared
from recurra.data.split import Split
from recurra.data.text.corpus import open_texts, read_corpus
from recurra.data.text.tokens import Characters
from recurra.tasks.bench import Bench
from recurra.tasks.generation.ngrams import Frequencies, KneserNey
from recurra.tasks.generation.task import Generate

SHARE = 0.9
HELD = 0.05  # of what is learned from, by which the best epoch is chosen, and the share of n-grams
QUICK: dict[str, Any] = {"hidden": 256, "epochs": 5, "dropout": 0.1}
LONG: dict[str, Any] = {"hidden": 512, "epochs": 8, "dropout": 0.2, "refit": True}
RATE = 4e-3


def read() -> str:
    """The text."""
    with gzip.open(shared("tinyshakespeare/input.txt.gz"), "rt", encoding="utf-8") as file:
        return file.read()


def bench(text: str) -> Bench:
    """The n-grams see all of the first part; their order is chosen on its last tenth."""
    task, sequences = Generate(), read_corpus(open_texts(text), Characters())
    task.tokenizer = Characters()
    end = int(SHARE * len(text))
    splits = [Split(end, end, len(text))]
    return Bench(task, sequences, splits, task.transform(sequences, splits))


def of(kind: Any, params: dict[str, Any] | None = None) -> Callable[[str], tuple[float]]:
    """The nats of a baseline."""

    def answer(text: str) -> tuple[float]:
        data = bench(text)
        return (data.task.mean_error(data, kind.fit(data, params), data.pieces("test")),)

    return answer


def ours(settings: dict[str, Any]) -> Callable[[str], tuple[float]]:
    """A GRU, a linear layer, and n-grams behind them."""

    def answer(text: str) -> tuple[float]:
        end = int(SHARE * len(text))
        model = recurra.Generator(
            learning_rate=RATE, parts=(1 - HELD, HELD, 0.0), patience=settings["epochs"], **settings
        )
        model.fit(text[:end], evaluate=False)
        return (model.evaluate(text[end:])["nats"],)

    return answer


TRIED = (
    "on the held-out part, alone and with n-grams: 256 units, 8 epochs, a tenth dropped: 1.544, 1.464; 512 units and a "
    "fifth dropped, 8 epochs: 1.523, 1.449; half dropped, 10 epochs: 1.663, 1.488"
)


def row(name: str, settings: dict[str, Any], reach: float) -> Row:
    """One time to train in."""
    return Row(
        name=name,
        data="tinyshakespeare, 65 characters",
        split="first 90 %, last 10 %",
        metrics=(Metric("nats a character", reach=reach, recurrent=1.548),),
        read=read,
        naive=of(Frequencies),
        simple=of(KneserNey, {"order": 6}),
        ours=ours(settings),
        tried=TRIED,
    )


ROW_QUICK = row("shakespeare_quick", QUICK, 1.558)
ROW = row("tinyshakespeare", LONG, 1.50)
