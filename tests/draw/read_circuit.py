"""A reader of drawn circuits: computes what a picture of a cell says, from what is written in it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from recurra.cells import Cell
from recurra.draw.circuit import Part

ONE = {
    "$\\sigma$": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "relu": lambda a: max(a, 0.0),
    "softplus": lambda a: math.log1p(math.exp(-abs(a))) + max(a, 0.0),
    "exp": math.exp,
    "√": math.sqrt,
    "erf": math.erf,
    "|·|": abs,
    "elu": lambda a: a if a > 0 else math.expm1(a),
    "hard_sigmoid": lambda a: min(max(a / 6 + 0.5, 0.0), 1.0),
    "$\\Sigma$": lambda a: a,
}


class Unit:
    """One unit of a cell with one input: a number for each weight."""

    def __init__(self, cell: Cell, rng) -> None:
        self.cell = cell
        self.W = dict(zip(cell.input_gates, rng.normal(size=len(cell.input_gates)), strict=True))
        self.U = dict(zip(cell.recurrent_gates, rng.normal(size=len(cell.recurrent_gates)), strict=True))
        self.R = float(rng.normal())
        self.parameters = dict(zip(cell.parameters, rng.normal(size=len(cell.parameters)), strict=True))
        self.x = float(rng.normal())
        self.states = [float(s) for s in rng.normal(size=len(cell.states))]


def compute(parts: Sequence[Part], unit: Unit) -> list[float]:
    """The new states, as the picture has them."""
    values: list[float] = []
    results: dict[int, float] = {}
    for part in parts:
        values.append(_value(part, parts, values, unit))
        if part.kind == "result":
            results[part.state] = values[-1]
    return [results[k] for k in range(len(unit.cell.states))]


def _value(part: Part, parts: Sequence[Part], values: Sequence[float], unit: Unit) -> float:
    into = [values[i] for i in part.inputs if i >= 0]
    if part.kind == "source":
        return unit.x if part.state < 0 else unit.states[part.state]
    if part.kind == "leaf":
        return _leaf(part.text, unit)
    if part.kind == "join":
        return math.nan  # never read as a number
    if part.kind == "result":
        return into[0]
    if part.kind == "op":
        return sum(into) if part.text == "+" else math.prod(into)
    if part.kind == "unary":
        return _unary(part.text, into[0], unit)
    return _gate(part, parts, values, unit)


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _leaf(text: str, unit: Unit) -> float:
    if not text.startswith("$"):
        return _number(text)
    name = re.sub(r"\\mathrm\{([^{}]*)\}", r"\1", text.strip("$")).replace(r"\_", "_")
    return unit.parameters[re.sub(r"_\{([^{}]*)\}$", r".\1", name)]


def _unary(text: str, a: float, unit: Unit) -> float:
    if power := re.search(r"\$\(\\cdot\)\^\{(\d+)\}\$$", text):
        scale = text[: power.start()].removesuffix("× ").strip()
        return (_number(scale) if scale else 1.0) * a ** int(power[1])
    if text == "−":
        return -a
    if text.startswith(("+ ", "− ")):
        return a + (1 if text[0] == "+" else -1) * _number(text[2:])
    left, sign = text.rsplit(" ", 1)
    scale = _leaf(left, unit)
    return {"−": scale - a, "×": scale * a, "/": scale / a if a else math.nan}[sign]


def _weighted(part: Part, parts: Sequence[Part], values: Sequence[float], unit: Unit) -> float:
    """The sum that goes into a gate with a name: sources with the weights of its gates, all else as it is."""
    gates, total = part.tag.split(", "), 0.0
    flat = [j for i in part.inputs for j in (parts[i].inputs if parts[i].kind == "join" else [i])]
    for i in flat:
        source = parts[i]
        if source.kind != "source":
            total += values[i]
        elif source.state < 0:
            total += sum(unit.W[g] for g in gates if g in unit.W) * unit.x
        else:
            state = unit.cell.states[source.state]
            own = [g for g in gates if g in unit.U and unit.cell.operands[g]._value == state]
            total += sum(unit.U[g] for g in own) * values[i]
    return total


def _gate(part: Part, parts: Sequence[Part], values: Sequence[float], unit: Unit) -> float:
    into = [values[i] if i >= 0 else math.nan for i in part.inputs]
    if part.ports:
        a, b, yes, no = (
            _number(port.split()[1]) if i < 0 else v for port, i, v in zip(part.ports, part.inputs, into, strict=True)
        )
        return yes if a > b else no
    if part.text in ("$W$", "$U$", "$R$"):
        return {"$W$": unit.W, "$U$": unit.U, "$R$": {"": unit.R}}[part.text][part.tag] * into[0]
    word, *numbers = part.text.split(" ", 1)
    constants = [_number(n) for n in re.split("…|, ", numbers[0])] if numbers else []
    if word in ("max", "min"):
        return (max if word == "max" else min)([*into, *constants])
    if word == "clip":
        return min(max(into[0], constants[0]), constants[1])
    return ONE[part.text](_weighted(part, parts, values, unit) if part.tag else into[0])
