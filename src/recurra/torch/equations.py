"""A cell over time as torch operations: for devices and dtypes without a native kernel, and for second derivatives."""

# ruff: noqa: A002  (`input` is torch's name for it, `all` is the operator's)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import elu, linear

from recurra.cells.symbols import Node, walk

if TYPE_CHECKING:
    from recurra.torch.call import Call

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "abs": torch.abs,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "sqrt": torch.sqrt,
    "erf": torch.erf,
    "relu": torch.relu,
    "softplus": lambda a: torch.logaddexp(a, torch.zeros_like(a)),
    "elu": elu,
    "hard_sigmoid": lambda a: torch.clamp(a / 6 + 0.5, 0.0, 1.0),  # torch's own divides by 6 in float32 only
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "clip": torch.clamp,
    "gt": torch.gt,
    "where": torch.where,
}
_OF_TENSORS = {"maximum", "minimum"}


def run_equations(call: Call, all: bool) -> list[Tensor]:
    """Output, final states and, with `all`, the states and gates of every step, as the operator returns them."""
    cell, x = call.cell, call.x
    T, B, _ = x.shape
    H, P, widths = call.hidden_size, call.U.shape[1], call.widths
    if call.lengths is not None:  # past a row's end nothing is read: a NaN there would survive a gradient of zero
        inside = torch.arange(T, device=x.device)[:, None] < call.lengths
        x = torch.where(inside[..., None], x, 0)
    states = list(call.state) or [x.new_zeros(B, w) for w in widths]
    order = _order_of_steps(call, T, B)
    projected = linear(x, call.W, call.b)
    inputs = {g: projected[..., i * H : (i + 1) * H] for i, g in enumerate(cell.input_gates)}
    steps: list[list[Tensor]] = []
    for s in range(T):
        at = {g: _rows(v, s, order) for g, v in inputs.items()}
        before = states
        if call.reset is not None:
            fresh = _rows(call.reset, s, order)[:, None]
            before = [torch.where(fresh, torch.zeros_like(h), h) for h in states]
        values = _step(call, at, before, H)
        new = [values[n] for n in cell.next]
        gates = [values[n] for n in cell.gate_values.values()] if all else []
        if call.lengths is not None:
            runs = (call.lengths > s)[:, None]
            states = [torch.where(runs, n, h) for n, h in zip(new, states, strict=True)]
            new, gates = ([torch.where(runs, n, torch.zeros_like(n)) for n in group] for group in (new, gates))
        else:
            states = new
        steps.append([*(new if all else new[:1]), *gates])
    stacked = [_back(torch.stack(column), order) for column in zip(*steps, strict=True)]
    if not stacked:
        shapes = [*widths, *([H] * len(cell.gates))] if all else [P]
        stacked = [x.new_zeros(0, B, w) for w in shapes]
    results = [stacked[0], *(s.unsqueeze(0).clone() if call.options.stacked else s.clone() for s in states)]
    if all:
        gates = stacked[len(widths) :]
        together = torch.stack(gates) if gates else x.new_zeros(0, *stacked[0].shape[:2], H)
        results += [*(s.clone() for s in stacked[: len(widths)]), together]
    return results


def _order_of_steps(call: Call, T: int, B: int) -> Tensor | None:
    """[T, B], which step of each row is read as the s-th; None: the s-th itself."""
    if not call.reverse:
        return None
    steps = torch.arange(T, device=call.x.device)[:, None]
    ends = torch.full((B,), T, device=call.x.device) if call.lengths is None else call.lengths
    return (ends[None] - 1 - steps) % max(T, 1)  # past its end a row reads its padding, which is then thrown away


def _rows(array: Tensor, s: int, order: Tensor | None) -> Tensor:
    return array[s] if order is None else array[order[s], torch.arange(array.shape[1], device=array.device)]


def _back(stacked: Tensor, order: Tensor | None) -> Tensor:
    """From the order of reading to the order of time; the map is its own inverse."""
    return stacked if order is None else stacked.gather(0, order[..., None].expand_as(stacked))


def _step(call: Call, inputs: dict[str, Tensor], states: Sequence[Tensor], H: int) -> dict[Node, Any]:
    cell = call.cell
    values: dict[Node, Any] = {}
    for n in walk(cell.next):
        arguments = [values[a] for a in n._args]
        if n._op == "const":
            values[n] = n._value
        elif n._op == "state":
            values[n] = states[cell.states.index(n._value)]
        elif n._op == "param":
            values[n] = call.parameters[cell.parameters.index(n._value)].expand(call.x.shape[1], H)
        elif n._op == "input":
            values[n] = inputs[n._value]
        elif n is cell.projection:
            values[n] = linear(arguments[0], call.R)
        elif n._op == "product":
            i = cell.recurrent_gates.index(n._value)
            values[n] = linear(arguments[0], call.U[i * H : (i + 1) * H], call.c[i * H : (i + 1) * H])
        else:
            values[n] = _apply(n._op, arguments)
    like = call.x.new_zeros(call.x.shape[1], H)
    return {n: v if isinstance(v, Tensor) else torch.full_like(like, v) for n, v in values.items()}


def _apply(op: str, arguments: list[Any]) -> Any:
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    if op in _OF_TENSORS or (op not in ("add", "sub", "mul", "div", "gt", "clip", "where") and not tensors):
        like = tensors[0] if tensors else torch.zeros(())
        arguments = [a if isinstance(a, Tensor) else torch.full_like(like, a) for a in arguments]
    if op in ("add", "sub", "mul", "div") and not isinstance(arguments[0], Tensor):
        arguments = (
            [torch.full_like(tensors[0], arguments[0]), *arguments[1:]]
            if tensors
            else [torch.tensor(a) for a in arguments]
        )
    return _OPERATIONS[op](*arguments)
