"""The words of the language: symbols, operators and activations that equations are made of.

A `Node` is one value of one unit in one step. Nodes are interned: two equal expressions are one object, so a
shared subexpression is computed once by whoever walks the graph.
"""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Callable, Container, Iterable
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias

import numpy as np

from recurra.errors import CellError

Value: TypeAlias = "Node | float | int"

# Told of every gate, product and parameter as the equations name them; set while a cell is traced.
observer: ContextVar[Callable[[Node], None] | None] = ContextVar("observer", default=None)

_interned: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()


class Node:
    """One value: an operation `op` on `args`, or a leaf with a `value` (its number or its name).

    Leaves: `const` (the number), `input` (the gate g of x.g), `state` and `param` (the name).
    `product` (the gate g) multiplies its one argument, a vector over units, by the recurrent weights U_g.
    """

    __slots__ = ("__weakref__", "_args", "_op", "_value")
    __array_ufunc__ = None  # NumPy's own functions refuse a symbol instead of making an object array of it

    _op: str
    _args: tuple[Node, ...]
    _value: Any

    def __add__(self, other: Value) -> Node:
        return node("add", self, other)

    def __radd__(self, other: Value) -> Node:
        return node("add", other, self)

    def __sub__(self, other: Value) -> Node:
        return node("sub", self, other)

    def __rsub__(self, other: Value) -> Node:
        return node("sub", other, self)

    def __mul__(self, other: Value) -> Node:
        return node("mul", self, other)

    def __rmul__(self, other: Value) -> Node:
        return node("mul", other, self)

    def __truediv__(self, other: Value) -> Node:
        return node("div", self, other)

    def __rtruediv__(self, other: Value) -> Node:
        return node("div", other, self)

    def __neg__(self) -> Node:
        return node("neg", self)

    def __pos__(self) -> Node:
        return self

    def __abs__(self) -> Node:
        return node("abs", self)

    def __pow__(self, exponent: object) -> Node:
        if not isinstance(exponent, int) or isinstance(exponent, bool) or exponent < 1:
            raise CellError(
                f"a power has the exponent {exponent!r}, expected a whole number of at least 1: "
                "write sqrt(a), 1 / a or exp(k * a) for other powers"
            )
        if exponent > 64:
            raise CellError(f"a power has the exponent {exponent}, expected at most 64: multiply powers of powers")
        power = self
        for _ in range(exponent - 1):
            power = power * self
        return power

    def __gt__(self, other: Value) -> Node:
        return node("gt", self, other)

    def __lt__(self, other: Value) -> Node:
        return node("gt", other, self)

    def _no_branch(self, *_: object) -> NoReturn:
        raise CellError(
            "a symbol has no truth value while the equations are traced, so Python's `if`, `and`, `max`, `==` "
            "and `>=` cannot decide on it: use where(a > b, p, q), maximum(a, b), minimum(a, b) or clip(a, lo, hi)"
        )

    __bool__ = __ge__ = __le__ = _no_branch
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        """Whether both are the same node; inside equations, an error like any other branch on a symbol."""
        return self is other if observer.get() is None else self._no_branch()

    def __repr__(self) -> str:
        from recurra.cells.printing import show

        return show(self)


class Owner(Node):
    """A state or a per-unit parameter: itself a value, and the owner of what its attributes name."""

    __slots__ = ()

    def __getattr__(self, gate: str) -> Node:
        if gate.startswith("_"):
            raise AttributeError(gate)
        if self._op == "state":
            return node("product", self, value=gate)
        return node("param", value=f"{self._value}.{gate}")


class Input:
    """The input x of a step. `x.g` is the input's product for gate g, W_g x + b_g."""

    __slots__ = ()

    def __getattr__(self, gate: str) -> Node:
        if gate.startswith("_"):
            raise AttributeError(gate)
        return node("input", value=gate)

    def _bare(self, *_: object) -> NoReturn:
        raise CellError("`x` alone has input_size features, not one value per unit: name a gate, as in x.n")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _bare
    __neg__ = __abs__ = __pow__ = __gt__ = __lt__ = __bool__ = _bare


class Product:
    """What `product(v)` returns: its attributes are the gates."""

    __slots__ = ("_operand",)

    def __init__(self, operand: Node) -> None:
        self._operand = operand

    def __getattr__(self, gate: str) -> Node:
        if gate.startswith("_"):
            raise AttributeError(gate)
        return node("product", self._operand, value=gate)


def node(op: str, *args: object, value: Any = None) -> Node:
    """The one node with this operation, these arguments and this value; numbers become constants."""
    nodes = tuple(map(as_node, args))
    if any(n._op == "gt" for n in (nodes[1:] if op == "where" else nodes)):
        raise CellError("a comparison is not a number: write where(p > q, 1, 0), or where(p > q, a, b) to choose")
    if nodes and op in _FOLDED and all(n._op == "const" for n in nodes):
        return _folded(op, [n._value for n in nodes])
    key = (op, tuple(map(id, nodes)), repr(value))
    known = _interned.get(key)
    if known is None:
        known = object.__new__(Owner if op in ("state", "param") else Node)
        known._op, known._args, known._value = op, nodes, value
        _interned[key] = known
    if op in ("input", "product", "param") and (observe := observer.get()):
        observe(known)
    return known


