"""Every cell on every backend does what its equations say: values, states, gates and all gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.backends import BACKENDS, ENGINE32, ENGINE64, Backend, run_reference
from conformance.cases import RAGGED, SETTINGS, Setting, make_case
from conformance.checks import TOLERANCE, assert_close, check_conformance
from helpers import ALL_CELLS, ISAS, on_isa
from recurra import engine
from recurra.cells import Cell


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_every_cell_on_every_backend(backend: Backend, cell: Cell, setting: Setting) -> None:
    check_conformance(cell, setting, backend)


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
def any_setting(draw: st.DrawFn) -> Setting:
    T, B = draw(st.integers(0, 9)), draw(st.integers(0, 6))
    lengths = st.lists(st.integers(0, T), min_size=B, max_size=B).map(tuple)
    size = st.integers(1, 40)
    return Setting(
        T=T,
        B=B,
        I=draw(size),
        H=draw(size),
        P=draw(size),
        lengths=draw(st.none() | lengths),
        reverse=draw(st.booleans()),
        resets=draw(st.booleans()),
        checkpoint_every=draw(st.none() | st.integers(1, T + 1)),
        threads=draw(st.integers(1, 3)),
        state=draw(st.booleans()),
        d_output=draw(st.booleans()),
        d_state=draw(st.booleans()),
    )


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
@settings(max_examples=100)
@given(setting=any_setting())
def test_any_combination_of_options(cell: Cell, setting: Setting) -> None:
    check_conformance(cell, setting, ENGINE64)


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.T * s.B > 50], ids=str)
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_the_cases_leave_nothing_at_zero(cell: Cell, setting: Setting) -> None:
    outcome = run_reference(make_case(cell, setting, np.float64))
    dead = [name for name, array in outcome.items() if array.size and not np.any(array)]
    assert not dead


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_tolerances_can_fail(dtype: str) -> None:
    want = np.array([0.5, -2.0, 0.0])
    assert_close("exact", want.copy(), want, dtype)
    for wrong in (0 * want, want[::-1], want + 4 * TOLERANCE[dtype], np.array([0.5, np.nan, 0.0]), want[:2]):
        with pytest.raises(AssertionError):
            assert_close("wrong", wrong, want, dtype)
