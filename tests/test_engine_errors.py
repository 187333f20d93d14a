"""Wrong arguments: each is an error of our own that says what it got and what it expected, and does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers import generator, random_weights
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


def read_only(*shape: int) -> np.ndarray:
    array = zeros(*shape)
    array.flags.writeable = False
    return array


def misaligned(*shape: int) -> np.ndarray:
    return np.frombuffer(bytearray(4 * int(np.prod(shape)) + 1), np.uint8)[1:].view(np.float32).reshape(shape)


FORWARD = {
    "x of two axes": ({"x": zeros(T, I)}, ShapeError, r"`x` has shape \(6, 4\), expected \[T, B, 4\]"),
    "x of another size": ({"x": zeros(T, B, 7)}, ShapeError, r"`x` has shape \(6, 3, 7\), expected \[T, B, 4\]"),
    "x of float64": (
        {"x": zeros(T, B, I, dtype=np.float64)},
        DtypeError,
        r"`x` has dtype float64, expected float32 .*\.astype",
    ),
    "x of whole numbers": ({"x": zeros(T, B, I, dtype=np.int64)}, DtypeError, "`x` has dtype int64, expected float32"),
    "x of float16": ({"x": zeros(T, B, I, dtype=np.float16)}, DtypeError, "`x` has dtype float16"),
    "x in the other byte order": ({"x": zeros(T, B, I, dtype=">f4")}, DtypeError, "`x` has dtype >f4"),
    "x a list": (
        {"x": [[[0.0] * I] * B] * T},
        DtypeError,
        r"`x` is a list, expected a NumPy array \[T, B, 4\] of float32",
    ),
    "x none": ({"x": None}, DtypeError, "`x` is a NoneType"),
    "x transposed": (
        {"x": zeros(B, T, I).transpose(1, 0, 2)},
        ShapeError,
        r"`x` is not C-contiguous and aligned: pass np\.ascontiguousarray\(x\)",
    ),
    "x strided": ({"x": zeros(T, B, 2 * I)[..., ::2]}, ShapeError, "`x` is not C-contiguous"),
    "x off its alignment": ({"x": misaligned(T, B, I)}, ShapeError, "`x` is not C-contiguous and aligned"),
    "too few states": (
        {"state": [zeros(B, H)]},
        ShapeError,
        "the state is a list of 1, expected a list with an array for each of h, c",
    ),
    "too many states": ({"state": [zeros(B, H)] * 3}, ShapeError, "the state is a list of 3"),
    "one array as states": ({"state": zeros(2, B, H)}, ShapeError, "the state is an array of float32 with shape"),
    "a state of another batch": (
        {"state": [zeros(B, H), zeros(B + 1, H)]},
        ShapeError,
        r"`state c` has shape \(4, 5\), expected \[3, 5\]",
    ),
    "a state of float64": (
        {"state": [zeros(B, H, dtype=float), zeros(B, H)]},
        DtypeError,
        "`state h` has dtype float64",
    ),
    "a state as a list": ({"state": [zeros(B, H), [[0.0] * H] * B]}, DtypeError, "`state c` is a list"),
    "a state transposed": ({"state": [zeros(H, B).T, zeros(B, H)]}, ShapeError, "`state h` is not C-contiguous"),
    "too few lengths": ({"lengths": [1, 2]}, ShapeError, "`lengths` is .*, expected 3 whole numbers, one for each row"),
    "negative lengths": (
        {"lengths": [1, -1, 2]},
        ShapeError,
        "`lengths` go from -1 to 2, expected 0 to 6, the steps of x",
    ),
    "too long lengths": ({"lengths": [1, 7, 2]}, ShapeError, "`lengths` go from 1 to 7, expected 0 to 6"),
    "lengths of floats": (
        {"lengths": [1.0, 2.0, 3.0]},
        ShapeError,
        "`lengths` is an array of float64 with shape .*whole numbers",
    ),
    "lengths of bools": ({"lengths": [True, False, True]}, ShapeError, "`lengths` is an array of bool"),
    "lengths of two axes": ({"lengths": np.ones((3, 1), int)}, ShapeError, "`lengths` is an array of int64 with shape"),
    "ragged lengths": ({"lengths": [[1], [1, 2], 3]}, ShapeError, "`lengths`"),
    "reset of batch-major": (
        {"reset": zeros(B, T, dtype=bool)},
        ShapeError,
        r"`reset` is .*shape \(3, 6\), expected a bool array \[6, 3\]",
    ),
    "reset of numbers": ({"reset": zeros(T, B)}, ShapeError, r"`reset` is an array of float32 .*expected a bool array"),
    "output of another shape": (
        {"output": zeros(T, B, H + 1)},
        ShapeError,
        r"`output` has shape \(6, 3, 6\), expected \[6, 3, 5\]",
    ),
    "output of float64": ({"output": zeros(T, B, H, dtype=float)}, DtypeError, "`output` has dtype float64"),
    "output strided": (
        {"output": zeros(T, B, 2 * H)[..., :H]},
        ShapeError,
        r"C-contiguous and aligned: pass np\.empty",
    ),
    "output read-only": (
        {"output": read_only(T, B, H)},
        ShapeError,
        "`output` is read-only, expected an array that can be written",
    ),
    "checkpoints of nothing": (
        {"checkpoint_every": 3},
        ShapeError,
        "checkpoint_every is 3, expected at least 1, together with keep=True",
    ),
    "checkpoint_every 0": (
        {"checkpoint_every": 0, "keep": True},
        ShapeError,
        "checkpoint_every is 0, expected at least 1",
    ),
    "checkpoint_every -1": ({"checkpoint_every": -1, "keep": True}, ShapeError, "checkpoint_every is -1"),
}


@pytest.mark.parametrize("what", FORWARD)
def test_forward(what: str) -> None:
    changed, error, message = FORWARD[what]
    call()
    with pytest.raises(error, match="^forward of lstm: .*" + message) as caught:
        call(**changed)
    assert isinstance(caught.value, RecurraError)


BACKWARD = {
    "d_output of another shape": (
        {"d_output": zeros(T, B, H + 1)},
        ShapeError,
        r"`d_output` has shape \(6, 3, 6\), expected \[6, 3, 5\]",
    ),
    "d_output of float64": ({"d_output": zeros(T, B, H, dtype=float)}, DtypeError, "`d_output` has dtype float64"),
    "d_output strided": (
        {"d_output": np.broadcast_to(zeros(1), (T, B, H))},
        ShapeError,
        "`d_output` is not C-contiguous",
    ),
    "d_output a list": ({"d_output": [0.0]}, DtypeError, "`d_output` is a list"),
    "too few d_state": (
        {"d_state": [zeros(B, H)]},
        ShapeError,
        "d_state has 1 arrays, expected one .or None. for each of h, c",
    ),
    "empty d_state": ({"d_state": []}, ShapeError, "d_state has 0 arrays"),
    "d_state of another shape": (
        {"d_state": [None, zeros(B, H + 1)]},
        ShapeError,
        r"`d_state of c` has shape \(3, 6\), expected \[3, 5\]",
    ),
    "d_state of float64": (
        {"d_state": [zeros(B, H, dtype=float), None]},
        DtypeError,
        "`d_state of h` has dtype float64",
    ),
}


@pytest.mark.parametrize("what", BACKWARD)
def test_backward(what: str) -> None:
    changed, error, message = BACKWARD[what]
    tape = call(keep=True).tape
    with pytest.raises(error, match="^backward of lstm: .*" + message):
        engine.backward(tape, **changed)


def test_nothing_was_kept() -> None:
    assert call().tape is None
    assert call().gates is None
    assert call().states is None


STEP = {
    "a batch for a vector": (None, zeros(1, I), ShapeError, r"`x` has shape \(1, 4\), expected \[4\]"),
    "a vector for a batch": (2, zeros(I), ShapeError, r"`x` has shape \(4,\), expected \[2, 4\]"),
    "another batch": (2, zeros(3, I), ShapeError, r"`x` has shape \(3, 4\), expected \[2, 4\]"),
    "another size": (None, zeros(I + 1), ShapeError, r"`x` has shape \(5,\), expected \[4\]"),
    "float64": (None, zeros(I, dtype=float), DtypeError, "`x` has dtype float64, expected float32"),
    "strided": (None, zeros(2 * I)[::2], ShapeError, "`x` is not C-contiguous"),
    "transposed": (I, zeros(I, I).T[:], ShapeError, "`x` is not C-contiguous"),
    "a list": (None, [0.0] * I, DtypeError, "`x` is a list, expected a NumPy array"),
    "a number": (None, 0.5, DtypeError, "`x` is a float"),
    "none": (None, None, DtypeError, "`x` is a NoneType"),
}


@pytest.mark.parametrize("what", STEP)
def test_step(what: str) -> None:
    batch, x, error, message = STEP[what]
    live = engine.Stepper(cells.lstm, weights_of("lstm"), batch)
    live.step(np.ones(I if batch is None else (batch, I), np.float32))
    before = live.state
    with pytest.raises(error, match="^step of lstm: .*" + message):
        live.step(x)
    for a, b in zip(live.state, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_state_of_a_stepper() -> None:
    live = engine.Stepper(cells.lstm, weights_of("lstm"), B)
    with pytest.raises(ShapeError, match=r"^state of lstm: the state is a list of 1"):
        live.state = [zeros(B, H)]
    with pytest.raises(ShapeError, match=r"^state of lstm: `state c` has shape \(3, 6\), expected \[3, 5\]"):
        live.state = [zeros(B, H), zeros(B, H + 1)]
    with pytest.raises(DtypeError, match=r"^state of lstm: `state h` has dtype float64"):
        live.state = [zeros(B, H, dtype=float), zeros(B, H)]
    for batch in (0, -1):
        with pytest.raises(
            ShapeError, match=f"^Stepper of lstm: batch is {batch}, expected at least 1, or None for vectors"
        ):
            engine.Stepper(cells.lstm, weights_of("lstm"), batch)


def test_float64_everywhere() -> None:
    weights = weights_of("gru", np.float64)
    assert call("gru", weights, x=zeros(T, B, I, dtype=float)).output.dtype == np.float64
    with pytest.raises(DtypeError, match="`x` has dtype float32, expected float64"):
        call("gru", weights)
    assert engine.Stepper(cells.gru, weights).step(zeros(I, dtype=float)).dtype == np.float64
