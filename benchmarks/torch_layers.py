"""What the PyTorch layers cost beside the engine, torch.nn and loops in torch: `python -m benchmarks.torch_layers`.

Forward and backward of a whole sequence, on one thread. Everybody takes turns in many short rounds; a ratio is the
median of the rounds' ratios. Each row has its goal; the command fails if one is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import linear

from benchmarks import machine
from benchmarks.cases import highway_lstm
from benchmarks.measure import FULL, QUICK, Effort, Spread, in_turns
from benchmarks.report import console
from benchmarks.task import Task
from recurra import engine
from recurra.cells import Cell
from recurra.torch import GRU, LSTM, RNN, Recurrent
from recurra.weights import Weights

torch.set_num_threads(1)
engine.set_num_threads(1)

Step = Callable[[Tensor, Tensor, list[Tensor], dict[str, Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Row:
    """A comparison: how many times longer `against` takes than `of`, and how many that should be at least."""

    name: str
    of: Task
    against: Task
    times: float


def training(module: nn.Module, x: Tensor, d_output: Tensor) -> Task:
    """A training step without its optimizer."""
    leaves = [*module.parameters(), *([x] if x.requires_grad else [])]

    def run() -> Tensor:
        for leaf in leaves:
            leaf.grad = None
        output = module(x)[0]
        torch.autograd.backward(output, d_output)
        return output

    return Task(
        run,
        lambda output: {"output": output.detach().numpy()} | {f"d{i}": p.grad.numpy() for i, p in enumerate(leaves)},
    )


def bare(cell: Cell, module: nn.Module, x: Tensor, d_output: Tensor) -> Task:
    """The engine's calls on the same arrays."""
    weights = Weights(*(p.detach().numpy() for p in module.parameters()))
    given, d = x.detach().numpy(), d_output.numpy()

    def run() -> tuple[np.ndarray, engine.Gradients]:
        forward = engine.forward(cell, weights, given, keep=True)
        return forward.output, engine.backward(forward.tape, d, want_x=x.requires_grad)

    def read(result: tuple[np.ndarray, engine.Gradients]) -> dict[str, np.ndarray]:
        gradients = [a for _, a in result[1].weights.items()] + ([result[1].x] if x.requires_grad else [])
        return {"output": result[0]} | {f"d{i}": a for i, a in enumerate(gradients)}

    return Task(run, read)


class Loop(nn.Module):
    """A cell as a careful loop in torch: all input products at once, one recurrent product in each step."""

    def __init__(self, layer: Recurrent, step: Step) -> None:
        super().__init__()
        self.layer, self.step = layer, step

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        w = dict(self.layer.named_parameters())
        states = [x.new_zeros(x.shape[1], self.layer.hidden_size) for _ in self.layer.cell.states]
        outputs = []
        for projected in linear(x, w["weight_ih_l0"], w["bias_ih_l0"]).unbind():
            states = self.step(projected, linear(states[0], w["weight_hh_l0"], w["bias_hh_l0"]), states, w)
            outputs.append(states[0])
        return torch.stack(outputs), states


def peephole(x: Tensor, u: Tensor, states: list[Tensor], w: dict[str, Tensor]) -> list[Tensor]:
    _, c = states
    i, f, g, o = (x + u).chunk(4, 1)
    i, f = torch.sigmoid(i + w["p_i_l0"] * c), torch.sigmoid(f + w["p_f_l0"] * c)
    c = f * c + i * torch.tanh(g)
    return [torch.sigmoid(o + w["p_o_l0"] * c) * torch.tanh(c), c]


def coupled(x: Tensor, u: Tensor, states: list[Tensor], w: dict[str, Tensor]) -> list[Tensor]:
    i, g, o = (x + u).chunk(3, 1)
    i = torch.sigmoid(i)
    c = (1 - i) * states[1] + i * torch.tanh(g)
    return [torch.sigmoid(o) * torch.tanh(c), c]


def highway(x: Tensor, u: Tensor, states: list[Tensor], w: dict[str, Tensor]) -> list[Tensor]:
    h, c = states
    i, f, g, o = (x + u).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    o = torch.sigmoid(o)
    return [o * torch.tanh(c) + (1 - o) * h, c]


LAYERS: dict[str, tuple[Any, Any]] = {"lstm": (LSTM, nn.LSTM), "gru": (GRU, nn.GRU), "rnn": (RNN, nn.RNN)}
LOOPS: dict[str, tuple[str | Cell, Step]] = {
    "peephole": ("lstm_peephole", peephole),
    "coupled": ("lstm_coupled", coupled),
    "a user's cell": (highway_lstm, highway),
}


