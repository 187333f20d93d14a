"""The elementwise work of a cell, derived from its equations: straight-line routines that run on a tile of slots.

    inner             the operands of products computed within the step (reset-before GRU)
    forward           the new states
    forward_saving    the same, and over the slots the values that the adjoint needs
    backward_inner    the gradient of the slots that inner products feed
    backward          the gradient of all other slots, of the old states and of the per-unit parameters
    gates             the value of each gate, from what was kept

What is kept is a minimum cut between the slots and the gradients: never more values than slots, and as close to
the gradients as possible, so that the adjoint computes the least again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recurra.cells.cell import Cell
from recurra.cells.layout import layout
from recurra.cells.symbols import Node, node, walk
from recurra.errors import MissingExtraError

NAMES = ("inner", "forward", "forward_saving", "backward_inner", "backward", "gates")


class Place(NamedTuple):
    """Where a routine reads or writes: an array of the tile (see tile.hpp), and which of its vectors."""

    array: str
    vector: int


@dataclass(frozen=True)
class Routine:
    """Work on one vector of units: read `loads`, compute, write `stores`."""

    name: str
    loads: dict[Node, Place]
    stores: tuple[tuple[Place, Node], ...]

    def order(self) -> list[Node]:
        """Every node that is loaded or computed, in order."""
        return walk((n for _, n in self.stores), self.loads)


def forward_routines(cell: Cell) -> list[Routine]:
    """`inner` and `forward`: all that running a cell needs, derived without algebra."""
    shape = _Shape(cell)
    return [
        Routine("inner", shape.forward, shape.inner),
        Routine("forward", shape.forward, shape.new + shape.projected),
    ]


def routines(cell: Cell) -> list[Routine]:
    """All six routines, in the order of `NAMES`."""
    try:
        import networkx  # noqa: F401  (for `_cut`)

        from recurra.cells.adjoint import adjoint
    except ImportError as error:
        raise MissingExtraError(f"the gradient of {cell.name}", error.name or "sympy", "cells") from error
    shape = _Shape(cell)
    zero = node("const", value=0.0)

    seeds: dict[Node, Place] = {}
    results: dict[Node, Node] = {}
    for place, result in (*shape.new, *shape.inner, *shape.projected):
        seed = node("seed", value=f"{place.array}.{place.vector}")
        seeds[seed] = Place(f"{place.array}_gradient", place.vector)
        results[result] = results[result] + seed if result in results else seed
    gradients = adjoint(results, shape.forward)

    late: list[tuple[Place, Node]] = []
    early: list[tuple[Place, Node]] = []
    for leaf, place in shape.forward.items():
        store = Place(f"{place.array}_gradient", place.vector), gradients.get(leaf, zero)
        (late if place.array == "slot" and place.vector in shape.late_slots else early).append(store)
    gates = tuple((Place("gate", i), n) for i, n in enumerate(cell.gate_values.values()))

    given = {n: p for n, p in shape.forward.items() if p.array != "slot"}
    given |= {n: p for p, n in shape.new if n not in given}
    backward = (*late, *early, *shape.inner, *shape.projected, *gates)
    kept = _cut([n for _, n in backward], [s.node for s in shape.layout.slots], given, seeds)
    known = given | {n: Place("slot", i) for i, n in enumerate(kept)} | seeds
    saved = tuple((Place("slot", i), n) for i, n in enumerate(kept))
    return [
        *forward_routines(cell),
        Routine("forward_saving", shape.forward, shape.new + shape.projected + saved),
        Routine("backward_inner", known, tuple(late)),
        Routine("backward", known, (*early, *shape.inner, *shape.projected)),
        Routine("gates", known, gates),
    ]


class _Shape:
    """The places of everything that a step reads and writes."""

    def __init__(self, cell: Cell) -> None:
        self.layout = layout(cell)
        states = {node("state", value=s): i for i, s in enumerate(cell.states)}
        first = 0 if cell.projection is None else 1  # a projected state is a product's result: no routine touches it
        self.forward = {s.node: Place("slot", i) for i, s in enumerate(self.layout.slots)}
        self.forward |= {n: Place("state", i) for n, i in states.items() if i >= first}
        self.forward |= {node("param", value=p): Place("parameter", i) for i, p in enumerate(cell.parameters)}
        self.new = tuple((Place("next", i), cell.next[i]) for i in range(first, len(states)))
        self.inner = tuple((Place("inner", i), v) for i, v in enumerate(self.layout.inner))
        hidden = () if cell.projection is None else cell.projection._args
        self.projected = tuple((Place("inner", len(self.inner) + i), v) for i, v in enumerate(hidden))
        runs = [r for r in self.layout.runs if r.operand >= len(states)]
        self.late_slots = {i for r in runs for i in range(r.first, r.first + r.slots)}


def _cut(
    results: Sequence[Node], slots: Sequence[Node], given: Collection[Node], seeds: Collection[Node]
) -> tuple[Node, ...]:
    """The fewest forward values from which, with what is given, all results follow; the latest such values."""
    import networkx

    order = walk(results, {*slots, *given, *seeds})
    graph = networkx.DiGraph()
    graph.add_nodes_from(("slots", "results"))
    tainted: set[Node] = set(seeds)
    for n in order:
        if n in given and n not in slots:
            continue
        if tainted.intersection(n._args):
            tainted.add(n)
        savable = n not in tainted and n._op != "gt"
        graph.add_edge((n, "in"), (n, "out"), **({"capacity": 1} if savable else {}))
        if n in slots and n not in given:
            graph.add_edge("slots", (n, "in"))
        elif n not in slots:
            graph.add_edges_from(((a, "out"), (n, "in")) for a in n._args if a not in given)
    graph.add_edges_from(((n, "out"), "results") for n in results if n not in given)
    _, (_, after) = networkx.minimum_cut(graph, "slots", "results")  # of all minimum cuts, the last
    return tuple(n for n in order if (n, "out") in after and (n, "in") in graph and (n, "in") not in after)
