"""The command line: each command is one library call. What goes wrong is one line on standard error and status 2."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated

import typer

from recurra.errors import RecurraError
from recurra.formatting import printable

# In the order in which `recurra --help` lists them; each is a function, or a group, in a module of its own name.
COMMANDS = (
    "demo",
    "fit",
    "predict",
    "evaluate",
    "backtest",
    "generate",
    "compose",
    "translate",
    "caption",
    "transcribe",
    "listen",
    "stream",
    "serve",
    "compare",
    "info",
    "convert",
    "draw",
    "doctor",
    "cells",
)

app = typer.Typer(
    help="Recurrent networks: from data to a live stream of answers, and to a look inside.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"recurra {importlib.import_module('recurra').__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    pass


for _name in COMMANDS:
    _command = getattr(importlib.import_module(f"recurra.cli.{_name}"), _name)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name)(_command)

for _name in ("fit_label", "fit_detect", "fit_recommend", "fit_trade"):  # more of `recurra fit`
    importlib.import_module(f"recurra.cli.{_name}")


def main() -> None:
    """Run the command line; what `recurra` and `python -m recurra` call."""
    try:
        app(prog_name="recurra")
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (RecurraError, OSError) as error:
        print(f"recurra: {_line(error)}", file=sys.stderr)
        sys.exit(2)
    except MemoryError as error:
        size = f": {printable(str(error))}" if str(error) else ""
        print(f"recurra: there is not enough memory for this{size}; make it smaller", file=sys.stderr)
        sys.exit(2)


def _line(error: Exception) -> str:
    """One line: what the system says of a file comes after the file's name."""
    if isinstance(error, OSError) and error.filename is not None:
        return printable(f"{error.filename}: {error.strerror}")
    return printable(" ".join(str(error).split()))
