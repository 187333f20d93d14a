"""Whether a model gives the same bits however it is run, and the numbers of what it was made from or into."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from recurra.engine import isa
from recurra.errors import RecurraError, ShapeError
from recurra.runtime.file import load, save_model
from recurra.runtime.model import MAIN, Model
from recurra.runtime.program import Program
from recurra.weights import Array

MOST_NUMBERS = 1 << 27  # of a sample
TOLERANCE = 1e-5  # of the difference from another program, relative to its largest number where that is above 1


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


def refuse_differing(call: str, report: dict[str, Any], error: type[RecurraError]) -> None:
    """Raise where `check_parity` found bits that differ."""
    differing = {name: count for name, count in report["differing"].items() if count}
    if differing:
        raise error(f"{call}: outputs differ in bits where the model is run as {differing}: please report this")


def difference(ours: Array, theirs: Array) -> float:
    """The largest difference, relative to the largest of their numbers where that is above 1; infinite for a NaN.

    >>> difference(np.array([2.0, 4.0]), np.array([2.0, 5.0]))
    0.2
    """
    if ours.shape != theirs.shape:
        return float("inf")
    gap = np.abs(np.subtract(ours, theirs, dtype=np.float64))
    largest = float(np.max(np.where(np.isnan(gap), np.inf, gap), initial=0.0))
    return largest / max(1.0, float(np.abs(theirs).max(initial=0.0)))


def refuse_difference(call: str, source: str, found: float, error: type[RecurraError], hint: str = "") -> None:
    """Raise where a model and its source differ by more than rounding."""
    if not found <= TOLERANCE:
        raise error(
            f"{call}: the model's output is {found:.2g} from {source}, expected at most {TOLERANCE}: {hint}some "
            "networks enlarge rounding errors; please report this if yours should not"
        )


def random_input(model: Model | Program, steps: int, rows: int, seed: int = 0) -> Array:
    """Random numbers [T, B, I], or ids [T, B].

    Raises:
        ShapeError: there would be too many.
    """
    if steps * rows * model.input_size > MOST_NUMBERS:
        raise ShapeError(
            f"a sample of {rows} rows of {steps} steps of {model.input_size} numbers, expected at most {MOST_NUMBERS}"
        )
    rng = np.random.default_rng(seed)
    if model.vocabulary_size:
        ids: Any = rng.integers(0, model.vocabulary_size, (steps, rows))
        return np.asarray(ids)
    x = rng.standard_normal((steps, rows, model.input_size)).astype(np.float32)
    for k, count in enumerate(model.id_counts):
        x[..., k] = rng.integers(0, count, (steps, rows))
    return x


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
