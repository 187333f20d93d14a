"""A cell over time in JAX: the engine, called through XLA's foreign function interface, with its own gradient.

What backward needs stays in native memory; the program carries its number. It is given up when backward has used it, or
when more than `MOST_BYTES` wait, and then backward runs forward again: both give the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recurra import _native, engine
from recurra.cells.cell import Cell
from recurra.cells.trace import from_text
from recurra.keras.ffi import Kind, call

Arrays = list[np.ndarray[Any, Any]]

MOST_BYTES = 1 << 28
_NUMBER = Kind((), np.dtype(np.int32))


@dataclass(frozen=True)
class How:
    """What of a call is not an array: the cell's text, the direction, and what there is besides x, W, U, b, c."""

    text: str
    reverse: bool
    projects: bool
    states: bool
    lengths: bool

    @cached_property
    def cell(self) -> Cell:
        """The cell of the text."""
        return from_text(self.text)

    def take(self, arrays: Arrays) -> tuple[Any, Arrays]:
        """Native weights from arrays W, U, b, c, R, parameters and others; and the others."""
        W, U, b, c, *rest = arrays
        R, rest = (rest[0], rest[1:]) if self.projects else (None, rest)
        count = len(self.cell.parameters)
        return _native.Weights(W, U, b, c, R, rest[:count]), rest[count:]

    def hidden_size(self, arrays: Sequence[Any]) -> int:
        """H, from x, W, U, b, c, R."""
        return int(arrays[5 if self.projects else 2].shape[1])

    def widths(self, arrays: Sequence[Any]) -> list[int]:
        """The width of each state."""
        return [int(arrays[2].shape[1]), *([self.hidden_size(arrays)] * (len(self.cell.states) - 1))]


