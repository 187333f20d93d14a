"""What `recurra.doctor.watch` costs a training loop: `python -m benchmarks.doctor_watch`. One thread; turns are taken.

A turn is so many training steps (forward, backward, clipping, Adam) as lie between two samples, with and without the
doctor beside them. The goal is less than 10 % more at one sample in 50 steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import machine
from benchmarks.measure import FULL, QUICK, Effort, Spread, in_turns
from benchmarks.report import console, duration
from benchmarks.task import Task

EVERY, GOAL = 50, 0.10


@dataclass(frozen=True)
class Case:
    """A network and its batches."""

    cell: str
    steps: int
    batch: int
    hidden: int
    layers: int = 1

    def __str__(self) -> str:
        many = f", {self.layers} layers" if self.layers > 1 else ""
        return f"{self.cell}, T = {self.steps}, B = {self.batch}, H = {self.hidden}{many}"


CASES = (
    Case("LSTM", 10, 32, 50),
    Case("GRU", 100, 1, 64),
    Case("RNN", 200, 32, 32),
    Case("LSTM", 100, 32, 128),
    Case("LSTM", 100, 32, 64, layers=2),
)


def loop(case: Case, watched: bool, stack: ExitStack) -> Callable[[], object]:
    """So many training steps as lie between two samples."""
    import torch
    from torch import nn

    from recurra import doctor
    from recurra import torch as ours

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = ours.Stack(getattr(ours, case.cell)(8, case.hidden, num_layers=case.layers), nn.Linear(case.hidden, 1))
    optimizer = torch.optim.Adam(module.parameters())
    x, y = torch.randn(case.steps, case.batch, 8), torch.randn(case.steps, case.batch, 1)
    if watched:
        stack.enter_context(doctor.watch(module, every=EVERY))

    def run() -> object:
        for _ in range(EVERY):
            loss = nn.functional.mse_loss(module(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
        return loss

    return run


def measured(case: Case, effort: Effort) -> tuple[Spread, Spread]:
    """Seconds of a training step without the doctor, and the share that he adds."""
    with ExitStack() as stack:
        tasks = {
            name: Task(loop(case, name == "watched", stack), read=lambda result: {}) for name in ("alone", "watched")
        }
        seconds = in_turns(tasks, effort)
    return Spread.of(seconds["alone"] / EVERY), Spread.of(seconds["watched"] / seconds["alone"] - 1)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds.")] = False,
    output: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Measure what watching costs against its goal."""
    effort = QUICK if quick else FULL
    table = Table(title=f"doctor.watch, a sample every {EVERY} training steps, one thread", title_justify="left")
    for column in ("network", "a training step", "added (quartiles)", "goal", "reached"):
        table.add_column(column)
    results = []
    for case in CASES:
        alone, added = measured(case, effort)
        text = f"{added.median:.1%} ({added.low:.1%} to {added.high:.1%})"
        reached = "yes" if added.median < GOAL else "[red]no[/]"
        table.add_row(str(case), duration(alone.median), text, f"< {GOAL:.0%}", reached)
        results.append({"case": str(case), "step": alone.median, "added": added.median})
    console().print(table)
    if output is not None:
        output.write_text(json.dumps({"machine": machine.describe(), "doctor_watch": results}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
