"""Cells by name: of the zoo, or of a script of the user's own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from recurra.cells.cell import Cell
from recurra.cells.trace import get
from recurra.errors import CellError


def load_cell(name: str) -> Cell:
    """The cell that a command line names: `gru`, or `my_cells.py:my_cell`, whose script is then run.

    Raises:
        CellError: there is no such cell in the zoo, no such script or no such cell in it, or the script fails.

    >>> load_cell("gru").name
    'gru'
    """
    path, colon, wanted = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        if name.endswith(".py"):
            raise CellError(f"the cell is {name!r}, expected the cell's name after the script: {name}:my_cell")
        return get(name)
    script = Path(path)
    if not script.is_file():
        raise CellError(f"{path}: there is no such script, expected a Python file that has the cell {wanted!r}")
    # Under a name of its own, and known by it: the equations are read from the source.
    module_name = f"recurra_script_{script.stem}"
    spec = importlib.util.spec_from_file_location(module_name, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except CellError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too, and what a script derives itself
        raise CellError(
            f"{path}: the script fails with {type(error).__name__}: {error}; run it alone to see where"
        ) from error
    found = getattr(module, wanted, None)
    if not isinstance(found, Cell):
        there = [n for n, value in vars(module).items() if isinstance(value, Cell)]
        what = "is no cell" if hasattr(module, wanted) else "is not in it"
        raise CellError(
            f"{path}: {wanted!r} {what}, expected a function under @recurra.cell; the script's cells are: "
            f"{', '.join(there) or 'none'}"
        )
    return found
