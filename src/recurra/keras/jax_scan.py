"""A cell over time in JAX: the engine, called through XLA's foreign function interface, with its own gradient.

What backward needs stays in native memory; the program carries its number. It is given up when backward has used it, or
when more than 256 MiB wait, and then backward runs forward again: both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recurra import _native, engine
from recurra.cells.cell import Cell
from recurra.cells.trace import from_text
from recurra.keras.ffi import Kind, Site, call
from recurra.weights import Weights

_NUMBER = Kind((2,), np.dtype(np.uint32))  # of a tape: JAX has 64 bits only if it is told so


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

    def call(self, arrays: Sequence[Any], ends: Sequence[Any]) -> _native.Call:
        """The engine's call for arrays of these shapes.

        Raises:
            ShapeError, DtypeError: they do not fit.
        """
        cell = self.cell
        x, W, U, b, c, *rest = (np.empty(a.shape, a.dtype) for a in arrays)
        R, rest = (rest[0], rest[1:]) if self.projects else (None, rest)
        count = len(cell.parameters)
        weights = Weights(W, U, b, c, R, dict(zip(cell.parameters, rest[:count], strict=True)))
        lengths = np.zeros(ends[0].shape, ends[0].dtype) if self.lengths else None
        made: _native.Call = engine.call(cell, weights, x, rest[count:] or None, lengths, None, self.reverse, 0)
        return made

    def widths(self, arrays: Sequence[Any]) -> list[int]:
        """The width of each state."""
        hidden = arrays[5 if self.projects else 2].shape[1]
        return [arrays[2].shape[1], *([hidden] * (len(self.cell.states) - 1))]

    def differentiable(self, arrays: Sequence[Any]) -> list[int]:
        """Which array is each of those that the engine's call has gradients of; -1: there is none."""
        first = 5 + self.projects
        return [0, 1, 2, 3, 4, 5 if self.projects else -1, *range(first, len(arrays))]

    def tensors(self, arrays: Sequence[Any]) -> list[int]:
        """Which argument each tensor of the engine's call is: after the arrays there are only the lengths."""
        return [*self.differentiable(arrays), len(arrays) if self.lengths else -1, -1]


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

    Raises:
        ShapeError, DtypeError: an array does not fit. Lengths beyond 0 to T are an error of the compiled program.
    """
    *four, R = weights
    how = How(text, reverse, R is not None, bool(state), lengths is not None)
    projection = () if R is None else (R,)
    ends = () if lengths is None else (_widened(lengths),)
    return list(_scan(how, (x, *four, *projection, *parameters, *state), ends))


def _widened(lengths: jax.Array) -> jax.Array:
    """Whole numbers of 32 or 64 bits, as the native side reads them; anything else as it is, to be refused."""
    narrow = jnp.issubdtype(lengths.dtype, jnp.integer) and lengths.dtype not in ("int32", "int64")
    return lengths.astype("int32") if narrow else lengths


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
    found = _backward(how, given, bool(want_x), arrays, ends, seeds, number)
    return (tuple(found) if want_x else (jnp.zeros_like(arrays[0]), *found)), (None,) * len(ends)


_scan.defvjp(_scan_forward, _scan_backward, symbolic_zeros=True)


def _forward(how: How, keep: bool, arrays: Sequence[Any], ends: Sequence[Any]) -> list[jax.Array]:
    (T, B, _), dtype, widths = arrays[0].shape, np.dtype(arrays[0].dtype), how.widths(arrays)
    results = [Kind((T, B, widths[0]), dtype), *(Kind((B, w), dtype) for w in widths)]

    def site() -> Site:
        made = range(len(results))
        return _site(how, arrays, ends, backward=False, keep=keep, incoming=[], results=made)

    return call(("forward", how, keep), site, results + [_NUMBER] * keep, *arrays, *ends)


def _backward(
    how: How,
    given: Sequence[bool],
    want_x: bool,
    arrays: Sequence[Any],
    ends: Sequence[Any],
    seeds: Sequence[Any],
    number: jax.Array,
) -> list[jax.Array]:
    """The gradients of the arrays, without that of x where it is not wanted.

    Args:
        given: for the output and each final state, whether there is a gradient of it among `seeds`.
        number: the tape's.
    """

    def site() -> Site:
        next_seed = iter(range(len(arrays) + len(ends), len(arrays) + len(ends) + len(seeds)))
        incoming = [next(next_seed) if is_given else -1 for is_given in given]
        first = 0 if want_x else 1  # of the arrays, that is a result
        results = [i - first if i >= first else -1 for i in how.differentiable(arrays)]
        return _site(how, arrays, ends, backward=True, keep=False, incoming=incoming, results=results)

    results = [Kind.of(a) for a in (arrays if want_x else arrays[1:])]
    return call(("backward", how, given, want_x), site, results, *arrays, *ends, *seeds, number)


def _site(how: How, arrays: Sequence[Any], ends: Sequence[Any], *, backward: bool, **rows: Any) -> Site:
    return Site(
        name=f"{'backward' if backward else 'forward'} of {how.cell.name}",
        call=how.call(arrays, ends),
        backward=backward,
        tensors=how.tensors(arrays),
        threads=engine.get_num_threads(),
        **rows,
    )
