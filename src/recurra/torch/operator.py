"""One operator for every cell: `torch.ops.recurra.scan`, its gradient, and the gradient of its gradient.

On the CPU in float32 and float64 it is the engine. Elsewhere, and for second derivatives, the equations run as torch
operations (`equations.py`). `scan` is how layers call it.
"""

# ruff: noqa: A001, A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from recurra.torch import kernels
from recurra.torch.kernels import How, Scan, how

_WEIGHTS = "Tensor W, Tensor U, Tensor b, Tensor c, Tensor? R, Tensor[] parameters, Tensor[] state"
_HOW = "Tensor? lengths, Tensor? reset, str cell, bool reverse, int every"
_GRADIENTS = "Tensor tape, Tensor? d_output, Tensor?[] d_state, bool want_x"
_library: Any = torch.library.Library("recurra", "DEF")
_library.define(f"scan(Tensor x, {_WEIGHTS}, {_HOW}, bool keep, bool all) -> Tensor[]")
_library.define(f"scan_backward({_GRADIENTS}, Tensor x, {_WEIGHTS}, {_HOW}) -> Tensor[]")


def scan(
    cell: str,
    x: Tensor,
    weights: Sequence[Tensor | None],
    parameters: Sequence[Tensor] = (),
    state: Sequence[Tensor] = (),
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    every: int = 0,
    all: bool = False,
) -> list[Tensor]:
    """Run a cell, given as its text, over a batch in one direction. Under autocast it computes in float32.

    Args:
        cell: the text form of the cell.
        x: [T, B, I].
        weights: W, U, b, c and R, as in `recurra.Weights`.
        parameters: per-unit parameters, in the cell's order.
        state: the initial states, or nothing for zeros.
        lengths: [B], whole numbers.
        reset: [T, B], bool.
        reverse: read each row from its own last step to its first.
        every: keep only every so many steps for backward; 0: all.
        all: also return each state of every step and the gates [gates, T, B, H], without gradients.

    Returns:
        Output, final states, and with `all` the states and gates of every step.
    """
    kind = x.device.type
    autocast = torch.get_autocast_dtype(kind) if is_autocast(kind) else None
    if autocast is not None:

        def wide(t: Tensor) -> Tensor:
            return t if t.dtype == torch.float64 else t.float()

        given = [None if w is None else wide(w) for w in weights]
        with torch.autocast(kind, enabled=False):
            results = scan(
                cell, wide(x), given, [*map(wide, parameters)], [*map(wide, state)], lengths, reset, reverse, every, all
            )
        return [r.to(autocast) for r in results]
    if not torch.compiler.is_compiling():
        tensors = (x, *weights, *parameters, *state, lengths, reset)
        plain = _is_plain(tensors)
        if plain or torch._C._are_functorch_transforms_active():
            return _scan(how(cell, len(parameters), len(state), reverse, every), tensors, False, all, plain)[:-1]
    arguments = (x, *weights, list(parameters), list(state), lengths, reset, cell, reverse, every, False, all)
    return list(torch.ops.recurra.scan.default(*arguments)[:-1])


def is_autocast(kind: str) -> bool:
    """Whether autocast is on for a type of device; the meta device has none."""
    return kind != "meta" and torch.is_autocast_enabled(kind)


_PLAIN = {Tensor, torch.nn.Parameter}


def _is_plain(tensors: Iterable[Tensor | None]) -> bool:
    """Whether these are ordinary CPU tensors and nothing watches: then the dispatcher, slow to Python, has no part."""
    return (
        all(t is None or (type(t) in _PLAIN and t.is_cpu) for t in tensors)
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._len_torch_function_stack()
        and not torch._C._are_functorch_transforms_active()
        and torch._C._get_tracing_state() is None
    )


