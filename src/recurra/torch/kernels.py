"""The operator's implementations: on the engine or a GPU's kernels where these are, else equations; shapes for tracers.

What backward needs stays in native memory, owned by the `tape` output: a one-number tensor that only names it. Where
that tensor was copied or stored and its owner is gone, the forward run is done again.
"""

# ruff: noqa: A001, A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.torch.call import Call, Saved
from recurra.torch.equations import run_equations
from recurra.torch.gpu import run as gpu
from recurra.torch.gpu.plan import DTYPES as GPU_DTYPES

NATIVE_DTYPES = (torch.float32, torch.float64)

_tapes: WeakValueDictionary[int, _Tape] = WeakValueDictionary()
_numbers = itertools.count(1)


class _Tape(np.ndarray[Any, Any]):
    """The array under a tape tensor; the tensor's storage keeps it alive, and it the native memory."""

    saved: Saved


def scan_cpu(*arguments: Any) -> list[Tensor]:
    """Forward on the CPU: output, final states, with `all` also states and gates of every step, and the tape."""
    *rest, keep, all = arguments
    results, saved = run_cpu(Call.of(rest), keep, all)
    return [*results, tape_of(saved)]


def run_cpu(call: Call, keep: bool, all: bool) -> tuple[list[Tensor], Saved | None]:
    """`scan_cpu` with its arguments taken apart, and what the tape would name."""
    if call.x.dtype not in NATIVE_DTYPES:
        _check_lengths(call)
        return run_equations(call, all), None
    return call.forward(keep, all)


def tape_of(saved: Saved | None) -> Tensor:
    """A number whose storage owns the run, wherever the operator's callers take it."""
    tape = _Tape(1, np.int64)
    tape[0] = number = 0 if saved is None else next(_numbers)
    if saved is not None:
        tape.saved = saved
        _tapes[number] = tape
    return torch.from_numpy(tape)


def owner_of(saved: Saved | None) -> Tensor:
    """An empty tensor that owns the run until it is copied or freed: the same for one graph of torch's, and cheaper."""
    owner: Any = torch.empty(0)
    owner.saved = saved
    return owner  # type: ignore[no-any-return]


def owned_by(owner: Tensor) -> Saved | None:
    """The run that a tensor owns; None if it is a copy."""
    return getattr(owner, "saved", None)


def _check_lengths(call: Call) -> None:
    """As the engine does; not on other devices, which would have to wait for the answer."""
    ends, T = call.lengths, call.x.shape[0]
    if ends is not None and len(ends) and (ends.min() < 0 or ends.max() > T):
        raise ShapeError(
            f"forward of {call.cell.name}: `lengths` go from {ends.min()} to {ends.max()}, "
            f"expected 0 to {T}, the steps of x"
        )


def scan_elsewhere(*arguments: Any) -> list[Tensor]:
    """Forward as torch operations, on any device and in any dtype."""
    *rest, _, all = arguments
    return _run_equations(Call.of(rest), all)


def scan_cuda(*arguments: Any) -> list[Tensor]:
    """Forward on a GPU: by the cell's kernels, in float64 as torch operations."""
    *rest, keep, all = arguments
    call = Call.of(rest)
    return gpu.forward(call, keep, all) if call.x.dtype in GPU_DTYPES else _run_equations(call, all)


def backward_cuda(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    """As `backward_cpu`, on a GPU."""
    call = Call.of(rest)
    if call.x.dtype not in GPU_DTYPES:
        return differentiate(d_output, d_state, want_x, call)
    return gpu.backward(call, tape, d_output, d_state, want_x)


def _run_equations(call: Call, all: bool) -> list[Tensor]:
    return [*run_equations(call, all), torch.zeros(1, dtype=torch.int64, device=call.x.device)]


def scan_fake(*arguments: Any) -> list[Tensor]:
    """The shapes of forward, for tracers and the meta device."""
    *rest, keep, all = arguments
    call = Call.of(rest)
    results = [call.x.new_empty(s) for s in call.shapes(all)]
    if call.x.device.type == "cuda" and call.x.dtype in GPU_DTYPES:
        return [*results, call.x.new_empty(gpu.tape_size(call, keep), dtype=torch.float32)]
    return [*results, call.x.new_empty(1, dtype=torch.int64)]


def backward_cpu(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    """The gradients on the CPU, in the order of `Call.differentiable`; an empty one for x where it is not wanted."""
    owner = _tapes.get(int(tape))
    return run_backward_cpu(None if owner is None else owner.saved, d_output, d_state, want_x, Call.of(rest))


def run_backward_cpu(
    saved: Saved | None, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, call: Call
) -> list[Tensor]:
    """`backward_cpu` with its arguments taken apart."""
    if call.x.dtype not in NATIVE_DTYPES:
        return differentiate(d_output, d_state, want_x, call)
    return call.backward(saved, d_output, d_state, want_x)


def backward_elsewhere(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    """As `backward_cpu`, where there is no kernel."""
    return differentiate(d_output, d_state, want_x, Call.of(rest))


def differentiate(d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, call: Call) -> list[Tensor]:
    """The gradients by torch's own differentiation of the equations, wherever the gradients that come in are."""
    with torch.enable_grad(), _above_autograd():
        leaves = [t.detach().requires_grad_() for t in call.differentiable if t is not None]
        found = gradients(call.with_leaves(leaves), leaves, d_output, d_state)
    return found if want_x else [call.x.new_empty(0), *found[1:]]


@contextmanager
def _above_autograd() -> Iterator[None]:
    """Torch operations are recorded again, though the dispatcher has passed the operator's own derivative."""
    keys = (torch._C.DispatchKey.AutogradFunctionality, torch._C.DispatchKey.AutogradOther)
    excluded = [torch._C._dispatch_tls_is_dispatch_key_excluded(key) for key in keys]
    try:
        for key in keys:
            torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
        yield
    finally:
        for key, was in zip(keys, excluded, strict=True):
            torch._C._dispatch_tls_set_dispatch_key_excluded(key, was)


def backward_fake(tape: Tensor, d_output: Any, d_state: Any, want_x: bool, *rest: Any) -> list[Tensor]:
    """The shapes of the gradients."""
    call = Call.of(rest)
    like = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in call.differentiable if t is not None]
    return like if want_x else [call.x.new_empty(0), *like[1:]]


def gradients(
    call: Call,
    leaves: Sequence[Tensor],
    d_output: Tensor | None,
    d_state: Sequence[Tensor | None],
    create_graph: bool = False,
) -> list[Tensor]:
    """The gradients in the leaves, as torch differentiates the equations."""
    results = run_equations(call, all=False)
    pairs = [(r, d) for r, d in zip(results, [d_output, *d_state], strict=False) if d is not None and r.requires_grad]
    if not pairs:
        return [torch.zeros_like(t) for t in leaves]
    values, seeds = zip(*pairs, strict=True)
    found = torch.autograd.grad(values, leaves, seeds, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)]
