"""The operator's implementations: on the engine where it has a kernel, as equations elsewhere, as shapes while tracing.

What backward needs stays in native memory, owned by the `tape` output: a one-number tensor that only names it. Where
that tensor was copied or stored and its owner is gone, the forward run is done again.
"""

# ruff: noqa: A001, A002  (`input` is torch's name for it, `all` is the operator's)

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
from recurra.cells.cell import Cell
from recurra.cells.trace import from_text
from recurra.errors import ShapeError
from recurra.torch.equations import run_equations
from recurra.weights import Weights

NATIVE_DTYPES = (torch.float32, torch.float64)

_tapes: WeakValueDictionary[int, _Tape] = WeakValueDictionary()
_numbers = itertools.count(1)


class _Tape(np.ndarray[Any, Any]):
    """The array under a tape tensor; the tensor's storage keeps it alive, and it the native memory."""

    run: engine.Tape


class How:
    """How an operator runs: the cell, what it is given besides the weights, the direction, and what is kept."""

    def __init__(self, text: str, parameters: int, states: int, reverse: bool, every: int) -> None:
        self.text, self.reverse, self.every = text, reverse, every
        self.cell = cell_of(text)
        self.first_state, self.end = 6 + parameters, 6 + parameters + states  # where tensors stand in a row of them


how = cache(How)


class Scan:
    """An operator's arguments, taken apart.

    As a row of tensors they are x, W, U, b, c, R, the parameters, the states, lengths and reset: what has a gradient,
    in the order in which backward returns it, and then the last two.
    """

    def __init__(self, how: How, tensors: Sequence[Tensor | None]) -> None:
        self.how, self.tensors, self.cell = how, tensors, how.cell
        given: Sequence[Any] = tensors
        self.x, self.W, self.U, self.b, self.c, self.R = given[:6]
        self.parameters, self.state = given[6 : how.first_state], given[how.first_state : how.end]
        self.lengths, self.reset = given[-2:]
        self.reverse = how.reverse

    @classmethod
    def of(cls, arguments: Sequence[Any]) -> Scan:
        """From the arguments as the operator's schema has them."""
        parameters, state = arguments[6:8]
        tensors = (*arguments[:6], *parameters, *state, *arguments[8:10])
        return cls(how(arguments[10], len(parameters), len(state), *arguments[11:13]), tensors)

    @property
    def arguments(self) -> list[Any]:
        """The arguments as the operator's schema has them."""
        first, how = self.tensors[:6], self.how
        return [*first, list(self.parameters), list(self.state), *self.tensors[-2:], how.text, how.reverse, how.every]

    @property
    def differentiable(self) -> Sequence[Tensor | None]:
        """What has a gradient."""
        return self.tensors[:-2]

    def with_leaves(self, leaves: Sequence[Tensor]) -> Scan:
        """The same with other tensors in place of those that have a gradient."""
        given = iter(leaves)
        return Scan(
            self.how, [None if t is None else next(given) for t in self.differentiable] + list(self.tensors[-2:])
        )

    @property
    def hidden_size(self) -> int:
        """H, wherever it can be read."""
        wide: Tensor = self.U if self.R is None else self.R
        return wide.shape[1]

    @property
    def widths(self) -> list[int]:
        """The width of each state."""
        return [self.U.shape[1], *([self.hidden_size] * (len(self.cell.states) - 1))]

    def forward(self, keep: bool, all: bool = False) -> engine.Forward:
        """Run it on the engine."""
        parameters = {n: _array(p) for n, p in zip(self.cell.parameters, self.parameters, strict=True)}
        projection = None if self.R is None else _array(self.R)
        return engine.forward(
            self.cell,
            Weights(_array(self.W), _array(self.U), _array(self.b), _array(self.c), projection, parameters),
            _array(self.x),
            [_array(s) for s in self.state] or None,
            lengths=None if self.lengths is None else _array(self.lengths),
            reset=None if self.reset is None else _array(self.reset),
            reverse=self.reverse,
            keep=keep,
            checkpoint_every=self.how.every or None if keep else None,
            return_states=all,
            return_gates=all,
        )

    def shapes(self, all: bool) -> list[tuple[int, ...]]:
        """The shapes of what the operator returns, but for the tape."""
        T, B, _ = self.x.shape
        shapes: list[tuple[int, ...]] = [(T, B, self.widths[0]), *((B, w) for w in self.widths)]
        if all:
            shapes += [*((T, B, w) for w in self.widths), (len(self.cell.gates), T, B, self.hidden_size)]
        return shapes


