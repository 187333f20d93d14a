"""Many to one on ragged sequences, with a cell of one's own: the adding problem.

Each step brings a number and a mark; two steps are marked, and the answer is the sum of their numbers. Sequences have
20 to 40 steps and are batched with `lengths`, without packing or sorting. Run: python examples/regressor.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurra.cells import cell, sigmoid, tanh
from recurra.torch import Recurrent


@cell(source="this file: a gated unit with a memory of its own that is only added to")
def adder(x, h, s):
    w = sigmoid(x.w + h.w)  # how much of this step to write
    v = tanh(x.v + h.v)
    s = s + w * v
    return tanh(x.o + h.o) * (1 - w) + w * s, s


@dataclass
class Result:
    """Mean squared errors on sequences that were not trained on.

    Attributes:
        baseline: of always answering the mean.
        error: of the network.
    """

    baseline: float
    error: float


class Regressor(nn.Module):
    """Ragged sequences [T, B, 2] to one number each, read from the last state of each row."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.recurrent = Recurrent(adder, 2, hidden_size)
        self.head = nn.Linear(2 * hidden_size, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The answers [B]."""
        _, states = self.recurrent(x, lengths=lengths)
        return self.head(torch.cat([s[0] for s in states], -1))[:, 0]


def make(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Sequences [T, B, 2], their lengths and the answers."""
    T = 40
    lengths = torch.randint(T // 2, T + 1, (batch,), generator=generator)
    numbers = torch.rand(T, batch, generator=generator)
    early = (torch.rand(batch, generator=generator) * (lengths // 2)).long()
    late = lengths // 2 + (torch.rand(batch, generator=generator) * (lengths - lengths // 2)).long()
    marks = torch.zeros(T, batch)
    marks[early, torch.arange(batch)] = marks[late, torch.arange(batch)] = 1
    return torch.stack([numbers, marks], -1), lengths, (numbers * marks).sum(0)


def main(steps: int = 600, hidden_size: int = 32, batch: int = 64) -> Result:
    """Train, and print the error against that of the mean."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    x, lengths, answers = make(1000, generator)
    baseline = float(answers.var(correction=0))
    model = Regressor(hidden_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    print(f"always answering the mean: error {baseline:.4f}")
    error = float("nan")
    for step in range(1, steps + 1):
        some, ends, right = make(batch, generator)
        loss = nn.functional.mse_loss(model(some, ends), right)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 6) == 0:
            with torch.no_grad():
                error = float(nn.functional.mse_loss(model(x, lengths), answers))
            print(f"step {step:4}: error {error:.4f}")
    return Result(baseline, error)


if __name__ == "__main__":
    main()
