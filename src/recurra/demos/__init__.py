"""The demos: the whole way on data at hand, from a source to live answers; a module for each kind of data."""

from __future__ import annotations

import importlib
import os
from typing import Any, NamedTuple

from recurra.errors import SettingError


class Demo(NamedTuple):
    """A demo, by the module and the function that run it, and what it shows in a line."""

    module: str
    function: str
    shows: str


DEMOS = {
    "forecast": Demo("forecast", "run_demo", "half-hourly electricity demand, a day ahead"),
    "classify": Demo("days", "run_classify", "which days of demand are work days"),
    "regress": Demo("days", "run_regress", "a day's peak demand, from what is known at noon"),
    "commands": Demo("sound", "run_commands", "four words, detected as they are heard"),
    "transcribe": Demo("sound", "run_transcribe", "sentences of yes and no, written down"),
    "generate": Demo("text", "run_text_demo", "a language model of Python's own help texts"),
    "caption": Demo("caption", "run_caption_demo", "what is to be seen in a picture, in words"),
    "music": Demo("music", "run_music_demo", "chorales in four parts, composed and accompanied"),
    "sentiment": Demo("reviews", "run_sentiment_demo", "whether a review is enthusiastic, as it is typed"),
    "translate": Demo("sequences", "run_translate_demo", "dates as people write them in five languages, to digits"),
    "summarize": Demo("sequences", "run_summarize_demo", "a line for each text of Python's own documentation"),
    "patient": Demo("watched", "run_patient_demo", "a risk after each measurement of a patient, and what moved it"),
    "detect": Demo("watched", "run_detect_demo", "faults in a stream, found without labels"),
    "trade": Demo("market", "run_market_demo", "positions in twenty stocks, judged year after year"),
}


def run(name: str, folder: str | os.PathLike[str] = ".", *, seed: int = 0) -> dict[str, Any]:
    """Run a demo: a model file and `report.html` go into a folder; what happens is printed.

    Args:
        name: of `DEMOS`.
        folder: made if it is not there.
        seed: of the data that are made, the weights and of training.

    Returns:
        The report.

    Raises:
        SettingError: there is no such demo.
        MissingExtraError: a package that the demo needs is not installed.
        OSError: a file cannot be written.
    """
    if name not in DEMOS:
        raise SettingError(f"the demo is {name[:40]!r}, expected one of {', '.join(DEMOS)}")
    demo = DEMOS[name]
    report: dict[str, Any] = getattr(importlib.import_module(f"recurra.demos.{demo.module}"), demo.function)(
        folder, seed=seed
    )
    return report
