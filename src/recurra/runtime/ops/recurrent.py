"""A cell over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recurra.cells import from_text
from recurra.cells.cell import Cell
from recurra.cells.functions import FUNCTIONS
from recurra.cells.symbols import walk
from recurra.checks import check_array, check_weights
from recurra.engine import _kernel, _native_weights
from recurra.errors import CellError, DtypeError, ShapeError
from recurra.runtime.ops.op import FLOAT, Arrays, Op, Settings, check_names
from recurra.weights import Array, Weights

# Of a cell in a file: characters, gates, nodes and functions. The zoo's have less than 1000, 5, 40 and 6.
MOST_CELL_TEXT, MOST_GATES, MOST_NODES, MOST_FUNCTIONS = 1 << 16, 64, 2000, 100
DIRECTIONS = ("forward", "reverse")


def _check_size(cell: Cell) -> None:
    """Raise where a cell of a file would take minutes to derive and to compile."""
    nodes = walk(cell.next)
    functions = sum(n._op in FUNCTIONS for n in nodes)
    found = {"gates": (len(cell.gates), MOST_GATES), "operations": (len(nodes), MOST_NODES)}
    for what, (count, most) in (found | {"functions": (functions, MOST_FUNCTIONS)}).items():
        if count > most:
            raise CellError(f"the equations have {count} {what}, expected at most {most}: write them shorter")


@dataclass(frozen=True, eq=False)
class Recurrent(Op):
    """A cell over time; two sets of weights are two directions, whose outputs stand side by side.

    `initial` has, for each direction, what each state begins with, [width] each, in the order of the cell's states;
    without it they begin with zeros.

    Raises:
        ShapeError, DtypeError: the weights do not fit the cell or one another, or are not float32.
    """

    cell: Cell
    weights: Sequence[Weights]
    initial: Sequence[Sequence[Array]] = ()
    kind: ClassVar[str] = "recurrent"

    def __post_init__(self) -> None:
        name = f"a recurrent layer of {self.cell.name}"
        if len(self.weights) not in (1, 2):
            raise ShapeError(
                f"{name} has {len(self.weights)} sets of weights, expected one, or two for both directions"
            )
        sizes = set()
        for weights in self.weights:
            if getattr(weights.W, "ndim", 0) == 2 and 0 in weights.W.shape:
                raise ShapeError(f"{name}: `W` has shape {weights.W.shape}, expected at least one gate and one input")
            sizes.add(check_weights(name, self.cell, weights))
            for _, array in weights.items():
                if array.dtype != FLOAT:
                    raise DtypeError(f"{name}: its weights are {array.dtype}, expected float32: use weights.map")
        if len(self.initial) not in (0, len(self.weights)) or any(
            len(i) != len(self.cell.states) for i in self.initial
        ):
            raise ShapeError(f"{name}: `initial` has other states than {', '.join(self.cell.states)} of each direction")
        for states in self.initial:
            for (state, width), array in zip(self._widths().items(), states, strict=True):
                check_array(name, f"initial:{state}", array, FLOAT, (width,))
        if len(sizes) > 1:
            raise ShapeError(f"{name}: its directions have the sizes {sizes}, expected the same of both")

    @property
    def input_size(self) -> int:
        """Features in."""
        return int(self.weights[0].W.shape[1])

    @property
    def output_size(self) -> int:
        """The size of the first state, of both directions together."""
        return len(self.weights) * int(self.weights[0].U.shape[1])

    @property
    def streams(self) -> bool:
        """Whether it has one direction."""
        return len(self.weights) == 1

    def states(self, width: int) -> Mapping[str, int]:
        """Those of the cell; two directions begin each sequence anew and carry none."""
        return self._widths() if self.streams else {}

    def beginnings(self, width: int) -> Mapping[str, Array]:
        """Zeros, or `initial`."""
        states = self.states(width)
        return dict(zip(states, self.initial[0], strict=True)) if self.initial and states else super().beginnings(width)

    def _widths(self) -> dict[str, int]:
        first = self.weights[0]
        return {s: first.hidden_size if k else int(first.U.shape[1]) for k, s in enumerate(self.cell.states)}

    def settings(self) -> dict[str, Any]:
        """The cell's equations, and how many directions."""
        return {"cell": self.cell.text, "directions": len(self.weights)}

    def arrays(self) -> dict[str, Array]:
        """The weights; of two directions under the direction's name."""
        named: dict[str, Array] = {}
        for d, weights in enumerate(self.weights):
            prefix = f"{DIRECTIONS[d]}." if len(self.weights) > 1 else ""
            named |= {prefix + name: array for name, array in weights.items()}
            states = zip(self.cell.states, self.initial[d], strict=True) if self.initial else ()
            named |= {f"{prefix}initial:{state}": array for state, array in states}
        return named

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Recurrent:
        """The cell from its text, without running any code of the file."""
        text, directions = settings.get("cell"), settings.get("directions", 1)
        if not isinstance(text, str) or len(text) > MOST_CELL_TEXT:
            raise CellError(f"`cell` is no text of at most {MOST_CELL_TEXT} characters")
        if directions not in (1, 2) or isinstance(directions, bool):
            raise ShapeError(f"`directions` is {directions!r}, expected 1 or 2")
        try:
            cell = from_text(text)
            _check_size(cell)
            prefixes = [""] if directions == 1 else [f"{d}." for d in DIRECTIONS]
            names = [*Weights.shapes(cell, 1, 1, None)]
            begins = [f"initial:{state}" for state in cell.states] if any("initial:" in n for n in arrays) else []
        except (RecursionError, MemoryError, ValueError) as error:
            raise CellError(str(error) or "the equations of the cell are nested too deeply") from error
        wanted = {p + n for p in prefixes for n in (*names, *begins)}
        check_names(wanted, arrays)
        weights = [Weights.of(cell, {n: arrays[p + n] for n in names}) for p in prefixes]
        return cls(cell, weights, [[arrays[p + n] for n in begins] for p in prefixes] if begins else ())

    def add_to(self, network: Any, width: int, offsets: Mapping[str, int]) -> None:
        """All directions at once."""
        native = [_native_weights(self.cell, w) for w in self.weights]
        initial = self.initial or [[] for _ in self.weights]
        network.add_recurrent(_kernel(self.cell, gradient=False), native, self.weights[0].hidden_size, initial)
