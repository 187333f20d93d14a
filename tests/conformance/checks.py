"""The checks of conformance, as functions, so that the mutants are held to the very same ones."""

from __future__ import annotations

import numpy as np

from conformance.backends import Backend, Outcome, run_reference
from conformance.cases import Setting, make_case
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


def assert_same_outcome(got: Outcome, want: Outcome, backend: Backend) -> None:
    """Raise AssertionError unless the backend gave everything that it should, right and in its dtype."""
    wanted = {n: a for n, a in want.items() if not n.startswith(backend.omits or ("\0",))}
    assert sorted(got) == sorted(wanted)
    for name, array in got.items():
        assert array.dtype == backend.dtype, f"{name} has dtype {array.dtype}"
        assert_close(name, array, wanted[name], np.dtype(backend.dtype).name)


def check_conformance(cell: Cell, setting: Setting, backend: Backend) -> None:
    """Values, final states, all states, all gates and all gradients against the definition."""
    case = make_case(cell, setting, backend.dtype)
    want = run_reference(case)
    assert_same_outcome(backend.run(case), want, backend)
