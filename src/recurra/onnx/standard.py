"""Which cells are the standard's own: the attributes of the node RNN, LSTM or GRU that has a cell's equations."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from recurra.cells import Cell
from recurra.cells.symbols import walk
from recurra.onnx.cells import GATES, PEEPHOLES, Variant, equations_of, variants
from recurra.onnx.graph import Value
from recurra.weights import Weights


class Match(NamedTuple):
    """A variant with a cell's equations, and the cell's name for each of the variant's gates and parameters."""

    variant: Variant
    names: dict[str, str]


def match(cell: Cell) -> Match | None:
    """The standard node whose equations a cell has, whatever its gates are called; None where there is none."""
    equations, names = _normal(cell)
    found = _known().get(equations)
    return None if found is None else Match(found[0], dict(zip(found[1], names, strict=True)))


def attributes(variants: tuple[Variant, ...]) -> dict[str, Any]:
    """The attributes of a node with these variants as its directions."""
    first = variants[0]
    activations = [a.name for variant in variants for a in variant.activations]
    found: dict[str, Any] = {"activations": activations}
    if first.reset_after:
        found["linear_before_reset"] = 1
    if first.coupled:
        found["input_forget"] = 1
    return found


def arrays(cell: Cell, weights: Weights, found: Match) -> dict[str, Value]:
    """W, R, B and P of one direction, as ONNX stacks them; a gate that the cell does not have is zero."""
    H = weights.hidden_size

    def stack(array: Value, own: tuple[str, ...]) -> Value:
        zero = np.zeros((H, *array.shape[1:]), array.dtype)
        rows = [found.names.get(gate, "") for gate in GATES[found.variant.op]]
        return np.concatenate([array[own.index(g) * H :][:H] if g in own else zero for g in rows])

    inputs, recurrent = cell.input_gates, cell.recurrent_gates
    stacked = {"W": stack(weights.W, inputs), "R": stack(weights.U, recurrent)}
    stacked["B"] = np.concatenate([stack(weights.b, inputs), stack(weights.c_, recurrent)])
    if found.variant.peepholes:
        zero = np.zeros(H, weights.W.dtype)
        named = [found.names.get(f"p.{gate}", "") for gate in PEEPHOLES]
        stacked["P"] = np.concatenate([weights.parameters.get(p, zero) for p in named])
    return stacked


def _normal(cell: Cell) -> tuple[str, list[str]]:
    """The equations with gates, states and parameters numbered as they come; and their names in that order."""
    numbers: dict[Any, int] = {}
    names: dict[str, str] = {}
    lines: list[str] = []
    for n in walk(cell.next):
        arguments = [numbers[a] for a in n._args]
        value = n._value
        if n._op == "state":
            value = cell.states.index(value)
        elif n._op in ("input", "product", "param"):
            value = names.setdefault(value, f"{'p' if n._op == 'param' else 'g'}{len(names)}")
        numbers[n] = len(lines)
        lines.append(f"{n._op} {value} {arguments}")
    ends = [numbers[n] for n in cell.next]
    return "\n".join([*lines, f"{len(cell.states)} {ends} {cell.projection is not None}"]), list(names)


@cache
def _known() -> dict[str, tuple[Variant, list[str]]]:
    found = {}
    for variant in variants():
        equations, names = _normal(equations_of(variant))
        found[equations] = (variant, names)
    return found
