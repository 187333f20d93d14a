"""`recurra fit generate` and `recurra generate`: a model of texts, and texts that go on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra.cli.fit import (
    DATA,
    MODEL,
    NETWORK,
    Cell,
    Epochs,
    Layers,
    Out,
    Report,
    Resume,
    Seed,
    fit,
)
from recurra.cli.training import train

Text = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A text, of any size; a folder of texts; or a table with a column of texts.",
        show_default=False,
    ),
]


@fit.command("generate")
def fit_generate(
    file: Text,
    tokens: Annotated[
        str, typer.Option(help="What it is made of: characters, words or subwords.", rich_help_panel=DATA)
    ] = "characters",
    lower: Annotated[bool, typer.Option("--lower", help="In small letters.", rich_help_panel=DATA)] = False,
    most_symbols: Annotated[
        int | None, typer.Option(min=1, help="At most so many different tokens.", rich_help_panel=DATA)
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The column of the texts, of a table.", rich_help_panel=DATA, metavar="COLUMN")
    ] = None,
    cell: Cell = "gru",
    hidden: Annotated[int, typer.Option(help="Units of a layer.", rich_help_panel=NETWORK)] = 256,
    layers: Layers = 1,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """What comes next in a text: a language model, beside n-grams.

    \b
    recurra fit generate shakespeare.txt --out shakespeare.recurra
    recurra generate shakespeare.recurra --prompt "ROMEO:"
    """
    from recurra.cells.script import load_cell
    from recurra.tasks.generation.generator import Generator

    model = Generator(
        tokens,
        load_cell(cell),
        hidden,
        layers,
        lower=lower,
        most_symbols=most_symbols,
        epochs=epochs,
        seed=seed,
    )
    train(model, file, out, report, resume, y=text)


def generate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit generate`.")],
    prompt: Annotated[str, typer.Option(help="What it goes on from; without: the beginning of a text.")] = "",
    n: Annotated[int, typer.Option("--symbols", "-n", min=0, help="So many symbols, at most.")] = 500,
    temperature: Annotated[float, typer.Option(help="Less than 1: more of what is probable.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Only so many of the most probable symbols.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Only the most probable symbols that reach this sum.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End after this text; may be given again.")] = None,
    constraint: Annotated[
        str | None, typer.Option(help="A regular expression that the generated text is to match.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same text.")] = 0,
) -> None:
    """Go on from a prompt, symbol by symbol, as fast as it is computed.

    \b
    recurra generate shakespeare.recurra --prompt "ROMEO:" -n 1000
    """
    from recurra.errors import ModelFileError
    from recurra.tasks.estimator import open_model
    from recurra.tasks.generation.live import LiveText

    live = open_model(model).live()
    if not isinstance(live, LiveText):
        raise ModelFileError(f"{model}: it is no model of texts, expected one of `recurra fit generate`")
    given: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "constraint": constraint,
    }
    pieces = live.stream(n, stop=stop or (), **given)
    if prompt:
        live.feed(prompt)
        sys.stdout.write(prompt)
    began, count = time.perf_counter(), 0
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
            count += 1
    except KeyboardInterrupt:
        pass
    took = time.perf_counter() - began
    sys.stdout.write("\n")
    sys.stdout.flush()
    typer.echo(f"{count} symbols in {took:.2f} s: {count / max(took, 1e-9):,.0f} a second", err=True)
