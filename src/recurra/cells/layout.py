"""Which products feed which slots: what the kernels need to know of a cell besides its elementwise routines.

One row of one step holds P *slots* of H numbers, the sums that activations take. `x.g + h.g` used as one sum is one
slot, into which both products accumulate; a gate whose two parts are used apart has a slot for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from recurra.cells.cell import Cell
from recurra.cells.symbols import Node, node, walk


class Slot(NamedTuple):
    """A sum in a row of slots: the node, and the gates whose input and recurrent products go into it."""

    node: Node
    input: str | None
    recurrent: str | None


class Run(NamedTuple):
    """A product that fills so many neighbouring slots from `first` on.

    Its operand is the input (-1), a state (its index), or a value computed in the step (after the states).
    """

    operand: int
    first: int
    slots: int


@dataclass(frozen=True)
class Layout:
    """The slots of a cell, and the products that fill them.

    Attributes:
        slots: in the order in which they stand in a row.
        runs: the input's products first, then those of states, then those of computed values.
        inner: the computed values that are multiplied within the step.
    """

    slots: tuple[Slot, ...]
    runs: tuple[Run, ...]
    inner: tuple[Node, ...]


def layout(cell: Cell) -> Layout:
    """Lay out the slots of a cell so that each product fills as few separate runs as possible."""
    states = [node("state", value=s) for s in cell.states]
    inner = tuple(dict.fromkeys(v for v in cell.operands.values() if v._op != "state"))
    operands = {v: k for k, v in enumerate([*states, *inner])}

    def place(slot: Slot) -> tuple[int, bool]:
        """Recurrent parts alone, then the sums of both, then input parts alone: both products get neighbours."""
        operand = operands[cell.operands[slot.recurrent]] if slot.recurrent else len(operands)
        return operand, slot.input is not None

    slots = sorted(_slots(cell), key=place)
    runs = _consecutive(-1, [i for i, s in enumerate(slots) if s.input])
    for operand, k in operands.items():
        runs += _consecutive(
            k, [i for i, s in enumerate(slots) if s.recurrent and cell.operands[s.recurrent] is operand]
        )
    return Layout(tuple(slots), tuple(runs), inner)


def numbers(cell: Cell) -> tuple[list[int], list[tuple[int, int]], list[list[int]]]:
    """The layout as native/include/recurra/cell.hpp has it: counts, the gates of each slot (-1: none), and the runs."""
    shape = layout(cell)
    inputs, recurrent = cell.input_gates, cell.recurrent_gates
    counts = [len(cell.states), len(cell.parameters), len(cell.gates), len(shape.inner)]
    counts += [len(inputs), len(recurrent), int(cell.projection is not None)]
    slots = [
        (inputs.index(s.input) if s.input else -1, recurrent.index(s.recurrent) if s.recurrent else -1)
        for s in shape.slots
    ]
    return counts, slots, [list(r) for r in shape.runs]


def _slots(cell: Cell) -> list[Slot]:
    order = walk(cell.next)
    users: dict[Node, list[Node]] = {}
    for n in order:
        for argument in n._args:
            users.setdefault(argument, []).append(n)
    found = []
    for gate in cell.gates:
        leaves = [n for n in order if n._op in ("input", "product") and n._value == gate and n is not cell.projection]
        leaves.sort(key=lambda n: n._op)
        sums = [n for n in order if n._op == "add" and set(n._args) == set(leaves)]
        if len(leaves) == 2 and sums and all(users[leaf] == sums and leaf not in cell.next for leaf in leaves):
            found.append(Slot(sums[0], gate, gate))
        else:
            found += [Slot(n, gate, None) if n._op == "input" else Slot(n, None, gate) for n in leaves]
    return found


def _consecutive(operand: int, slots: list[int]) -> list[Run]:
    runs: list[Run] = []
    for i in slots:
        if runs and runs[-1].first + runs[-1].slots == i:
            runs[-1] = runs[-1]._replace(slots=runs[-1].slots + 1)
        else:
            runs.append(Run(operand, i, 1))
    return runs
