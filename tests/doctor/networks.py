"""Networks whose truth is known, and data."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recurra import cells
from recurra.torch import LSTM, RNN, Recurrent

LINEAR = cells.rnn(activation="identity")


def seeded(*key: object) -> torch.Generator:
    """Torch's numbers for a key."""
    from helpers import generator

    return torch.Generator().manual_seed(int(generator(*key).integers(1 << 31)))


def linear(radius: float, hidden: int = 12, *, orthogonal: bool = True) -> Recurrent:
    """A linear RNN in float64 whose recurrent weights have this spectral radius."""
    layer = Recurrent(LINEAR, 3, hidden, dtype=torch.float64)
    U = torch.randn(hidden, hidden, generator=seeded("linear", hidden), dtype=torch.float64)
    U = torch.linalg.qr(U)[0] if orthogonal else U / torch.linalg.eigvals(U).abs().max()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(radius * U)
    return layer


def forgetful(bias: float, *, alone: bool = False) -> LSTM:
    """An LSTM whose forget gate has this bias; `alone`: no recurrent weights, and the gate sees nothing else."""
    torch.manual_seed(1)
    layer = LSTM(3, 10).double()
    rows = slice(10, 20)
    with torch.no_grad():
        layer.bias_ih_l0[rows], layer.bias_hh_l0[rows] = bias, 0.0
        if alone:
            layer.weight_hh_l0.zero_()
            layer.weight_ih_l0[rows] = 0.0
    return layer


def noise(steps: int, batch: int, features: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """Inputs [T, B, I]."""
    return torch.randn(steps, batch, features, generator=seeded("noise", steps, batch, features), dtype=dtype)


class Reader(nn.Module):
    """A recurrent layer, and a number from its last output."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.rnn, self.head = layer, nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][-1])


def recall(steps: int) -> tuple[Tensor, Tensor]:
    """A batch of the task to give the first number after the last step."""
    x = 0.1 * torch.randn(steps, 32, 1)
    x[0] = torch.randn(32, 1)
    return x, x[0].clone()


def vanilla() -> Reader:
    """A vanilla RNN as torch draws it."""
    return Reader(RNN(1, 16), 16)


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))
