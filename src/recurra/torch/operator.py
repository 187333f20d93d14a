"""One operator for every cell: `torch.ops.recurra.scan`, its gradient, and the gradient of its gradient.

On the CPU in float32 and float64 it is the engine. Elsewhere, and for second derivatives, the equations run as torch
operations (`equations.py`). What backward needs stays in native memory, owned by the `tape` output: a one-number tensor
that only names it. Where that tensor was copied or stored and its owner is gone, the forward run is done again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from recurra import engine
from recurra.cells import Cell, from_text
from recurra.torch.equations import run_equations
from recurra.weights import Weights

_WEIGHTS = "Tensor W, Tensor U, Tensor b, Tensor c, Tensor? R, Tensor[] parameters, Tensor[] state"
_HOW = "Tensor? lengths, Tensor? reset, str cell, bool reverse, int every"
_library = torch.library.Library("recurra", "DEF")
_library.define(f"scan(Tensor x, {_WEIGHTS}, {_HOW}, bool keep, bool all) -> Tensor[]")
_library.define(
    f"scan_backward(Tensor tape, Tensor? d_output, Tensor?[] d_state, bool want_x, Tensor x, {_WEIGHTS}, {_HOW}) -> Tensor[]"
)

_tapes: WeakValueDictionary[int, _Tape] = WeakValueDictionary()
_numbers = itertools.count(1)


class _Tape(np.ndarray[Any, Any]):
    """The array under a tape tensor; the tensor's storage keeps it alive, and it the native memory."""

    run: engine.Tape


class Scan:
    """The arguments of the operator, taken apart: x, W, U, b, c, R, parameters, state, lengths, reset, and how."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        self.x, self.W, self.U, self.b, self.c, self.R, self.parameters, self.state = arguments[:8]
        self.lengths, self.reset, text, self.reverse, self.every = arguments[8:13]
        self.cell = _cell(text)

    @property
    def differentiable(self) -> list[Tensor | None]:
        """What has a gradient, in the order in which backward returns it."""
        return [self.x, self.W, self.U, self.b, self.c, self.R, *self.parameters, *self.state]

    def numpy(self) -> tuple[Weights, np.ndarray, dict[str, Any]]:
        """The weights, x and the other arguments for the engine."""
        names = self.cell.parameters
        parameters = {n: _array(p) for n, p in zip(names, self.parameters, strict=True)}
        projection = None if self.R is None else _array(self.R)
        weights = Weights(_array(self.W), _array(self.U), _array(self.b), _array(self.c), projection, parameters)
        others = {
            "state": [_array(s) for s in self.state] or None,
            "lengths": None if self.lengths is None else _array(self.lengths),
            "reset": None if self.reset is None else _array(self.reset),
            "reverse": self.reverse,
        }
        return weights, _array(self.x), others

    def forward(self, keep: bool, all: bool = False) -> engine.Forward:
        """Run it on the engine."""
        weights, x, others = self.numpy()
        every = self.every if keep and self.every else None
        return engine.forward(
            self.cell, weights, x, **others, keep=keep, checkpoint_every=every, return_states=all, return_gates=all
        )

    def shapes(self, all: bool) -> list[tuple[int, ...]]:
        """The shapes of what the operator returns, but for the tape."""
        T, B, _ = self.x.shape
        H, P = self.W.shape[0] // len(self.cell.input_gates), self.U.shape[1]
        widths = [P, *([H] * (len(self.cell.states) - 1))]
        shapes: list[tuple[int, ...]] = [(T, B, P), *((B, w) for w in widths)]
        if all:
            shapes += [*((T, B, w) for w in widths), (len(self.cell.gates), T, B, H)]
        return shapes


@cache
def _cell(text: str) -> Cell:
    return from_text(text)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _scan_cpu(*arguments: Any) -> list[Tensor]:
    *rest, keep, all = arguments
    scan = Scan(rest)
    if scan.x.dtype not in (torch.float32, torch.float64):
        return [*run_equations(scan, all), torch.zeros(1, dtype=torch.int64)]
    run = scan.forward(keep, all)
    arrays = [run.output, *run.state]
    if run.states is not None and run.gates is not None:
        arrays += [*run.states, np.stack([run.gates[g] for g in scan.cell.gates])]
    number = next(_numbers) if keep else 0
    tape = np.full(1, number, np.int64).view(_Tape)
    if run.tape is not None:
        tape.run = run.tape
        _tapes[number] = tape
    return [*map(torch.from_numpy, arrays), torch.from_numpy(tape)]


def _scan_elsewhere(*arguments: Any) -> list[Tensor]:
    *rest, _, all = arguments
    scan = Scan(rest)
    return [*run_equations(scan, all), torch.zeros(1, dtype=torch.int64, device=scan.x.device)]


def _scan_fake(*arguments: Any) -> list[Tensor]:
    *rest, _, all = arguments
    scan = Scan(rest)
    return [*(scan.x.new_empty(s) for s in scan.shapes(all)), scan.x.new_empty(1, dtype=torch.int64)]


def _backward_cpu(
    tape: Tensor, d_output: Tensor | None, d_state: list[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    scan = Scan(rest)
    if scan.x.dtype not in (torch.float32, torch.float64):
        return _backward_elsewhere(tape, d_output, d_state, want_x, *rest)
    owner = _tapes.get(int(tape))
    run = owner.run if owner is not None else scan.forward(keep=True).tape
    assert run is not None
    d = [None if g is None else _array(g) for g in d_state]
    got = engine.backward(run, None if d_output is None else _array(d_output), d, want_x=want_x)
    arrays = [
        got.x if got.x is not None else np.empty(0, scan.W.detach().numpy().dtype),
        *(a for _, a in got.weights.items()),
    ]
    return [torch.from_numpy(a) for a in (*arrays, *(got.state if scan.state else []))]


def _backward_elsewhere(
    tape: Tensor, d_output: Tensor | None, d_state: list[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    scan = Scan(rest)
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in scan.differentiable if t is not None]
        return [g.detach() for g in _gradients(_with(rest, leaves), leaves, d_output, d_state, create_graph=False)]


def _backward_fake(tape: Tensor, d_output: Any, d_state: Any, want_x: bool, *rest: Any) -> list[Tensor]:
    scan = Scan(rest)
    like = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in scan.differentiable if t is not None]
    return like if want_x else [scan.x.new_empty(0), *like[1:]]


def _with(rest: Sequence[Any], leaves: Sequence[Tensor]) -> list[Any]:
    """The operator's arguments with other tensors in the differentiable places."""
    arguments, given = list(rest), iter(leaves)
    for i in range(8):
        if i >= 6:
            arguments[i] = [next(given) for _ in arguments[i]]
        elif arguments[i] is not None:
            arguments[i] = next(given)
    return arguments


