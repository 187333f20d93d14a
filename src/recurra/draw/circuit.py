"""From a cell's equations to what a picture of it shows: gates, operations, and the wires between them.

Sums and products of several terms become one part; the sum that an activation takes goes into the activation's box; a
product with weights is a box only where no activation takes it at once: wires from the input and from states into a
gate with a name carry weights, all other wires carry what they are. `a - b` is a + (-b) and `a / b` is a * (1/b),
so that in what is left the order of the wires does not matter.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from recurra import formatting
from recurra.cells.cell import Cell
from recurra.cells.printing import latex_name
from recurra.cells.symbols import Node, walk

_SYMBOLS = {"sigmoid": r"$\sigma$", "abs": "|·|", "sqrt": "√", "maximum": "max", "minimum": "min", "product": "U"}
_LINEAR = ("input", "product")


@dataclass
class Part:
    """One part of a circuit.

    Attributes:
        kind: `source` (a state before the step, or the input), `leaf` (a parameter or number), `join` (several values
            side by side), `gate`, `op` (+ or ×), `unary` (an operation with a number or parameter), `result`.
        text: what is written on it.
        tag: the gate's name.
        inputs: the parts whose values it takes.
        ports: what is written beside each input, where their order matters.
        state: the index of the state that it is before (`source`) or after (`result`) the step; -1: none.
    """

    kind: str
    text: str
    tag: str = ""
    inputs: list[int] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    state: int = -1


def circuit_of(cell: Cell) -> list[Part]:
    """The parts of a cell; a part comes after those whose values it takes.

    >>> from recurra.cells import rnn
    >>> [(part.kind, part.text, part.inputs) for part in circuit_of(rnn)]  # doctest: +NORMALIZE_WHITESPACE
    [('source', '$h_{t-1}$', []), ('source', '$x_t$', []), ('gate', 'tanh', [1, 0]), ('result', '$h_t$', [2])]
    """
    return _joined(_Builder(cell).parts)


class _Builder:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.parts: list[Part] = []
        self.made: dict[Node | str, int] = {}
        order = walk(cell.next)
        self.uses = Counter([a for n in order for a in n._args] + list(cell.next))
        self.tags: dict[Node, str] = {}
        for gate, n in cell.gate_values.items():
            self.tags[n] = f"{self.tags[n]}, {gate}" if n in self.tags else gate
        read = {n for n in order if n._op == "state"}
        for k, state in reversed(list(enumerate(cell.states))):
            for own in (n for n in read if n._value == state):
                self.made[own] = self._add(Part("source", f"${latex_name(state)}_{{t-1}}$", state=k))
        if any(n._op == "input" for n in order):
            self.made["x"] = self._add(Part("source", "$x_t$"))
        for k, new in reversed(list(enumerate(cell.next))):
            value = self.make(new)
            self._add(Part("result", f"${latex_name(cell.states[k])}_t$", inputs=[value], state=k))

    def _add(self, part: Part) -> int:
        self.parts.append(part)
        return len(self.parts) - 1

    def make(self, n: Node) -> int:
        """The part that has a node's value."""
        if n not in self.made:
            self.made[n] = self._add(self._part(n))
        return self.made[n]

    def _part(self, n: Node) -> Part:
        if n._op == "const":
            return Part("leaf", number(n._value))
        if n._op == "param":
            return Part("leaf", f"${latex_name(n._value)}$")
        if n._op in _LINEAR:
            return self._linear(n)
        if n._op in ("add", "sub", "neg"):
            return self._sum(n)
        if n._op in ("mul", "div"):
            return self._product(n)
        if n._op in ("where", "gt"):
            return self._choice(n)
        return self._function(n)

    def _linear(self, n: Node) -> Part:
        """A product with weights that no activation takes at once."""
        if n is self.cell.projection:
            return Part("gate", "$R$", inputs=[self.make(n._args[0])])
        return Part("gate", f"${'W' if n._op == 'input' else 'U'}$", n._value, [self._operand(n)])

    def _operand(self, n: Node) -> int:
        return self.made["x"] if n._op == "input" else self.make(n._args[0])

    def _alone(self, n: Node) -> bool:
        return self.uses[n] == 1 and n not in self.tags

    def _terms(self, n: Node, sign: int = 1, top: bool = True) -> list[tuple[int, Node]]:
        """The terms of a sum, with their signs; what is also used elsewhere stays whole."""
        if n._op not in ("add", "sub", "neg") or not (top or self._alone(n)):
            return [(sign, n)]
        signs = {"add": (1, 1), "sub": (1, -1), "neg": (-1,)}[n._op]
        return [t for s, a in zip(signs, n._args, strict=True) for t in self._terms(a, s * sign, False)]

    def _sum(self, n: Node) -> Part:
        terms = self._terms(n)
        bias = sum(s * t._value for s, t in terms if t._op == "const")
        rest = [(s, t) for s, t in terms if t._op != "const"]
        if len(rest) == 1:
            sign, only = rest[0]
            text = f"{number(bias)} −" if sign < 0 else f"+ {number(bias)}" if bias >= 0 else f"− {number(-bias)}"
            return Part("unary", "−" if sign < 0 and bias == 0 else text, self.tags.get(n, ""), [self.make(only)])
        if all(s > 0 and self._is_weighted_source(t) for s, t in rest) and not bias:
            return Part("gate", "$\\Sigma$", self.tags.get(n, ""), [self._operand(t) for _, t in rest])
        return Part("op", "+", self.tags.get(n, ""), self._signed(rest, bias))

    def _signed(self, terms: list[tuple[int, Node]], bias: float) -> list[int]:
        inputs = [self.make(t) if s > 0 else self._add(Part("unary", "−", inputs=[self.make(t)])) for s, t in terms]
        return inputs + ([self._add(Part("leaf", number(bias)))] if bias else [])

    def _factors(self, n: Node, top: bool = True) -> list[tuple[bool, Node]]:
        """The factors of a product, and whether each divides."""
        if n._op not in ("mul", "div") or not (top or self._alone(n)):
            return [(False, n)]
        left, right = n._args
        if n._op == "div":
            return [*self._factors(left, False), (True, right)]
        return [*self._factors(left, False), *self._factors(right, False)]

    def _product(self, n: Node) -> Part:
        factors = self._factors(n)
        numbers = [(divides, f) for divides, f in factors if f._op == "const" and (f._value or not divides)]
        scale = math.prod(1 / f._value if divides else f._value for divides, f in numbers)
        rest = [factor for factor in factors if factor not in numbers]
        times = Counter(f for divides, f in rest if not divides)
        under = [f for divides, f in rest if divides]
        tag = self.tags.get(n, "")
        if not under and len(times) == 1:  # a power, a multiple
            ((only, power),) = times.items()
            text = f"$(\\cdot)^{{{power}}}$" if power > 1 else ""
            multiple = f"{number(scale)} ×" if scale != 1 or power == 1 else ""
            return Part("unary", f"{multiple} {text}".strip(), tag, [self.make(only)])
        if not under and len(times) == 2 and scale == 1 and set(times.values()) == {1}:
            for parameter, other in (tuple(times), tuple(times)[::-1]):
                if parameter._op == "param" and other._op != "param":
                    return Part("unary", f"${latex_name(parameter._value)}$ ×", tag, [self.make(other)])
        if not times and len(under) == 1:
            return Part("unary", f"{number(scale)} /", tag, [self.make(under[0])])
        inputs = [self._power(f, power) for f, power in times.items()]
        inputs += [self._reciprocal(f) for f in under]
        if scale != 1:
            inputs.append(self._add(Part("leaf", number(scale))))
        return Part("op", "×", tag, inputs)

    def _power(self, n: Node, power: int) -> int:
        value = self.make(n)
        return value if power == 1 else self._add(Part("unary", f"$(\\cdot)^{{{power}}}$", inputs=[value]))

    def _reciprocal(self, n: Node) -> int:
        key = f"1/{id(n)}"
        if key not in self.made:
            self.made[key] = self._add(Part("unary", "1 /", inputs=[self.make(n)]))
        return self.made[key]

    def _function(self, n: Node) -> Part:
        """An activation or another function, with the sum that it takes."""
        text = _SYMBOLS.get(n._op, n._op)
        arguments = [a for a in n._args if a._op != "const"]
        constants = [number(a._value) for a in n._args if a._op == "const"]
        if len(arguments) != 1 or len(n._args) > 1:
            joined = "…".join(constants) if n._op == "clip" else ", ".join(constants)
            return Part("gate", f"{text} {joined}".strip(), self.tags.get(n, ""), [self._bare(a) for a in arguments])
        inputs = self._sum_into(arguments[0])
        return Part("gate", text, self.tags.get(n, ""), list(dict.fromkeys(inputs)))

    def _sum_into(self, n: Node) -> list[int]:
        """The inputs of a gate: sources, whose weights are the gate's own, and what is added to them."""
        terms = [(1, n)] if n in self.tags or self.uses[n] > 1 else self._terms(n)
        direct = [t for s, t in terms if s > 0 and self._is_weighted_source(t)]
        rest = [(s, t) for s, t in terms if t not in direct]
        if not direct:
            return [self._bare(n)]
        bias = sum(s * t._value for s, t in rest if t._op == "const")
        inputs = [self._operand(t) for t in direct]
        others = self._signed([(s, t) for s, t in rest if t._op != "const"], bias)
        return inputs + [self._bare_part(i) for i in others]

    def _is_weighted_source(self, n: Node) -> bool:
        source = n._op == "input" or (n._op == "product" and n._args[0]._op == "state")
        return source and self.uses[n] == 1

    def _bare(self, n: Node) -> int:
        return self._bare_part(self.make(n))

    def _bare_part(self, i: int) -> int:
        """A state that goes into a gate without weights, made to look so."""
        return self._add(Part("unary", "1 ×", inputs=[i])) if self.parts[i].kind == "source" else i

    def _choice(self, n: Node) -> Part:
        """`where(a > b, p, q)`: its wires are told apart by what stands beside them."""
        assert n._op == "where"
        assert n._args[0]._op == "gt"
        condition, yes, no = n._args
        named = zip(("if", ">", "then", "else"), (*condition._args, yes, no), strict=True)
        part = Part("gate", "where", self.tags.get(n, ""))
        for word, value in named:
            if value._op == "const":
                part.ports.append(f"{word} {number(value._value)}")
                part.inputs.append(-1)
            else:
                part.ports.append(word)
                part.inputs.append(self.make(value))
        return part


