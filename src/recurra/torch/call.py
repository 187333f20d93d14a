"""A cell's run over a batch, on the engine, which takes torch's tensors by their addresses."""

# ruff: noqa: A002  (`all` is the operator's)

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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


class Options:
    """How an operator runs: the cell, what it is given besides the weights, the direction, what is kept, and whether
    final states come as the stack of a single layer."""

    def __init__(self, text: str, parameters: int, states: int, reverse: bool, every: int, stacked: bool) -> None:
        self.text, self.reverse, self.every, self.stacked = text, reverse, every, stacked
        self.cell = cell_of(text)
        self.first_state, self.end = 6 + parameters, 6 + parameters + states  # where tensors stand in a row of them
        self.states = len(self.cell.states)


options_of = lru_cache(maxsize=1024)(Options)


class Call:
    """An operator's arguments, taken apart.

    As a row of tensors they are x, W, U, b, c, R, the parameters, the states, lengths and reset: what has a gradient,
    in the order in which backward returns it, and then the last two.
    """

    def __init__(self, options: Options, tensors: Sequence[Tensor | None]) -> None:
        self.options, self.tensors, self.cell = options, tensors, options.cell
        given: Sequence[Any] = tensors
        self.x, self.W, self.U, self.b, self.c, self.R = given[:6]
        self.parameters, self.state = given[6 : options.first_state], given[options.first_state : options.end]
        self.lengths, self.reset = given[-2:]
        self.reverse = options.reverse

    @classmethod
    def of(cls, arguments: Sequence[Any]) -> Call:
        """From the arguments as the operator's schema has them."""
        parameters, state = (given or () for given in arguments[6:8])  # AOTInductor gives None for an empty list
        tensors = (*arguments[:6], *parameters, *state, *arguments[8:10])
        return cls(options_of(arguments[10], len(parameters), len(state), *arguments[11:14]), tensors)

    @property
    def arguments(self) -> list[Any]:
        """The arguments as the operator's schema has them."""
        first, options = self.tensors[:6], self.options
        last = self.tensors[-2:]
        return [
            *first,
            [*self.parameters],
            [*self.state],
            *last,
            options.text,
            options.reverse,
            options.every,
            options.stacked,
        ]

    @property
    def differentiable(self) -> Sequence[Tensor | None]:
        """What has a gradient."""
        return self.tensors[:-2]

    def with_leaves(self, leaves: Sequence[Tensor]) -> Call:
        """The same with other tensors in place of those that have a gradient."""
        given = iter(leaves)
        return Call(
            self.options, [None if t is None else next(given) for t in self.differentiable] + list(self.tensors[-2:])
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

    def checked(self, gradient: bool = True) -> tuple[Checked, list[Tensor | None]]:
        """The tensors as the engine takes them, and how it runs them, with what a gradient needs or without.

        Raises:
            ShapeError, DtypeError: a tensor does not fit.
        """
        tensors = [t if t is None or t.is_contiguous() else t.contiguous() for t in self.tensors]
        if self.lengths is not None:
            ends = check_lengths(f"forward of {self.cell.name}", self.lengths.numpy(), *self.x.shape[:2])
            tensors[-2] = torch.from_numpy(ends)
        key = (self.options, gradient, *[t if t is None else (t.shape, t.dtype) for t in tensors])
        checked = _checked.get(key)
        if checked is None:
            checked = Checked(self, tensors, gradient)
            if len(_checked) >= MOST_CHECKED:
                _checked.clear()
            _checked[key] = checked
        return checked, tensors

    def forward(self, keep: bool, all: bool = False) -> tuple[list[Tensor], Saved | None]:
        """Run it on the engine."""
        checked, tensors = self.checked(keep or all)
        x = tensors[0]
        results = [_new(shape, checked.f32) for shape in checked.results]
        steps = [_new(shape, checked.f32) for shape in checked.steps] if all else []
        if all:
            gates, T, B, H = checked.steps[-1]
            steps[-1] = _new((T, B, gates, H), checked.f32)
        saved = Saved(checked, engine.tape(), None if x is self.x else x) if keep else None
        threads = engine.threads_for(self.x.shape[1])
        checked.engine.forward(_addresses(tensors), _addresses(results + steps), threads, saved and saved.tape)
        if all:
            steps[-1] = steps[-1].permute(2, 0, 1, 3).contiguous()
        return results + steps, saved

    def backward(
        self, saved: Saved | None, d_output: Tensor | None, d_state: Sequence[Tensor | None], want_x: bool
    ) -> list[Tensor]:
        """The gradients, in the order of `differentiable`; forward is run again where nothing is left of it."""
        call = self if saved is None or saved.x is None else Call(self.options, (saved.x, *self.tensors[1:]))
        checked, tensors = call.checked()
        if saved is None or saved.checked is not checked:
            saved = call.forward(keep=True)[1]
            assert saved is not None
        incoming = [
            None if d is None else _gradient(checked, name, d, self.x.dtype, shape)
            for name, d, shape in zip(
                ("output", *self.cell.states), (d_output, *d_state), checked.results, strict=False
            )
        ]
        shapes = checked.gradients if want_x else [(0,), *checked.gradients[1:]]
        found = [None if shape is None else _new(shape, checked.f32) for shape in shapes]
        checked.engine.backward(_addresses(tensors), _addresses(incoming), _addresses(found), saved.tape)
        return [g for g in found if g is not None]

    def shapes(self, all: bool) -> list[tuple[int, ...]]:
        """The shapes of what the operator returns, but for the tape."""
        T, B, _ = self.x.shape
        rows = (1, B) if self.options.stacked else (B,)
        shapes: list[tuple[int, ...]] = [(T, B, self.widths[0]), *((*rows, w) for w in self.widths)]
        if all:
            shapes += [*((T, B, w) for w in self.widths), (len(self.cell.gates), T, B, self.hidden_size)]
        return shapes


class Checked:
    """How the engine runs a cell on tensors of some shapes and dtypes, checked once."""

    def __init__(self, call: Call, tensors: Sequence[Tensor | None], gradient: bool) -> None:
        options = call.options
        x, W, U, b, c, R, *rest = (None if t is None else t.detach().numpy() for t in tensors)
        parameters, state = rest[: options.first_state - 6], rest[options.first_state - 6 : -2]
        weights: Any = Weights(W, U, b, c, R, dict(zip(options.cell.parameters, parameters, strict=True)))  # type: ignore[arg-type]
        begin: Any = state or None
        how = (options.reverse, options.every, gradient)
        self.engine = engine.call(options.cell, weights, x, begin, rest[-2], rest[-1], *how)  # type: ignore[arg-type]
        self.name, self.results = options.cell.name, call.shapes(all=False)
        self.steps = call.shapes(all=True)[len(self.results) :]
        self.gradients: list[tuple[int, ...] | None] = [None if t is None else tuple(t.shape) for t in tensors[:-2]]
        self.f32 = call.x.dtype == torch.float32


@dataclass
class Saved:
    """What a forward run keeps for backward, beside the tensors that it was given."""

    checked: Checked
    tape: Any
    x: Tensor | None  # a contiguous copy, where one was made


@lru_cache(maxsize=256)
def cell_of(text: str) -> Cell:
    """The cell of a text form; the last ones are held."""
    return from_text(text)


_checked: dict[Any, Checked] = {}
MOST_CHECKED = 1024
atexit.register(_checked.clear)  # torch keeps this module alive longer than the native one can wait


def _new(shape: Sequence[int], f32: bool) -> Tensor:
    """A tensor of undefined contents, in memory that earlier calls have left: torch would ask the system for fresh
    pages in every step."""
    tensor: Tensor = from_dlpack(_native.block(shape, f32))
    return tensor


def _addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if t is None else t.data_ptr() for t in tensors]


def _gradient(checked: Checked, name: str, d: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A gradient as the engine takes it."""
    if d.shape != shape or d.dtype != dtype:
        raise ShapeError(
            f"backward of {checked.name}: the gradient of {name} has shape {tuple(d.shape)} and dtype {d.dtype}, "
            f"expected {shape} and {dtype}, as it has itself"
        )
    return d if d.is_contiguous() else d.contiguous()
