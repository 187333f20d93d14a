"""The weights of a recurrence, and their gradients, which have the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recurra.cells.cell import Cell

Array = NDArray[np.floating]


@dataclass
class Weights:
    """The arrays of one recurrence of a cell with I inputs and H units. A gate's rows are neighbours.

    Attributes:
        W: input weights [gates * H, I], of the cell's `input_gates` in order.
        U: recurrent weights [gates * H, H] of its `recurrent_gates` ([gates * H, P] where the state is projected to P).
        b: input biases [gates * H].
        c_: recurrent biases [gates * H].
        R: the projection [P, H], for cells that have one.
        parameters: the per-unit parameters, each [H], by the cell's names for them.
    """

    W: Array
    U: Array
    b: Array
    c_: Array
    R: Array | None = None
    parameters: dict[str, Array] = field(default_factory=dict)

    @staticmethod
    def shapes(
        cell: Cell, input_size: int, hidden_size: int, projection_size: int | None = None
    ) -> dict[str, tuple[int, ...]]:
        """The shape of every array, by name; parameters under their own names."""
        output = hidden_size if projection_size is None else projection_size
        inputs, recurrent = len(cell.input_gates) * hidden_size, len(cell.recurrent_gates) * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"W": (inputs, input_size), "U": (recurrent, output)}
        shapes |= {"b": (inputs,), "c_": (recurrent,)}
        if cell.projection is not None:
            shapes["R"] = (output, hidden_size)
        return shapes | dict.fromkeys(cell.parameters, (hidden_size,))

    @classmethod
    def of(cls, cell: Cell, arrays: dict[str, Array]) -> Weights:
        """From arrays by the names of `shapes`."""
        parameters = {p: arrays[p] for p in cell.parameters}
        return cls(arrays["W"], arrays["U"], arrays["b"], arrays["c_"], arrays.get("R"), parameters)

    @classmethod
    def random(
        cls,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        projection_size: int | None = None,
        *,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> Weights:
        """Uniform in +-1/sqrt(H), as PyTorch initializes its recurrent layers."""
        bound = hidden_size**-0.5
        shapes = cls.shapes(cell, input_size, hidden_size, projection_size)
        return cls.of(cell, {n: rng.uniform(-bound, bound, s).astype(dtype) for n, s in shapes.items()})

    def items(self) -> Iterator[tuple[str, Array]]:
        """Every array with its name."""
        yield from (("W", self.W), ("U", self.U), ("b", self.b), ("c_", self.c_))
        if self.R is not None:
            yield "R", self.R
        yield from self.parameters.items()

    def map(self, function: Callable[[Array], Array]) -> Weights:
        """The same structure with a function applied to each array."""
        projection = None if self.R is None else function(self.R)
        parameters = {n: function(a) for n, a in self.parameters.items()}
        return Weights(function(self.W), function(self.U), function(self.b), function(self.c_), projection, parameters)

    @property
    def hidden_size(self) -> int:
        """H, wherever it can be read."""
        if self.R is not None:
            return int(self.R.shape[1])
        return int(self.U.shape[1])
