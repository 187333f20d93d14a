"""What the units of a layer do: how far activations are saturated, what is kept of a state, dead units, growth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra import reference
from recurra.cells.cell import Cell
from recurra.cells.functions import FUNCTIONS
from recurra.cells.printing import show
from recurra.cells.symbols import Node, walk
from recurra.doctor.gradient import rate_of
from recurra.doctor.walk import Values, Walk, steps
from recurra.traces import LayerTrace
from recurra.weights import Array, Weights

# Activations with a limit on both sides, with their largest slope: only these saturate. `relu` and its like are off on
# one side by design, which shows as dead units where it is always so.
LIMITED = {"tanh": 1.0, "sigmoid": 0.25, "hard_sigmoid": 1 / 6, "erf": 2 / np.sqrt(np.pi), "clip": 1.0}
GATES = {"sigmoid", "hard_sigmoid"}
FLAT = 0.05  # a slope below this share of the largest is saturation: |tanh| > 0.975, sigmoid outside 0.013..0.987
STILL = 1e-6  # a unit whose output moves by no more than this, relative to 1 or its size, is dead


@dataclass(frozen=True)
class Saturation:
    """One activation over all steps, rows and units.

    Attributes:
        name: the gate, or the expression.
        operation: the activation.
        gate: whether it is one that runs from 0 to 1.
        keeps: whether it decides how much of a state is kept; such a gate is open by design.
        low, high: the share of values saturated at the lower and at the upper limit.
        units: the saturated share of each unit.
    """

    name: str
    operation: str
    gate: bool
    keeps: bool
    low: float
    high: float
    units: list[float]

    @property
    def share(self) -> float:
        """Of all values, saturated at either limit."""
        return self.low + self.high


@dataclass(frozen=True)
class Activity:
    """What a layer's units did.

    Attributes:
        saturation: of each activation with two limits.
        kept: for each state that is partly kept from step to step, the mean share that is: the forget gate, say.
        dead: units whose output does not move at all.
        norms: the root mean square of all states after each step, in the order of reading.
        growth: the factor per step of those, by least squares over the second half of the sequence.
        largest: the largest absolute value of a state.
    """

    saturation: list[Saturation]
    kept: dict[str, float]
    dead: list[int]
    norms: list[float]
    growth: float
    largest: float


def activity(trace: LayerTrace) -> tuple[Walk, Activity]:
    """Walk through a trace and look at it on the way."""
    cell = trace.cell
    limited = [n for n in walk(cell.next) if n._op in LIMITED]
    keepers = keeping(cell)
    T, R = trace.x.shape[:2]
    flat = {n: np.zeros((2, trace.weights.hidden_size)) for n in limited}
    kept = dict.fromkeys(keepers, 0.0)
    least, most = np.full(trace.begin[0].shape[1], np.inf), np.full(trace.begin[0].shape[1], -np.inf)
    norms, largest, result = [], 0.0, Walk(trace, [list(trace.begin)])
    for result, values in steps(trace):
        for n in limited:
            flat[n] += _flat(n, values)
        for state, factors in keepers.items():
            kept[state] += float(np.mean(np.abs(_product(factors, values)))) / T
        states = result.states[-1]
        least, most = np.minimum(least, states[0].min(0)), np.maximum(most, states[0].max(0))
        norms.append(float(np.sqrt(np.mean([np.mean(s**2) for s in states]))))
        largest = max(largest, *(float(np.abs(s).max()) for s in states))
    second = slice(T // 2, None)
    growth = rate_of(np.arange(T)[second], np.array(norms)[second])
    moving = most - least > STILL * (1 + np.maximum(np.abs(most), np.abs(least)))
    dead = np.flatnonzero(~moving).tolist() if T * R > 1 else []
    names, keeps = _names(cell), {n for factors in keepers.values() for f, _ in factors for n in walk([f])}
    saturation = [
        Saturation(
            names.get(n) or show(n, names),
            n._op,
            n._op in GATES,
            n in keeps,
            float(flat[n][0].mean() / (T * R)),
            float(flat[n][1].mean() / (T * R)),
            (flat[n].sum(0) / (T * R)).tolist(),
        )
        for n in limited
    ]
    return result, Activity(saturation, kept, dead, norms, growth, largest)


def _flat(n: Node, values: Values) -> Array:
    """How many rows are saturated at the lower and the upper limit, by unit, [2, H]."""
    slope = reference._evaluate(FUNCTIONS[n._op].slopes(*n._args, n)[0], values)
    flat = np.abs(slope) < FLAT * LIMITED[n._op]
    middle = 0.5 if n._op in GATES else 0.0
    if n._op == "clip":
        middle = 0.5 * (n._args[1]._value + n._args[2]._value)
    y = values[n]
    return np.stack([(flat & (y < middle)).sum(0), (flat & (y >= middle)).sum(0)]).astype(float)


def _names(cell: Cell) -> dict[Node, str]:
    return {n: name for name, n in cell._lines}


Factors = list[tuple[Node, int]]


def keeping(cell: Cell) -> dict[str, Factors]:
    """For each state whose new value has a term `factors * the state itself`: those factors, with 1 or -1 as exponent.

    >>> from recurra.cells import get
    >>> keeping(get("lstm")), keeping(get("rnn"))
    ({'c': [(sigmoid(x.f + h.f), 1)]}, {})
    """
    found: dict[str, Factors] = {}
    for state, new in zip(cell.states, cell.next, strict=True):
        for term in _terms(new):
            factors = list(_factors(term, 1))
            own = [i for i, (n, power) in enumerate(factors) if (n._op, n._value, power) == ("state", state, 1)]
            if len(own) == 1:
                found[state] = [f for i, f in enumerate(factors) if i != own[0]]
    return found


def is_gated(cell: Cell) -> bool:
    """Whether what is kept of some state depends on the step's input or state: a gate decides it."""
    return any(n._op in ("input", "product") for factors in keeping(cell).values() for n in walk(f for f, _ in factors))


