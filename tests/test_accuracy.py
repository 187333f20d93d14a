"""exp, tanh and sigmoid as they run in the kernels: at most 4 ulp from the float64 truth over all floats."""

from __future__ import annotations

import numpy as np
import pytest

from recurra import engine
from recurra.cells import cell, exp, sigmoid, tanh
from recurra.weights import Weights

ULP = 4.0
EVERY = 997  # a prime number of floats apart, over all of them: 4.3 million points


@cell
def exp_of_input(x, h):
    return exp(x.n)


@cell
def tanh_of_input(x, h):
    return tanh(x.n)


@cell
def sigmoid_of_input(x, h):
    return sigmoid(x.n)


def _truth_of_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


FUNCTIONS = [(exp_of_input, np.exp), (tanh_of_input, np.tanh), (sigmoid_of_input, _truth_of_sigmoid)]


def through(one, x: np.ndarray) -> np.ndarray:
    """A function of each number, by a recurrence with one input of weight 1 and one unit."""
    weights = Weights.of(one, {n: np.zeros(s, np.float32) for n, s in Weights.shapes(one, 1, 1).items()})
    weights.W[:] = 1
    return engine.forward(one, weights, np.ascontiguousarray(x.reshape(1, -1, 1))).output.ravel()


def all_floats(every: int) -> np.ndarray:
    x = np.arange(0, 2**32, every, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return x[np.isfinite(x)]


def largest_error(got: np.ndarray, true: np.ndarray) -> float:
    """In ulp of the true value rounded to float32; an infinity is expected where the truth rounds to one."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = true.astype(np.float32)
        infinite = np.isinf(rounded)
        assert np.array_equal(got[infinite], rounded[infinite])
        spacing = np.spacing(np.abs(rounded[~infinite])).astype(np.float64)
        return float(np.max(np.abs(got[~infinite] - true[~infinite]) / spacing))


@pytest.mark.parametrize(("one", "truth"), FUNCTIONS, ids=lambda f: getattr(f, "name", ""))
def test_every_float_is_within_4_ulp(one, truth, capsys) -> None:
    with np.errstate(over="ignore"):
        x = all_floats(EVERY)
        dense = np.linspace(-110, 110, 1_000_003).astype(np.float32)
        error = max(largest_error(through(one, v), truth(v.astype(np.float64))) for v in (x, dense))
    with capsys.disabled():
        print(f"\n{one.name}: at most {error:.2f} ulp over {x.size + dense.size:,} floats")
    assert error <= ULP


@pytest.mark.parametrize(("one", "truth"), FUNCTIONS, ids=lambda f: getattr(f, "name", ""))
def test_the_ends_and_nan(one, truth) -> None:
    x = np.array([np.inf, -np.inf, 0.0, np.nan, np.finfo(np.float32).max, -np.finfo(np.float32).max], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.array_equal(through(one, x), truth(x.astype(np.float64)).astype(np.float32), equal_nan=True)


def test_the_check_sees_a_worse_function() -> None:
    x = all_floats(EVERY * 64)
    true = np.tanh(x.astype(np.float64))
    assert largest_error((true * (1 + 2.0**-20)).astype(np.float32), true) > ULP
