"""The equations in plain NumPy, as a person would write them for speed: one product with both weights in each step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.task import Problem, Task, regroup


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def _lstm(problem: Problem) -> Callable[[np.ndarray], np.ndarray]:
    """One step of x [I] -> h [H]; the three sigmoids at once."""
    w, H = problem.weights, problem.case.H
    both = regroup(np.hstack([w.W, w.U]), problem.cell.input_gates, "ifog")
    bias = regroup(w.b + w.c_, problem.cell.input_gates, "ifog")
    xh, c = np.zeros(problem.case.I + H, np.float32), np.zeros(H, np.float32)

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal c
        xh[:-H] = x
        a = both @ xh + bias
        i, f, o = _sigmoid(a[: 3 * H]).reshape(3, H)
        c = f * c + i * np.tanh(a[3 * H :])
        xh[-H:] = h = o * np.tanh(c)
        return h

    return step


def _gru(problem: Problem) -> Callable[[np.ndarray], np.ndarray]:
    w, H = problem.weights, problem.case.H
    h = np.zeros(H, np.float32)

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal h
        a, u = w.W @ x + w.b, w.U @ h + w.c_
        r, z = _sigmoid(a[: 2 * H] + u[: 2 * H]).reshape(2, H)
        n = np.tanh(a[2 * H :] + r * u[2 * H :])
        h = n + z * (h - n)
        return h

    return step


def _rnn(problem: Problem) -> Callable[[np.ndarray], np.ndarray]:
    w, bias = problem.weights, problem.weights.b + problem.weights.c_
    h = np.zeros(problem.case.H, np.float32)

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal h
        h = np.tanh(w.W @ x + w.U @ h + bias)
        return h

    return step


STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def step(problem: Problem) -> Task:
    x = problem.x[0, 0]
    advance = STEPS[problem.cell.name](problem)
    return Task(lambda: advance(x), lambda h: {"output": h})


def forward(problem: Problem) -> Task:
    """A sequence of a batch of one."""

    def run() -> np.ndarray:
        advance = STEPS[problem.cell.name](problem)
        return np.stack([advance(x) for x in problem.x[:, 0]])

    return Task(run, lambda output: {"output": output[:, None]})
