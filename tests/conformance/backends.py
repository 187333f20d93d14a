"""One adapter per backend: it runs a case and names what came out. A new backend is one more entry of `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.cases import Case
from helpers import threads
from recurra import engine, reference
from recurra.weights import Array, Weights

Outcome = dict[str, Array]


@dataclass(frozen=True)
class Backend:
    """A way to run a cell: `run` gives everything that `named` lists, except names that begin as in `omits`."""

    name: str
    dtype: Any
    run: Callable[[Case], Outcome]
    omits: tuple[str, ...] = ()


def named(
    case: Case,
    output: Array,
    final: Sequence[Array],
    states: Sequence[Array],
    gates: dict[str, Array],
    d_x: Array,
    d_state: Sequence[Array],
    d_weights: Weights,
) -> Outcome:
    """Every result under a name of its own."""
    names = case.cell.states
    return {
        "output": output,
        **{f"final {s}": a for s, a in zip(names, final, strict=True)},
        **{f"states {s}": a for s, a in zip(names, states, strict=True)},
        **{f"gate {g}": a for g, a in gates.items()},
        "gradient of x": d_x,
        **{f"gradient of initial {s}": a for s, a in zip(names, d_state, strict=True)},
        **{f"gradient of {n}": a for n, a in d_weights.items()},
    }


def run_reference(case: Case) -> Outcome:
    """The definition."""
    s = case.setting
    run = reference.forward(case.cell, case.weights, case.x, case.state, case.lengths, s.reverse, case.reset)
    back = reference.backward(case.cell, case.weights, case.x, run, case.d_output, case.d_state, case.reset)
    return named(case, run.output, run.state, run.states, run.gates, back.x, back.state, back.weights)


def run_engine(case: Case) -> Outcome:
    """The native kernels, writing over NaN."""
    s = case.setting
    with threads(s.threads):
        run = engine.forward(
            case.cell,
            case.weights,
            case.x,
            case.state,
            lengths=case.lengths,
            reverse=s.reverse,
            reset=case.reset,
            keep=True,
            checkpoint_every=s.checkpoint_every,
            return_states=True,
            return_gates=True,
            output=np.full((s.T, s.B, case.weights.U.shape[1]), np.nan, case.x.dtype),
        )
        back = engine.backward(run.tape, case.d_output, case.d_state)
    return named(case, run.output, run.state, run.states, run.gates, back.x, back.state, back.weights)


ENGINE64 = Backend("engine-float64", np.float64, run_engine)
ENGINE32 = Backend("engine-float32", np.float32, run_engine)
BACKENDS = (ENGINE64, ENGINE32)
