"""`recurra info`: what is in a model file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from recurra.terminal import Terminal

if TYPE_CHECKING:
    from recurra.runtime import Program

SHORT = 100  # characters of a value that is shown on a line


def info(
    model: Annotated[Path, typer.Argument(help="A model file, written by `recurra fit` or `recurra.torch.export`.")],
) -> None:
    """Show what a model file holds: its layers and equations, what it was trained on, how well it did, its parity."""
    from recurra.runtime import load
    from recurra.runtime.ops.branches import every

    loaded = load(model)
    console = Terminal()
    console.print(
        f"[bold]{escape(str(model))}[/bold]  {model.stat().st_size:,} bytes, fingerprint {loaded.fingerprint[:12]}"
    )
    for name, program in loaded.programs.items():
        live = "one live session is" if program.streams else "no live sessions (it reads whole sequences)"
        state = f" {4 * sum(program.state_widths().values()):,} bytes" if program.streams else ""
        which = "" if len(loaded.programs) == 1 else f"{name}: "
        console.print(f"{which}{program.input_size} numbers in, {program.output_size} out, a step; {live}{state}\n")
        console.print(_layers(program))
    ops = [op for program in loaded.programs.values() for op in every(program.ops)]
    for cell in {op.cell.name: op.cell for op in ops if hasattr(op, "cell")}.values():
        console.print(Syntax(cell.text.rstrip(), "python", theme="ansi_dark", background_color="default"))
    for heading, values in (("card", loaded.card), ("preprocessing", loaded.preprocessing), ("parity", loaded.parity)):
        console.print(f"\n[bold]{heading}[/bold]" + ("" if values else "  none"))
        for name, value in values.items():
            console.print(f"  {name}: {_short(value)}", highlight=False, markup=False)


def _layers(program: Program) -> Table:
    table = Table("layer", "kind", "arrays")
    table.add_column("numbers", justify="right")
    for i, layer in enumerate(program.ops):
        arrays = layer.arrays()
        kind = layer.cell.name if hasattr(layer, "cell") else layer.kind
        shapes = "  ".join(f"{name} {'x'.join(map(str, a.shape))}" for name, a in arrays.items())
        table.add_row(str(i), kind, shapes, f"{sum(a.size for a in arrays.values()):,}")
    return table


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHORT else f"{text[:SHORT]}... ({len(text):,} characters)"
