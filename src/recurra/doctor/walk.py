"""A `LayerTrace` walked through step by step, in NumPy float64 with the cell's equations evaluated node by node.

Everything that the doctor measures of a layer is measured on the way; where the trace came from does not matter.

Letters: R rows, P = H or the size of a projected state, S all states side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recurra import reference
from recurra.cells.symbols import Node, node
from recurra.traces import LayerTrace
from recurra.weights import Array

Values = dict[Node, Any]


@dataclass
class Walk:
    """A trace walked forward: each state before every step and after the last, [T + 1][state][R, P or H]."""

    trace: LayerTrace
    states: list[list[Array]] = field(default_factory=list)

    def values(self, step: int) -> Values:
        """Every node of a step, computed again: that takes less memory than to keep them."""
        trace = self.trace
        return reference.step(trace.cell, trace.weights, trace.x[step], self.states[step])


def steps(trace: LayerTrace) -> Iterator[tuple[Walk, Values]]:
    """Walk through the steps; the run is complete when the walk ends."""
    result = Walk(trace, [list(trace.begin)])
    for x in trace.x:
        values = reference.step(trace.cell, trace.weights, x, result.states[-1])
        result.states.append([values[n] for n in trace.cell.next])
        yield result, values


def finished(trace: LayerTrace) -> Walk:
    """The run, where nobody looks at its steps."""
    result = Walk(trace, [list(trace.begin)])
    for result, _ in steps(trace):  # noqa: B007
        pass
    return result


def back(trace: LayerTrace, values: Values, seeds: Sequence[Array]) -> list[Array]:
    """From gradients of the states after a step, [N, P] and [N, H], to those of the states before it."""
    gradients = reference.step_back(trace.cell, values, seeds, trace.weights)
    found = (gradients.get(node("state", value=s), 0.0) for s in trace.cell.states)
    return [np.broadcast_to(g, seed.shape) for g, seed in zip(found, seeds, strict=True)]


def joined(states: Sequence[Array]) -> Array:
    """All states of a step side by side, [R, S]."""
    return np.concatenate(states, axis=-1)


def apart(trace: LayerTrace, side_by_side: Array) -> list[Array]:
    """The reverse of `joined`."""
    edges = np.cumsum([s.shape[-1] for s in trace.begin])[:-1]
    return np.split(side_by_side, edges, axis=-1)
