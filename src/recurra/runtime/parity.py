"""Whether a model gives the same bits however it is run: measured, and written into its file."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from recurra.engine import isa
from recurra.runtime.file import load, save_model
from recurra.runtime.model import MAIN, Model
from recurra.runtime.program import Program
from recurra.weights import Array


def check_parity(model: Model | Program, x: Array) -> dict[str, Any]:
    """Run a program, or a model's "main", in all ways: as a whole, in chunks, stepped, in batches, and from a file.

    x is [T, B, I] (ids [T, B]).

    Returns:
        A report: the sample's shape, the ISA, and `differing`, for each way of running how many of the output's numbers
        differ in their bits from those of the whole. A network that cannot step is run alone and reloaded only.

    >>> import numpy as np
    >>> from recurra import runtime
    >>> model = runtime.Model([runtime.Linear(np.ones((1, 2), np.float32)), runtime.Activation("tanh")])
    >>> check_parity(model, np.ones((4, 3, 2), np.float32))["differing"]
    {'batched': 0, 'chunked': 0, 'stepped': 0, 'sessions': 0, 'reloaded': 0}
    """
    program = model if isinstance(model, Program) else model.program()
    T, B = x.shape[:2]
    whole = program.run(x)
    others = {"batched": np.stack([program.run(np.ascontiguousarray(x[:, b])) for b in range(B)], 1)}
    if program.streams:
        others |= {"chunked": _chunked(program, x), "stepped": _stepped(program, x), "sessions": _sessions(program, x)}
    others["reloaded"] = _reloaded(program).run(x)
    return {
        "sample": {"steps": T, "rows": B},
        "isa": isa(),
        "differing": {name: _differing(whole, other) for name, other in others.items()},
    }


def _differing(a: Array, b: Array) -> int:
    """Numbers with other bits; all where there are more or fewer."""
    return int(np.count_nonzero(a.view(np.uint32) != b.view(np.uint32))) if a.shape == b.shape else max(a.size, b.size)


def _chunked(program: Program, x: Array) -> Array:
    """In chunks of 1, 2, 3, ... steps."""
    session, at, count = program.session(batch=x.shape[1]), 0, 1
    parts: list[Array] = []
    while at < len(x) or not parts:
        parts.append(session.run(x[at : at + count]))
        at, count = at + count, count + 1
    return np.concatenate(parts)


def _stepped(program: Program, x: Array) -> Array:
    """One row after the other, a step a call, half of them into an array that is there already."""
    T, B = x.shape[:2]
    out = np.empty((-(-T // program.stride), B, program.output_size), np.float32)
    for b in range(B):
        session, answers = program.session(), 0
        for t in range(T):
            step = np.ascontiguousarray(x[t, b]) if x.ndim == 3 else int(x[t, b])
            into = out[answers, b] if answers < len(out) else np.empty(program.output_size, np.float32)
            answer = session.step(step, out=into if t % 2 else None)
            if answer is not None:
                into[...] = answer
                answers += 1
    return out


def _sessions(program: Program, x: Array) -> Array:
    """A session a row, all of them in one call a step."""
    sessions = [program.session() for _ in range(x.shape[1])]
    steps = [program.step_many(sessions, step) for step in x]
    return np.stack(steps[:: program.stride])


def _reloaded(program: Program) -> Program:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.recurra")
        save_model(Model(programs={MAIN: program}), path)
        return load(path).program()
