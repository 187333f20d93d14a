"""The checks of conformance, as functions, so that the mutants are held to the very same ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from conformance.backends import Backend, Outcome, run_reference
from conformance.cases import SETTINGS, Setting, make_case
from helpers import ALL_CELLS
from recurra.cells import Cell
from recurra.weights import Array

# The largest error of any element, as a part of the largest element of its array.
TOLERANCE = {"float64": 5e-14, "float32": 1e-5}
# An array with no element larger than this is measured against this.
SMALL = 0.1


def assert_close(name: str, got: Array, want: Array, dtype: str) -> None:
    """Raise AssertionError unless shapes are equal and every element is as near as its dtype allows; NaN is not."""
    assert got.shape == want.shape, f"{name} has shape {got.shape}, expected {want.shape}"
    if not want.size:
        return
    bound = TOLERANCE[dtype] * max(SMALL, np.abs(want).max())
    worst = np.abs(got - want).max()
    assert worst <= bound, f"{name} is off by {worst:.3g}, more than {bound:.3g}"


def assert_same_outcome(got: Outcome, want: Outcome, backend: Backend, setting: Setting) -> None:
    """Raise AssertionError unless the backend gave everything that it should, right and in its dtype."""
    omits = backend.omits_in(setting)
    wanted = {n: a for n, a in want.items() if not n.startswith(omits or ("\0",))}
    assert sorted(got) == sorted(wanted)
    for name, array in got.items():
        assert array.dtype == backend.dtype, f"{name} has dtype {array.dtype}"
        assert_close(name, array, wanted[name], np.dtype(backend.dtype).name)


@lru_cache(maxsize=256)
def expected(cell: Cell, setting: Setting, dtype: str) -> Outcome:
    """What the definition gives; many backends ask for the same."""
    outcome = run_reference(make_case(cell, setting, np.dtype(dtype)))
    if setting in SETTINGS and setting.T * setting.B > 50:
        assert_alive(outcome)
    return outcome


def assert_alive(outcome: Outcome) -> None:
    """Raise AssertionError where an array is zero everywhere, which would agree with a backend that does nothing."""
    dead = [name for name, array in outcome.items() if array.size and not np.any(array)]
    assert not dead, f"{', '.join(dead)} is zero everywhere"


def check_conformance(cell: Cell, setting: Setting, backend: Backend) -> None:
    """Values, final states, all states, all gates and all gradients against the definition."""
    got = backend.run(make_case(cell, setting, backend.dtype))
    assert_same_outcome(got, expected(cell, setting, np.dtype(backend.dtype).name), backend, setting)


def taken(cell: Cell, backend: Backend) -> list[Setting]:
    """The settings in which a backend runs a cell: what it can take, and of that its share."""
    i = ALL_CELLS.index(cell)
    mine = [s for k, s in enumerate(SETTINGS) if (i + k) % backend.share == 0]
    return [s for s in mine if not backend.refusal(cell, s)]


def check_cell(cell: Cell, backend: Backend) -> None:
    """Every setting that a backend takes; the first that fails is named."""
    for setting in taken(cell, backend):
        try:
            check_conformance(cell, setting, backend)
        except BaseException as error:
            error.add_note(f"{cell.name} on {backend.name}, setting {setting}")
            raise
