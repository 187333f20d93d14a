"""Recurrences unit by unit: the next state of a unit depends on the old states of that unit alone.

With n states, the derivative of a step is then n x n numbers for each unit, and the derivative over many steps is their
product: a sequence can be cut into parts that are run side by side (see `torch/parallel.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from recurra.cells.cell import Cell
from recurra.cells.symbols import Node, node, walk
from recurra.errors import MissingExtraError


@dataclass(frozen=True)
class Unitwise:
    """A cell whose recurrence is unit by unit.

    Attributes:
        affine: whether the next states are affine in the old ones: what multiplies these depends on the input alone.
        carried: the states that the next step reads, by their place.
        tangents: for each carried state a cell that runs, beside the cell's own states, their derivatives in that state
            as it was at the beginning. Its states are the derivatives, in the order of the cell's states, and then
            those; so its output is the derivative of the output.
    """

    affine: bool
    carried: tuple[int, ...]
    tangents: tuple[Cell, ...]


def is_unitwise(cell: Cell) -> bool:
    """Whether no step multiplies a state, or what comes of it, by a matrix.

    >>> from recurra import cells
    >>> is_unitwise(cells.indrnn), is_unitwise(cells.gru)
    (True, False)
    """
    return not cell.recurrent_gates and cell.projection is None


@lru_cache(maxsize=256)
def unitwise(cell: Cell) -> Unitwise | None:
    """What the equations say of a recurrence unit by unit, by their adjoint; None for any other.

    Raises:
        MissingExtraError: SymPy is not installed.

    >>> from recurra import cells
    >>> [unitwise(c).affine for c in (cells.mingru, cells.gru_diagonal)]
    [True, False]
    """
    if not is_unitwise(cell):
        return None
    states = [node("state", value=name) for name in cell.states]
    carried = tuple(k for k, state in enumerate(states) if state in set(walk(cell.next)))
    slopes = _slopes(cell, states)
    affine = not any(n._op == "state" for row in slopes for slope in row.values() for n in walk([slope]))
    return Unitwise(affine, carried, tuple(_tangent(cell, states, slopes, k) for k in carried))


def _slopes(cell: Cell, states: list[Node]) -> list[dict[Node, Node]]:
    """For each new state its derivative in each old one that it depends on."""
    try:
        from recurra.cells.adjoint import adjoint
    except ImportError as error:
        raise MissingExtraError(f"the derivative of {cell.name}", error.name or "sympy", "cells") from error
    one = node("const", value=1.0)
    leaves = [n for n in walk(cell.next) if n._op in ("state", "input", "param")]
    found = [adjoint({new: one}, leaves) for new in cell.next]
    return [{s: gradients[s] for s in states if s in gradients} for gradients in found]


def _tangent(cell: Cell, states: list[Node], slopes: list[dict[Node, Node]], of: int) -> Cell:
    """The cell's states with their derivatives in state `of` before the first step, by the chain rule in each step."""
    taken = {*cell.states, *cell.gates, *(p.partition(".")[0] for p in cell.parameters)}
    prefix = "d"
    while any(name.startswith(f"{prefix}_") for name in taken):
        prefix += "_"
    names = tuple(f"{prefix}_{name}" for name in cell.states)
    before = dict(zip(states, (node("state", value=name) for name in names), strict=True))
    zero = node("const", value=0.0)
    derivatives = []
    for row in slopes:
        terms = [slope * before[state] for state, slope in row.items()]
        derivatives.append(sum(terms[1:], terms[0]) if terms else zero)
    source = f"the derivative of {cell.name} in {cell.states[of]}"
    return Cell(
        f"{cell.name}_in_{cell.states[of]}",
        names + cell.states,
        cell.gates,
        cell.parameters,
        source,
        (*derivatives, *cell.next),
    )
