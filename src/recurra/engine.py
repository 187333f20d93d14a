"""Checked calls into the native kernels: a sequence forward, a sequence backward, and a live step.

Shapes: T steps, B batch, I input size, H hidden size, P = H or the size of a projected state. Arrays are C-contiguous
float32 or float64, all of one dtype, time-major.

In float32, on any ISA with fused multiply-add, a row's results have the same bits alone or in a batch, in one call or
in chunks or step by step, on one thread or many, padded or not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from recurra import _native
from recurra.cells.cell import Cell
from recurra.cells.layout import numbers
from recurra.checks import check_array, check_lengths, check_reset, check_rows, check_states, check_weights
from recurra.errors import DtypeError, IsaError, ShapeError
from recurra.weights import Array, Weights


def set_num_threads(count: int) -> None:
    """Use at most this many threads; a batch is split into as many parts. Without it, torch's count or 1 is used.

    Raises:
        ShapeError: the count is not at least 1.
    """
    if count < 1:
        raise ShapeError(f"set_num_threads: got {count}, expected at least 1")
    _native.choose_threads(int(count))


def get_num_threads() -> int:
    """The number of threads in use: what was set, else torch's number where torch is loaded, else 1."""
    chosen = _native.chosen_threads()
    if chosen:
        return chosen
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None and hasattr(torch, "get_num_threads") else 1


@cache
def isa() -> str:
    """The instruction set in use: the best that the machine has, or the one that `RECURRA_ISA` names.

    Raises:
        IsaError: `RECURRA_ISA` names one that is unknown or that this machine lacks.
    """
    known = dict(_native.isas())
    forced = os.environ.get("RECURRA_ISA")
    if forced:
        if not known.get(forced):
            problem = "this machine lacks" if forced in known else "is unknown"
            here = ", ".join(name for name, available in known.items() if available)
            raise IsaError(f"RECURRA_ISA={forced}, which {problem}; expected one of: {here}; or unset it")
        return forced
    best = next((name for name, available in known.items() if available), None)
    if best is None:
        raise IsaError(f"this machine has none of the instruction sets {', '.join(known)}; build Recurra from source")
    return best


@lru_cache(maxsize=64)
def _kernel(cell: Cell, gradient: bool = True) -> Any:
    """A cell's native kernel: built in where the equations are, else compiled; without gradient, for what is only run.

    The last ones are held here. Of any other, compiled code is in memory while a session, a call or a tape has it.
    """
    if cell.fingerprint in _native.zoo:
        return _native.Kernel(isa(), *numbers(cell), *_native.zoo_routines(isa(), _native.zoo[cell.fingerprint]))
    from recurra.jit import routines_of

    code = routines_of(cell, isa(), gradient)
    return _native.Kernel(isa(), *numbers(cell), code.f32, code.f64, code)


@dataclass
class Forward:
    """What `forward` returns.

    Attributes:
        output: [T, B, P], zero past a row's end.
        state: each state after a row's last step, [B, H] (the first [B, P]).
        states: each state after every step, [T, B, H], if asked for.
        gates: the value of each gate at every step, [T, B, H] by name, if asked for.
        tape: what `backward` needs, if asked for.
    """

    output: Array
    state: list[Array]
    states: list[Array] | None
    gates: dict[str, Array] | None
    tape: Tape | None


@dataclass
class Tape:
    """A forward run, kept for `backward`. The arrays it was given must not change before then."""

    native: Any
    kernel: Any
    cell: Cell
    weights: Weights
    x: Array
    lengths: np.ndarray | None
    reverse: bool
    reset: np.ndarray | None
    initial: list[Array]


@dataclass
class Gradients:
    """The gradients of what went into a forward run."""

    x: Array | None
    state: list[Array]
    weights: Weights


