"""One adapter per backend: it runs a case and names what came out. A new backend is one more entry of `BACKENDS`.

What a backend cannot take it says itself: which cells, and which features of a setting, each with the reason in a line.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from conformance.cases import Case, Setting
from conformance.layers import Layers
from helpers import threads
from recurra import _native, engine, jit, reference
from recurra.cells import Cell
from recurra.cells.layout import numbers
from recurra.weights import Array, Weights

Outcome = dict[str, Array]


@dataclass(frozen=True)
class Backend:
    """A way to run a cell.

    Attributes:
        run: gives everything that the definition does, by name.
        omits: how names begin that it does not give, and the feature of a setting with which it is so; "" is always.
        cannot: features of a setting that it cannot take, and why.
        cells: names of the cells that it has; None: all.
        share: it takes every so many of the pairs of a cell and a setting, so that each setting meets several cells and
            each cell many settings; all pairs of all backends would take minutes and say no more.
    """

    name: str
    dtype: Any
    run: Callable[[Case], Outcome]
    omits: Mapping[str, str] = field(default_factory=dict)
    cannot: Mapping[str, str] = field(default_factory=dict)
    cells: tuple[str, ...] | None = None
    share: int = 1

    def refusal(self, cell: Cell, setting: Setting) -> str:
        """Why it cannot take a case; nothing where it can."""
        if self.cells is not None and cell.name not in self.cells:
            return "there is no such layer"
        features = setting.features
        if cell.projection is not None and setting.P >= setting.H:
            features |= {"wide projection"}
        return next((why for feature, why in self.cannot.items() if feature in features), "")

    def omits_in(self, setting: Setting) -> tuple[str, ...]:
        """How the names begin that it does not give."""
        return tuple(name for name, feature in self.omits.items() if not feature or feature in setting.features)


def from_module(name: str, function: str) -> Callable[[Case], Outcome]:
    """An adapter that is imported when it runs: its framework is slow to load, or must be alone in its process."""
    return lambda case: getattr(importlib.import_module(f"conformance.{name}"), function)(case)


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
    """Every result of one run under a name of its own."""
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
    if not s.is_one_run:
        layers = Layers(case)
        return layers.values() | layers.backward()
    state, d_state = (None if states is None else states[0] for states in (case.state, case.d_state))
    run = reference.forward(case.cell, case.weights[0], case.x, state, case.lengths, s.reverse, case.reset)
    back = reference.backward(case.cell, case.weights[0], case.x, run, case.d_output, d_state, case.reset)
    return named(case, run.output, run.state, run.states, run.gates, back.x, back.state, back.weights)


def run_engine(case: Case) -> Outcome:
    """The native kernels, writing over NaN."""
    s, weights = case.setting, case.weights[0]
    state, d_state = (None if states is None else states[0] for states in (case.state, case.d_state))
    with threads(s.threads):
        run = engine.forward(
            case.cell,
            weights,
            case.x,
            state,
            lengths=case.lengths,
            reverse=s.reverse,
            reset=case.reset,
            keep=True,
            checkpoint_every=s.checkpoint_every,
            return_states=True,
            return_gates=True,
            output=np.full((s.T, s.B, weights.U.shape[1]), np.nan, case.x.dtype),
        )
        back = engine.backward(run.tape, case.d_output, d_state)
    return named(case, run.output, run.state, run.states, run.gates, back.x, back.state, back.weights)


def run_jit(case: Case) -> Outcome:
    """The engine as a user's own cell has it: routines compiled here, whether or not they are also built in."""
    with compiled():
        return run_engine(case)


@contextmanager
def compiled() -> Any:
    """With no cell built in."""
    before, engine._kernel = engine._kernel, _compiled_kernel
    try:
        yield
    finally:
        engine._kernel = before


@cache
def _compiled_kernel(cell: Cell, gradient: bool = True) -> Any:
    code = jit.routines_of(cell, engine.isa(), gradient)
    return _native.Kernel(engine.isa(), *numbers(cell), code.f32, code.f64, code)


