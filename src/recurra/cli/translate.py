"""`recurra fit translate|summarize` and `recurra translate`: a model of pairs of texts, and what it writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra.cells.script import load_cell
from recurra.cli.fit import DATA, MODEL, Cell, Epochs, Hidden, Layers, Out, Report, Resume, Seed, fit
from recurra.cli.training import train

NETWORK, WRITING = "Network", "Writing"
Pairs = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A text, a tab, and what is to be written for it, a line; or a table with a header.",
        show_default=False,
    ),
]
TextColumn = Annotated[
    str | None, typer.Option(help="The column of the texts.", rich_help_panel=DATA, metavar="COLUMN")
]
TargetColumn = Annotated[
    str | None, typer.Option(help="The column of what is to be written.", rich_help_panel=DATA, metavar="COLUMN")
]
Tokens = Annotated[
    str, typer.Option(help="What texts are cut into: words, characters or subwords.", rich_help_panel=DATA)
]
MinCount = Annotated[int, typer.Option(help="A rarer token is unknown, and copied.", rich_help_panel=DATA, min=1)]
Shortest = Annotated[int, typer.Option(help="Tokens that are written at least.", rich_help_panel=WRITING, min=0)]
Longest = Annotated[
    int | None,
    typer.Option(
        help="Tokens that are written at most; without: twice the longest of training.", rich_help_panel=WRITING, min=1
    ),
]
NoRepeat = Annotated[
    int, typer.Option(help="No so many tokens in a row come twice; 0: they may.", rich_help_panel=WRITING, min=0)
]


@fit.command("translate")
def fit_translate(
    file: Pairs,
    text: TextColumn = None,
    target: TargetColumn = None,
    tokens: Tokens = "words",
    written: Annotated[
        str | None, typer.Option(help="The same of what is to be written.", rich_help_panel=DATA, metavar="TOKENS")
    ] = None,
    min_count: MinCount = 1,
    copy: Annotated[
        bool, typer.Option("--copy", help="Tokens of the text may be copied.", rich_help_panel=NETWORK)
    ] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="It learns not to look twice.", rich_help_panel=NETWORK)
    ] = False,
    feeding: Annotated[
        bool,
        typer.Option("--feeding", help="Each step is given what the one before came to.", rich_help_panel=NETWORK),
    ] = False,
    wait: Annotated[
        int,
        typer.Option(
            help="Begin to write after so many tokens, while the text still arrives; 0: read it whole.",
            rich_help_panel=NETWORK,
            min=0,
        ),
    ] = 0,
    cell: Cell = "gru",
    hidden: Hidden = 128,
    layers: Layers = 1,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """Another text for each text: a translation, a pronunciation.

    One network reads a text in both directions, another writes and looks at what
    the first made of each token. `recurra translate` then writes, line by line.

    \b
    recurra fit translate pairs.tsv --out english.recurra
    recurra fit translate words.tsv --tokens characters --written words --out sounds.recurra
    """
    from recurra.tasks.translation.translator import Translator

    reading = {"tokens": tokens, "written": written, "min_count": min_count}
    network: dict[str, Any] = {"copy": copy, "coverage": coverage, "feeding": feeding, "wait": wait}
    model = Translator(load_cell(cell), hidden, layers, **network, epochs=epochs, seed=seed, reading=reading)
    train(model, file, out, report, resume, text=text, y=target)


@fit.command("summarize")
def fit_summarize(
    file: Pairs,
    text: TextColumn = None,
    target: TargetColumn = None,
    tokens: Tokens = "words",
    min_count: MinCount = 2,
    shortest: Shortest = 0,
    longest: Longest = None,
    no_repeat: NoRepeat = 3,
    cell: Cell = "gru",
    hidden: Hidden = 128,
    layers: Layers = 1,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Resume = False,
    out: Out = MODEL,
    report: Report = None,
) -> None:
    """A short text for a long one, whose words it may copy.

    The same as `fit translate --copy --coverage`, measured by ROUGE beside the
    first sentence of the text. `recurra translate` then writes, line by line.

    \b
    recurra fit summarize articles.tsv --longest 20 --out headlines.recurra
    """
    from recurra.tasks.translation.translator import Summarizer

    writing: dict[str, Any] = {"shortest": shortest, "longest": longest, "no_repeat": no_repeat}
    reading = {"tokens": tokens, "min_count": min_count}
    model = Summarizer(load_cell(cell), hidden, layers, **writing, epochs=epochs, seed=seed, reading=reading)
    train(model, file, out, report, resume, text=text, y=target)


def translate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A model file of `recurra fit translate` or `summarize`.", show_default=False
        ),
    ],
    beam: Annotated[
        int | None, typer.Option(help="Hypotheses that are kept; 1: the most probable token at every step.", min=1)
    ] = None,
    best: Annotated[int, typer.Option(help="How many texts to write for each line.", min=1)] = 1,
    longest: Annotated[int | None, typer.Option(help="Tokens that are written at most.", min=1)] = None,
    no_repeat: Annotated[
        int | None, typer.Option(help="No so many tokens in a row come twice; without: as in training.", min=0)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a line: texts, scores, and where each token looked.")
    ] = False,
) -> None:
    """Write another text for each line of standard input, line by line.

    Empty lines stay empty. With --best several texts are written for a line, the
    best first, with tabs between.

    \b
    echo "good morning" | recurra translate english.recurra
    """
    from recurra.errors import DataError
    from recurra.tasks.estimator import open_model
    from recurra.tasks.translation.translator import Translator

    translator = open_model(model)
    if not isinstance(translator, Translator):
        raise DataError(f"{model}: its model does not write texts, expected one of `recurra fit translate`")
    for number, line in enumerate(sys.stdin, 1):
        text = line.strip()
        try:
            settings: dict[str, Any] = {"n": best, "beam": beam, "longest": longest, "no_repeat": no_repeat}
            found = translator.translate(text, **settings)[0] if text else []
        except DataError as error:
            raise DataError(f"line {number}: {error}") from None
        if as_json:
            said = [
                {
                    "text": one.text,
                    "score": one.score,
                    "complete": one.complete,
                    "attention": None if one.attention is None else one.attention.round(4).tolist(),
                }
                for one in found
            ]
            print(json.dumps({"line": number, "written": said}, ensure_ascii=False), flush=True)
        else:
            print("\t".join(one.text for one in found), flush=True)
