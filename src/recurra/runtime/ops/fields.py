"""Equations on the fields of a row, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.cells import from_text
from recurra.cells.cell import Cell
from recurra.checks import check_array
from recurra.engine import _kernel, _native_weights
from recurra.errors import CellError, ShapeError
from recurra.runtime.ops.op import FLOAT, MOST_NUMBERS, Arrays, Op, Settings, check_count, check_names
from recurra.runtime.ops.recurrent import MOST_CELL_TEXT, _check_size
from recurra.weights import Array, Weights


@dataclass(frozen=True, eq=False)
class Fields(Op):
    """One step of a cell without products, whose K states are the first K fields of a row, of `size` numbers each; the
    `rest` of the row stays as it is. So a mask and a time may act on a value before any weights do.

    Raises:
        CellError: the cell has products.
        ShapeError, DtypeError: a parameter is not float32 [size].

    >>> import numpy as np
    >>> from recurra.cells import input_decay
    >>> from recurra.runtime import Fields, Model
    >>> half = np.full(1, np.log(2), np.float32)
    >>> model = Model([Fields(input_decay, {"w": half, "v": np.zeros(1, np.float32)}, 1, 1)])
    >>> model.run(np.array([[8, 1, 0, 5], [8, 0, 1, 5], [8, 0, 3, 5]], np.float32))[:, [0, 3]].tolist()
    [[8.0, 5.0], [4.0, 5.0], [1.0, 5.0]]
    """

    equations: Cell
    parameters: Mapping[str, Array]
    size: int
    rest: int = 0
    kind: ClassVar[str] = "fields"

    def __post_init__(self) -> None:
        if self.equations.gates or self.equations.projection is not None:
            raise CellError(
                f"the equations of fields, {self.equations.name}, have the gates {', '.join(self.equations.gates)}, "
                "expected a cell without products, as input_decay"
            )
        check_count(self.kind, "size", self.size)
        if isinstance(self.rest, bool) or not isinstance(self.rest, int) or not 0 <= self.rest <= MOST_NUMBERS:
            raise ShapeError(f"fields: `rest` is {str(self.rest)[:80]}, expected a number from 0 to {MOST_NUMBERS}")
        check_names(set(self.equations.parameters), self.parameters)
        for name, array in self.parameters.items():
            check_array("a fields layer", name, array, FLOAT, (self.size,))

    @property
    def input_size(self) -> int:
        """The fields and the rest."""
        return len(self.equations.states) * self.size + self.rest

    @property
    def output_size(self) -> int:
        """As many."""
        return self.input_size

    def settings(self) -> dict[str, Any]:
        """The equations, and the sizes."""
        return {"equations": self.equations.text, "size": self.size, "rest": self.rest}

    def arrays(self) -> dict[str, Array]:
        """The cell's parameters."""
        return {name: self.parameters[name] for name in self.equations.parameters}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Fields:
        """The equations from their text, without running any code of the file."""
        text = settings.get("equations")
        if not isinstance(text, str) or len(text) > MOST_CELL_TEXT:
            raise CellError(f"`equations` is no text of at most {MOST_CELL_TEXT} characters")
        try:
            cell = from_text(text)
            _check_size(cell)
        except (RecursionError, MemoryError, ValueError) as error:
            raise CellError(str(error) or "the equations are nested too deeply") from error
        return cls(cell, arrays, settings.get("size"), settings.get("rest", 0))  # type: ignore[arg-type]

    def add_to(self, network: Any, width: int, offsets: Mapping[str, int]) -> None:
        """The cell's own routine."""
        shapes = Weights.shapes(self.equations, 1, self.size)
        weights = Weights.of(self.equations, {n: np.zeros(s, FLOAT) for n, s in shapes.items()} | self.arrays())
        kernel = _kernel(self.equations, gradient=False)
        network.add_fields(kernel, _native_weights(self.equations, weights), self.size, self.input_size)
