"""Lesson: gradients that explode, with and without clipping.

A vanilla RNN whose recurrent weights are too large, relu so that nothing holds it, learns to give the mean of the
numbers that it has read. The gradient of the loss grows at each step back; an update of its size throws the network
away, and the loss with it. Clipped at norm 1 the same network, from the same weights, on the same batches, learns. The
doctor watches both, and then tries other remedies.

Run: python examples/lesson_exploding_gradients.py (about 15 seconds on one core), with --quick with fewer updates
(about 5 seconds).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from recurra import doctor
from recurra.torch import RNN

STEPS, HIDDEN, GAIN = (
    50,
    32,
    1.7,
)  # of orthogonal weights; relu lets about half of the units through, so 1.4 keeps a size


@dataclass
class Course:
    """One training.

    Attributes:
        first: the loss of the first update.
        loss: the mean loss of the last 20 updates; infinite or NaN where it was thrown away.
        gradient: the norm of the gradient at the sampled updates, before clipping.
        kinds: what the doctor found while watching.
    """

    first: float
    loss: float
    gradient: list[float] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)


class Mean(nn.Module):
    """Sequences [T, B, 1] to one number each [B, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = RNN(1, HIDDEN, nonlinearity="relu")
        self.head = nn.Linear(HIDDEN, 1)
        nn.init.orthogonal_(self.recurrent.weight_hh_l0, gain=GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """The answers."""
        return self.head(self.recurrent(x)[0][-1])


def batch() -> tuple[Tensor, Tensor]:
    """Sequences of numbers from 0 to 1 and their means."""
    x = torch.rand(STEPS, 32, 1)
    return x, x.mean(0)


def course(updates: int, clip: float | None) -> tuple[Course, doctor.Findings]:
    """Train from the same weights on the same batches, watched, with or without clipping."""
    torch.manual_seed(0)
    model = Mean()
    sick = doctor.examine(model, *batch(), lag=STEPS - 1)
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    losses = []
    with doctor.watch(model, every=10, lag=STEPS - 1) as record:
        for _ in range(updates):
            x, y = batch()
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            record.loss(loss)
            losses.append(float(loss.detach()))
    found = record.findings()
    gradient = [sample["gradient"] for sample in record.samples]
    last = sum(losses[-20:]) / 20
    return Course(losses[0], last, gradient, found.kinds), sick


def main(quick: bool = False) -> dict[str, Course]:
    """Both courses, then the remedies, compared."""
    updates = 200 if quick else 2000
    courses = {}
    for name, clip in (("without clipping", None), ("clipped at norm 1", 1.0)):
        courses[name], sick = course(updates, clip)
        done = courses[name]
        if clip is None:
            print(f"before training:\n{sick}\n")
        norms = [n for n in done.gradient if math.isfinite(n)]
        print(f"{name}: loss {done.first:.3g} at first, {done.loss:.3g} after {updates} updates")
        print(
            f"  the gradient's norm was up to {max(norms):.3g}; the doctor, watching: {', '.join(sorted(done.kinds))}"
        )
    tried = doctor.retrain(Mean, batch, findings=sick, steps=updates // 4, learning_rate=1e-3)
    print(f"\nOther remedies, each for {updates // 4} updates of AdamW:\n{tried}")
    return courses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer updates")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
