"""The exact adjoint of a step: the gradient of <seeds, new values> in everything that the step reads.

Between two activations the equations are rational functions, which SymPy differentiates; at an activation the chain
rule takes the slope that `functions.py` gives. Walking backwards from the results, each value is visited once, and
SymPy then names the subexpressions that gradients share.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import sympy

from recurra.cells.functions import FUNCTIONS
from recurra.cells.symbols import Node, node, walk


def adjoint(results: Mapping[Node, Node], leaves: Iterable[Node]) -> dict[Node, Node]:
    """The gradient in each leaf of the sum of seed * result.

    Args:
        results: the seed (the incoming gradient) of each result.
        leaves: the nodes that are inputs: nothing below them is looked at.

    Returns:
        For each leaf that a result depends on, its gradient as an expression in forward values and seeds.
    """
    leaves = set(leaves)
    order = walk(results, leaves)
    uses = Counter([a for n in order for a in ([] if n in leaves else n._args)] + list(results))
    atoms = [n for n in order if n in leaves or n._op in FUNCTIONS or (n._args and uses[n] > 1)]
    algebra = _Algebra(atoms)
    gradients: dict[Node, Any] = {}

    def spread(expression: Any, seed: Any) -> None:
        """Add seed * d expression / d atom to the gradient of every atom of a rational expression."""
        for symbol in sorted(expression.free_symbols, key=str):
            atom = algebra.nodes[symbol]
            gradients[atom] = gradients.get(atom, 0) + seed * expression.diff(symbol)

    for result, seed in results.items():
        spread(algebra.symbolic(result), algebra.symbolic(seed))
    adjoints: dict[sympy.Symbol, Any] = {}
    for y in reversed(atoms):
        if gradients.get(y, 0) == 0:
            continue
        seed = sympy.Symbol(f"adjoint_of_{algebra.symbolic(y)}")
        adjoints[seed] = gradients[y]
        gradients[y] = seed
        if y in leaves:
            continue
        if y._op not in FUNCTIONS:
            spread(algebra.arithmetic(y), seed)
            continue
        slopes = FUNCTIONS[y._op].slopes(*y._args, y)
        for argument, slope in zip(y._args, slopes, strict=True):
            local = algebra.symbolic(slope if isinstance(slope, Node) else node("const", value=float(slope)))
            if local != 0:
                spread(algebra.symbolic(argument), seed * local)

    shared, reduced = sympy.cse(list(adjoints.values()), symbols=sympy.numbered_symbols("shared"))
    algebra.definitions = dict(shared) | dict(zip(adjoints, reduced, strict=True))
    return {n: algebra.node(gradients[n]) for n in atoms if n in leaves and gradients.get(n, 0) != 0}


class _Algebra:
    """Translation between nodes and SymPy; activations, leaves and seeds are symbols there."""

    def __init__(self, atoms: Iterable[Node]) -> None:
        self.nodes: dict[sympy.Symbol, Node] = {}
        self.definitions: dict[sympy.Symbol, Any] = {}
        self._symbols: dict[Node, sympy.Symbol] = {}
        for atom in atoms:
            self._symbol(atom)

    def _symbol(self, n: Node) -> sympy.Symbol:
        if n not in self._symbols:
            self._symbols[n] = sympy.Symbol(f"v{len(self._symbols):04d}", real=True)
            self.nodes[self._symbols[n]] = n
        return self._symbols[n]

    def symbolic(self, n: Node) -> Any:
        """The node as a SymPy expression of symbols."""
        if n in self._symbols:
            return self._symbols[n]
        if n._op == "const":
            return sympy.Rational(n._value)
        return self.arithmetic(n) if n._op in _ARITHMETIC else self._symbol(n)

    def arithmetic(self, n: Node) -> Any:
        """An arithmetic node as an expression of its arguments."""
        return _ARITHMETIC[n._op](*(self.symbolic(a) for a in n._args))

    def node(self, e: Any) -> Node:
        """A SymPy expression as a node: negative powers become divisions, negative terms subtractions."""
        if e.is_Symbol:
            if e not in self.nodes:
                self.nodes[e] = self.node(self.definitions[e])
            return self.nodes[e]
        if e.is_Number:
            return node("const", value=float(e))
        if e.is_Add:
            terms = sorted(e.args, key=lambda t: t.could_extract_minus_sign())
            total = self.node(terms[0])
            for term in terms[1:]:
                negative = term.could_extract_minus_sign()
                total = total - self.node(-term) if negative else total + self.node(term)
            return total
        if e.is_Pow and e.exp.is_Integer and e.exp > 0:
            return self.node(e.base) ** int(e.exp)
        if e.is_Mul and e.could_extract_minus_sign():
            return -self.node(-e)
        numerator, denominator = e.as_numer_denom() if e.is_Pow else _split(e)
        if denominator == 1:
            return reduce(operator.mul, (self.node(f) for f in sympy.Mul.make_args(numerator)))
        return self.node(numerator) / self.node(denominator)


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
}


def _split(e: Any) -> tuple[Any, Any]:
    """Numerator and denominator of a product, factor by factor."""
    below = [f for f in e.args if f.is_Pow and f.exp.is_number and f.exp < 0]
    above = [f for f in e.args if f not in below]
    return sympy.Mul(*above), sympy.Mul(*(1 / f for f in below))
