"""What is done to each number alone, as one op: an expression in the language of cells, of one symbol."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra import _native
from recurra.cells import Node, from_function, leaky_relu
from recurra.cells.symbols import WORDS, node, walk
from recurra.runtime.ops import Activation, Affine, Op, Recurrent
from recurra.weights import Weights

ELEMENT = node("input", value="n")  # what is done to it is, as it stands, the equation of a cell


def op_of(expression: Node, features: int) -> Op:
    """An activation where there is one of that equation, else a cell that has the equation and no memory.

    What only scales and shifts is an affine op.

    >>> from recurra.cells import tanh
    >>> op_of(tanh(ELEMENT), 3).name, op_of(2 * ELEMENT + 1, 3).kind
    ('tanh', 'affine')
    """
    if (straight := _straight(expression)) is not None:
        scale, shift = straight
        return Affine(np.full(features, scale, np.float32), np.full(features, shift, np.float32))
    expression = _single(expression)
    constants = [n._value for n in walk([expression]) if n._op == "const"]
    for word in _native.activations:
        for slope in constants or [0.01]:
            built = leaky_relu(ELEMENT, slope) if word == "leaky_relu" else WORDS[word](ELEMENT)
            if _single(built) is expression:
                return Activation(word, slope) if word == "leaky_relu" else Activation(word)

    def elementwise(x: Any, h: Any) -> Any:
        return (x.n, expression)[1]  # naming x.n makes it a gate

    cell = from_function(elementwise, source="operators that go element by element")
    none = np.zeros((0, features), np.float32)
    unit = Weights(np.eye(features, dtype=np.float32), none, np.zeros(features, np.float32), np.zeros(0, np.float32))
    return Recurrent(cell, [unit])


def _straight(n: Node) -> tuple[float, float] | None:
    """Scale and shift of an expression that has no more than these."""
    if n is ELEMENT or n._op == "const":
        return (1.0, 0.0) if n is ELEMENT else (0.0, n._value)
    parts = [_straight(a) for a in n._args]
    if n._op not in ("add", "sub", "mul", "div", "neg") or any(p is None for p in parts):
        return None
    (a, b), *rest = [p for p in parts if p is not None]
    c, d = rest[0] if rest else (0.0, 0.0)
    match n._op:
        case "neg":
            return -a, -b
        case "add":
            return a + c, b + d
        case "sub":
            return a - c, b - d
        case "mul" if not (a and c):
            return a * d + c * b, b * d
        case "div" if not c and d:
            return a / d, b / d
        case _:
            return None


def _single(expression: Node) -> Node:
    """The same with its constants as float32 has them, which is how models elsewhere have them."""
    rebuilt: dict[Node, Node] = {}
    for n in walk([expression]):
        value = float(np.float32(n._value)) if n._op == "const" else n._value
        rebuilt[n] = node(n._op, *(rebuilt[a] for a in n._args), value=value)
    return rebuilt[expression]
