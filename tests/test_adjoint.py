"""The adjoint that SymPy derives: right, small, and from few kept values."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings

from conformance.adjoints import check_adjoint
from expressions import random_cells
from helpers import ALL_CELLS
from recurra import cells
from recurra.cells import Cell
from recurra.cells.layout import layout
from recurra.cells.routines import NAMES, Routine, forward_routines, routines
from recurra.cells.vmath import FUNCTIONS as TRANSCENDENTAL


def routine(cell: Cell, name: str) -> Routine:
    return next(r for r in routines(cell) if r.name == name)


def operations(r: Routine) -> Counter[str]:
    """How many of each operation a routine does; loads and constants are free."""
    return Counter(n._op for n in r.order() if n not in r.loads and n._op != "const")


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_every_routine_of_every_cell(cell: Cell) -> None:
    check_adjoint(cell)


@settings(max_examples=40)
@given(random_cells(max_leaves=4))
def test_every_routine_of_random_cells(cell: Cell) -> None:
    check_adjoint(cell)
    check_shape(cell)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_routines_need_only_what_they_load(cell: Cell) -> None:
    check_shape(cell)


def check_shape(cell: Cell) -> None:
    """No more is kept than there are slots; every leaf is loaded; nothing is computed twice."""
    all_routines = routines(cell)
    assert tuple(r.name for r in all_routines) == NAMES
    slots = len(layout(cell).slots)
    for r in all_routines:
        order = r.order()
        assert len(set(order)) == len(order)
        loose = [n for n in order if not n._args and n._op != "const" and n not in r.loads]
        assert not loose, f"{r.name} of {cell.name} computes from {loose}"
        assert all(n._op != "gt" for _, n in r.stores), f"{r.name} of {cell.name} stores a comparison, not a number"
        assert len({place for place, _ in r.stores}) == len(r.stores)
        assert all(place.vector < slots for place, _ in r.stores if place.array.startswith("slot"))
    kept = [place for place, _ in all_routines[2].stores if place.array == "slot"]
    assert sorted(p.vector for p in kept) == list(range(len(kept)))
    forward = [place.array for n, place in all_routines[2].loads.items() if n in all_routines[2].order()]
    assert set(forward) <= {"slot", "state", "parameter"}


def test_forward_routines_are_the_first_two() -> None:
    for cell in ALL_CELLS:
        assert forward_routines(cell) == routines(cell)[:2]


COSTS = {
    # backward: transcendental functions that the way back computes again
    "rnn": {},
    "rnn_relu": {},
    "lstm": {"tanh": 1},
    "lstm_coupled": {"tanh": 1},
    "lstm_projected": {"tanh": 1},
    "gru": {},
    "gru_reset_before": {},
    "mgu": {},
    "indrnn": {},
    "mingru": {},
    "minlstm": {},
    "ugrnn": {},
}


@pytest.mark.parametrize("name", COSTS)
def test_what_was_kept_is_not_computed_again(name: str) -> None:
    for part in ("backward", "backward_inner"):
        found = operations(routine(cells.get(name), part))
        expected = COSTS[name] if part == "backward" else {}
        assert {f: n for f, n in found.items() if f in TRANSCENDENTAL} == expected


def test_forward_computes_each_activation_once() -> None:
    for part in ("forward", "forward_saving"):
        found = operations(routine(cells.get("lstm"), part))
        assert {f: n for f, n in found.items() if f in TRANSCENDENTAL} == {"sigmoid": 3, "tanh": 2}
        assert found["mul"] == 3
        assert found["add"] == 1
    assert not {*operations(routine(cells.get("lstm"), "gates"))}


def test_a_shared_subexpression_is_computed_once() -> None:
    @cells.cell
    def shared(x, h):
        s = cells.exp(x.n + h.n)
        return s / (1 + s) + s * s + h * s

    assert operations(routine(shared, "forward"))["exp"] == 1
    assert operations(routine(shared, "backward"))["exp"] == 0
    assert operations(routine(shared, "backward"))["div"] <= 2


def test_sizes_of_the_ways_back() -> None:
    """The number of operations of the adjoints may not grow unseen."""
    limits = {"rnn": 3, "lstm": 23, "gru": 15, "gru_reset_before": 18}
    for name, limit in limits.items():
        count = sum(sum(operations(routine(cells.get(name), part)).values()) for part in ("backward", "backward_inner"))
        assert 0 < count <= limit, (name, count)
