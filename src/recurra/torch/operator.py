"""One operator for every cell: `torch.ops.recurra.scan`, its gradient, and the gradient of its gradient.

On the CPU in float32 and float64 it is the engine, on CUDA in up to 32 bits the cell's own kernels (`gpu`). Elsewhere,
and for second derivatives, the equations run as torch operations (`equations.py`). `scan` is how layers call it.
"""

# ruff: noqa: A001, A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType, is_legacy_batchedtensor
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters
from torch.autograd import Function, forward_ad

from recurra.torch import kernels
from recurra.torch.call import Call, Options, options_of
from recurra.torch.equations import run_equations

_WEIGHTS = "Tensor W, Tensor U, Tensor b, Tensor c, Tensor? R, Tensor[] parameters, Tensor[] state"
_OPTIONS = "Tensor? lengths, Tensor? reset, str cell, bool reverse, int every, bool stacked"
_GRADIENTS = "Tensor tape, Tensor? d_output, Tensor?[] d_state, bool want_x"
_library: Any = torch.library.Library("recurra", "DEF")
_library.define(f"scan(Tensor x, {_WEIGHTS}, {_OPTIONS}, bool keep, bool all) -> Tensor[]")
_library.define(f"scan_backward({_GRADIENTS}, Tensor x, {_WEIGHTS}, {_OPTIONS}) -> Tensor[]")


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
    stacked: bool = False,
    equations: bool = False,
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
        stacked: final states are [1, B, H], as torch's layers return them, and not [B, H].
        equations: run it as torch operations, whatever the device has kernels for.

    Returns:
        Output, final states, and with `all` the states and gates of every step.
    """
    if is_autocast(x.device.type):
        how: Any = (lengths, reset, reverse, every, all, stacked, equations)
        return widened(lambda *given: scan(cell, *given, *how), x, weights, parameters, state)
    if equations:
        options = options_of(cell, len(parameters), len(state), reverse, every, stacked)
        return run_equations(Call(options, (x, *weights, *parameters, *state, lengths, reset)), all)
    if not torch.compiler.is_compiling():
        tensors = (x, *weights, *parameters, *state, lengths, reset)
        options = options_of(cell, len(parameters), len(state), reverse, every, stacked)
        if forward_ad._current_level >= 0 or _is_nested():
            return run_equations(Call(options, tensors), all)
        if _is_plain(tensors):
            if _wants_gradient(tensors):
                return list(_apply_plain(options, all, *tensors))
            return kernels.run_cpu(Call(options, tensors), False, all)[0]
        if torch._C._are_functorch_transforms_active():
            return _scan(options, tensors, False, all)[:-1]
    arrays = (x, *weights, list(parameters), list(state), lengths, reset)
    return list(torch.ops.recurra.scan.default(*arrays, cell, reverse, every, stacked, False, all)[:-1])


def widened(
    run: Callable[..., list[Tensor]],
    x: Tensor,
    weights: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    state: Sequence[Tensor],
) -> list[Tensor]:
    """What autocast makes of a run of all these: done in float32 at least, its results in autocast's dtype."""

    def wide(t: Tensor) -> Tensor:
        return t if t.dtype == torch.float64 else t.float()

    kind = x.device.type
    given = [None if w is None else wide(w) for w in weights]
    with torch.autocast(kind, enabled=False):
        results = run(wide(x), given, [*map(wide, parameters)], [*map(wide, state)])
    return [r.to(torch.get_autocast_dtype(kind)) for r in results]


def is_autocast(kind: str) -> bool:
    """Whether autocast is on for a type of device; the meta device has none."""
    return kind != "meta" and torch.is_autocast_enabled(kind)


def _is_nested() -> bool:
    """Whether torch.func differentiates forward, or a derivative: there the operator has first derivatives alone."""
    if not torch._C._are_functorch_transforms_active():
        return False
    kinds = [level.key() for level in retrieve_all_functorch_interpreters()]
    return TransformType.Jvp in kinds or kinds.count(TransformType.Grad) > 1


_PLAIN = {Tensor, torch.nn.Parameter}


def _is_plain(tensors: Iterable[Tensor | None]) -> bool:
    """Whether these are ordinary CPU tensors and nothing watches: then the dispatcher, slow to Python, has no part."""
    for t in tensors:
        if t is not None and (type(t) not in _PLAIN or not t.is_cpu or t.is_neg()):
            return False
    return not (
        torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
    )


def _wants_gradient(tensors: Iterable[Tensor | None]) -> bool:
    if torch.is_grad_enabled():
        for t in tensors:
            if t is not None and t.requires_grad:
                return True
    return False


