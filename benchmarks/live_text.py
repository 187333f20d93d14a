"""Taggers and classifiers of texts live, without torch: microseconds a token, milliseconds a sentence, file and state.

    python -m benchmarks.live_text

Their networks have the sizes of the row `snips` of the known answers; their numbers are those of two epochs on made-up
commands, since time does not depend on them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import recurra
from benchmarks.report import console

WORDS, SENTENCES, LENGTH, TAGS = 11_000, 400, 9, 72
REPEATS = 5


def commands() -> tuple[list[list[str]], list[list[str]], list[str]]:
    """Sentences of made-up words with tags and labels."""
    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in range(WORDS)]
    kinds = ["O", *(f"{b}-{k}" for k in range(TAGS // 2) for b in "BI")]
    X = [[words[k] for k in rng.integers(WORDS, size=LENGTH)] for _ in range(SENTENCES)]
    y = [[kinds[k] for k in rng.integers(len(kinds), size=LENGTH)] for _ in X]
    return X, y, [f"intent {k % 7}" for k in range(SENTENCES)]


def measured(model: Any, X: list[list[str]]) -> dict[str, str]:
    """A token at a time through a live session, and a sentence at once through `predict`; the best of some rounds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.recurra"
        model.save(path)
        size = path.stat().st_size / 1e6
    live = model.live()
    token, sentence = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for x in X:
            for t in x:
                live.step({"token": t})
            live.end()
        token.append((time.perf_counter() - began) / (len(X) * LENGTH))
        began = time.perf_counter()
        for x in X:
            model.predict([x])
        sentence.append((time.perf_counter() - began) / len(X))
    for t in X[0]:
        live.step({"token": t})
    ahead = "none" if live.look_ahead == 0 else "the whole text"
    return {
        "µs a token": f"{min(token) * 1e6:.0f}",
        "ms a sentence": f"{min(sentence) * 1e3:.3f}",
        "file, MB": f"{size:.1f}",
        "state, bytes": f"{len(live.snapshot()):,}",
        "look-ahead": ahead,
    }


def main() -> None:
    """Print the table."""
    X, tags, labels = commands()
    how: dict[str, Any] = {"epochs": 2, "refit": False, "reading": {"embedding": 32}}
    rows = {}
    for both in (False, True):
        ways = "both ways" if both else "one way"
        tagger = recurra.Tagger(hidden=96, bidirectional=both, **how).fit(X, tags, evaluate=False)
        rows[f"tagger, GRU of 96, {ways}"] = measured(tagger, X)
        classifier = recurra.Classifier(hidden=64, bidirectional=both, **how).fit(X, labels, evaluate=False)
        rows[f"classifier, GRU of 64, {ways}"] = measured(classifier, X)
    table = Table(title=f"Texts of {LENGTH} tokens, live")
    for name in ("", *next(iter(rows.values()))):
        table.add_column(name, justify="right" if name else "left")
    for name, row in rows.items():
        table.add_row(name, *row.values())
    console().print(table)


if __name__ == "__main__":
    main()