def number(value: float) -> str:
    """A number in few characters, with a real minus."""
    return formatting.number(value).replace("-", "−")


def _joined(parts: list[Part]) -> list[Part]:
    """Sources that several gates take together are joined once, and the gates take the join."""
    sources = {i for i, p in enumerate(parts) if p.kind == "source"}
    taken = Counter(_sources_of(p, sources) for p in parts if p.kind == "gate" and not p.ports)
    together = [s for s, count in taken.items() if len(s) > 1 and count > 1]
    found = list(parts)
    for group in together:
        found.append(Part("join", "", inputs=sorted(group)))
        for part in found[:-1]:
            if part.kind == "gate" and not part.ports and _sources_of(part, sources) == group:
                part.inputs = [len(found) - 1, *(i for i in part.inputs if i not in group)]
    return _sorted(found)


def _sources_of(part: Part, sources: set[int]) -> frozenset[int]:
    return frozenset(i for i in part.inputs if i in sources)


def _sorted(parts: list[Part]) -> list[Part]:
    """In an order of computation, sources first, results last."""
    order: list[int] = []

    def visit(i: int) -> None:
        if i in order:
            return
        for j in parts[i].inputs:
            if j >= 0:
                visit(j)
        order.append(i)

    for kind in ("source", "join", "leaf", "gate", "op", "unary", "result"):
        for i, part in enumerate(parts):
            if part.kind == kind:
                visit(i)
    place = {old: new for new, old in enumerate(order)} | {-1: -1}
    for part in parts:
        part.inputs = [place[i] for i in part.inputs]
    return [parts[i] for i in order]
