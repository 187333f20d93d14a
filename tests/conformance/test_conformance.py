"""Every cell on every backend does what its equations say: values, states, gates and all gradients."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.backends import BACKENDS, ENGINE32, ENGINE64, KERAS_BACKENDS, Backend, run_reference
from conformance.cases import RAGGED, SETTINGS, Setting, make_case
from conformance.checks import TOLERANCE, assert_alive, assert_close, check_cell, check_conformance, taken
from conformance.layers import Layers
from helpers import ALL_CELLS, ISAS, on_isa
from recurra import engine
from recurra.cells import Cell


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_every_cell_on_every_backend(cell: Cell, backend: Backend) -> None:
    check_cell(cell, backend)


@pytest.mark.parametrize("backend", [*BACKENDS, *KERAS_BACKENDS], ids=lambda b: b.name)
def test_every_backend_meets_every_setting(backend: Backend) -> None:
    """Or says why it cannot: no setting is passed over, and no reason is left that no setting asks for."""
    cells = [c for c in ALL_CELLS if backend.cells is None or c.name in backend.cells]
    met = Counter(s for c in cells for s in taken(c, backend))
    reasons = {backend.refusal(c, s) for c in cells for s in SETTINGS} - {""}
    for setting in SETTINGS:
        assert met[setting] >= 2 or any(backend.refusal(c, setting) for c in cells), setting
    assert reasons == set(backend.cannot.values())
    assert all(taken(c, backend) for c in cells)


def test_the_two_definitions_agree() -> None:
    """A row cut where it is reset, and the reference's own mask; and a stack is the runs that it is made of."""
    for cell in ALL_CELLS:
        for setting in (Setting(lengths=RAGGED, resets=True), Setting(lengths=RAGGED, H=3, P=2)):
            case = make_case(cell, setting, np.float64)
            layers = Layers(case)
            found, want = layers.values() | layers.backward(), run_reference(case)
            assert sorted(found) == sorted(want)
            for name, array in want.items():
                np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
@pytest.mark.parametrize("backend", [ENGINE64, ENGINE32], ids=lambda b: b.name)
def test_every_cell_on_every_isa(backend: Backend, cell: Cell, isa: str) -> None:
    with on_isa(isa):
        for setting in (
            Setting(H=33, P=19, lengths=RAGGED, resets=True),
            Setting(H=7, P=3, reverse=True, checkpoint_every=4),
        ):
            check_conformance(cell, setting, backend)
    assert engine._native.ran(isa)


@st.composite
def ragged(draw: st.DrawFn, T: st.SearchStrategy[int], B: st.SearchStrategy[int], least: int = 0) -> dict[str, Any]:
    """Steps and rows, with or without lengths, and any resets, before the first step and in the padding too."""
    t, b = draw(T), draw(B)
    lengths = st.lists(st.integers(min(least, t), t), min_size=b, max_size=b).map(tuple)
    flags = st.lists(st.booleans(), min_size=t * b, max_size=t * b)
    at = [(k // b, k % b) for k, flag in enumerate(draw(flags)) if flag] if draw(st.booleans()) else []
    return {"T": t, "B": b, "lengths": draw(st.none() | lengths), "resets": tuple(at)}


@st.composite
def any_run(draw: st.DrawFn) -> Setting:
    size = st.integers(1, 40)
    return Setting(
        I=draw(size),
        H=draw(size),
        P=draw(size),
        **draw(ragged(st.integers(0, 7), st.integers(0, 5))),
        reverse=draw(st.booleans()),
        checkpoint_every=draw(st.none() | st.integers(1, 10)),
        threads=draw(st.integers(1, 3)),
        state=draw(st.booleans()),
        d_output=draw(st.booleans()),
        d_state=draw(st.booleans()),
    )


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
@settings(max_examples=30)
@given(setting=any_run())
def test_any_combination_of_options(cell: Cell, setting: Setting) -> None:
    check_conformance(cell, setting, ENGINE64)


@st.composite
def any_layers(draw: st.DrawFn, least: int = 0) -> Setting:
    return Setting(
        I=draw(st.integers(1, 4)),
        H=draw(st.integers(2, 7)),
        P=1,
        **draw(ragged(st.integers(1, 7), st.integers(1, 4), least)),
        layers=draw(st.integers(1, 2)),
        directions=draw(st.integers(1, 2)),
        learned=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        checkpoint_every=draw(st.none() | st.integers(1, 8)),
        threads=draw(st.integers(1, 2)),
        state=draw(st.booleans()),
        d_state=draw(st.booleans()),
    )


@pytest.mark.parametrize(
    "backend", [b for b in BACKENDS if b.name.startswith(("torch", "runtime"))], ids=lambda b: b.name
)
@settings(max_examples=20)
@given(cell=st.sampled_from(ALL_CELLS), data=st.data())
def test_any_layers(backend: Backend, cell: Cell, data: st.DataObject) -> None:
    """Options that a backend does not know are drawn all the same, and left out."""
    setting = data.draw(any_layers(least=1 if "rows without steps" in backend.cannot else 0))
    for feature, default in (("resets", False), ("learned", False), ("checkpoint_every", None), ("threads", 1)):
        if {"checkpoint_every": "checkpoints"}.get(feature, feature) in backend.cannot:
            setting = replace(setting, **{feature: default})
    if "given state of two directions" in backend.cannot and setting.directions == 2:
        setting = replace(setting, state=False)
    if "directions" in backend.cannot:
        setting = replace(setting, directions=1)
    if "some gradients" in backend.cannot:
        setting = replace(setting, d_state=True)
    if backend.cells is not None:
        cell = next(c for c in ALL_CELLS if c.name == backend.cells[ALL_CELLS.index(cell) % len(backend.cells)])
    assert not backend.refusal(cell, setting)
    check_conformance(cell, setting, backend)


def test_a_case_that_leaves_something_at_zero_is_no_case() -> None:
    assert_alive({"output": np.ones(3), "nothing": np.ones((0, 3))})
    with pytest.raises(AssertionError, match="gate i"):
        assert_alive({"output": np.ones(3), "gate i": np.zeros(3)})


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_tolerances_can_fail(dtype: str) -> None:
    want = np.array([0.5, -2.0, 0.0])
    assert_close("exact", want.copy(), want, dtype)
    for wrong in (0 * want, want[::-1], want + 4 * TOLERANCE[dtype], np.array([0.5, np.nan, 0.0]), want[:2]):
        with pytest.raises(AssertionError):
            assert_close("wrong", wrong, want, dtype)
