"""A user's cell as a loop in PyTorch: as it is written, two products in each step, and a careful one, with all input
products at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.task import Problem, Task

torch.set_num_threads(1)


def highway_lstm(x: Tensor, u: Tensor, states: list[Tensor]) -> list[Tensor]:
    h, c = states
    i, f, g, o = (x + u).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    o = torch.sigmoid(o)
    return [o * torch.tanh(c) + (1 - o) * h, c]


def swapped_gru(x: Tensor, u: Tensor, states: list[Tensor]) -> list[Tensor]:
    (h,) = states
    (xr, xz, xn), (ur, uz, un) = x.chunk(3, 1), u.chunk(3, 1)
    r, z = torch.sigmoid(xr + ur), torch.sigmoid(xz + uz)
    n = torch.tanh(xn + r * un)
    return [z * n + (1 - z) * h]


STEPS: dict[str, Callable[[Tensor, Tensor, list[Tensor]], list[Tensor]]] = {
    "highway_lstm": highway_lstm,
    "swapped_gru": swapped_gru,
}


def careful(problem: Problem) -> Task:
    """All input products at once, one recurrent product in each step."""
    return _train(problem, lambda x, W, b: linear(x, W, b).unbind())


def written(problem: Problem) -> Task:
    """Both products in each step."""
    return _train(problem, lambda x, W, b: (linear(x_t, W, b) for x_t in x))


def _train(problem: Problem, project: Callable[[Tensor, Tensor, Tensor], Iterable[Tensor]]) -> Task:
    step, case = STEPS[problem.cell.name], problem.case
    w = {name: torch.tensor(a, requires_grad=True) for name, a in problem.weights.items()}
    x = torch.from_numpy(problem.x).requires_grad_(case.want_x)
    d_output = torch.from_numpy(problem.d_output)
    zeros = [torch.zeros(case.B, case.H) for _ in problem.cell.states]

    def run() -> Tensor:
        for leaf in (x, *w.values()):
            leaf.grad = None
        states, outputs = zeros, []
        for projected in project(x, w["W"], w["b"]):
            states = step(projected, linear(states[0], w["U"], w["c_"]), states)
            outputs.append(states[0])
        output = torch.stack(outputs)
        torch.autograd.backward(output, d_output)
        return output

    def read(output: Tensor) -> dict[str, np.ndarray]:
        arrays = {"output": output.detach().numpy()} | {f"d_{name}": a.grad.numpy() for name, a in w.items()}
        return arrays if x.grad is None else arrays | {"d_x": x.grad.numpy()}

    return Task(run, read)