def _gradients(
    rest: Sequence[Any],
    leaves: Sequence[Tensor],
    d_output: Tensor | None,
    d_state: Sequence[Tensor | None],
    create_graph: bool,
) -> list[Tensor]:
    """Gradients in the leaves by torch's own differentiation of the equations."""
    results = run_equations(Scan(rest), all=False)
    pairs = [(r, d) for r, d in zip(results, [d_output, *d_state], strict=False) if d is not None]
    if not pairs:
        return [torch.zeros_like(t) for t in leaves]
    results, seeds = zip(*pairs, strict=True)
    found = torch.autograd.grad(results, leaves, seeds, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)]


class _ScanFunction(torch.autograd.Function):
    """First derivatives, by the operator's own backward."""

    @staticmethod
    def forward(ctx: Any, how: tuple[Any, ...], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        rest, all = how
        rest = _fill(rest, tensors)
        keep = any(ctx.needs_input_grad)
        with torch._C._AutoDispatchBelowAutograd():
            results = torch.ops.recurra.scan.default(*rest, keep, all)
        states = len(_cell(rest[10]).states)
        ctx.how = (rest[10:13], len(rest[6]), len(rest[7]), states)
        ctx.save_for_backward(results[-1], *rest[:6], *rest[6], *rest[7], *rest[8:10])
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*results[1 + states :])
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Any, ...]:
        how, parameters, state, states = ctx.how
        tape, *saved = ctx.saved_tensors
        rest = [*saved[:6], list(saved[6 : 6 + parameters]), list(saved[6 + parameters : 6 + parameters + state])]
        rest += [*saved[-2:], *how]
        want_x = ctx.needs_input_grad[1]
        found = iter(torch.ops.recurra.scan_backward.default(tape, d[0], list(d[1 : 1 + states]), want_x, *rest))
        gradients = [None if t is None else next(found) for t in Scan(rest).differentiable]
        wanted = ctx.needs_input_grad[1 : 1 + len(gradients)]
        return None, *(g if w else None for g, w in zip(gradients, wanted, strict=True)), None, None


