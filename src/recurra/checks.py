"""Checks of what comes into a call: each says what, got, expected and the cure, and nothing has been done by then."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from recurra.cells.cell import Cell
from recurra.errors import DtypeError, ShapeError
from recurra.weights import Array, Weights

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
MOST_ROWS = 1 << 34  # of a batch: more than any memory has


def check_array(
    call: str, name: str, array: object, dtype: np.dtype[Any], shape: tuple[int | str, ...], written: bool = False
) -> None:
    """Raise unless the array has this dtype, this shape (a word stands for any size), is C-contiguous and aligned.

    `written`: it is for a result, so that a copy of it would not help.
    """
    if isinstance(array, np.ndarray) and array.dtype == dtype and _is_plain(array):
        if array.shape == shape:
            return
        if array.ndim == len(shape) and all(
            isinstance(w, str) or n == w for n, w in zip(array.shape, shape, strict=True)
        ):
            return
    wanted = f"[{', '.join(map(str, shape))}]"
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"{call}: `{name}` is a {type(array).__name__}, expected a NumPy array {wanted} of {dtype}")
    if array.dtype != dtype:
        raise DtypeError(f"{call}: `{name}` has dtype {array.dtype}, expected {dtype} like the weights: use .astype")
    if _is_plain(array):
        raise ShapeError(f"{call}: `{name}` has shape {array.shape}, expected {wanted}")
    cure = f"np.empty({array.shape}, np.{dtype})" if written else f"np.ascontiguousarray({name})"
    raise ShapeError(f"{call}: `{name}` is not C-contiguous and aligned: pass {cure}")


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether a value is a whole number, of Python's or NumPy's, from `low` to `high`; a truth is none.

    >>> is_whole(np.int8(3), 1, 3), is_whole(3.0, 1, 3), is_whole(True, 1, 3), is_whole(np.arange(2), 0, 3)
    (True, False, False, False)
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, bool) and low <= number <= high


def check_rows(call: str, batch: object) -> int:
    """Raise unless it is a number of rows, or None for one without a batch axis; return the number."""
    if batch is None:
        return 1
    if isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or not 1 <= batch <= MOST_ROWS:
        wanted = f"at most {MOST_ROWS}" if isinstance(batch, int) and batch > 1 else "at least 1"
        raise ShapeError(f"{call}: batch is {batch!r}, expected {wanted}, or None for vectors")
    return int(batch)


def _is_plain(array: np.ndarray) -> bool:
    return array.flags.c_contiguous and array.flags.aligned


def check_weights(call: str, cell: Cell, weights: Weights) -> tuple[int, int, int]:
    """Raise unless the weights fit the cell and one another; return I, H, P."""
    if not isinstance(weights.W, np.ndarray) or weights.W.dtype not in DTYPES or weights.W.ndim != 2:
        raise DtypeError(f"{call}: `W` is {_kind(weights.W)}, expected a float32 or float64 array [gates * H, I]")
    dtype = weights.W.dtype
    for name, matrix in (("U", weights.U), ("R", weights.R)):
        if matrix is not None:
            check_array(call, name, matrix, dtype, ("rows", "columns"))
    I, H = weights.W.shape[1], weights.hidden_size
    P = weights.U.shape[1]
    if H < 1 or I < 1:
        raise ShapeError(f"{call}: input size {I} and hidden size {H}, expected at least 1 of each")
    arrays = dict(weights.items())
    shapes = _weight_shapes(cell, I, H, P)
    if arrays.keys() != shapes.keys():
        raise ShapeError(f"{call}: the weights are {', '.join(arrays)}, expected {', '.join(shapes)}")
    for name, shape in shapes.items():
        check_array(call, name, arrays[name], dtype, shape)
    return I, H, P


_weight_shapes = lru_cache(Weights.shapes)


def check_states(
    call: str, cell: Cell, state: Sequence[Array] | None, dtype: np.dtype[Any], shapes: Sequence[tuple[int, ...]]
) -> list[Array]:
    """Raise unless the state is None (then none is returned) or a list with an array for each of the cell's states."""
    if state is None:
        return []
    if isinstance(state, np.ndarray) or len(state) != len(shapes):
        raise ShapeError(
            f"{call}: the state is {_kind(state)}, expected a list with an array for each of {', '.join(cell.states)}"
        )
    for name, array, shape in zip(cell.states, state, shapes, strict=True):
        check_array(call, f"state {name}", array, dtype, shape)
    return list(state)


def check_lengths(call: str, lengths: Sequence[int] | np.ndarray, T: int, B: int) -> np.ndarray:
    """Raise unless there is a whole number from 0 to T for each row; return them as the engine takes them."""
    try:
        array = np.asarray(lengths)
    except ValueError as error:
        raise ShapeError(f"{call}: `lengths` is ragged, expected {B} whole numbers, one for each row") from error
    if array.shape != (B,) or (array.size and array.dtype.kind not in "iu"):
        raise ShapeError(f"{call}: `lengths` is {_kind(array)}, expected {B} whole numbers, one for each row")
    if array.size and (array.min() < 0 or array.max() > T):
        raise ShapeError(f"{call}: `lengths` go from {array.min()} to {array.max()}, expected 0 to {T}, the steps of x")
    plain = np.ascontiguousarray(array, np.int64)
    return plain if plain.flags.aligned else plain.copy()


def check_reset(call: str, reset: np.ndarray, T: int, B: int) -> np.ndarray:
    """Raise unless the mask is bool [T, B]; return it as the engine takes it."""
    array = np.asarray(reset)
    if array.shape != (T, B) or array.dtype != np.bool_:
        raise ShapeError(f"{call}: `reset` is {_kind(array)}, expected a bool array [{T}, {B}]")
    return np.ascontiguousarray(array).view(np.uint8)


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if hasattr(value, "__len__") else "")