_FOLDED: dict[str, Callable[..., float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
}


def _folded(op: str, numbers: list[float]) -> Node:
    """Arithmetic on constants is done at once, so that an expression and its text are the same nodes."""
    try:
        return as_node(_FOLDED[op](*numbers))
    except ZeroDivisionError as error:
        raise CellError(f"{numbers[0]} is divided by zero: correct the constants") from error


def as_node(value: object) -> Node:
    """A symbol as it is, or a number as a constant."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Input):
        value._bare()
    if isinstance(value, Product):
        raise CellError("product(v) alone is not a value: name the gate, as in product(v).n")
    if isinstance(value, (int, float, np.number)) and math.isfinite(value):
        return node("const", value=float(value))
    raise CellError(
        f"{value!r} of type {type(value).__name__} stands where a symbol or a finite number belongs: "
        f"call functions with their arguments and use these words: {', '.join(WORDS)}"
    )


def walk(roots: Iterable[Node], leaves: Container[Node] = ()) -> list[Node]:
    """Every node under the roots once, arguments before what uses them, left to right; `leaves` end the walk."""
    seen: set[int] = set()
    found: list[Node] = []

    def visit(n: Node) -> None:
        if id(n) not in seen:
            seen.add(id(n))
            if n not in leaves:
                for arg in n._args:
                    visit(arg)
            found.append(n)

    for root in roots:
        visit(root)
    return found


def product(v: Value) -> Product:
    """A second recurrent product in the same step: `product(r * h).n` is U_n (r * h) + d_n.

    Returned as the new value of the first state, `product(v).h` is a projection R v without a bias, and the
    state has the size of the projection.
    """
    return Product(as_node(v))


# The primitive activations, on one value each. Their numbers and slopes are in `functions.py`.


def tanh(a: Value) -> Node:
    """The hyperbolic tangent."""
    return node("tanh", a)


def sigmoid(a: Value) -> Node:
    """The logistic function 1 / (1 + exp(-a))."""
    return node("sigmoid", a)


def exp(a: Value) -> Node:
    """The exponential."""
    return node("exp", a)


def sqrt(a: Value) -> Node:
    """The square root."""
    return node("sqrt", a)


def erf(a: Value) -> Node:
    """The error function."""
    return node("erf", a)


def relu(a: Value) -> Node:
    """max(a, 0), with slope 0 at 0."""
    return node("relu", a)


def softplus(a: Value) -> Node:
    """log(1 + exp(a)), without overflow."""
    return node("softplus", a)


def elu(a: Value, alpha: float = 1.0) -> Node:
    """a where a > 0, alpha * (exp(a) - 1) elsewhere, with slope alpha at 0."""
    unit = node("elu", a)
    return unit if alpha == 1 else where(node("gt", a, 0.0), a, alpha * unit)


def hard_sigmoid(a: Value) -> Node:
    """clip(a / 6 + 1/2, 0, 1), with slope 0 where it meets 0 and 1."""
    return node("hard_sigmoid", a)


def maximum(a: Value, b: Value) -> Node:
    """The larger of two values; where they are equal each gets half the slope."""
    return node("maximum", a, b)


def minimum(a: Value, b: Value) -> Node:
    """The smaller of two values; where they are equal each gets half the slope."""
    return node("minimum", a, b)


def clip(a: Value, low: float, high: float) -> Node:
    """a limited to [low, high], with slope 1 on the limits themselves."""
    return node("clip", a, low, high)


def where(condition: Node, a: Value, b: Value) -> Node:
    """a where the condition (`p > q`) holds, b elsewhere."""
    if not isinstance(condition, Node) or condition._op != "gt":
        raise CellError("where's condition is not a comparison of symbols: write where(p > q, a, b)")
    return node("where", condition, a, b)


# Activations composed of those, as a user composes their own.


def identity(a: Value) -> Node:
    """a itself."""
    return as_node(a)


def softsign(a: Value) -> Node:
    """`a / (1 + |a|)`."""
    return a / (1 + node("abs", a))


def leaky_relu(a: Value, slope: float = 0.01) -> Node:
    """a where a > 0, slope * a elsewhere."""
    return where(node("gt", a, 0.0), a, slope * as_node(a))


def gelu(a: Value) -> Node:
    """a * Phi(a), with the exact normal distribution function Phi."""
    return 0.5 * as_node(a) * (1 + erf(a * math.sqrt(0.5)))


def silu(a: Value) -> Node:
    """a * sigmoid(a)."""
    return as_node(a) * sigmoid(a)


WORDS: dict[str, Callable[..., Any]] = {
    word.__name__: word
    for word in (
        *(tanh, sigmoid, exp, sqrt, erf, relu, softplus, elu, hard_sigmoid, maximum, minimum, clip, where),
        *(identity, softsign, leaky_relu, gelu, silu, product),
    )
}

RESERVED = frozenset({"x", "abs", *WORDS})  # names that no state, parameter or intermediate value can have