def keeper_gates(cell: Cell) -> dict[str, float]:
    """The gates that decide what is kept, with the sign of the change of their sum that keeps more.

    >>> from recurra.cells import get
    >>> keeper_gates(get("lstm")), keeper_gates(get("mgu"))
    ({'f': 1.0}, {'f': -1.0})
    """
    signs: dict[str, float] = {}
    shapes = Weights.shapes(cell, 1, 1, 1 if cell.projection is not None else None)
    for factors in keeping(cell).values():
        under = {n._value for n in walk(f for f, _ in factors) if n._op in ("input", "product")}
        for gate in cell.gates:
            if gate not in under:
                continue
            kept = []
            for shift in (-1.0, 1.0):
                weights = Weights.of(cell, {name: np.zeros(shape) for name, shape in shapes.items()})
                bias = weights.b if gate in cell.input_gates else weights.c_
                bias[(cell.input_gates if gate in cell.input_gates else cell.recurrent_gates).index(gate)] = shift
                states = [np.zeros((1, 1)) for _ in cell.states]
                kept.append(float(_product(factors, reference.step(cell, weights, np.zeros((1, 1)), states))[0, 0]))
            if kept[0] != kept[1]:
                signs[gate] = float(np.sign(kept[1] - kept[0]))
    return signs


def _terms(n: Node) -> Iterator[Node]:
    """The terms of a sum."""
    if n._op in ("add", "sub"):
        for argument in n._args:
            yield from _terms(argument)
    elif n._op == "neg":
        yield from _terms(n._args[0])
    else:
        yield n


def _factors(n: Node, power: int) -> Iterator[tuple[Node, int]]:
    """The factors of a product of products and quotients."""
    if n._op == "mul":
        for argument in n._args:
            yield from _factors(argument, power)
    elif n._op == "div":
        yield from _factors(n._args[0], power)
        yield from _factors(n._args[1], -power)
    else:
        yield n, power


def _product(factors: Factors, values: Values) -> Any:
    result = np.ones_like(next(iter(values.values())))
    for n, power in factors:
        result = result * np.asarray(values[n], np.float64) ** power
    return result
