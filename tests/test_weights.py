"""Weights by name: round trips, and the errors of weights that do not fit their cell."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from helpers import ALL_CELLS, generator, random_weights
from recurra import cells, engine
from recurra.errors import DtypeError, RecurraError, ShapeError

T, B, I, H, P = 6, 3, 4, 5, 2


def weights_of(name: str, dtype: object = np.float32) -> engine.Weights:
    return random_weights(cells.get(name), I, H, P, rng=generator(name), dtype=dtype)


def zeros(*shape: int, dtype: object = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def call(name: str = "lstm", weights: engine.Weights | None = None, **changed: Any) -> engine.Forward:
    x = changed.pop("x", zeros(T, B, I))
    return engine.forward(cells.get(name), weights or weights_of(name), x, **changed)


WEIGHTS = {
    "W of three axes": (
        "lstm",
        {"W": zeros(1, 4 * H, I)},
        DtypeError,
        r"`W` is an array of float32 with shape \(1, 20, 4\), expected a",
    ),
    "W of float16": (
        "lstm",
        {"W": zeros(4 * H, I, dtype=np.float16)},
        DtypeError,
        "`W` is an array of float16 .*float32 or float64",
    ),
    "W a list": ("lstm", {"W": [[0.0] * I] * 4 * H}, DtypeError, "`W` is a list of"),
    "W of fewer gates": ("lstm", {"W": zeros(3 * H, I)}, ShapeError, r"`W` has shape \(15, 4\), expected \[20, 4\]"),
    "U of fewer gates": ("lstm", {"U": zeros(3 * H, H)}, ShapeError, r"`U` has shape \(15, 5\), expected \[20, 5\]"),
    "U transposed": ("lstm", {"U": zeros(H, 4 * H)}, ShapeError, "`W` has shape|`U` has shape"),
    "U of float64": (
        "lstm",
        {"U": zeros(4 * H, H, dtype=float)},
        DtypeError,
        "`U` has dtype float64, expected float32",
    ),
    "U not contiguous": ("lstm", {"U": zeros(H, 4 * H).T}, ShapeError, "`U` is not C-contiguous"),
    "U a list": ("lstm", {"U": [[0.0] * H] * 4 * H}, RecurraError, "`U` is a list"),
    "U of one axis": ("lstm", {"U": zeros(4 * H)}, RecurraError, r"`U` .*\(20,\)"),
    "b of another size": ("lstm", {"b": zeros(4 * H + 1)}, ShapeError, r"`b` has shape \(21,\), expected \[20\]"),
    "b of two axes": ("lstm", {"b": zeros(4 * H, 1)}, ShapeError, r"`b` has shape \(20, 1\)"),
    "c_ missing": ("lstm", {"c_": None}, DtypeError, "`c_` is a NoneType"),
    "R not used": ("lstm", {"R": zeros(P, H)}, ShapeError, "the weights are W, U, b, c_, R, expected W, U, b, c_$"),
    "R missing": ("lstm_projected", {"R": None}, ShapeError, "the weights are W, U, b, c_, expected W, U, b, c_, R"),
    "R of another size": ("lstm_projected", {"R": zeros(P + 1, H)}, ShapeError, "`R` has shape"),
    "R of one axis": ("lstm_projected", {"R": zeros(P)}, RecurraError, r"`R` .*\(2,\)"),
    "parameters missing": (
        "lstm_peephole",
        {"parameters": {"p.i": zeros(H)}},
        ShapeError,
        r"c_, p\.i, expected W, U, b, c_, p\.i, p\.f, p\.o",
    ),
    "parameters of others": (
        "lstm",
        {"parameters": {"p.i": zeros(H)}},
        ShapeError,
        r"the weights are W, U, b, c_, p\.i, expected W, U, b, c_$",
    ),
    "a parameter of another size": (
        "indrnn",
        {"parameters": {"u": zeros(H + 1)}},
        ShapeError,
        r"`u` has shape \(6,\), expected \[5\]",
    ),
    "a parameter of float64": (
        "indrnn",
        {"parameters": {"u": zeros(H, dtype=float)}},
        DtypeError,
        "`u` has dtype float64",
    ),
    "no inputs": (
        "lstm",
        {"W": zeros(4 * H, 0)},
        ShapeError,
        "input size 0 and hidden size 5, expected at least 1 of each",
    ),
    "no units": (
        "indrnn",
        {"W": zeros(0, I), "U": zeros(0, 0), "b": zeros(0), "parameters": {"u": zeros(0)}},
        ShapeError,
        "hidden size 0",
    ),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights(what: str) -> None:
    name, changed, error, message = WEIGHTS[what]
    good = weights_of(name)
    bad = dataclasses.replace(good, **changed)
    call(name, good)
    with pytest.raises(error, match=f"^forward of {name}: .*({message})"):
        call(name, bad)
    with pytest.raises(error, match=f"^Stepper of {name}: .*({message})"):
        engine.Stepper(cells.get(name), bad)


def test_parameters_in_another_order_are_found_by_name() -> None:
    weights = weights_of("lstm_peephole")
    turned = dataclasses.replace(weights, parameters=dict(reversed(weights.parameters.items())))
    x = generator("x").normal(size=(T, B, I)).astype(np.float32)
    ours, theirs = (call("lstm_peephole", w, x=x, keep=True) for w in (weights, turned))
    np.testing.assert_array_equal(ours.output, theirs.output)
    d = np.ones_like(ours.output)
    for name, gradient in engine.backward(theirs.tape, d).weights.parameters.items():
        np.testing.assert_array_equal(gradient, engine.backward(ours.tape, d).weights.parameters[name])


def test_weights_round_trip_by_name() -> None:
    for cell in ALL_CELLS:
        weights = random_weights(cell, 2, 3, 2, rng=generator(cell.name))
        again = engine.Weights.of(cell, dict(weights.items()))
        assert [n for n, _ in again.items()] == list(engine.Weights.shapes(cell, 2, 3, 2))
        assert all(a is b for (_, a), (_, b) in zip(weights.items(), again.items(), strict=True))
        assert again.hidden_size == 3
        drawn = engine.Weights.random(cell, 2, 3, 2, rng=generator(0))
        assert all(np.abs(a).max() <= 3**-0.5 and np.unique(a).size == a.size for _, a in drawn.items() if a.size)
