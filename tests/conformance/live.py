"""A model of the runtime: as a whole, in chunks, step by step; a session ends with its row and is reset where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from conformance.cases import Case
from conformance.layers import by_place
from recurra import runtime

Outcome = dict[str, np.ndarray]


def model_of(case: Case) -> runtime.Model:
    """The layers of a case; what they learned to begin with is in the model."""
    s, D = case.setting, case.setting.directions
    initial: Any = case.learned or [()] * (s.layers * D)
    return runtime.Model(
        [
            runtime.Recurrent(
                case.cell, case.weights[k : k + D], initial[k : k + D] if case.learned is not None else ()
            )
            for k in range(0, s.layers * D, D)
        ]
    )


def begin(session: runtime.Session, case: Case, row: int | slice) -> None:
    """Give a session the state that a row of the case begins with."""
    if case.state is not None:
        session.state = {f"layers.{k}.{s}": a[row] for k, s, a in _states(case)}


def _states(case: Case) -> Iterator[tuple[int, str, np.ndarray]]:
    for layer, place in enumerate(case.state or []):
        yield from ((layer, s, a) for s, a in zip(case.cell.states, place, strict=True))


def run_whole(case: Case) -> Outcome:
    """`Session.run`; a batch at once where no row ends or is reset before the others."""
    model, s = model_of(case), case.setting
    if s.lengths is not None or s.resets:
        return _by_rows(case, model, lambda session, steps: session.run(steps))
    if s.directions == 2:
        return {"output": model.run(case.x)}
    session = model.session(batch=s.B)
    begin(session, case, slice(None))
    return {"output": session.run(case.x), **_final(case, session.state)}


def run_chunks(case: Case) -> Outcome:
    """`Session.run` of one, two, three steps, and so on, row by row."""

    def run(session: Any, steps: np.ndarray) -> np.ndarray:
        parts, at, count = [steps[:0, :1]], 0, 1
        while at < len(steps):
            parts.append(session.run(steps[at : at + count]))
            at, count = at + count, count + 1
        return np.concatenate(parts[1:]) if at else session.run(steps)

    return _by_rows(case, model_of(case), run)


def run_steps(case: Case) -> Outcome:
    """`Session.step`, row by row; the states after each step are read from the session."""
    model = model_of(case)
    outcome = _by_rows(case, model, lambda session, steps: np.stack([session.step(x) for x in steps]))
    return outcome | _every_state(case, model)


def run_together(case: Case) -> Outcome:
    """`Model.step_many`: a session for each row, those that still run in one call."""
    model, s = model_of(case), case.setting
    sessions = [model.session() for _ in range(s.B)]
    output = np.zeros((s.T, s.B, model.output_size), np.float32)
    for b, session in enumerate(sessions):
        begin(session, case, b)
    states: dict[str, Any] = {name: np.zeros((s.T, s.B, w), np.float32) for name, w in model.state_widths().items()}
    for t in range(s.T):
        rows = np.flatnonzero(case.ends > t)
        for b in rows:
            if case.reset is not None and case.reset[t, b]:
                sessions[b].reset()
        output[t, rows] = model.step_many([sessions[b] for b in rows], np.ascontiguousarray(case.x[t, rows]))
        for b in rows:
            for name, value in sessions[b].state.items():
                states[name][t, b] = value
    final = [session.state for session in sessions]
    last = {n: np.stack([f[n] for f in final]) for n in final[0]}
    return {"output": output, **_final(case, last), **_final(case, states, "states")}


def _by_rows(case: Case, model: runtime.Model, run: Callable[[Any, np.ndarray], np.ndarray]) -> Outcome:
    """A session for each row, which ends with the row; between resets it runs without a break."""
    s = case.setting
    output, final = np.zeros((s.T, s.B, model.output_size), np.float32), []
    for b, end in enumerate(case.ends):
        session = model.session()
        begin(session, case, b)
        flags = [] if case.reset is None else [t for t in range(end) if case.reset[t, b]]
        edges = [0, *(t for t in flags if t > 0), int(end)]
        for first, stop in pairwise(edges):
            if first in flags:
                session.reset()
            if stop > first:
                output[first:stop, b] = run(session, np.ascontiguousarray(case.x[first:stop, b]))
        final.append(session.state)
    if s.directions == 2:
        return {"output": output}
    return {"output": output, **_final(case, {n: np.stack([f[n] for f in final]) for n in final[0]})}


def _every_state(case: Case, model: runtime.Model) -> Outcome:
    states: dict[str, Any] = {
        name: np.zeros((case.setting.T, case.setting.B, w), np.float32) for name, w in model.state_widths().items()
    }
    for b, end in enumerate(case.ends):
        session = model.session()
        begin(session, case, b)
        for t in range(end):
            if case.reset is not None and case.reset[t, b]:
                session.reset()
            session.step(np.ascontiguousarray(case.x[t, b]))
            for name, value in session.state.items():
                states[name][t, b] = value
    return _final(case, states, "states")


def _final(case: Case, states: dict[str, np.ndarray], what: str = "final") -> Outcome:
    """States by the names of a session, under the names of results."""
    layers = range(case.setting.layers)
    return by_place(case, [[states[f"layers.{k}.{s}"] for s in case.cell.states] for k in layers], what)