def _fill(rest: Sequence[Any], tensors: Sequence[Tensor | None]) -> list[Any]:
    """The operator's arguments, with its tensors in their places again."""
    first, parameters, state = tensors[:6], len(rest[6]), len(rest[7])
    return [
        *first,
        list(tensors[6 : 6 + parameters]),
        list(tensors[6 + parameters : 6 + parameters + state]),
        *tensors[-2:],
        *rest[10:],
    ]


def _scan_autograd(*arguments: Any) -> list[Tensor]:
    *rest, keep, all = arguments
    scan = Scan(rest)
    tensors = [*scan.differentiable, scan.lengths, scan.reset]
    if not torch.is_grad_enabled() or not any(t is not None and t.requires_grad for t in tensors):
        with torch._C._AutoDispatchBelowAutograd():
            return torch.ops.recurra.scan.default(*rest, keep, all)
    return list(_ScanFunction.apply((rest, all), *tensors))


class _BackwardFunction(torch.autograd.Function):
    """Second derivatives: the gradient as torch operations, differentiated by torch."""

    @staticmethod
    def forward(
        ctx: Any, rest: Sequence[Any], want_x: bool, tape: Tensor, states: int, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        d, of_scan = tensors[: 1 + states], tensors[1 + states :]
        rest = _fill(rest, of_scan)
        ctx.rest, ctx.states = (
            [None] * 6 + [[None] * len(rest[6]), [None] * len(rest[7])] + [None, None, *rest[10:]],
            states,
        )
        ctx.save_for_backward(*tensors)
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(torch.ops.recurra.scan_backward.default(tape, d[0], list(d[1:]), want_x, *rest))

    @staticmethod
    def backward(ctx: Any, *dd: Tensor) -> tuple[Any, ...]:
        tensors, states = ctx.saved_tensors, ctx.states
        with torch.enable_grad():
            seeds = [None if t is None else t.detach().requires_grad_() for t in tensors[: 1 + states]]
            of_scan = tensors[1 + states :]
            rest = _fill(ctx.rest, of_scan)
            leaves = [t.detach().requires_grad_() for t in Scan(rest).differentiable if t is not None]
            first = _gradients(_with(rest, leaves), leaves, seeds[0], seeds[1:], create_graph=True)
            inputs = [s for s in seeds if s is not None] + leaves
            pairs = [(g, d) for g, d in zip(first, dd, strict=True) if g.requires_grad and d.numel() == g.numel()]
            grads: Sequence[Tensor | None] = [None] * len(inputs)
            if pairs:
                results, by = zip(*pairs, strict=True)
                grads = torch.autograd.grad(results, inputs, by, allow_unused=True)
        found = iter(grads)
        back = [None if t is None else next(found) for t in (*seeds, *Scan(rest).differentiable)]
        return None, None, None, None, *back, None, None


def _backward_autograd(tape: Tensor, d_output: Any, d_state: list[Any], want_x: bool, *rest: Any) -> list[Tensor]:
    scan = Scan(rest)
    tensors = [d_output, *d_state, *scan.differentiable, scan.lengths, scan.reset]
    if not torch.is_grad_enabled() or not any(t is not None and t.requires_grad for t in tensors):
        with torch._C._AutoDispatchBelowAutograd():
            return torch.ops.recurra.scan_backward.default(tape, d_output, d_state, want_x, *rest)
    return list(_BackwardFunction.apply(rest, want_x, tape, len(d_state), *tensors))


_library.impl("scan", _scan_cpu, "CPU")
_library.impl("scan", _scan_elsewhere, "CompositeExplicitAutograd")
_library.impl("scan", _scan_autograd, "Autograd")
_library.impl("scan_backward", _backward_cpu, "CPU")
_library.impl("scan_backward", _backward_elsewhere, "CompositeExplicitAutograd")
_library.impl("scan_backward", _backward_autograd, "Autograd")
torch.library.register_fake("recurra::scan", _scan_fake, lib=_library)
torch.library.register_fake("recurra::scan_backward", _backward_fake, lib=_library)
