"""Things to draw by their names: a cell of the zoo, a model file, or `file.py:name` in a program of the user's."""

from __future__ import annotations

import difflib
import runpy
from pathlib import Path
from typing import Any

from recurra.cells import Cell, get, names
from recurra.errors import DrawError


def named(name: str | Path) -> Any:
    """The cell of that name, the model in that file, or what a Python file calls so (which is run for it).

    Raises:
        DrawError: there is none; the message has the nearest name.
        ModelFileError: the file is no model.

    >>> named("gru").gates
    ('r', 'z', 'n')
    """
    text = str(name)
    if text in names():
        return get(text)
    file, colon, attribute = text.rpartition(":")
    if colon and file.endswith(".py"):
        return _in_program(Path(file), attribute)
    if Path(text).exists() or Path(text).suffix:
        from recurra.runtime import load

        return load(text)
    near = difflib.get_close_matches(text, names(), 1, 0.5)
    cure = f"did you mean {near[0]!r}?" if near else f"the cells are {', '.join(names())}"
    raise DrawError(f"{text!r} is no cell of the zoo and no file: {cure}")


def _in_program(file: Path, attribute: str) -> Any:
    if not file.exists():
        raise DrawError(f"{file} does not exist, expected a Python file before the colon in {file}:{attribute}")
    try:
        found = runpy.run_path(str(file))
    except (Exception, SystemExit) as error:
        raise DrawError(
            f"{file}: the script fails with {type(error).__name__}: {error}; run it alone to see where"
        ) from error
    if attribute not in found:
        cells = [n for n, value in found.items() if isinstance(value, Cell)]
        near = difflib.get_close_matches(attribute, [n for n in found if not n.startswith("_")], 1, 0.5)
        cure = f"did you mean {near[0]!r}?" if near else f"its cells are {', '.join(cells) or 'none'}"
        raise DrawError(f"{file} has nothing called {attribute!r}: {cure}")
    return found[attribute]