def numbers(T: int, B: int, I: int, H: int, want_x: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(T, B, I, generator=generator).requires_grad_(want_x)
    return x, torch.randn(T, B, H, generator=generator)


def beside_engine(name: str) -> Row:
    x, d = numbers(100, 32, 128, 128, want_x=False)
    module = LAYERS[name][0](128, 128)
    cell = Recurrent(name, 1, 1).cell
    return Row(f"{name} T100 B32 H128: module / engine", bare(cell, module, x, d), training(module, x, d), 1 / 1.08)


def beside_torch(name: str, T: int, I: int, H: int, times: float, want_x: bool) -> Row:
    x, d = numbers(T, 32, I, H, want_x)
    ours, theirs = (of(I, H) for of in LAYERS[name])
    theirs.load_state_dict(ours.state_dict())
    what = f"{name} T{T} B32 I{I} H{H}{'' if want_x else ', no dx'}: torch.nn / module"
    return Row(what, training(ours, x, d), training(theirs, x, d), times)


def beside_loop(name: str, T: int, H: int, times: float) -> Row:
    x, d = numbers(T, 32, H, H, want_x=True)
    cell, step = LOOPS[name]
    layer = Recurrent(cell, H, H)
    against = training(Loop(layer, step), x, d)
    return Row(f"{name} T{T} B32 H{H}: torch loop / Recurrent", training(layer, x, d), against, times)


ROWS: tuple[Callable[[], Row], ...] = (
    *(lambda name=name: beside_engine(name) for name in LAYERS),
    *(
        lambda I=I, want_x=want_x: beside_torch("lstm", 10, I, 50, 1.6, want_x)
        for I in (1, 50)
        for want_x in (True, False)
    ),
    *(lambda want_x=want_x: beside_torch("gru", 100, 128, 128, 2, want_x) for want_x in (True, False)),
    *(lambda name=name: beside_loop(name, 100, 128, 2) for name in LOOPS),
)


def ratio(row: Row, effort: Effort) -> tuple[Spread, np.ndarray, np.ndarray]:
    """Check that both compute the same, then time them in turns."""
    ours, theirs = (task.read(task.run()) for task in (row.of, row.against))
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], atol=1e-3, rtol=1e-3, err_msg=f"{row.name}: {name}")
    seconds = in_turns({"of": row.of, "against": row.against}, effort)
    return Spread.of(seconds["against"] / seconds["of"]), seconds["of"], seconds["against"]


MEMORY = """
import sys, torch
torch.set_num_threads(1)
if sys.argv[1] == "torch":
    from torch.nn import LSTM
else:
    from recurra.torch import LSTM
layer = LSTM(128, 128)
def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1024
def step(T):
    layer.zero_grad()
    layer(torch.randn(T, 32, 128))[0].square().mean().backward()
step(2)
before = peak()
step(1000); step(1000)
print(peak() - before)
"""


def memory(kind: str) -> float:
    """By how many MiB training steps at B32 T1000 H128 raise the peak of a new process (Linux)."""
    own_pages = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # else the peak depends on what freed arrays leave
    command = [sys.executable, "-c", MEMORY, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=own_pages)
    return float(done.stdout)


def main(quick: bool = False, only: str = "") -> None:
    """Print each ratio beside its goal."""
    out = console()
    out.print(machine.describe())
    table = Table("forward + backward", "of", "against", "ratio", "quartiles", "goal", "")
    missed = 0
    for make in ROWS:
        row = make()
        if only not in row.name:
            continue
        spread, of, against = ratio(row, QUICK if quick else FULL)
        engine_row = row.times < 1
        met = spread.median <= 1 / row.times if engine_row else spread.median >= row.times
        missed += not met
        goal = f"<= {1 / row.times:.2f}" if engine_row else f">= {row.times:.2f}"
        low, high = (f"{q:.2f}" for q in (spread.low, spread.high))
        milliseconds = [f"{np.median(s) * 1e3:.3f} ms" for s in (of, against)]
        table.add_row(row.name, *milliseconds, f"{spread.median:.2f}", f"{low} - {high}", goal, "" if met else "missed")
    if Path("/proc/self/status").exists() and only in "memory":
        ours, theirs = memory("recurra"), memory("torch")
        met = ours <= theirs
        missed += not met
        table.add_row(
            "lstm T1000 B32 H128: peak of a step, module / torch.nn",
            f"{ours:.0f} MiB",
            f"{theirs:.0f} MiB",
            f"{ours / theirs:.2f}",
            "",
            "<= 1.00",
            "" if met else "missed",
        )
    out.print(table)
    if missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