class _Tapes:
    """Native tapes by number, those that backward has not used yet."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[Any, int]] = OrderedDict()
        self._lock, self._numbers, self._bytes = Lock(), count(1), 0

    def keep(self, native: Any, size: int) -> int:
        """The number of a tape of so many bytes; the oldest make way for it."""
        with self._lock:
            number = next(self._numbers) % (1 << 31)
            self._kept[number] = native, size
            self._bytes += size
            while self._bytes > MOST_BYTES and len(self._kept) > 1:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
            return number

    def take(self, number: int) -> Any:
        """The tape of a number, which is then no longer kept; None where it had to make way."""
        with self._lock:
            native, size = self._kept.pop(number, (None, 0))
            self._bytes -= size
            return native


_tapes = _Tapes()


def scan(
    text: str,
    x: jax.Array,
    weights: Sequence[jax.Array | None],
    parameters: Sequence[jax.Array] = (),
    state: Sequence[jax.Array] = (),
    lengths: jax.Array | None = None,
    reverse: bool = False,
) -> list[jax.Array]:
    """Run a cell, given as its text, over a batch in one direction; as `recurra.torch.operator.scan`.

    Args:
        text: the text form of the cell.
        x: [T, B, I], float32 or float64 on the CPU; all arrays have its dtype.
        weights: W, U, b, c and R, as in `recurra.Weights`.
        parameters: per-unit parameters, in the cell's order.
        state: the initial states, or nothing for zeros.
        lengths: [B], whole numbers.
        reverse: read each row from its own last step to its first.

    Returns:
        Output [T, B, P] and final states. First derivatives only, in reverse mode.
    """
    *four, R = weights
    how = How(text, reverse, R is not None, bool(state), lengths is not None)
    projection = () if R is None else (R,)
    ends = () if lengths is None else (lengths,)
    return list(_scan(how, (x, *four, *projection, *parameters, *state), ends))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(how: How, arrays: tuple[Any, ...], ends: tuple[Any, ...]) -> list[jax.Array]:
    return _forward(how, False, arrays, ends)


def _scan_forward(how: How, arrays: Any, ends: Any) -> tuple[list[jax.Array], Any]:
    values, lengths = tuple(a.value for a in arrays), tuple(a.value for a in ends)
    *results, number = _forward(how, True, values, lengths)
    want_x = [None] if arrays[0].perturbed else []  # its length is known while tracing
    return results, (number, values, lengths, want_x)


def _scan_backward(how: How, kept: Any, d: Sequence[Any]) -> tuple[Any, Any]:
    number, arrays, ends, want_x = kept
    given = tuple(not isinstance(g, jax.custom_derivatives.SymbolicZero) for g in d)
    seeds = [g for g, is_given in zip(d, given, strict=True) if is_given]
    results = [Kind.of(a) for a in (arrays if want_x else arrays[1:])]
    key = "backward", how, given, bool(want_x)
    found = call(key, partial(_run_backward, how, given, bool(want_x)), results, number, *arrays, *ends, *seeds)
    return (tuple(found) if want_x else (jnp.zeros_like(arrays[0]), *found)), (None,) * len(ends)


_scan.defvjp(_scan_forward, _scan_backward, symbolic_zeros=True)


def _forward(how: How, keep: bool, arrays: Sequence[Any], ends: Sequence[Any]) -> list[jax.Array]:
    (T, B, _), dtype, widths = arrays[0].shape, np.dtype(arrays[0].dtype), how.widths(arrays)
    results = [Kind((T, B, widths[0]), dtype), *(Kind((B, w), dtype) for w in widths)]
    return call(
        ("forward", how, keep),
        partial(_run_forward, how, keep),
        results + ([_NUMBER] if keep else []),
        *arrays,
        *ends,
    )


def _run_forward(how: How, keep: bool, arrays: Arrays, results: Arrays) -> None:
    run = _Run(how, arrays)
    native = _native.Tape() if keep else None
    run.forward(native, results[0], results[1 : 1 + len(how.cell.states)])
    if native is not None:
        T, B, _ = arrays[0].shape
        values = len(how.cell.gates) * 2 + len(how.cell.states)  # at most, of each unit in each step
        results[-1][...] = _tapes.keep(native, T * B * run.H * values * arrays[0].itemsize)


def _run_backward(how: How, given: Sequence[bool], want_x: bool, arrays: Arrays, results: Arrays) -> None:
    seeds = iter(arrays[len(arrays) - sum(given) :])
    d_output, *d_state = [next(seeds) if is_given else None for is_given in given]
    run = _Run(how, arrays[1:])
    native = _tapes.take(int(arrays[0]))
    if native is None:
        native = _native.Tape()
        run.forward(native, None, [])
    dx, gradients = (results[0], results[1:]) if want_x else (None, results)
    count = len(gradients) - (len(how.cell.states) if how.states else 0)
    for gradient in gradients[:count]:
        gradient.fill(0)
    d_initial = gradients[count:] or [np.empty((arrays[1].shape[1], w), arrays[1].dtype) for w in run.widths]
    to, _ = how.take(gradients[:count])
    _native.backward(run.kernel, run.weights, run.batch, run.H, native, d_output, d_state, dx, d_initial, to)


class _Run:
    """A call of the engine. What `recurra.engine` checks was checked when the program was traced."""

    def __init__(self, how: How, arrays: Arrays) -> None:
        x, rest = arrays[0], arrays[1:]
        self.kernel = engine._kernel(how.cell)
        self.weights, others = how.take(rest)
        states = others[: len(how.cell.states)] if how.states else []
        lengths = others[-1].astype(np.int64) if how.lengths else None
        self.batch = _native.Batch(x, how.reverse, lengths, None, states)
        self.H = how.hidden_size(arrays)
        self.widths = how.widths(arrays)
        self.rows = x.shape[1]

    def forward(self, tape: Any, output: Any, final: Arrays) -> None:
        """Run forward, and fill what is wanted."""
        threads = 1 if self.rows < 2 else engine.get_num_threads()
        _native.forward(self.kernel, self.weights, self.batch, self.H, output, final, [], None, threads, tape, 0)