ONE_RUN = {
    "layers": "it is one layer: those above it are run by whoever stacks them",
    "directions": "it reads one way: the other direction is a run of its own",
    "learned": "it has no weights but the cell's: a learned state is given as any other",
    "batch_first": "its arrays are time-major",
}
ENGINE64 = Backend("engine-float64", np.float64, run_engine, cannot=ONE_RUN)
ENGINE32 = Backend("engine-float32", np.float32, run_engine, cannot=ONE_RUN)

LAYER = {"reverse": "it reads from the end only as the second of two directions"}
TORCH_NAMES = ("rnn", "rnn_relu", "lstm", "lstm_projected", "gru")
DROP_IN = LAYER | {
    "resets": "torch.nn's layers have no resets",
    "learned": "torch.nn's layers have no learned state",
    "checkpoints": "torch.nn's layers have no checkpoints",
    "rows without steps": "torch packs no row without steps",
    "wide projection": "torch projects to fewer than the hidden units",
}
LIVE = {
    "reverse": "a model reads forwards, or both ways",
    "given state of two directions": "two directions start each run from their beginning",
    "some gradients": "it has no gradients: the case is that of all of them",
    "checkpoints": "it keeps nothing for backward",
    "threads": "a session runs on one thread",
}
STEPS = LIVE | {"directions": "a step cannot know the steps to come"}
ONNX = LIVE | {"lengths": "the graph has no lengths", "resets": "the graph has no resets"}
KERAS = {
    "resets": "Keras' layers have no resets",
    "learned": "Keras' layers have no learned state",
    "checkpoints": "Keras' layers have no checkpoints",
}
KERAS_NAMES = ("rnn", "rnn_relu", "lstm", "gru", "gru_reset_before")
# What a backend does not give, and with which feature of a setting.
FRAMEWORK = {"gradient of initial": "no state given"}
NO_STEPS = {"states": "", "gate": ""}
NO_GRADIENTS = {"gradient of": "", "final": "directions"}

BACKENDS = (
    ENGINE64,
    ENGINE32,
    Backend("jit-float64", np.float64, run_jit, cannot=ONE_RUN, share=3),
    Backend("jit-float32", np.float32, run_jit, cannot=ONE_RUN, share=3),
    *(
        Backend(f"torch-{name}-{dtype.__name__}", dtype, from_module("torch_layers", run), omits, cannot, cells, share)
        for dtype in (np.float64, np.float32)
        for name, run, omits, cannot, cells, share in (
            ("recurrent", "run_recurrent", FRAMEWORK, LAYER, None, 3),
            ("equations", "run_equations", FRAMEWORK, LAYER, None, 10),
            ("drop-in", "run_drop_in", FRAMEWORK | NO_STEPS, DROP_IN, TORCH_NAMES, 1),
        )
    ),
    Backend(
        "torch-stock", np.float64, from_module("torch_layers", "run_stock"), FRAMEWORK | NO_STEPS, DROP_IN, TORCH_NAMES
    ),
    *(
        Backend(name, np.float32, from_module(module, run), NO_GRADIENTS | omits, cannot, share=3)
        for name, module, run, omits, cannot in (
            ("runtime-run", "live", "run_whole", NO_STEPS, LIVE),
            ("runtime-chunks", "live", "run_chunks", NO_STEPS, STEPS),
            ("runtime-step", "live", "run_steps", {"gate": ""}, STEPS),
            ("runtime-step-many", "live", "run_together", {"gate": ""}, STEPS),
            ("onnx-reader", "onnx_graphs", "run_reader", NO_STEPS, ONNX),
            ("onnx-runtime", "onnx_graphs", "run_runtime", NO_STEPS, ONNX),
        )
    ),
)
# Keras has one backend for a whole process: these run where `tests/keras_layers` starts one.
KERAS_BACKENDS = tuple(
    Backend(name, dtype, from_module("keras_layers", run), FRAMEWORK | NO_STEPS, KERAS, cells, share)
    for dtype in (np.float64, np.float32)
    for name, run, cells, share in (
        (f"keras-recurrent-{dtype.__name__}", "run_recurrent", None, 7),
        (f"keras-drop-in-{dtype.__name__}", "run_drop_in", KERAS_NAMES, 2),
    )
)
