"""What is measured, and what is aimed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recurra.cells import Cell, cell, gru, lstm, rnn, sigmoid, tanh


@cell(source="The LSTM, with a highway from the last output to the next: somewhat more work than the built-in one")
def highway_lstm(x, h, c):
    i = sigmoid(x.i + h.i)
    f = sigmoid(x.f + h.f)
    g = tanh(x.g + h.g)
    o = sigmoid(x.o + h.o)
    c = f * c + i * g
    return o * tanh(c) + (1 - o) * h, c


@cell(source="The GRU, whose update gate lets the new in instead of keeping the old: as much work as the built-in one")
def swapped_gru(x, h):
    r = sigmoid(x.r + h.r)
    z = sigmoid(x.z + h.z)
    n = tanh(x.n + r * h.n)
    return z * n + (1 - z) * h


@dataclass(frozen=True)
class Goal:
    """`of` should be so fast that `against` takes at least `times` as long. Both name a column."""

    of: str
    against: str
    times: float


@dataclass(frozen=True)
class Case:
    """One row: T steps of B rows, I inputs, H units, and who takes part.

    Attributes:
        group: the table it stands in.
        kind: one streaming step, a whole sequence forward, or forward and backward.
        want_x: whether the gradient of x is asked for.
        twin: a built-in cell with the same gates, run on the same weights.
    """

    group: str
    kind: Literal["step", "forward", "train"]
    cell: Cell
    T: int
    B: int
    I: int
    H: int
    entrants: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    want_x: bool = True
    twin: Cell | None = None

    @property
    def name(self) -> str:
        shape = f"I{self.I} H{self.H}" if self.kind == "step" else f"T{self.T} B{self.B} I{self.I} H{self.H}"
        return f"{self.cell.name} {shape}" + ("" if self.want_x else ", no dx")

    @property
    def macs(self) -> int:
        """Multiply-adds in products: T*B*H*G*(I + H) forward; backward twice that, less what only dx needs."""
        of_input, of_state = len(self.cell.input_gates) * self.I, len(self.cell.recurrent_gates) * self.H
        ways = {"step": (1, 1), "forward": (1, 1), "train": (3 if self.want_x else 2, 3)}[self.kind]
        rows = 1 if self.kind == "step" else self.T * self.B
        return rows * self.H * (ways[0] * of_input + ways[1] * of_state)


def _step(H: int, times: float) -> Case:
    goals = (
        Goal("recurra", "torch LSTMCell", times),
        Goal("kernel", "bound", 1 / 1.4),
        Goal("kernel", "bound + latency", 1 / 1.4),
    )
    entrants = ("recurra", "kernel", "torch LSTMCell", "torch nn", "onnxruntime", "numpy")
    return Case("step", "step", lstm, T=20, B=1, I=1, H=H, entrants=entrants, goals=goals)


def _forward(cell: Cell, B: int, I: int, H: int, times: float) -> Case:
    entrants = ("recurra", "torch nn", "onnxruntime", *(("numpy",) if B == 1 else ()))
    return Case("forward", "forward", cell, 100, B, I, H, entrants, (Goal("recurra", "torch nn", times),))


def _train(cell: Cell, T: int, I: int, H: int, times: float, want_x: bool = True) -> Case:
    goals = (Goal("recurra", "torch nn", times),)
    return Case("forward + backward", "train", cell, T, 32, I, H, ("recurra", "torch nn"), goals, want_x)


def _custom(cell: Cell, twin: Cell, T: int, H: int, times: float, want_x: bool = True) -> Case:
    goals = (
        Goal("recurra", "built-in", 1 / 1.25),
        Goal("recurra", "torch loop", times),
        Goal("recurra", "careful loop", times),
    )
    entrants = ("recurra", "built-in", "torch loop", "careful loop")
    return Case("a user's cell", "train", cell, T, 32, H, H, entrants, goals, want_x, twin)


CASES = (
    _step(16, 35),
    _step(64, 14),
    _step(128, 6.5),
    _step(256, 3.3),
    _forward(lstm, 32, 128, 128, 1 / 1.05),
    _forward(gru, 1, 64, 64, 8),
    _forward(gru, 1, 1, 64, 8),
    _forward(rnn, 1, 64, 64, 8),
    _train(lstm, 10, 1, 50, 1.8),
    _train(lstm, 10, 1, 50, 1.8, want_x=False),
    _train(lstm, 10, 50, 50, 1.8),
    _train(lstm, 10, 50, 50, 1.8, want_x=False),
    _train(lstm, 100, 32, 128, 1.15),
    _train(lstm, 100, 32, 128, 1.15, want_x=False),
    _train(lstm, 100, 128, 128, 1.15),
    _train(lstm, 100, 128, 128, 1.15, want_x=False),
    _train(gru, 100, 128, 128, 2),
    _train(gru, 100, 128, 128, 2, want_x=False),
    _train(rnn, 100, 128, 128, 1.8),
    _train(rnn, 100, 128, 128, 1.8, want_x=False),
    _custom(highway_lstm, lstm, 10, 50, 5),
    _custom(highway_lstm, lstm, 10, 50, 5, want_x=False),
    _custom(highway_lstm, lstm, 100, 50, 5),
    _custom(highway_lstm, lstm, 100, 50, 5, want_x=False),
    _custom(highway_lstm, lstm, 100, 128, 2),
    _custom(highway_lstm, lstm, 100, 128, 2, want_x=False),
    _custom(swapped_gru, gru, 10, 50, 5),
    _custom(swapped_gru, gru, 10, 50, 5, want_x=False),
    _custom(swapped_gru, gru, 100, 50, 5),
    _custom(swapped_gru, gru, 100, 50, 5, want_x=False),
    _custom(swapped_gru, gru, 100, 128, 2),
    _custom(swapped_gru, gru, 100, 128, 2, want_x=False),
)
