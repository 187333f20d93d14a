"""`Place`: one layer and direction of a network, with the data that went through it, in the order of reading.

Everything that the doctor measures of a layer is measured on a place, in NumPy float64 with the cell's equations
evaluated node by node; where the place came from does not matter.

Letters: T steps, R rows, I inputs, H units, P = H or the size of a projected state, S all states side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recurra import reference
from recurra.cells.cell import Cell
from recurra.cells.symbols import Node, node
from recurra.weights import Array, Weights

Values = dict[Node, Any]


@dataclass
class Place:
    """One layer and direction, and the longest uninterrupted sequences that went through it.

    Attributes:
        name: which layer, as a reader knows it.
        cell: its equations.
        weights: its arrays, in the dtype of the network.
        x: its input [T, R, I]. A layer that reads from the end has its last step first.
        begin: each state before the first step, [R, P] and [R, H].
        d_output: the gradient of the loss in the layer's output, by other ways than the layer's own states, [T, R, P].
        d_state: the gradient of the loss in each last state, [R, P] and [R, H].
        reverse: whether it reads from the end.
    """

    name: str
    cell: Cell
    weights: Weights
    x: Array
    begin: list[Array]
    d_output: Array
    d_state: list[Array]
    reverse: bool = False

    def astype(self, dtype: Any) -> Place:
        """The same in another precision."""

        def cast(a: Array) -> Array:
            return np.ascontiguousarray(a, dtype)

        return Place(
            self.name,
            self.cell,
            self.weights.map(cast),
            cast(self.x),
            [*map(cast, self.begin)],
            cast(self.d_output),
            [*map(cast, self.d_state)],
            self.reverse,
        )

    def row(self, row: int) -> Place:
        """One row alone."""
        one = slice(row, row + 1)
        return Place(
            self.name,
            self.cell,
            self.weights,
            self.x[:, one],
            [s[one] for s in self.begin],
            self.d_output[:, one],
            [s[one] for s in self.d_state],
            self.reverse,
        )

    def time(self, step: int) -> int:
        """The step of the sequence that is read as the `step`-th."""
        return len(self.x) - 1 - step if self.reverse else step


@dataclass
class Run:
    """A place run forward: each state before every step and after the last, [T + 1][state][R, P or H]."""

    place: Place
    states: list[list[Array]] = field(default_factory=list)

    def values(self, step: int) -> Values:
        """Every node of a step, computed again: that takes less memory than to keep them."""
        place = self.place
        return reference.step(place.cell, place.weights, place.x[step], self.states[step])


def run(place: Place) -> Iterator[tuple[Run, Values]]:
    """Walk through the steps; the run is complete when the walk ends."""
    result = Run(place, [list(place.begin)])
    for x in place.x:
        values = reference.step(place.cell, place.weights, x, result.states[-1])
        result.states.append([values[n] for n in place.cell.next])
        yield result, values


def finished(place: Place) -> Run:
    """The run, where nobody looks at its steps."""
    result = Run(place, [list(place.begin)])
    for result, _ in run(place):  # noqa: B007
        pass
    return result


def back(place: Place, values: Values, seeds: Sequence[Array]) -> list[Array]:
    """From gradients of the states after a step, [N, P] and [N, H], to those of the states before it."""
    gradients = reference.step_back(place.cell, values, seeds, place.weights)
    found = (gradients.get(node("state", value=s), 0.0) for s in place.cell.states)
    return [np.broadcast_to(g, seed.shape) for g, seed in zip(found, seeds, strict=True)]


def joined(states: Sequence[Array]) -> Array:
    """All states of a step side by side, [R, S]."""
    return np.concatenate(states, axis=-1)


def apart(place: Place, side_by_side: Array) -> list[Array]:
    """The reverse of `joined`."""
    edges = np.cumsum([s.shape[-1] for s in place.begin])[:-1]
    return np.split(side_by_side, edges, axis=-1)
