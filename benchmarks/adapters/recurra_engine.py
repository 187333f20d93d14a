"""Recurra, through its engine."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from benchmarks.task import Problem, Task
from recurra import _native, engine
from recurra.cells import Cell

engine.set_num_threads(1)


def available(cell: Cell) -> bool:
    """Whether the cell is built in, or there is a compiler for others."""
    return cell.fingerprint in _native.zoo or find_spec("recurra.jit") is not None


def step(problem: Problem) -> Task:
    live, x = engine.Stepper(problem.cell, problem.weights), problem.x[0, 0]
    return Task(lambda: live.step(x), lambda h: {"output": h})


def kernel(problem: Problem) -> Task:
    """Steps without Python between them."""
    live, x = engine.Stepper(problem.cell, problem.weights)._live, problem.x[0, 0]
    output = np.empty(problem.case.H, x.dtype)
    return Task(lambda: live.repeat(x, output, 1), lambda _: {"output": output}, lambda n: live.repeat(x, output, n))


def forward(problem: Problem) -> Task:
    return Task(lambda: engine.forward(problem.cell, problem.weights, problem.x), lambda run: {"output": run.output})


def train(problem: Problem) -> Task:
    def run() -> tuple[engine.Forward, engine.Gradients]:
        there = engine.forward(problem.cell, problem.weights, problem.x, keep=True)
        return there, engine.backward(there.tape, problem.d_output, want_x=problem.case.want_x)

    def read(result: tuple[engine.Forward, engine.Gradients]) -> dict[str, np.ndarray]:
        there, back = result
        arrays = {"output": there.output} | {f"d_{name}": d for name, d in back.weights.items()}
        return arrays if back.x is None else arrays | {"d_x": back.x}

    return Task(run, read)


def built_in(problem: Problem) -> Task:
    """The case's twin on the same numbers."""
    return replace(train(replace(problem, cell=problem.case.twin)), cell=problem.case.twin)
