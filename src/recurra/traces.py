"""`LayerTrace`: one layer and direction of a network with the data that went through it, in the order of reading.

Letters: T steps, R rows, I inputs, H units, P = H or the size of a projected state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recurra import engine
from recurra.cells.cell import Cell
from recurra.weights import Array, Weights


@dataclass
class LayerTrace:
    """One layer and direction, and sequences of one length that went through it without interruption.

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

    @classmethod
    def of(
        cls,
        name: str,
        cell: Cell,
        weights: Weights,
        x: Array,
        begin: Sequence[Array] | None = None,
        reverse: bool = False,
    ) -> LayerTrace:
        """A trace without gradients; it begins with zeros if nothing else is given.

        >>> from recurra import cells
        >>> weights = Weights.random(cells.gru, 1, 3, rng=np.random.default_rng(0))
        >>> trace = LayerTrace.of("gru", cells.gru, weights, np.zeros((5, 2, 1)))
        >>> trace.d_output.shape, [s.shape for s in trace.begin]
        ((5, 2, 3), [(2, 3)])
        """
        T, R = x.shape[:2]
        widths = [weights.U.shape[1], *[weights.hidden_size] * (len(cell.states) - 1)]
        zeros = [np.zeros((R, width), x.dtype) for width in widths]
        x = np.ascontiguousarray(x[::-1] if reverse else x)
        own = zeros if begin is None else list(begin)
        return cls(name, cell, weights, x, own, np.zeros((T, R, widths[0]), x.dtype), zeros, reverse)

    def astype(self, dtype: Any) -> LayerTrace:
        """The same in another precision."""

        def cast(a: Array) -> Array:
            return np.ascontiguousarray(a, dtype)

        return replace(
            self,
            weights=self.weights.map(cast),
            x=cast(self.x),
            begin=[*map(cast, self.begin)],
            d_output=cast(self.d_output),
            d_state=[*map(cast, self.d_state)],
        )

    def time(self, step: int) -> int:
        """The step of the sequence that is read as the `step`-th."""
        return len(self.x) - 1 - step if self.reverse else step

    def run(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Each state after every step and each gate, by name, [T, R, P or H] in the order of time."""
        x, begin = np.ascontiguousarray(self.x, self.weights.W.dtype), [*map(np.ascontiguousarray, self.begin)]
        done = engine.forward(self.cell, self.weights, x, begin, return_states=True, return_gates=True)
        way = -1 if self.reverse else 1
        states = zip(self.cell.states, done.states or [], strict=True)
        return {n: a[::way] for n, a in states}, {n: a[::way] for n, a in (done.gates or {}).items()}