def _scan(options: Options, tensors: Sequence[Tensor | None], keep: bool, all: bool) -> list[Tensor]:
    """Forward by the dispatcher, with its derivative if that is wanted."""
    if _wants_gradient(tensors):
        apply: Any = _ScanFunction.apply
        return list(apply(options, all, *tensors))
    return _dispatched(options, tensors, keep, all)


def _dispatched(options: Options, tensors: Sequence[Tensor | None], keep: bool, all: bool) -> list[Tensor]:
    with torch._C._AutoDispatchBelowAutograd():
        return list(torch.ops.recurra.scan.default(*Call(options, tensors).arguments, keep, all))


def _scan_autograd(*arguments: Any) -> list[Tensor]:
    *rest, keep, all = arguments
    call = Call.of(rest)
    return _scan(call.options, call.tensors, keep, all)


class _PlainFunction(Function):
    """First derivatives of plain tensors, past the dispatcher."""

    @staticmethod
    def forward(ctx: Any, options: Options, all: bool, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        results, saved = kernels.run_cpu(Call(options, tensors), True, all)
        ctx.options = options
        ctx.save_for_backward(kernels.owner_of(saved), *tensors)
        ctx.set_materialize_grads(False)
        if all:
            ctx.mark_non_differentiable(*results[1 + options.states :])
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Any, ...]:
        owner, *tensors = ctx.saved_tensors
        saved, states = kernels.owned_by(owner), ctx.options.states
        if any(g is not None and is_legacy_batchedtensor(g) for g in d):  # torch.autograd.grad(is_grads_batched=True)
            call, want_x = Call(ctx.options, tensors), ctx.needs_input_grad[2]
            return _returned(ctx, tensors, kernels.differentiate(d[0], d[1 : 1 + states], want_x, call))
        if not torch.is_grad_enabled() and _is_plain(d) and _is_plain(tensors):
            want_x = ctx.needs_input_grad[2]
            found = kernels.run_backward_cpu(saved, d[0], d[1 : 1 + states], want_x, Call(ctx.options, tensors))
            return _returned(ctx, tensors, found)
        return _differentiated(ctx, kernels.tape_of(saved), tensors, d)


# Without what Function.apply does for torch.func: it costs up to 50 microseconds.
_apply_plain: Any = super(Function, _PlainFunction).apply


class _ScanFunction(Function):
    """First derivatives, by the operator's own backward."""

    @staticmethod
    def forward(options: Options, all: bool, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(_dispatched(options, tensors, True, all))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.options = inputs[0]
        ctx.save_for_backward(output[-1], *inputs[2:])
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1 + ctx.options.states :])

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Any, ...]:
        tape, *tensors = ctx.saved_tensors
        return _differentiated(ctx, tape, tensors, d)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        apply: Any = _ScanFunction.apply
        return _one_by_one(apply, info, in_dims, arguments)


def _one_by_one(call: Any, info: Any, in_dims: Any, arguments: Any) -> Any:
    """What vmap makes of a call: one for each of its batch, whose tensors may all differ, weights too."""

    def at(argument: Any, axis: Any, k: int) -> Any:
        if isinstance(argument, (list, tuple)):
            return [at(a, d, k) for a, d in zip(argument, axis, strict=True)]
        return argument if axis is None else argument.select(axis, k)

    calls = [call(*(at(a, d, k) for a, d in zip(arguments, in_dims, strict=True))) for k in range(info.batch_size)]
    results = tuple(torch.stack(column) for column in zip(*calls, strict=True))
    return results, (0,) * len(results)


def _differentiated(
    ctx: Any, tape: Tensor, tensors: Sequence[Tensor | None], d: Sequence[Tensor | None]
) -> tuple[Any, ...]:
    """What a Function's backward returns, by the operator."""
    call, want_x, d_state = Call(ctx.options, tensors), ctx.needs_input_grad[2], d[1 : 1 + ctx.options.states]
    if torch._C._are_functorch_transforms_active():
        found = _backward(tape, d[0], d_state, want_x, call)
    else:
        found = torch.ops.recurra.scan_backward.default(tape, d[0], list(d_state), want_x, *call.arguments)
    return _returned(ctx, tensors, found)


def _returned(ctx: Any, tensors: Sequence[Tensor | None], found: Iterable[Tensor]) -> tuple[Any, ...]:
    """A gradient for each argument of a Function: None for those that want none."""
    each = iter(found)
    gradients = [None if t is None else next(each) for t in tensors[:-2]]
    wanted = ctx.needs_input_grad[2:]
    return None, None, *[g if w else None for g, w in zip(gradients, wanted, strict=False)], None, None


