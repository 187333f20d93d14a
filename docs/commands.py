"""Writes the page of the command line from what `recurra COMMAND --help` says."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from recurra.cli import app

HEAD = """# Command line

What `recurra --help` and `recurra COMMAND --help` say. What goes wrong is one line on standard error, and status 2.
Ctrl-C ends training and comparison with what there is so far.

"""
# An example, which becomes a block; or an option within the text, which becomes code.
CODE = re.compile(r"^(?:tail .*\| )?recurra \w[^\n]*(?:\n    [^\n]*)*$|(?<![`\w-])--[a-z][\w-]*", re.MULTILINE)


def _as_code(found: re.Match[str]) -> str:
    return f"`{found[0]}`" if found[0].startswith("--") else f"```sh\n{found[0]}\n```"


def page() -> str:
    """The page in Markdown, a section for each command."""
    command = get_command(app)
    sections = get_docs_for_click(obj=command, ctx=typer.Context(command), name="recurra")
    sections = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+", "", sections)  # the table of contents has them
    parts = re.split(r"(```console\n.*?\n```)", sections.partition("\n## ")[2], flags=re.DOTALL)
    parts[::2] = [CODE.sub(_as_code, text) for text in parts[::2]]
    return HEAD + "## " + "".join(parts).replace("\x08", "").rstrip() + "\n"
