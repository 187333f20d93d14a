"""Lesson: tanh, ReLU and sigmoid in a vanilla RNN, compared on how the gradient flows.

The same RNN with each activation, in three ways of drawing the recurrent weights: as torch does, orthogonal, and the
identity. The doctor measures what the gradient is multiplied by at each step back, and how much of it is left after 49;
then each learns to recall the first number of a sequence after the last, and the loss says what that was worth.

Run: python examples/lesson_activations.py (about 40 seconds on one core), with --quick with fewer updates (about 5
seconds).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recurra import cells, doctor
from recurra.torch import Recurrent

STEPS, HIDDEN = 50, 32
ACTIVATIONS = ("tanh", "relu", "sigmoid")
WEIGHTS = {"uniform": None, "orthogonal": nn.init.orthogonal_, "identity": nn.init.eye_}


@dataclass
class Line:
    """One network.

    Attributes:
        rate: what the gradient is multiplied by at each step back, before training.
        left: the share of it that is left at the first step.
        exponent: the largest Lyapunov exponent.
        loss: after training, relative to that of always answering the mean.
    """

    rate: float
    left: float
    exponent: float
    loss: float


class Recall(nn.Module):
    """Sequences [T, B, 1] to one number each [B, 1]."""

    def __init__(self, activation: str, weights: str) -> None:
        super().__init__()
        self.recurrent = Recurrent(cells.rnn(activation=activation), 1, HIDDEN)
        self.head = nn.Linear(HIDDEN, 1)
        draw = WEIGHTS[weights]
        if draw is not None:
            draw(self.recurrent.weight_hh_l0)
            nn.init.zeros_(self.recurrent.bias_ih_l0)
            nn.init.zeros_(self.recurrent.bias_hh_l0)

    def forward(self, x: Tensor) -> Tensor:
        """The answers."""
        return self.head(self.recurrent(x)[0][-1])


def batch(rows: int = 64) -> tuple[Tensor, Tensor]:
    """Small noise after a first number that is to be recalled."""
    x = 0.1 * torch.randn(STEPS, rows, 1)
    x[0] = torch.randn(rows, 1)
    return x, x[0].clone()


def learn(model: Recall, updates: int) -> float:
    """The mean loss of the last fifth of the updates, relative to the variance of the answers, which is 1."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(updates):
        x, y = batch()
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    late = losses[-max(1, updates // 5) :]
    return sum(late) / len(late)


def main(quick: bool = False) -> dict[tuple[str, str], Line]:
    """All nine, as a table."""
    updates = 100 if quick else 1500
    lines = {}
    print(
        f"{'activation':12}{'weights':12}{'x per step':>12}{'left at ' + str(STEPS - 1):>12}{'Lyapunov':>10}{'loss':>8}"
    )
    for activation in ACTIVATIONS:
        for weights in WEIGHTS:
            torch.manual_seed(0)
            model = Recall(activation, weights)
            (layer,) = doctor.examine(model, *batch(), lag=STEPS - 1).layers
            left, exponent = layer.flow.ratio(STEPS - 1), layer.spectrum.exponents[0]
            line = Line(layer.flow.rate, left, exponent, learn(model, updates))
            lines[activation, weights] = line
            print(f"{activation:12}{weights:12}{line.rate:12.3f}{left:12.1e}{exponent:10.3f}{line.loss:8.3f}")
    print(
        "\nThe slope of sigmoid is at most 1/4, so with weights of size 1 the gradient shrinks four times and more at\n"
        "each step. tanh and relu have slope 1 where they are open, and there the weights decide: orthogonal ones\n"
        "keep the gradient's size under tanh, the identity under relu. What keeps it, learns."
    )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer updates")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
