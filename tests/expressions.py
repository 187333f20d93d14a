"""Random cells for Hypothesis: trees of words of the language, kept so that every value is finite and smooth."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from recurra import cells
from recurra.cells import Cell
from recurra.cells.trace import from_function

_LEAVES = ("x.a", "x.b", "h.a", "h.d", "c.k", "h", "c", "p.i", "p.o", "u", "product.m")
_ONE = (
    "neg",
    "tanh",
    "sigmoid",
    "softplus",
    "gelu",
    "silu",
    "softsign",
    "exp",
    "sqrt",
    "erf",
    "square",
    "identity",
    "scale",
    "shift",
    "below",
)
_KINKED = ("relu", "leaky_relu", "elu", "elu2", "hard_sigmoid", "abs", "clip")
_TWO = ("add", "sub", "mul", "div", "maximum", "minimum", "where")


def trees(max_leaves: int) -> st.SearchStrategy[Any]:
    """A tree of nested tuples: a leaf's name, or an operation and its arguments."""
    leaves = st.sampled_from(_LEAVES)
    return st.recursive(
        leaves,
        lambda inner: (
            st.tuples(st.sampled_from(_ONE + _KINKED), inner) | st.tuples(st.sampled_from(_TWO), inner, inner)
        ),
        max_leaves=max_leaves,
    )


def random_cells(max_leaves: int = 8) -> st.SearchStrategy[Cell]:
    """A cell of two states, whose equations are random trees beside one gate that there always is."""
    return st.tuples(trees(max_leaves), trees(max_leaves)).map(lambda pair: make_cell(*pair))


def make_cell(first: Any, second: Any) -> Cell:
    """The cell of two trees."""

    def equations(x, h, c, *, p, u):
        operand = cells.sigmoid(x.a + h.a) * h
        leaves = {"h": h, "c": c, "u": u, "x.a": x.a, "x.b": x.b, "h.a": h.a, "h.d": h.d, "c.k": c.k}
        leaves |= {"p.i": p.i, "p.o": p.o, "product.m": cells.product(operand).m}
        gate = cells.tanh(x.g + h.g) * cells.sigmoid(x.a + h.a)
        return gate * _build(first, leaves) + 0.5 * h, gate - _build(second, leaves)

    return from_function(equations, "random", "random: made by Hypothesis")


def _build(tree: Any, leaves: dict[str, Any]) -> Any:
    if isinstance(tree, str):
        return leaves[tree]
    op, *arguments = tree
    return _OPERATIONS[op](*(_build(a, leaves) for a in arguments))


_OWN: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (1.5 + cells.softplus(b)),
    "neg": lambda a: -a,
    "abs": lambda a: abs(a),
    "scale": lambda a: -0.75 * a,
    "shift": lambda a: a + 3,
    "below": lambda a: 1.25 - a,
    "square": lambda a: cells.tanh(a) ** 2,
    "exp": lambda a: cells.exp(cells.tanh(a)),
    "sqrt": lambda a: cells.sqrt(0.5 + cells.softplus(a)),
    "elu2": lambda a: cells.elu(a, 0.5),
    "clip": lambda a: cells.clip(a, -0.9, 1.1),
    "where": lambda a, b: cells.where(cells.tanh(a) > b, a, 2 * b),
}
_OPERATIONS = _OWN | {word: getattr(cells, word) for word in (*_ONE, *_KINKED, *_TWO) if word not in _OWN}
