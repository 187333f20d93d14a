"""Lesson: why a vanilla RNN cannot solve the adding problem at lag 200, while LSTM and GRU can.

Each of 200 steps brings a number and a mark; one step of the first half and one of the second are marked, and the
answer after the last step is the sum of their two numbers (Hochreiter and Schmidhuber 1997, section 5.4). Three cells
of 32 units are trained in the same way, on the same batches; the doctor examines them before and after.

Run: python examples/lesson_adding_problem.py (about 40 seconds on one core), with --quick without the LSTM and with
fewer updates (about 5 seconds).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurra import doctor
from recurra.torch import GRU, LSTM, RNN

CELLS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
SOLVED = 0.1  # of the baseline's error


@dataclass
class Student:
    """One cell's course.

    Attributes:
        error: mean squared error on sequences that were not trained on.
        updates: of training; fewer than all where the problem was solved before.
        left_before, left_after: the share of the loss gradient that is left at the lag asked for, before and after
            training.
        horizon: the steps that inputs matter for, after training.
        kinds: what the doctor finds after training.
    """

    error: float
    updates: int
    left_before: float
    left_after: float
    horizon: int
    kinds: set[str]


class Adder(nn.Module):
    """Sequences [T, B, 2] to one number each [B, 1], read from the last output."""

    def __init__(self, cell: str, hidden_size: int) -> None:
        super().__init__()
        self.recurrent = CELLS[cell](2, hidden_size)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The answers."""
        return self.head(self.recurrent(x)[0][-1])


def make(steps: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences [T, B, 2] and their answers [B, 1]."""
    numbers = torch.rand(steps, batch, generator=generator)
    first = torch.randint(0, steps // 2, (batch,), generator=generator)
    second = torch.randint(steps // 2, steps, (batch,), generator=generator)
    marks = torch.zeros(steps, batch)
    marks[first, torch.arange(batch)] = marks[second, torch.arange(batch)] = 1
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(0)[:, None]


def train(model: Adder, steps: int, updates: int, test: tuple[Tensor, Tensor], goal: float) -> tuple[float, int]:
    """The error on the test in the end, and the updates it took; training stops when the goal is reached."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    error = float("nan")
    for update in range(1, updates + 1):
        x, y = make(steps, 32, generator)
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if update % 50 == 0:
            with torch.no_grad():
                error = float(nn.functional.mse_loss(model(test[0]), test[1]))
            if error < goal:
                return error, update
    return error, updates


def main(quick: bool = False, hidden_size: int = 32) -> dict[str, Student]:
    """Train the three, and say what the doctor sees."""
    steps, updates = 200, 700 if quick else 3000
    lag = steps // 2  # at which every answer needs at least one of its numbers
    test = make(steps, 500, torch.Generator().manual_seed(2))
    baseline = float(test[1].var(correction=0))
    print(f"{steps} steps; always answering the mean has the error {baseline:.4f}")
    students = {}
    for cell in ("RNN", "GRU") if quick else CELLS:
        torch.manual_seed(0)
        model = Adder(cell, hidden_size)
        before = doctor.examine(model, *test, lag=lag)
        start = time.perf_counter()
        error, took = train(model, steps, updates, test, SOLVED * baseline)
        seconds = time.perf_counter() - start
        after = doctor.examine(model, *test, lag=lag)
        (young,), (old,) = before.layers, after.layers
        left = young.flow.ratio(lag), old.flow.ratio(lag)
        students[cell] = Student(error, took, *left, old.memory.horizon, after.kinds)
        verdict = "solved" if error < SOLVED * baseline else "not solved"
        print(f"\n{cell}: {verdict} after {took} updates, error {error:.4f} ({seconds:.0f} s)")
        print(f"  gradient left at lag {lag}: {left[0]:.1e} before training, {left[1]:.1e} after it")
        print(f"  inputs matter for {young.memory.horizon} steps before, {old.memory.horizon} after")
        for finding in after:
            print(f"  {finding.kind}: {finding.evidence}\n    cause: {finding.cause}")
    print(
        "\nAll begin with a gradient that vanishes. The state of an LSTM or a GRU is carried on by a gate, so\n"
        "training can open a way back through time, and it does; the RNN computes its state anew at each step, and\n"
        "what its gradient says of early inputs is too faint to learn from."
    )
    return students


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only RNN and GRU, fewer updates")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
