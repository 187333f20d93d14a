"""`recurra translate`: what a model writes for each line of standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def translate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit translate`.", show_default=False)
    ],
    beam: Annotated[
        int | None, typer.Option(help="Hypotheses that are kept; 1: the most probable token at every step.", min=1)
    ] = None,
    best: Annotated[int, typer.Option(help="How many texts to write for each line.", min=1)] = 1,
    longest: Annotated[int | None, typer.Option(help="Tokens that are written at most.", min=1)] = None,
    no_repeat: Annotated[int, typer.Option(help="No so many tokens in a row come twice; 0: they may.", min=0)] = 0,
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
    from recurra.tasks.translate import Translator

    translator = Translator.load(model)
    for number, line in enumerate(sys.stdin, 1):
        text = line.strip()
        try:
            settings = {"n": best, "beam": beam, "longest": longest, "no_repeat": no_repeat}
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