def forward(
    cell: Cell,
    weights: Weights,
    x: Array,
    state: Sequence[Array] | None = None,
    *,
    lengths: Sequence[int] | np.ndarray | None = None,
    reverse: bool = False,
    reset: np.ndarray | None = None,
    keep: bool = False,
    checkpoint_every: int | None = None,
    return_states: bool = False,
    return_gates: bool = False,
    output: Array | None = None,
) -> Forward:
    """Run a cell over a batch of sequences.

    Args:
        cell: the equations.
        weights: see `Weights`.
        x: input [T, B, I].
        state: each initial state [B, H] (the first [B, P]); zeros if not given.
        lengths: steps of each row, 0 to T, any order; all T if not given. What stands past a row's end is never read.
        reverse: read each row from its own last step to its first.
        reset: [T, B], bool; a row's states are zero before a step where it is set.
        keep: keep what `backward` needs: the gates and states of each step.
        checkpoint_every: with `keep`, keep only the states before every k-th step, and compute the rest again.
        return_states: also return each state of every step.
        return_gates: also return each gate of every step.
        output: where to write the output, C-contiguous [T, B, P].

    Raises:
        ShapeError: an array has the wrong shape, a length is outside 0..T, or `output` cannot be written.
        DtypeError: dtypes are not all float32 or all float64.

    Source: `recurra.reference.forward` is the definition.

    >>> import numpy as np
    >>> from recurra import cells, engine
    >>> weights = engine.Weights.random(cells.gru, 3, 4, rng=np.random.default_rng(0))
    >>> engine.forward(cells.gru, weights, np.ones((10, 2, 3), np.float32)).output.shape
    (10, 2, 4)
    """
    name = f"forward of {cell.name}"
    sizes, initial, lengths, reset = _check_forward(name, cell, weights, x, state, lengths, reset)
    T, B, _, H, P = sizes
    dtype, widths = x.dtype, _widths(cell, H, P)
    if checkpoint_every is not None and (not keep or checkpoint_every < 1):
        raise ShapeError(
            f"{name}: checkpoint_every is {checkpoint_every}, expected at least 1, together with keep=True"
        )
    if output is None:
        output = np.empty((T, B, P), dtype)
    else:
        check_array(name, "output", output, dtype, (T, B, P), written=True)
        if not output.flags.writeable:
            raise ShapeError(f"{name}: `output` is read-only, expected an array that can be written: pass a copy")
    final = [np.empty((B, w), dtype) for w in widths]
    states = [np.empty((T, B, w), dtype) for w in widths] if return_states else []
    gates = np.empty((T, B, len(cell.gates), H), dtype) if return_gates else None
    native, kernel = _native.Tape() if keep else None, _kernel(cell, gradient=keep or return_gates)
    batch = _native.Batch(x, reverse, lengths, reset, initial)
    _native.forward(
        kernel,
        _native_weights(cell, weights),
        batch,
        H,
        output,
        final,
        states,
        gates,
        threads_for(B),
        native,
        checkpoint_every or 0,
    )
    tape = Tape(native, kernel, cell, weights, x, lengths, reverse, reset, initial) if keep else None
    named = {g: gates[:, :, i] for i, g in enumerate(cell.gates)} if gates is not None else None
    return Forward(output, final, states or None, named, tape)


def backward(
    tape: Tape,
    d_output: Array | None = None,
    d_state: Sequence[Array | None] | None = None,
    *,
    want_x: bool = True,
) -> Gradients:
    """Back-propagation through time of a forward run that was kept. May be called again with other gradients.

    Args:
        tape: from `forward(..., keep=True)`.
        d_output: the gradient of the output [T, B, P]; what stands past a row's end is never read. None: zero.
        d_state: the gradient of each final state [B, H] (the first [B, P]); None: zero.
        want_x: whether the gradient of x is wanted.

    Raises:
        ShapeError, DtypeError: a gradient does not have the shape or dtype of what it belongs to.
    """
    cell, weights, x = tape.cell, tape.weights, tape.x
    name = f"backward of {cell.name}"
    T, B, _ = x.shape
    H, P, dtype = weights.hidden_size, weights.U.shape[1], x.dtype
    shapes = [(B, P), *([(B, H)] * (len(cell.states) - 1))]
    if d_output is not None:
        check_array(name, "d_output", d_output, dtype, (T, B, P))
    given = list(d_state) if d_state is not None else []
    if d_state is not None and len(given) != len(shapes):
        raise ShapeError(
            f"{name}: d_state has {len(given)} arrays, expected one (or None) for each of {', '.join(cell.states)}"
        )
    for state, d, shape in zip(cell.states, given, shapes, strict=False):
        if d is not None:
            check_array(name, f"d_state of {state}", d, dtype, shape)
    dx = np.empty_like(x) if want_x else None
    initial = [np.empty(shape, dtype) for shape in shapes]
    to = weights.map(np.empty_like)
    batch = _native.Batch(x, tape.reverse, tape.lengths, tape.reset, tape.initial)
    _native.backward(
        tape.kernel,
        _native_weights(cell, weights),
        batch,
        H,
        tape.native,
        d_output,
        given,
        dx,
        initial,
        _native_weights(cell, to, _native.WeightGradients),
    )
    return Gradients(dx, initial, to)


