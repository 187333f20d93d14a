"""PyTorch's own recurrent layers and cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.task import Problem, Task, regroup

torch.set_num_threads(1)

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
ORDER = {"lstm": "ifgo", "gru": "rzn", "rnn": "n"}
NAMES = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c_": "bias_hh"}


def _load(module: nn.Module, problem: Problem, suffix: str) -> None:
    order, gates = ORDER[problem.cell.name], problem.cell.input_gates
    arrays = {NAMES[name] + suffix: torch.from_numpy(regroup(a, gates, order)) for name, a in problem.weights.items()}
    module.load_state_dict(arrays)


def _layer(problem: Problem) -> nn.RNNBase:
    layer = LAYERS[problem.cell.name](problem.case.I, problem.case.H)
    _load(layer, problem, "_l0")
    return layer


@torch.inference_mode()
def cell_step(problem: Problem) -> Task:
    """`nn.LSTMCell`, the state carried."""
    module = nn.LSTMCell(problem.case.I, problem.case.H)
    _load(module, problem, "")
    x = torch.from_numpy(problem.x[0])
    state = (torch.zeros(1, problem.case.H), torch.zeros(1, problem.case.H))

    @torch.inference_mode()
    def many(count: int) -> Tensor:
        nonlocal state
        for _ in range(count):
            state = module(x, state)
        return state[0]

    return Task(lambda: many(1), lambda h: {"output": h.numpy()}, many)


def layer_step(problem: Problem) -> Task:
    """`nn.LSTM` on sequences of one step, the state carried."""
    layer, x = _layer(problem), torch.from_numpy(problem.x[:1])
    state: Any = None

    @torch.inference_mode()
    def many(count: int) -> Tensor:
        nonlocal state
        for _ in range(count):
            output, state = layer(x, state)
        return output

    return Task(lambda: many(1), lambda output: {"output": output.numpy()}, many)


def forward(problem: Problem) -> Task:
    layer, x = _layer(problem), torch.from_numpy(problem.x)

    @torch.inference_mode()
    def run() -> Tensor:
        return layer(x)[0]

    return Task(run, lambda output: {"output": output.numpy()})


def train(problem: Problem) -> Task:
    layer = _layer(problem)
    x = torch.from_numpy(problem.x).requires_grad_(problem.case.want_x)
    d_output = torch.from_numpy(problem.d_output)

    def run() -> Tensor:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        output = layer(x)[0]
        torch.autograd.backward(output, d_output)
        return output

    def read(output: Tensor) -> dict[str, np.ndarray]:
        order, gates = tuple(ORDER[problem.cell.name]), "".join(problem.cell.input_gates)
        arrays = {"output": output.detach().numpy()}
        for name, theirs in NAMES.items():
            arrays[f"d_{name}"] = regroup(layer.get_parameter(theirs + "_l0").grad.numpy(), order, gates)
        return arrays if x.grad is None else arrays | {"d_x": x.grad.numpy()}

    return Task(run, read)
