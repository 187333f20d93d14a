"""The demo of a language model: Python's own help, which comes with Python."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

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
    from recurra.report import write_report
    from recurra.report.terminal import tell
    from recurra.tasks.estimator import open_model
    from recurra.tasks.generation.generator import Generator

    console, place = Terminal(), Path(folder)
    text = corpus() if text is None else text
    place.mkdir(parents=True, exist_ok=True)
    console.print(f"[bold]1[/]  {len(text):,} characters of {SOURCE}: what comes next?")
    console.print("   The first 90 % to train, 5 % to stop, the last 5 % to test.")
    model = Generator(hidden=192, epochs=epochs, seed=seed).fit(text)
    console.print(f"[bold]2[/]  Trained in {model.report_['seconds']['training']:.0f} s.")
    tell(console, model)
    file, page = place / "generate.recurra", place / "report.html"
    model.save(file)
    model.report_["model_file"], model.report_["data"]["source"] = file.name, SOURCE
    write_report(model.report_, page, model.model_)
    console.print(f"[bold]3[/]  Written: {file} ({file.stat().st_size / 1024:.0f} KiB) and {page}")
    live = open_model(file).live()
    live.feed(PROMPT)
    console.print(f"[bold]4[/]  From {PROMPT!r}, live, and from the same state with another seed:")
    for one in (0, 1):
        fork, began = live.fork(), time.perf_counter()
        written = fork.generate(300, temperature=0.7, seed=one)
        took = time.perf_counter() - began
        console.print(f"{PROMPT}{written}", highlight=False, markup=False)
        console.print(f"   [dim]{300 / took:,.0f} characters a second[/]")
    return dict(model.report_)