@cache
def cell_of(text: str) -> Cell:
    """The cell of a text form; each is read once."""
    return from_text(text)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def scan_cpu(*arguments: Any) -> list[Tensor]:
    """Forward on the CPU: output, final states, with `all` also states and gates of every step, and the tape."""
    *rest, keep, all = arguments
    return run_cpu(Scan.of(rest), keep, all)


def run_cpu(scan: Scan, keep: bool, all: bool) -> list[Tensor]:
    """`scan_cpu` with its arguments taken apart."""
    if scan.x.dtype not in NATIVE_DTYPES:
        _check_lengths(scan)
        return _run_equations(scan, all)
    run = scan.forward(keep, all)
    results = [torch.from_numpy(run.output), *map(torch.from_numpy, run.state)]
    if run.states is not None and run.gates is not None:
        results += map(torch.from_numpy, [*run.states, np.stack([run.gates[g] for g in scan.cell.gates])])
    tape = _Tape(1, np.int64)
    tape[0] = number = 0 if run.tape is None else next(_numbers)
    if run.tape is not None:
        tape.run = run.tape
        _tapes[number] = tape
    results.append(torch.from_numpy(tape))
    return results


def _check_lengths(scan: Scan) -> None:
    """As the engine does; not on other devices, which would have to wait for the answer."""
    ends, T = scan.lengths, scan.x.shape[0]
    if ends is not None and len(ends) and (ends.min() < 0 or ends.max() > T):
        raise ShapeError(
            f"forward of {scan.cell.name}: `lengths` go from {ends.min()} to {ends.max()}, "
            f"expected 0 to {T}, the steps of x"
        )


def scan_elsewhere(*arguments: Any) -> list[Tensor]:
    """Forward as torch operations, on any device and in any dtype."""
    *rest, _, all = arguments
    return _run_equations(Scan.of(rest), all)


def _run_equations(scan: Scan, all: bool) -> list[Tensor]:
    return [*run_equations(scan, all), torch.zeros(1, dtype=torch.int64, device=scan.x.device)]


def scan_fake(*arguments: Any) -> list[Tensor]:
    """The shapes of forward, for tracers and the meta device."""
    *rest, _, all = arguments
    scan = Scan.of(rest)
    return [*(scan.x.new_empty(s) for s in scan.shapes(all)), scan.x.new_empty(1, dtype=torch.int64)]


def backward_cpu(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    """The gradients on the CPU, in the order of `Scan.differentiable`; an empty one for x where it is not wanted."""
    return run_backward_cpu(tape, d_output, d_state, want_x, Scan.of(rest))


def run_backward_cpu(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, scan: Scan
) -> list[Tensor]:
    """`backward_cpu` with its arguments taken apart."""
    if scan.x.dtype not in NATIVE_DTYPES:
        return _differentiate(d_output, d_state, want_x, scan)
    owner = _tapes.get(int(tape))
    run = owner.run if owner is not None else scan.forward(keep=True).tape
    assert run is not None
    d = [None if g is None else _array(g) for g in d_state]
    got = engine.backward(run, None if d_output is None else _array(d_output), d, want_x=want_x)
    arrays = [np.empty(0, run.x.dtype) if got.x is None else got.x, *(a for _, a in got.weights.items())]
    if scan.state:
        arrays += got.state
    return [torch.from_numpy(a) for a in arrays]


def backward_elsewhere(
    tape: Tensor, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, *rest: Any
) -> list[Tensor]:
    """The gradients by torch's own differentiation of the equations."""
    return _differentiate(d_output, d_state, want_x, Scan.of(rest))


def _differentiate(d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool, scan: Scan) -> list[Tensor]:
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in scan.differentiable if t is not None]
        found = [g.detach() for g in gradients(scan.with_leaves(leaves), leaves, d_output, d_state)]
    return found if want_x else [scan.x.new_empty(0), *found[1:]]


def backward_fake(tape: Tensor, d_output: Any, d_state: Any, want_x: bool, *rest: Any) -> list[Tensor]:
    """The shapes of the gradients."""
    scan = Scan.of(rest)
    like = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in scan.differentiable if t is not None]
    return like if want_x else [scan.x.new_empty(0), *like[1:]]


def gradients(
    scan: Scan,
    leaves: Sequence[Tensor],
    d_output: Tensor | None,
    d_state: Sequence[Tensor | None],
    create_graph: bool = False,
) -> list[Tensor]:
    """The gradients in the leaves, as torch differentiates the equations."""
    results = run_equations(scan, all=False)
    pairs = [(r, d) for r, d in zip(results, [d_output, *d_state], strict=False) if d is not None and r.requires_grad]
    if not pairs:
        return [torch.zeros_like(t) for t in leaves]
    values, seeds = zip(*pairs, strict=True)
    found = torch.autograd.grad(values, leaves, seeds, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)]
