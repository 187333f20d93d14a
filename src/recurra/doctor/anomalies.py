"""Where a NaN or an infinity first appeared: the step, the layer and the operation of the cell's equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra import reference
from recurra.cells.printing import show
from recurra.cells.symbols import Node, node, walk
from recurra.doctor.walk import finished, steps
from recurra.traces import LayerTrace
from recurra.weights import Array, Weights


@dataclass(frozen=True)
class Anomaly:
    """The first number that is none.

    Attributes:
        step: of the sequence, from 0; -1 where the layer has no steps.
        layer: the layer's name.
        operation: the operation of its equations, as text; "input", or the kind of a layer without equations.
        value: "NaN" or "infinity".
        unit: which of the operation's units, or feature of the input.
        detail: what went into the operation there.
        backward: whether it appeared in the gradient, where the forward run is finite.
    """

    step: int
    layer: str
    operation: str
    value: str
    unit: int
    detail: str
    backward: bool = False

    def __str__(self) -> str:
        at = f" at step {self.step}" if self.step >= 0 else ""
        way = "the gradient of " if self.backward else ""
        return f"{self.value} in {way}{self.operation} of {self.layer}{at}, unit {self.unit}: {self.detail}"


def forward_anomaly(trace: LayerTrace) -> Anomaly | None:
    """The first in a forward run, in the order of reading and then of the equations, in the dtype of the trace."""
    names = {n: name for name, n in trace.cell._lines}
    with np.errstate(all="ignore"):
        for state, begin in zip(trace.cell.states, trace.begin, strict=True):
            if not np.isfinite(begin).all():
                return Anomaly(trace.time(0), trace.name, f"initial {state}", *_where(begin), "it was given so")
        for result, values in steps(trace):
            t = len(result.states) - 2
            if not np.isfinite(trace.x[t]).all():
                return Anomaly(trace.time(t), trace.name, "input", *_where(trace.x[t]), "it came in so")
            for n in walk(trace.cell.next):
                if not np.isfinite(values[n]).all():
                    what = show(n, {m: s for m, s in names.items() if m is not n})
                    value, unit = _where(values[n])
                    return Anomaly(trace.time(t), trace.name, what, value, unit, _arguments(trace, n, values, unit))
    return None


def backward_anomaly(trace: LayerTrace) -> Anomaly | None:
    """The first in the backward run, from the last step on."""
    names = {n: name for name, n in trace.cell._lines}
    order = {n: i for i, n in enumerate(walk(trace.cell.next))}
    with np.errstate(all="ignore"):
        done = finished(trace)
        now = list(trace.d_state)
        for t in range(len(trace.x) - 1, -1, -1):
            now[0] = now[0] + trace.d_output[t]
            values = done.values(t)
            if not all(np.isfinite(d).all() for d in now):
                bad = next(d for d in now if not np.isfinite(d).all())
                return Anomaly(trace.time(t), trace.name, "the output", *_where(bad), "it came back so", True)
            gradients = reference.step_back(trace.cell, values, now, trace.weights)
            found = [n for n in gradients if n in order and n._op != "const" and not np.isfinite(gradients[n]).all()]
            if found:
                n = max(found, key=order.__getitem__)
                value, unit = _where(np.atleast_2d(gradients[n]))
                users = [m for m in order if n in m._args and not _is_bad(gradients.get(m))]
                through = (
                    show(users[0], {m: s for m, s in names.items() if m is not users[0]}) if users else "the states"
                )
                detail = f"through {through}, where {show(n, names)} is {float(values[n][0, unit]):.4g}"
                return Anomaly(trace.time(t), trace.name, show(n, names), value, unit, detail, True)
            now = [gradients.get(node("state", value=s), np.zeros_like(d)) for s, d in _states(trace, now)]
    return None


def _states(trace: LayerTrace, now: list[Any]) -> list[tuple[str, Any]]:
    return list(zip(trace.cell.states, now, strict=True))


def _is_bad(gradient: Any) -> bool:
    return gradient is not None and not np.isfinite(gradient).all()


def _where(array: np.ndarray) -> tuple[str, int]:
    """What the first number that is not finite is, and its place in the last axis."""
    at = np.argwhere(~np.isfinite(array))[0]
    return "NaN" if np.isnan(array[tuple(at)]) else "infinity", int(at[-1])


def _arguments(trace: LayerTrace, n: Node, values: dict[Node, Any], unit: int) -> str:
    """The numbers that went into an operation at a unit; for a product, the weights that are at fault, if they are."""
    if n._op in ("input", "product", "param"):
        return _weight(trace, n)
    numbers = [float(np.asarray(values[a])[0, min(unit, values[a].shape[1] - 1)]) for a in n._args]
    return f"{n._op} of " + " and ".join(f"{v:.4g}" for v in numbers)


def _weight(trace: LayerTrace, n: Node) -> str:
    cell, w, H = trace.cell, trace.weights, trace.weights.hidden_size
    arrays: dict[str, Array | None]
    if n._op == "param":
        arrays = {n._value: w.parameters[n._value]}
    elif n is cell.projection:
        arrays = {"R": w.R}
    else:
        own, matrix, bias = (cell.input_gates, "W", "b") if n._op == "input" else (cell.recurrent_gates, "U", "c_")
        rows = slice(own.index(n._value) * H, (own.index(n._value) + 1) * H)
        arrays = {f"{name}_{n._value}": _array(w, name)[rows] for name in (matrix, bias)}
    for name, array in arrays.items():
        if array is not None and len(bad := np.argwhere(~np.isfinite(array))):
            value = "NaN" if np.isnan(array[tuple(bad[0])]) else "infinite"
            return f"the weight {name}{[int(i) for i in bad[0]]} is {value}"
    return "the sum of its products is too large for the dtype"


def _array(weights: Weights, name: str) -> np.ndarray:
    return dict(weights.items())[name]
