"""`recurra draw`: the picture of a network or cell, in a file or in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.formatting import printable


def draw(
    thing: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|CELL|MIDI", help="A model file, a cell of the zoo, file.py:name, or a MIDI file."
        ),
    ],
    unrolled: Annotated[int, typer.Option(help="How many steps.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="A file that ends in .svg, .pdf, .png or .tex; else text is printed.")
    ] = None,
    task: Annotated[
        str, typer.Option(help="many-to-many, many-to-one, one-to-many or encoder-decoder.")
    ] = "many-to-many",
    inside: Annotated[bool, typer.Option(help="The inside of a cell, with its equations.")] = False,
    theme: Annotated[str, typer.Option(help="light, dark, or auto: SVG that follows its page.")] = "light",
    wide: Annotated[bool, typer.Option(help="All in one line, for a slide; else legible 400 pixels wide.")] = False,
    legend: Annotated[bool, typer.Option(help="Say what shapes and colours stand for.")] = True,
    width: Annotated[int | None, typer.Option(min=1, max=65536, help="Pixels across, of a .png.")] = None,
) -> None:
    """Draw a network folded and unrolled over time, the inside of a cell, or the notes of a MIDI file."""
    from recurra.draw import command

    said = command(
        thing, unrolled=unrolled, out=out, task=task, inside=inside, theme=theme, wide=wide, width=width, legend=legend
    )
    typer.echo(printable(said), nl=False)
