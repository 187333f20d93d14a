"""`recurra cells`: the zoo, its equations, and how long a step takes here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.syntax import Syntax
from rich.table import Table

from recurra.errors import ShapeError
from recurra.terminal import Terminal

if TYPE_CHECKING:
    from recurra.cells import Cell

ROUNDS, STEPS = 7, 300


def cells(
    names: Annotated[list[str] | None, typer.Argument(help="Cells to show; all of the zoo if none is named.")] = None,
    hidden: Annotated[int, typer.Option(min=1, max=65536, help="Hidden size at which a step is timed.")] = 64,
    inputs: Annotated[int, typer.Option("--input", min=1, max=65536, help="Input size at which a step is timed.")] = 1,
) -> None:
    """Show the built-in cells: their equations, their papers, and the measured time of one live step.

    In the equations x.g is an input product W x + b, h.g a recurrent product U h + d, and a bare h the state itself.
    Before a cell stands what it does to the fields of its input, element by element, where it does that.
    """
    from recurra import cells as zoo

    if hidden < 1 or inputs < 1:
        raise ShapeError(f"cells: got --hidden {hidden} --input {inputs}, expected sizes of at least 1")
    shown = [zoo.get(name) for name in names or zoo.names()]
    console = Terminal()
    for cell in shown:
        console.print(f"\n[bold]{cell.name}[/bold]  [dim]{cell.source}[/dim]", highlight=False, soft_wrap=True)
        parts = [cell] if cell.inputs is None else [cell.inputs, cell]
        sources = {repr(part.source) for part in parts}
        equations = [line for part in parts for line in part.text.splitlines() if line.strip() not in sources]
        console.print(Syntax("\n".join(equations).rstrip(), "python", theme="ansi_dark", background_color="default"))
    console.print()
    table = Table("cell", "gates", "states", title=f"one step, {inputs} in, {hidden} hidden units, this machine")
    for heading in ("parameters", "µs a step"):
        table.add_column(heading, justify="right")
    for cell in shown:
        size, seconds = step_cost(cell, inputs, hidden)
        row = (cell.name, " ".join(cell.gates), " ".join(cell.states), f"{size:,}", f"{seconds * 1e6:.2f}")
        table.add_row(*row)
    console.print(table)


def step_cost(cell: Cell, inputs: int, hidden: int) -> tuple[int, float]:
    """How many numbers a cell learns, and the median seconds of one live step from Python."""
    from recurra.engine import Stepper
    from recurra.weights import Weights

    weights = Weights.random(cell, inputs, hidden, rng=np.random.default_rng(0))
    step, x = Stepper(cell, weights).step, np.ones(inputs, np.float32)
    times = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        for _ in range(STEPS):
            step(x)
        times.append((time.perf_counter() - before) / STEPS)
    return sum(array.size for _, array in weights.items()), float(np.median(times))
