"""A check of the definition itself, its gradients against finite differences; against torch.nn it is a backend."""

from __future__ import annotations

import numpy as np

from conformance.cases import Case, Setting, make_case
from recurra import reference
from recurra.cells import Cell
from recurra.weights import Array

STEP = 1e-5


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