def _backward(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, call: Call
) -> list[Tensor]:
    """Backward, with its own derivative if that is wanted."""
    tensors = (d_output, *d_state, *call.tensors)
    if _wants_gradient(tensors):
        apply: Any = _BackwardFunction.apply
        return list(apply(call.options, want_x, tape, len(d_state), *tensors))
    with torch._C._AutoDispatchBelowAutograd():
        found = torch.ops.recurra.scan_backward.default(tape, d_output, list(d_state), want_x, *call.arguments)
        return list(found)


def _backward_autograd(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    return _backward(tape, d_output, d_state, want_x, Call.of(rest))


class _BackwardFunction(Function):
    """Second derivatives: the gradient as torch operations, differentiated by torch."""

    @staticmethod
    def forward(
        options: Options, want_x: bool, tape: Tensor, states: int, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        d_output, *d_state = tensors[: 1 + states]
        arguments = Call(options, tensors[1 + states :]).arguments
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(torch.ops.recurra.scan_backward.default(tape, d_output, d_state, want_x, *arguments))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.options, _, _, ctx.states, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        apply: Any = _BackwardFunction.apply
        return _one_by_one(apply, info, in_dims, arguments)

    @staticmethod
    def backward(ctx: Any, *dd: Tensor) -> tuple[Any, ...]:
        tensors, states = ctx.saved_tensors, ctx.states
        if torch._C._are_functorch_transforms_active():
            return _second(ctx, tensors[: 1 + states], Call(ctx.options, tensors[1 + states :]), dd)
        with torch.enable_grad():
            seeds = [None if t is None else t.detach().requires_grad_() for t in tensors[: 1 + states]]
            call = Call(ctx.options, tensors[1 + states :])
            leaves = [t.detach().requires_grad_() for t in call.differentiable if t is not None]
            first = kernels.gradients(call.with_leaves(leaves), leaves, seeds[0], seeds[1:], create_graph=True)
            inputs = [s for s in seeds if s is not None] + leaves
            pairs = [(g, d) for g, d in zip(first, dd, strict=True) if g.requires_grad and d.numel() == g.numel()]
            second: Sequence[Tensor | None] = [None] * len(inputs)
            if pairs:
                results, by = zip(*pairs, strict=True)
                second = torch.autograd.grad(results, inputs, by, allow_unused=True)
        found = iter(second)
        back = [None if t is None else next(found) for t in (*seeds, *call.differentiable)]
        return None, None, None, None, *back, None, None


def _second(ctx: Any, seeds: Sequence[Tensor | None], call: Call, dd: Sequence[Tensor]) -> tuple[Any, ...]:
    """The same by torch.func, under whose transforms no tensor can be told to want a gradient."""
    given = [s for s in seeds if s is not None]
    leaves = [t for t in call.differentiable if t is not None]

    def first(*inputs: Tensor) -> tuple[Tensor, ...]:
        def outputs(*of: Tensor) -> list[Tensor]:
            results = run_equations(call.with_leaves(of), all=False)
            return [r for r, s in zip(results, seeds, strict=False) if s is not None]

        pull: Any = torch.func.vjp(outputs, *inputs[len(given) :])[1]
        return tuple(pull(list(inputs[: len(given)])))

    transformed: Any = torch.func.vjp(first, *given, *leaves)
    results, pull = transformed
    found = iter(
        pull(tuple(d if d.numel() == r.numel() else torch.zeros_like(r) for d, r in zip(dd, results, strict=True)))
    )
    back = [None if t is None else next(found) for t in (*seeds, *call.differentiable)]
    return None, None, None, None, *back, None, None


for _name, _cpu, _cuda, _elsewhere, _autograd, _fake in (
    ("scan", kernels.scan_cpu, kernels.scan_cuda, kernels.scan_elsewhere, _scan_autograd, kernels.scan_fake),
    (
        "scan_backward",
        *(kernels.backward_cpu, kernels.backward_cuda, kernels.backward_elsewhere),
        *(_backward_autograd, kernels.backward_fake),
    ),
):
    _library.impl(_name, _cpu, "CPU")
    _library.impl(_name, _cuda, "CUDA")
    _library.impl(_name, _elsewhere, "CompositeExplicitAutograd")
    _library.impl(_name, _autograd, "Autograd")
    torch.library.register_fake(f"recurra::{_name}", _fake, lib=_library)
    _operator: Any = getattr(torch.ops.recurra, _name).default
    torch.library.register_vmap(
        f"recurra::{_name}", lambda info, in_dims, *a, call=_operator: _one_by_one(call, info, in_dims, a), lib=_library
    )
