"""What wide layers cost beside torch.nn (oneDNN), forward alone and training: `python -m benchmarks.wide_layers`.

Ours and theirs take turns; a ratio is the median of the rounds' ratios, ours over theirs, below 1 where ours is faster.
On one thread the time is that of the processor, which other programs lengthen least, on more that of the wall, unless
`--clock` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table
from torch import nn

from benchmarks import machine
from benchmarks.measure import Spread
from benchmarks.report import console
from benchmarks.task import Task
from benchmarks.torch_layers import LAYERS, numbers, training
from recurra import engine
from recurra.cells import cell, sigmoid, tanh
from recurra.torch import Recurrent


@dataclass(frozen=True)
class Size:
    """B rows of T steps, I features, H units."""

    B: int
    T: int
    I: int
    H: int


SIZES = (
    *(Size(32, 50, H, H) for H in (32, 64, 128, 256, 512, 1024)),
    Size(32, 100, 128, 128),
    *(Size(64, 100, H, H) for H in (256, 512, 1024)),
    Size(256, 50, 256, 512),
)


@cell(source="torch's GRU, in a user's words")
def own_gru(x, h):
    r = sigmoid(x.r + h.r)
    z = sigmoid(x.z + h.z)
    n = tanh(x.n + r * h.n)
    return n + z * (h - n)


CLOCKS = {"processor": process_time, "wall": perf_counter}


def inference(module: nn.Module, x: torch.Tensor) -> Task:
    """The forward of a whole sequence, of which nothing is kept."""

    def run() -> torch.Tensor:
        with torch.no_grad():
            return module(x)[0]

    return Task(run, lambda output: {"output": output.numpy()})


def tasks(kind: str, size: Size) -> dict[str, tuple[Task, Task]]:
    """Ours and theirs, with the same weights, checked for equal results."""
    of: dict[str, Any] = {**LAYERS, "user": (lambda I, H: Recurrent(own_gru, I, H), nn.GRU)}
    ours, theirs = (make(size.I, size.H) for make in of[kind])
    theirs.load_state_dict(ours.state_dict())
    x, d = numbers(size.T, size.B, size.I, size.H, want_x=True)
    pairs = {
        "forward": (inference(ours, x.detach()), inference(theirs, x.detach())),
        "training": (training(ours, x, d), training(theirs, x, d)),
    }
    for what, (mine, other) in pairs.items():
        expected = other.read(other.run())
        for name, array in mine.read(mine.run()).items():
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(
                array / scale, expected[name] / scale, atol=1e-4, err_msg=f"{kind} {size} {what}: {name}"
            )
    return pairs


def in_turns(pair: tuple[Task, Task], clock: Callable[[], float], seconds: float) -> np.ndarray:
    """[rounds, 2] seconds a call, at least three rounds."""
    end = perf_counter() + seconds
    rounds: list[list[float]] = []
    while len(rounds) < 3 or perf_counter() < end:
        times = []
        for task in pair:
            start = clock()
            task.run()
            times.append(clock() - start)
        rounds.append(times)
    return np.array(rounds)


def main(
    threads: Annotated[str, typer.Option(help="numbers of threads, with commas")] = "1,2",
    kinds: Annotated[str, typer.Option(help="lstm, gru, rnn, user: a GRU in a user's words")] = "lstm,gru",
    only: Annotated[str, typer.Option(help="sizes that have this in their name, as in H512")] = "",
    seconds: Annotated[float, typer.Option(help="of each comparison")] = 3.0,
    clock: Annotated[str, typer.Option(help="processor or wall")] = "",
) -> None:
    """Print milliseconds and ratios."""
    out = console()
    out.print(machine.describe())
    table = Table("layer", "threads", "what", "ours, ms", "torch, ms", "ours / torch", "quartiles")
    for size in SIZES:
        name = f"B{size.B} T{size.T} I{size.I} H{size.H}"
        for kind in kinds.split(",") if only in name else ():
            pairs = tasks(kind, size)
            for count in map(int, threads.split(",")):
                torch.set_num_threads(count)
                engine.set_num_threads(count)
                chosen = clock or ("processor" if count == 1 else "wall")
                for what, pair in pairs.items():
                    rounds = in_turns(pair, CLOCKS[chosen], seconds)
                    spread = Spread.of(rounds[:, 0] / rounds[:, 1])
                    ms = [f"{m * 1e3:.2f}" for m in np.median(rounds, axis=0)]
                    quartiles = f"{spread.low:.2f} - {spread.high:.2f}"
                    table.add_row(f"{kind} {name}", str(count), what, *ms, f"{spread.median:.2f}", quartiles)
    out.print(table)


if __name__ == "__main__":
    typer.run(main)
