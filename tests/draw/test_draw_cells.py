"""The inside of a cell: the picture computes what the equations do, and nothing in it overlaps."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from golden_pictures import inside_of
from hypothesis import given, settings
from read_circuit import Unit, compute

from expressions import random_cells
from helpers import ALL_CELLS, generator
from recurra import cells, draw, reference
from recurra.cells import cell, maximum, sigmoid, tanh, where
from recurra.draw.circuit import circuit_of
from recurra.draw.equations import equations_of
from recurra.draw.inside import inside_scene, state_paths
from recurra.draw.layered import laid_out
from recurra.draw.scene import LEGIBLE
from recurra.draw.wiring import wired
from recurra.errors import DrawError
from recurra.weights import Weights


@cell(source="tests: three states, one of them slow")
def three_states(x, h, c, m, *, p, decay):
    f = sigmoid(x.f + h.f + p.f * m)
    g = tanh(x.g + c.g)
    c = f * c + (1 - f) * g
    m = sigmoid(decay) * m + 0.125 * c * c
    return sigmoid(x.o + h.o) * tanh(c) + m, c, m


@cell(source="tests: states that come into gates with and without weights, and numbers in odd places")
def bare(x, h, c):
    n = tanh(x.n + h.n + c)
    m = maximum(c, 0.25) / (2 + h * h)
    return where(n > 0.5, 0.75, 1 - n) * h**3, m - 3 * c - n


CELLS = (*ALL_CELLS, three_states, bare)


def defined(own, unit: Unit) -> list[float]:
    """The new states by the definition."""
    arrays = {n: np.zeros(s) for n, s in Weights.shapes(own, 1, 1, 1 if own.projection is not None else None).items()}
    arrays["W"][:, 0], arrays["U"][:, 0] = list(unit.W.values()), list(unit.U.values())
    if "R" in arrays:
        arrays["R"][0, 0] = unit.R
    arrays |= {n: np.array([v]) for n, v in unit.parameters.items()}
    state = [np.array([[s]]) for s in unit.states]
    run = reference.forward(own, Weights.of(own, arrays), np.array([[[unit.x]]]), state)
    return [float(s[0, 0]) for s in run.state]


@pytest.mark.parametrize("own", CELLS, ids=lambda c: c.name)
def test_the_picture_computes_the_cell(own) -> None:
    for k in range(5):
        unit = Unit(own, generator("picture", own.name, k))
        np.testing.assert_allclose(compute(circuit_of(own), unit), defined(own, unit), rtol=1e-3, atol=1e-3)


@settings(max_examples=40)
@given(random_cells(10))
def test_the_picture_computes_any_cell(own) -> None:
    unit = Unit(own, generator("any", own.text))
    # Numbers are written with three digits.
    np.testing.assert_allclose(compute(circuit_of(own), unit), defined(own, unit), rtol=0.02, atol=0.02)


def test_a_swapped_wire_is_noticed() -> None:
    unit = Unit(cells.lstm, generator("swapped"))
    parts = circuit_of(cells.lstm)
    gates = [p for p in parts if p.tag in ("f", "i")]
    gates[0].tag, gates[1].tag = gates[1].tag, gates[0].tag
    assert not np.allclose(compute(parts, unit), defined(cells.lstm, unit), rtol=0.01)


@pytest.mark.parametrize("own", CELLS, ids=lambda c: c.name)
def test_nothing_overlaps(own) -> None:
    assert inside_of(own).overlaps() == []


@settings(max_examples=10)
@given(random_cells(8))
def test_nothing_overlaps_in_any_cell(own) -> None:
    scene = inside_scene(own)
    assert scene.overlaps() == []
    assert scene.letters() >= LEGIBLE


@pytest.mark.parametrize("own", CELLS, ids=lambda c: c.name)
def test_states_run_from_side_to_side(own) -> None:
    scene, parts = inside_of(own), circuit_of(own)
    pills = [b for b in scene.boxes if b.role.startswith("state") or b.role == "input"]
    frame = next(b for b in scene.boxes if b.shape == "frame")
    ends = [(p.x, p.bounds.left, p.bounds.right) for p in pills]
    middle, least, most = frame.x, frame.bounds.left, frame.bounds.right
    if any(least < p.x < most for p in pills):  # from the top downwards
        ends = [(p.y, p.bounds.top, p.bounds.bottom) for p in pills]
        middle, least, most = frame.y, frame.bounds.top, frame.bounds.bottom
    assert {at < middle for at, _, _ in ends} == {True, False}
    assert all(high < least or low > most for _, low, high in ends)
    for state, path in state_paths(parts):
        assert (parts[path[0]].state, parts[path[-1]].state) == (state, state)
        assert all(a in parts[b].inputs for a, b in pairwise(path))


@pytest.mark.parametrize("own", CELLS, ids=lambda c: c.name)
def test_wires_of_two_values_never_run_on_each_other(own) -> None:
    parts = circuit_of(own)
    layout = laid_out(parts, [26.0] * len(parts), [14.0] * len(parts), dict(state_paths(parts)))
    pieces = [(w.net, a, b) for w in wired(layout, [34.0] * len(parts))[1] for a, b in pairwise(w.points)]
    for (net, a, b), (other, c, d) in combinations(pieces, 2):
        if net == other:
            continue
        for axis in (0, 1):  # both along this axis, at one place of the other
            along = a[1 - axis] == b[1 - axis] and c[1 - axis] == d[1 - axis]
            if along and abs(a[1 - axis] - c[1 - axis]) < 2:
                left, right = (
                    max(min(a[axis], b[axis]), min(c[axis], d[axis])),
                    min(max(a[axis], b[axis]), max(c[axis], d[axis])),
                )
                assert right - left < 1, (parts[net], parts[other], a, b, c, d)


def test_the_states_of_an_lstm_are_straight_lines() -> None:
    scene = inside_of(cells.lstm)
    heights = {t.text: t.y for t in scene.labels}
    assert heights["$c_{t-1}$"] == pytest.approx(heights["$c_t$"], abs=0.01)
    assert heights["$h_t$"] > heights["$c_t$"]
    line = [a for a in scene.arrows if a.role == "state1" and a.points[0][1] == a.points[-1][1]]
    assert len(line) == 4


@pytest.mark.parametrize("own", CELLS, ids=lambda c: c.name)
def test_equations_stand_beside_it(own) -> None:
    written = "".join(t.text for t in inside_of(own).labels).replace("$", "").replace(r"\quad ", "").replace(" ", "")
    for left, right in equations_of(own):
        assert f"{left}=" in written
        assert right.replace(" ", "") in written


def test_long_equations_are_broken() -> None:
    @cell
    def long(x, h):
        total = x.a
        for k in range(6):
            total = total + tanh(k * h) * sigmoid(x.b - k)
        return total

    scene = inside_scene(long)
    assert scene.overlaps() == []
    assert max(t.bounds.right for t in scene.labels) < scene.bounds().right + 1
    assert sum(t.text.startswith(r"$\quad") for t in scene.labels) >= 2


def test_text_of_a_cell() -> None:
    lines = draw.cell("lstm").text().splitlines()
    assert "c[t] = f[t] ⊙ c[t-1] + i[t] ⊙ g[t]" in lines
    assert "c: c[t-1] → × f → + (i × g) → c[t]" in lines
    assert all("\\" not in line and "{" not in line for own in CELLS for line in draw.cell(own).text().splitlines())


def test_bad_input() -> None:
    with pytest.raises(DrawError, match="'lsmt' is no cell of the zoo and no file: did you mean 'lstm'"):
        draw.cell("lsmt")
    with pytest.raises(DrawError, match="expected a cell or its name"):
        draw.cell(3)  # type: ignore[arg-type]
