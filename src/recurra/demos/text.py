"""The demo of a language model: Python's own help, which comes with Python."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from recurra.demos.written import written
from recurra.terminal import Terminal

CHARACTERS = 300_000
SOURCE = "Python's help topics"
PROMPT = "The statement"


def corpus() -> str:
    """The texts of `help("topics")`, one after the other."""
    from pydoc_data.topics import topics

    return "\n".join(text for _, text in sorted(topics.items()))[:CHARACTERS]


def run_text_demo(
    folder: str | os.PathLike[str] = ".", *, seed: int = 0, epochs: int = 8, text: str | None = None
) -> dict[str, Any]:
    """Train on characters, compare with n-grams, write a report, and go on from a prompt, live.

    Args:
        folder: for the model file and the report; made if it is not there.
        seed: of all chance.
        epochs: of training.
        text: to learn from; None: `corpus()`.
    """
    from recurra.tasks.estimator import open_model
    from recurra.tasks.generation.generator import Generator

    console, place = Terminal(), Path(folder)
    text = corpus() if text is None else text
    place.mkdir(parents=True, exist_ok=True)
    console.print(f"[bold]1[/]  {len(text):,} characters of {SOURCE}: what comes next?")
    console.print("   The first 90 % to train, 5 % to stop, the last 5 % to test.")
    model = Generator(hidden=192, epochs=epochs, seed=seed).fit(text)
    file = written(model, place, "generate", SOURCE, console)
    live = open_model(file).live()
    live.feed(PROMPT)
    console.print(f"[bold]4[/]  From {PROMPT!r}, live, and from the same state with another seed:")
    for one in (0, 1):
        fork, began = live.fork(), time.perf_counter()
        text = fork.generate(300, temperature=0.7, seed=one)
        took = time.perf_counter() - began
        console.print(f"{PROMPT}{text}", highlight=False, markup=False)
        console.print(f"   [dim]{300 / took:,.0f} characters a second[/]")
    return dict(model.report_)
