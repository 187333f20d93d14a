"""What running a layer in parallel over time gains here: `python -m benchmarks.parallel [--device cuda]`.

Forward and backward of layers whose recurrence is unit by unit, step by step and in parts, which take turns. On one
thread the ratio is what the parts cost; from as many threads as that on, they pay.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.report import console
from recurra import engine
from recurra.torch import Recurrent, parallel

# Cell, steps, rows, inputs, units.
CASES = (
    ("mingru", 16384, 1, 16, 16),
    ("mingru", 16384, 1, 64, 256),
    ("gru_diagonal", 16384, 1, 16, 16),
    ("gru_diagonal", 16384, 1, 64, 256),
    ("lstm_diagonal", 16384, 1, 64, 256),
)
ON_CUDA = tuple((name, 16384, 8, 512, 512) for name in ("mingru", "gru_diagonal", "lstm_diagonal"))


def step(layer: Recurrent, x: torch.Tensor) -> Callable[[], None]:
    """A training step without its optimizer."""

    def run() -> None:
        layer.zero_grad()
        layer(x)[0].square().mean().backward()
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


def main(device: str = "cpu", rounds: int = 5, threads: int = 0) -> None:
    """Print the median time of each case, both ways."""
    engine.set_num_threads(threads or torch.get_num_threads())
    table = Table("cell", "T", "B", "I", "H", "step by step", "in parallel", "ratio", "parts", "iterations", "residual")
    for name, T, B, I, H in CASES if device == "cpu" else ON_CUDA:
        torch.manual_seed(0)
        x = torch.randn(T, B, I, device=device)
        layers = [Recurrent(name, I, H, parallel=how, device=device) for how in (False, True)]
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds + 1):
            for layer, times in zip(layers, seconds, strict=True):
                run, before = step(layer, x), perf_counter()
                run()
                times.append(perf_counter() - before)
        one, other = (float(np.median(times[1:])) * 1e3 for times in seconds)
        solved = layers[1].solved[0]
        numbers = (T, B, I, H, f"{one:.1f} ms", f"{other:.1f} ms", f"{one / other:.2f}")
        table.add_row(name, *map(str, numbers), str(solved.parts), str(solved.iterations), f"{solved.residual:.1g}")
    out = console()
    where = f"{engine.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    out.print(f"{where}; parts of at least {parallel.SHORTEST} steps")
    out.print(table)


if __name__ == "__main__":
    typer.run(main)
