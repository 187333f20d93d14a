"""A cell's run over a batch, on the engine, which takes torch's tensors by their addresses."""

# ruff: noqa: A002  (`all` is the operator's)

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from recurra import _native, engine
from recurra.cells.cell import Cell
from recurra.cells.trace import from_text
from recurra.checks import check_lengths
from recurra.errors import ShapeError
from recurra.weights import Weights


class How:
    """How an operator runs: the cell, what it is given besides the weights, the direction, what is kept, and whether
    final states come as the stack of a single layer."""

    def __init__(self, text: str, parameters: int, states: int, reverse: bool, every: int, stacked: bool) -> None:
        self.text, self.reverse, self.every, self.stacked = text, reverse, every, stacked
        self.cell = cell_of(text)
        self.first_state, self.end = 6 + parameters, 6 + parameters + states  # where tensors stand in a row of them
        self.states = len(self.cell.states)


how_of = cache(How)


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
        parameters, state = (given or () for given in arguments[6:8])  # AOTInductor gives None for an empty list
        tensors = (*arguments[:6], *parameters, *state, *arguments[8:10])
        return cls(how_of(arguments[10], len(parameters), len(state), *arguments[11:14]), tensors)

    @property
    def arguments(self) -> list[Any]:
        """The arguments as the operator's schema has them."""
        first, how = self.tensors[:6], self.how
        last = self.tensors[-2:]
        return [*first, [*self.parameters], [*self.state], *last, how.text, how.reverse, how.every, how.stacked]

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

    def prepared(self) -> tuple[Plan, list[Tensor | None]]:
        """The tensors as the engine takes them, and how it runs them.

        Raises:
            ShapeError, DtypeError: a tensor does not fit.
        """
        tensors = [t if t is None or t.is_contiguous() else t.contiguous() for t in self.tensors]
        if self.lengths is not None:
            ends = check_lengths(f"forward of {self.cell.name}", self.lengths.numpy(), *self.x.shape[:2])
            tensors[-2] = torch.from_numpy(ends)
        key = (self.how, *[t if t is None else (t.shape, t.dtype) for t in tensors])
        plan = _plans.get(key)
        if plan is None:
            plan = Plan(self, tensors)
            if len(_plans) >= MOST_PLANS:
                _plans.clear()
            _plans[key] = plan
        return plan, tensors

    def forward(self, keep: bool, all: bool = False) -> tuple[list[Tensor], Run | None]:
        """Run it on the engine."""
        plan, tensors = self.prepared()
        x = tensors[0]
        results = [_new(shape, plan.single) for shape in plan.results]
        steps = [_new(shape, plan.single) for shape in plan.steps] if all else []
        if all:
            gates, T, B, H = plan.steps[-1]
            steps[-1] = _new((T, B, gates, H), plan.single)
        run = Run(plan, engine.tape(), None if x is self.x else x) if keep else None
        threads = engine.threads_for(self.x.shape[1])
        plan.call.forward(_addresses(tensors), _addresses(results + steps), threads, run and run.tape)
        if all:
            steps[-1] = steps[-1].permute(2, 0, 1, 3).contiguous()
        return results + steps, run

    def backward(
        self, run: Run | None, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool
    ) -> list[Tensor]:
        """The gradients, in the order of `differentiable`; forward is run again where nothing is left of it."""
        scan = self if run is None or run.x is None else Scan(self.how, (run.x, *self.tensors[1:]))
        plan, tensors = scan.prepared()
        if run is None or run.plan is not plan:
            run = scan.forward(keep=True)[1]
            assert run is not None
        incoming = [
            None if d is None else _checked(plan, name, d, self.x.dtype, shape)
            for name, d, shape in zip(("output", *self.cell.states), (d_output, *d_state), plan.results, strict=False)
        ]
        shapes = plan.gradients if want_x else [(0,), *plan.gradients[1:]]
        found = [None if shape is None else _new(shape, plan.single) for shape in shapes]
        plan.call.backward(_addresses(tensors), _addresses(incoming), _addresses(found), run.tape)
        return [g for g in found if g is not None]

    def shapes(self, all: bool) -> list[tuple[int, ...]]:
        """The shapes of what the operator returns, but for the tape."""
        T, B, _ = self.x.shape
        rows = (1, B) if self.how.stacked else (B,)
        shapes: list[tuple[int, ...]] = [(T, B, self.widths[0]), *((*rows, w) for w in self.widths)]
        if all:
            shapes += [*((T, B, w) for w in self.widths), (len(self.cell.gates), T, B, self.hidden_size)]
        return shapes


class Plan:
    """Checked once: how the engine runs a cell on tensors of some shapes and dtypes."""

    def __init__(self, scan: Scan, tensors: Sequence[Tensor | None]) -> None:
        how = scan.how
        x, W, U, b, c, R, *rest = (None if t is None else t.detach().numpy() for t in tensors)
        parameters, state = rest[: how.first_state - 6], rest[how.first_state - 6 : -2]
        weights: Any = Weights(W, U, b, c, R, dict(zip(how.cell.parameters, parameters, strict=True)))  # type: ignore[arg-type]
        begin: Any = state or None
        self.call = engine.call(how.cell, weights, x, begin, rest[-2], rest[-1], how.reverse, how.every)  # type: ignore[arg-type]
        self.name, self.results = how.cell.name, scan.shapes(all=False)
        self.steps = scan.shapes(all=True)[len(self.results) :]
        self.gradients: list[tuple[int, ...] | None] = [None if t is None else tuple(t.shape) for t in tensors[:-2]]
        self.single = scan.x.dtype == torch.float32


@dataclass
class Run:
    """What a forward run keeps for backward, beside the tensors that it was given."""

    plan: Plan
    tape: Any
    x: Tensor | None  # a contiguous copy, where one was made


@cache
def cell_of(text: str) -> Cell:
    """The cell of a text form; each is read once."""
    return from_text(text)


_plans: dict[Any, Plan] = {}
MOST_PLANS = 1024
atexit.register(_plans.clear)  # torch keeps this module alive longer than the native one can wait


def _new(shape: Sequence[int], single: bool) -> Tensor:
    """A tensor of undefined contents, in memory that earlier calls have left: torch would ask the system for fresh
    pages in every step."""
    tensor: Tensor = from_dlpack(_native.block(shape, single))
    return tensor


def _addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if t is None else t.data_ptr() for t in tensors]


def _checked(plan: Plan, name: str, d: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A gradient as the engine takes it."""
    if d.shape != shape or d.dtype != dtype:
        raise ShapeError(
            f"backward of {plan.name}: the gradient of {name} has shape {tuple(d.shape)} and dtype {d.dtype}, "
            f"expected {shape} and {dtype}, as it has itself"
        )
    return d if d.is_contiguous() else d.contiguous()