def call(
    cell: Cell,
    weights: Weights,
    x: Array,
    state: Sequence[Array] | None,
    lengths: np.ndarray | None,
    reset: np.ndarray | None,
    reverse: bool,
    every: int,
    gradient: bool = True,
) -> Any:
    """`forward` and `backward` for arrays of these shapes and dtypes, to be called by address, any number of times.

    Without `gradient`, what is compiled for a user's own cell is forward alone, and nothing is kept or gated.

    The caller answers for the addresses: C-contiguous, aligned arrays of just these shapes, lengths in int64 and within
    0 to T. `_native.pyi` has the signatures.

    Raises:
        ShapeError, DtypeError: an argument does not fit.
    """
    sizes, *_ = _check_forward(f"forward of {cell.name}", cell, weights, x, state, lengths, reset)
    return _native.Call(_kernel(cell, gradient), x.dtype == np.float32, *sizes, reverse, every)


def _check_forward(
    name: str,
    cell: Cell,
    weights: Weights,
    x: Array,
    state: Sequence[Array] | None,
    lengths: Sequence[int] | np.ndarray | None,
    reset: np.ndarray | None,
) -> tuple[tuple[int, int, int, int, int], list[Array], np.ndarray | None, np.ndarray | None]:
    """Raise unless everything fits; return T, B, I, H, P, and states, lengths and reset as the engine takes them."""
    I, H, P = check_weights(name, cell, weights)
    dtype = weights.W.dtype
    check_array(name, "x", x, dtype, ("T", "B", I))
    T, B, _ = x.shape
    initial = check_states(name, cell, state, dtype, [(B, w) for w in _widths(cell, H, P)])
    ends = None if lengths is None else check_lengths(name, lengths, T, B)
    mask = None if reset is None else check_reset(name, reset, T, B)
    return (T, B, I, H, P), initial, ends, mask


def _widths(cell: Cell, H: int, P: int) -> list[int]:
    """The width of each state."""
    return [P, *([H] * (len(cell.states) - 1))]


def tape() -> Any:
    """What `call(...).forward` fills and `call(...).backward` reads."""
    return _native.Tape()


def threads_for(rows: int) -> int:
    """How many threads work on a batch of so many rows."""
    return 1 if rows < 2 else get_num_threads()


class Stepper:
    """A live state of B rows (or of one, without a batch axis) that takes one step a call.

    Its outputs have the bits of `forward` over the same inputs. A step allocates nothing but its result.

    Args:
        cell: the equations.
        weights: see `Weights`; packed here once, later changes to them have no effect.
        batch: rows; None: vectors [I] in and [P] out.

    >>> import numpy as np
    >>> from recurra import cells, engine
    >>> weights = engine.Weights.random(cells.lstm, 1, 16, rng=np.random.default_rng(0))
    >>> live = engine.Stepper(cells.lstm, weights)
    >>> live.step(np.ones(1, np.float32)).shape
    (16,)
    """

    def __init__(self, cell: Cell, weights: Weights, batch: int | None = None) -> None:
        I, H, P = check_weights(f"Stepper of {cell.name}", cell, weights)
        rows = check_rows(f"Stepper of {cell.name}", batch)
        self.cell = cell
        self.dtype = weights.W.dtype
        live = _native.LiveFloat32 if self.dtype == np.float32 else _native.LiveFloat64
        lead = () if batch is None else (batch,)
        self._live = live(_kernel(cell, gradient=False), _native_weights(cell, weights), H, rows, 1 + len(lead))
        self._step = self._live.step
        self._shapes = [(*lead, P), *([(*lead, H)] * (len(cell.states) - 1))]
        self._input = (*lead, I)

    def step(self, x: Array) -> Array:
        """Advance by one step: x [B, I] (or [I]) in, the new first state [B, P] (or [P]) out.

        Raises:
            ShapeError, DtypeError: x does not fit; the state is unchanged.
        """
        output: Array | None = self._step(x)
        if output is None:
            check_array(f"step of {self.cell.name}", "x", x, self.dtype, self._input)
            raise DtypeError(f"step of {self.cell.name}: `x` is in another byte order: use .astype({self.dtype})")
        return output

    @property
    def state(self) -> list[Array]:
        """A copy of each state."""
        copies = [np.empty(shape, self.dtype) for shape in self._shapes]
        self._live.read(copies)
        return copies

    @state.setter
    def state(self, values: Sequence[Array] | None) -> None:
        name = f"state of {self.cell.name}"
        self._live.write(
            check_states(name, self.cell, values, self.dtype, self._shapes)
            or [np.zeros(shape, self.dtype) for shape in self._shapes]
        )


def _native_weights(cell: Cell, w: Weights, kind: Any = _native.Weights) -> Any:
    return kind(w.W, w.U, w.b, w.c_, w.R, [w.parameters[p] for p in cell.parameters])
