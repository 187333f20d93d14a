"""Every activation word against PyTorch's function: values and slopes, kinks and far ends included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from recurra import cells, reference
from recurra.cells import Cell
from recurra.cells.symbols import WORDS
from recurra.cells.trace import from_function
from recurra.weights import Weights

KINKS = (-3.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 3.0)
POINTS = np.array([*KINKS, -1e-300, 1e-300, *np.linspace(-9, 9, 63), -40.0, 40.0, -500.0, 500.0])
PAIRS = np.array([[a, b] for a in (*KINKS, 2.0) for b in (*KINKS, -2.0)])

ONE = {
    "tanh": (cells.tanh, torch.tanh),
    "sigmoid": (cells.sigmoid, torch.sigmoid),
    "exp": (cells.exp, torch.exp),
    "sqrt": (lambda a: cells.sqrt(a * a + 1e-3), lambda a: torch.sqrt(a * a + 1e-3)),
    "erf": (cells.erf, torch.erf),
    "relu": (cells.relu, functional.relu),
    "softplus": (cells.softplus, lambda a: functional.softplus(a, threshold=1000)),
    "elu": (cells.elu, functional.elu),
    "elu_alpha": (lambda a: cells.elu(a, 0.7), lambda a: functional.elu(a, 0.7)),
    "hard_sigmoid": (cells.hard_sigmoid, functional.hardsigmoid),  # whose slope is 1/6 in float32
    "clip": (lambda a: cells.clip(a, -0.5, 1.0), lambda a: torch.clamp(a, -0.5, 1.0)),
    "abs": (abs, torch.abs),
    "identity": (cells.identity, lambda a: 1.0 * a),
    "softsign": (cells.softsign, functional.softsign),
    "leaky_relu": (cells.leaky_relu, functional.leaky_relu),
    "leaky_relu_slope": (lambda a: cells.leaky_relu(a, 0.2), lambda a: functional.leaky_relu(a, 0.2)),
    "gelu": (cells.gelu, functional.gelu),
    "silu": (cells.silu, functional.silu),
    "power": (lambda a: a**3, lambda a: a**3),
}
TWO = {
    "maximum": (cells.maximum, torch.maximum),
    "minimum": (cells.minimum, torch.minimum),
    "where": (lambda a, b: cells.where(a > b, a * b, 3 * b), lambda a, b: torch.where(a > b, a * b, 3 * b)),
    "where_less": (lambda a, b: cells.where(a < b, a * b, 3 * b), lambda a, b: torch.where(a < b, a * b, 3 * b)),
    "divide": (lambda a, b: a / (4 + b), lambda a, b: a / (4 + b)),
    "subtract": (lambda a, b: 2 - a - (b - 1), lambda a, b: 2 - a - (b - 1)),
}


def test_every_word_is_here() -> None:
    assert set(WORDS) == {n for n in (*ONE, *TWO) if n in WORDS} | {"product"}


@pytest.mark.parametrize("word", ONE)
def test_of_one_value(word: str) -> None:
    ours, theirs = ONE[word]

    def equations(x, h):
        return ours(x.a)

    _compare(from_function(equations), POINTS[:, None], theirs)


@pytest.mark.parametrize("word", TWO)
def test_of_two_values(word: str) -> None:
    ours, theirs = TWO[word]

    def equations(x, h):
        return ours(x.a, x.b)

    _compare(from_function(equations), PAIRS, theirs)


def _compare(one: Cell, points: np.ndarray, theirs: object) -> None:
    """Run a cell of one unit whose gates are the features of x themselves."""
    count = points.shape[1]
    weights = Weights(np.eye(count), np.zeros((0, 1)), np.zeros(count), np.zeros(0))
    x = points[None]
    run = reference.forward(one, weights, x)
    seed = np.linspace(0.5, 2, len(points))[None, :, None]
    slopes = reference.backward(one, weights, x, run, seed).x[0] / seed[0]
    columns = [torch.tensor(points[:, i], requires_grad=True) for i in range(count)]
    wanted = theirs(*columns)
    wanted.sum().backward()
    np.testing.assert_allclose(run.output[0, :, 0], wanted.detach().numpy(), rtol=1e-13, atol=1e-15)
    for i, column in enumerate(columns):
        np.testing.assert_allclose(
            slopes[:, i], column.grad.numpy(), rtol=1e-12 if theirs is not functional.hardsigmoid else 3e-8, atol=1e-15
        )