def _scan(how: How, tensors: Sequence[Tensor | None], keep: bool, all: bool, plain: bool) -> list[Tensor]:
    """Forward, with its derivative if that is wanted."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        # For plain tensors, without what Function.apply does for torch.func: it costs 50 microseconds.
        apply: Any = super(Function, _ScanFunction).apply if plain else _ScanFunction.apply
        return list(apply(how, all, *tensors))
    return _forward(how, tensors, keep, all, plain)


def _forward(how: How, tensors: Sequence[Tensor | None], keep: bool, all: bool, plain: bool) -> list[Tensor]:
    scan = Scan(how, tensors)
    if plain:
        return kernels.run_cpu(scan, keep, all)
    with torch._C._AutoDispatchBelowAutograd():
        return list(torch.ops.recurra.scan.default(*scan.arguments, keep, all))


def _scan_autograd(*arguments: Any) -> list[Tensor]:
    *rest, keep, all = arguments
    scan = Scan.of(rest)
    return _scan(scan.how, scan.tensors, keep, all, plain=False)


class _ScanFunction(Function):
    """First derivatives, by the operator's own backward."""

    @staticmethod
    def forward(how: How, all: bool, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(_forward(how, tensors, True, all, _is_plain(tensors)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.how = inputs[0]
        ctx.save_for_backward(output[-1], *inputs[2:])
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1 + len(ctx.how.cell.states) :])

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Any, ...]:
        tape, *tensors = ctx.saved_tensors
        scan, wanted = Scan(ctx.how, tensors), ctx.needs_input_grad[2:]
        d_state = d[1 : 1 + len(scan.cell.states)]
        if not torch.is_grad_enabled() and _is_plain((*tensors, *d)):
            found = kernels.run_backward_cpu(tape, d[0], d_state, wanted[0], scan)
        elif torch._C._are_functorch_transforms_active():
            found = _backward(tape, d[0], d_state, wanted[0], scan)
        else:
            found = torch.ops.recurra.scan_backward.default(tape, d[0], list(d_state), wanted[0], *scan.arguments)
        each = iter(found)
        gradients = [None if t is None else next(each) for t in scan.differentiable]
        return None, None, *[g if w else None for g, w in zip(gradients, wanted, strict=False)], None, None


def _backward(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, scan: Scan
) -> list[Tensor]:
    """Backward, with its own derivative if that is wanted."""
    tensors = (d_output, *d_state, *scan.tensors)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        apply: Any = _BackwardFunction.apply
        return list(apply(scan.how, want_x, tape, len(d_state), *tensors))
    with torch._C._AutoDispatchBelowAutograd():
        found = torch.ops.recurra.scan_backward.default(tape, d_output, list(d_state), want_x, *scan.arguments)
        return list(found)


def _backward_autograd(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    return _backward(tape, d_output, d_state, want_x, Scan.of(rest))


class _BackwardFunction(Function):
    """Second derivatives: the gradient as torch operations, differentiated by torch."""

    @staticmethod
    def forward(how: How, want_x: bool, tape: Tensor, states: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        d_output, *d_state = tensors[: 1 + states]
        arguments = Scan(how, tensors[1 + states :]).arguments
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(torch.ops.recurra.scan_backward.default(tape, d_output, d_state, want_x, *arguments))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.how, _, _, ctx.states, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *dd: Tensor) -> tuple[Any, ...]:
        tensors, states = ctx.saved_tensors, ctx.states
        with torch.enable_grad():
            seeds = [None if t is None else t.detach().requires_grad_() for t in tensors[: 1 + states]]
            scan = Scan(ctx.how, tensors[1 + states :])
            leaves = [t.detach().requires_grad_() for t in scan.differentiable if t is not None]
            first = kernels.gradients(scan.with_leaves(leaves), leaves, seeds[0], seeds[1:], create_graph=True)
            inputs = [s for s in seeds if s is not None] + leaves
            pairs = [(g, d) for g, d in zip(first, dd, strict=True) if g.requires_grad and d.numel() == g.numel()]
            second: Sequence[Tensor | None] = [None] * len(inputs)
            if pairs:
                results, by = zip(*pairs, strict=True)
                second = torch.autograd.grad(results, inputs, by, allow_unused=True)
        found = iter(second)
        back = [None if t is None else next(found) for t in (*seeds, *scan.differentiable)]
        return None, None, None, None, *back, None, None


for _name, _cpu, _elsewhere, _autograd, _fake in (
    ("scan", kernels.scan_cpu, kernels.scan_elsewhere, _scan_autograd, kernels.scan_fake),
    ("scan_backward", kernels.backward_cpu, kernels.backward_elsewhere, _backward_autograd, kernels.backward_fake),
):
    _library.impl(_name, _cpu, "CPU")
    _library.impl(_name, _elsewhere, "CompositeExplicitAutograd")
    _library.impl(_name, _autograd, "Autograd")
    torch.library.register_fake(f"recurra::{_name}", _fake, lib=_library)
