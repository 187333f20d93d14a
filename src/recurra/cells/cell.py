"""`Cell`: the equations of one step, and what they say of themselves."""

from __future__ import annotations

import hashlib
import keyword
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from recurra.cells.functions import FUNCTIONS
from recurra.cells.printing import latex_name, show, show_latex
from recurra.cells.symbols import RESERVED, WORDS, Node, walk
from recurra.errors import CellError


@dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """The equations of one step of a recurrence, written once; everything else is derived from them.

    Attributes:
        name: what the cell is called.
        states: the names of the states; the first is the output h.
        gates: the gates, in the order in which the equations first name them.
        parameters: per-unit parameters, each [H], as the equations name them: `p.i`, or `u` alone.
        source: the paper and the equations.
        next: the new value of each state.
        projection: the product that is the new first state, `product(v).h`, where the cell has one.
        options: the activations that the cell takes by argument, with their present values.
        inputs: what is done to the fields of its input before, element by element: a cell without products, whose
            states are the fields.

    A cell called with options is the cell with other activations: `lstm(activation=relu)`.
    """

    name: str
    states: tuple[str, ...]
    gates: tuple[str, ...]
    parameters: tuple[str, ...]
    source: str
    next: tuple[Node, ...]
    projection: Node | None = None
    function: Callable[..., Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    inputs: Cell | None = None

    def __post_init__(self) -> None:
        bare = tuple(dict.fromkeys(p.partition(".")[0] for p in self.parameters))
        check_names(self.name, ("x", *self.states, *bare))
        check_names(self.name, self.gates)
        check_names(self.name, self.parameters)
        if len(self.next) != len(self.states):
            raise CellError(f"{self.name} has {len(self.next)} new values, expected one for each state: {self.states}")
        if self.inputs is not None and self.inputs.gates:
            raise CellError(
                f"{self.name}: its inputs are prepared by {self.inputs.name}, which has the gates "
                f"{', '.join(self.inputs.gates)}, expected a cell without products, as input_decay"
            )
        known = {"state": self.states, "param": self.parameters, "input": self.gates, "product": self.gates}
        for n in walk(self.next):
            if n._op in known and n is not self.projection and n._value not in known[n._op]:
                raise CellError(
                    f"{self.name} uses {show(n)}, which is none of its states, gates and parameters: use its arguments"
                )

    def __call__(self, **options: Callable[[Node], Node] | str) -> Cell:
        """The same equations with other activations, given as words, their names, or functions of a symbol."""
        unknown = set(options) - set(self.options)
        if self.function is None or unknown:
            raise CellError(
                f"{self.name} takes no option {', '.join(sorted(unknown or options))}; "
                f"its options are: {', '.join(self.options) or 'none'}"
            )
        chosen = {name: _activation(self, name, option) for name, option in options.items()}
        changed = {n: o for n, o in chosen.items() if o is not self.options[n]}
        suffix = "".join("_" + _name_of(o) for o in changed.values())
        from recurra.cells.trace import from_function

        return from_function(self.function, self.name + suffix, self.source, self.options | chosen, self.inputs)

    def __repr__(self) -> str:
        return f"<cell {self.name}: states {', '.join(self.states)}; gates {', '.join(self.gates)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and (self.name, self.source, self.text) == (other.name, other.source, other.text)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[Any, ...]:
        from recurra.cells.trace import from_text

        return from_text, (self.text, self.inputs and self.inputs.text)

    @cached_property
    def input_gates(self) -> tuple[str, ...]:
        """The gates with input weights W_g, in order."""
        named = {n._value for n in walk(self.next) if n._op == "input"}
        return tuple(g for g in self.gates if g in named)

    @cached_property
    def recurrent_gates(self) -> tuple[str, ...]:
        """The gates with recurrent weights U_g, in order; a projection is not one of them."""
        return tuple(g for g in self.gates if g in self.operands)

    @cached_property
    def operands(self) -> dict[str, Node]:
        """What each recurrent gate's U_g multiplies: a state, or a value computed in the same step."""
        products = (n for n in walk(self.next) if n._op == "product" and n is not self.projection)
        return {n._value: n._args[0] for n in products}

    @cached_property
    def gate_values(self) -> dict[str, Node]:
        """The value of each gate: its sum after the activation that takes it, or the sum where none does."""
        return {gate: self._gate_value(gate) for gate in self.gates}

    def _gate_value(self, gate: str) -> Node:
        order = walk(self.next)
        leaves = {n for n in order if n._op in ("input", "product") and n._value == gate}
        below: dict[Node, set[Node]] = {}
        for n in order:
            below[n] = ({n} & leaves).union(*(below[a] for a in n._args))
        value = next((n for n in order if leaves <= below[n]), None)
        if value is None:  # its parts reach different states and never meet
            return next(n for n in order if n in leaves)
        users = [n for n in order if value in n._args]
        while value._op not in FUNCTIONS and len(users) == 1 and users[0]._op in {"add", "sub", *FUNCTIONS} - {"gt"}:
            value = users[0]
            users = [n for n in order if value in n._args]
        return value

    @cached_property
    def _lines(self) -> list[tuple[str, Node]]:
        """Named intermediate values in an order of computation: gates in their order, then what is shared."""
        order = walk(self.next)
        uses = Counter([a for n in order for a in n._args] + list(self.next))
        shared = [n for n in order if uses[n] > 1]
        taken = {*RESERVED, *self.states, *(p.partition(".")[0] for p in self.parameters)}
        names: dict[Node, str] = {}

        def add(n: Node, name: str) -> None:
            while name in taken or keyword.iskeyword(name):
                name += "_"
            taken.add(name)
            names[n] = name

        def unnamed(n: Node) -> bool:
            return n not in names and bool(n._args) and n._op not in ("product", "gt")

        for gate, value in self.gate_values.items():
            if unnamed(value):
                add(value, gate)
        for state, n in zip(self.states, self.next, strict=True):
            if n in shared and unnamed(n):
                add(n, f"{state}_new")
        for i, n in enumerate(filter(unnamed, shared), 1):
            add(n, f"v{i}")
        ranked = walk([*(v for v in self.gate_values.values() if v in names), *self.next])
        return [(names[n], n) for n in ranked if n in names]

    @cached_property
    def text(self) -> str:
        """The cell as text in its own language; `from_text` rebuilds the same cell from it."""
        from recurra.cells.trace import from_text

        body = self._body([])
        if (read := from_text(body)).gates != self.gates or read.parameters != self.parameters:
            # The activations come in another order than the gates: name each gate first, in order.
            leaves = {n._value: n for n in reversed(walk(self.next)) if n._op in ("input", "product", "param")}
            body = self._body([leaves[name] for name in (*self.gates, *self.parameters) if name in leaves])
        return body

    def _body(self, first: Sequence[Node]) -> str:
        bare = [p.partition(".")[0] for p in self.parameters]
        parameters = ["*", *dict.fromkeys(bare)] if bare else []
        lines = [f"def {self.name}({', '.join(['x', *self.states, *parameters])}):"]
        if self.source:
            lines.append(f"    {self.source!r}")
        prefix = "first"
        while any(name.startswith(prefix) for name in (*self.states, *bare, *self.gates)):
            prefix += "_"
        lines += [f"    {prefix}{i} = {show(leaf)}" for i, leaf in enumerate(first)]
        names: dict[Node, str] = {}
        for name, n in self._lines:
            lines.append(f"    {name} = {show(n, names)}")
            names[n] = name
        lines.append(f"    return {', '.join(show(n, names) for n in self.next)}")
        return "\n".join(lines) + "\n"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the equations alone: equal equations, equal kernels, whatever the cell is called."""
        lines = self.text.splitlines()
        equations = [lines[0].removeprefix(f"def {self.name}"), *lines[2 if self.source else 1 :]]
        return hashlib.sha256("\n".join(equations).encode()).hexdigest()

    @property
    def biases(self) -> tuple[str, str]:
        """The letters of the biases `b` and `c_` where equations are shown: no state or parameter is called so.

        >>> from recurra.cells import lstm
        >>> lstm.biases
        ('b', 'd')
        """
        return _biases(self)

    def latex(self) -> str:
        r"""The equations as a LaTeX `aligned` block; products of vectors element by element are \odot."""
        new = {n: rf"{latex_name(s)}_t" for s, n in zip(self.states, self.next, strict=True)}
        names: dict[Node, str] = {}
        rows: list[str] = []
        for name, n in self._lines:
            left = new.get(n, f"{latex_name(name.rstrip('_'))}_t")
            rows.append(f"{left} &= {show_latex(n, names, self.biases)}")
            names[n] = left
        for n, left in new.items():
            if n is self.projection:
                rows.append(f"{left} &= R ({show_latex(n._args[0], names, self.biases)})")
            elif n not in names:
                rows.append(f"{left} &= {show_latex(n, names, self.biases)}")
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


@lru_cache(maxsize=64)
def _biases(cell: Cell) -> tuple[str, str]:
    named = (*cell.states, *cell.parameters, *cell.gates, *(name for name, _ in cell._lines))
    taken = {name.partition(".")[0].rstrip("_") for name in named}
    first, second = [letter for letter in "bdekqabcdefghijklmnopqrstuvwxyz" if letter not in taken][:2]
    return first, second


def check_names(cell: str, names: Sequence[str]) -> None:
    """Raise CellError unless the names differ from one another: arrays and states are told apart by them."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise CellError(f"{cell}: the name {twice[0]!r} stands for two things, expected a name for each: rename one")


def _name_of(option: Any) -> str:
    name = getattr(option, "__name__", None) or getattr(getattr(option, "func", None), "__name__", "custom")
    return str(name).strip("<>")


def _activation(cell: Cell, name: str, option: Callable[[Node], Node] | str) -> Callable[[Node], Node]:
    chosen = WORDS.get(option) if isinstance(option, str) else option
    if not callable(chosen):
        raise CellError(
            f"{cell.name}: {name} is {option!r}, expected a function of a symbol or one of {', '.join(WORDS)}"
        )
    return chosen
