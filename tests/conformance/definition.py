"""Checks of the definition itself: its gradients against finite differences, and its values against PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from conformance.cases import Case, Setting, make_case
from recurra import cells, reference
from recurra.cells import Cell
from recurra.weights import Array

STEP = 1e-5
TORCH = {
    "rnn": (torch.nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (torch.nn.LSTM, {}),
    "lstm_projected": (torch.nn.LSTM, {"proj_size": 8}),
    "gru": (torch.nn.GRU, {}),
}


def check_finite_differences(cell: Cell, setting: Setting) -> None:
    """Every element of every gradient of the definition against a central difference."""
    case = make_case(cell, setting, np.float64)
    run = _forward(case)
    got = reference.backward(cell, case.weights[0], case.x, run, case.d_output, case.d_state[0], case.reset)
    gradients = [got.x, *got.state, *(a for _, a in got.weights.items())]
    arrays = [case.x, *case.state[0], *(a for _, a in case.weights[0].items())]
    for gradient, array in zip(gradients, arrays, strict=True):
        for at in np.ndindex(array.shape):
            if np.isnan(array[at]):
                assert gradient[at] == 0
                continue
            difference = sum(sign * _loss(case, array, at, sign * STEP) for sign in (1, -1)) / (2 * STEP)
            assert abs(gradient[at] - difference) < 1e-8 * max(1.0, abs(difference)), (at, gradient[at], difference)


def _forward(case: Case) -> reference.Forward:
    s = case.setting
    return reference.forward(case.cell, case.weights[0], case.x, case.state[0], case.lengths, s.reverse, case.reset)


def _loss(case: Case, array: Array, at: tuple[int, ...], by: float) -> float:
    """What d_output and d_state are the gradients of, with one element moved."""
    before = array[at]
    array[at] += by
    run = _forward(case)
    array[at] = before
    return float(
        np.nansum(run.output * case.d_output)
        + sum(np.vdot(d, s) for d, s in zip(case.d_state[0], run.state, strict=True))
    )


def check_against_torch(name: str) -> None:
    """Values and gradients of the definition against `torch.nn`, with the same weights."""
    case = make_case(cells.get(name), Setting(), np.float64)
    module_type, options = TORCH[name]
    module = module_type(case.setting.I, case.setting.H, **options).double()
    with torch.no_grad():
        for parameter, (_, array) in zip(module.parameters(), case.weights[0].items(), strict=True):
            parameter.copy_(torch.from_numpy(array))
    x, *state = (torch.from_numpy(a).requires_grad_() for a in (case.x, *case.state[0]))
    many = len(state) > 1
    output, final = module(x, tuple(s[None] for s in state) if many else state[0][None])
    final = [f[0] for f in final] if many else [final[0]]
    seeds = [torch.from_numpy(a) for a in (case.d_output, *case.d_state[0])]
    torch.autograd.backward([output, *final], seeds)

    run = _forward(case)
    back = reference.backward(case.cell, case.weights[0], case.x, run, case.d_output, case.d_state[0])
    _compare([run.output, *run.state], [output, *final])
    _compare([back.x, *back.state], [t.grad for t in (x, *state)])
    _compare([a for _, a in back.weights.items()], [p.grad for p in module.parameters()])


def _compare(ours: list[Array], theirs: list[torch.Tensor]) -> None:
    for a, b in _pairs(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def _pairs(ours: list[Array], theirs: list[torch.Tensor]) -> Iterator[tuple[Array, Array]]:
    for a, b in zip(ours, theirs, strict=True):
        assert a.size
        yield a, b.detach().numpy()
