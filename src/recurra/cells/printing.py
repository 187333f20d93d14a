"""Expressions as text (which `text.py` reads back) and as LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from recurra.cells.functions import FUNCTIONS
from recurra.cells.symbols import Node
from recurra.errors import CellError

_PRECEDENCE = {"gt": 0, "add": 1, "sub": 1, "mul": 2, "div": 2, "neg": 3}
_TEXT = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "gt": "{0} > {1}",
}
_LATEX = _TEXT | {"mul": r"{0} \odot {1}", "div": r"{0} / {1}", "gt": "{0} > {1}"}
_RIGHT_TIGHT = {"sub", "div", "add", "mul"}  # a + (b + c) keeps its brackets: the order of rounding is part of the text


MOST_VISITS = 1 << 14  # of one expression


def show(n: Node, names: Mapping[Node, str] | None = None) -> str:
    """The expression as the language writes it; nodes in `names` stand as their name."""
    return _print(n, _TEXT, lambda m: (names or {}).get(m), _leaf_text, _call_text)


def show_latex(n: Node, names: Mapping[Node, str] | None = None, biases: tuple[str, str] = ("b", "d")) -> str:
    """The expression as LaTeX; nodes in `names` stand as their (already LaTeX) name.

    `biases` are the letters of those of input products and of recurrent ones.
    """
    return _print(n, _LATEX, lambda m: (names or {}).get(m), partial(_leaf_latex, biases=biases), _call_latex)


def _print(
    n: Node,
    infix: Mapping[str, str],
    name: Callable[[Node], str | None],
    leaf: Callable[[Node, Callable[[Node], str]], str],
    call: Callable[[str, list[str]], str],
) -> str:
    left = MOST_VISITS

    def visit(m: Node) -> str:
        nonlocal left
        left -= 1
        if left < 0:  # what is shared and has no name is written out each time, and doubles
            raise CellError("an expression is too long to be written: give names to what is used again")
        if (known := name(m)) is not None:
            return known
        if m._op in infix:
            return infix[m._op].format(*(bracketed(m, i) for i in range(len(m._args))))
        if m._op in FUNCTIONS:
            return call(m._op, [visit(a) for a in m._args])
        return leaf(m, visit)

    def bracketed(parent: Node, i: int) -> str:
        child = parent._args[i]
        text = visit(child)
        if name(child) is not None or child._op not in _PRECEDENCE:
            negative = child._op == "const" and child._value < 0
            return f"({text})" if negative else text
        own, outer = _PRECEDENCE[child._op], _PRECEDENCE[parent._op]
        loose = own < outer or (own == outer and (i == 1 or parent._op in ("neg", "gt")))
        return f"({text})" if loose else text

    return visit(n)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _leaf_text(n: Node, visit: Callable[[Node], str]) -> str:
    if n._op == "const":
        return _number(n._value)
    if n._op == "input":
        return f"x.{n._value}"
    if n._op == "product":
        operand = n._args[0]
        owner = operand._value if operand._op == "state" else f"product({visit(operand)})"
        return f"{owner}.{n._value}"
    return str(n._value)


def _call_text(op: str, args: list[str]) -> str:
    return f"{op}({', '.join(args)})"


def latex_name(name: str) -> str:
    """A name as LaTeX: `p.i` becomes p_{i}, a word becomes upright."""
    head, _, gate = name.partition(".")
    head = head if len(head) == 1 else rf"\mathrm{{{head}}}".replace("_", r"\_")
    return f"{head}_{{{gate}}}" if gate else head


def _leaf_latex(n: Node, visit: Callable[[Node], str], biases: tuple[str, str]) -> str:
    if n._op == "const":
        return _number(n._value)
    if n._op == "state":
        return rf"{latex_name(n._value)}_{{t-1}}"
    if n._op == "param":
        return latex_name(n._value)
    gate = n._value if len(n._value) == 1 else rf"\mathrm{{{n._value}}}".replace("_", r"\_")
    if n._op == "input":
        return f"(W_{{{gate}}} x_t + {biases[0]}_{{{gate}}})"
    operand = visit(n._args[0])
    bracket = operand if n._args[0]._op == "state" else f"({operand})"
    return f"(U_{{{gate}}} {bracket} + {biases[1]}_{{{gate}}})"


def _call_latex(op: str, args: list[str]) -> str:
    return FUNCTIONS[op].latex.format(*args)
