"""Element by element: operators as words of the language of cells, and what they make together as one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recurra import _native
from recurra.cells import Node, clip, from_function, gelu, hard_sigmoid, leaky_relu, maximum, minimum, sigmoid, where
from recurra.cells.symbols import WORDS, node, walk
from recurra.onnx.cells import choose
from recurra.runtime import Activation, Affine, Op, Recurrent
from recurra.weights import Weights

ELEMENT = node("input", value="n")  # what is done to it is, as it stands, the equation of a cell
_ONES_OF_CELLS = ("Relu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Softsign", "Softplus")

Builder = Callable[[dict[str, Any], Sequence[Node]], Node]


def build(op: str, attributes: dict[str, Any], arguments: Sequence[Node]) -> Node | None:
    """An operator on symbols; None where it is none that goes element by element."""
    return _BUILDERS[op](attributes, arguments) if op in _BUILDERS else None


def layer_of(expression: Node, features: int) -> Op:
    """An activation where there is one of that equation, else a cell that has the equation and no memory.

    What only scales and shifts is an affine op.
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

    cell = from_function(elementwise, source="operators of an ONNX graph that go element by element")
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
    """The same with its constants as float32 has them, which is how a graph has them."""
    rebuilt: dict[Node, Node] = {}
    for n in walk([expression]):
        value = float(np.float32(n._value)) if n._op == "const" else n._value
        rebuilt[n] = node(n._op, *(rebuilt[a] for a in n._args), value=value)
    return rebuilt[expression]


def _of_cells(name: str) -> Builder:
    """An activation that recurrent nodes know too, with its attributes alpha and beta."""

    def builder(attributes: dict[str, Any], arguments: Sequence[Node]) -> Node:
        numbers = [[attributes[which]] if which in attributes else [] for which in ("alpha", "beta")]
        return choose([name], *numbers)[0](arguments[0])

    return builder


def _hard_sigmoid(attributes: dict[str, Any], arguments: Sequence[Node]) -> Node:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:  # the word of the language, up to the rounding of an attribute
        return hard_sigmoid(arguments[0])
    return clip(alpha * arguments[0] + beta, 0, 1)


def _gelu(attributes: dict[str, Any], arguments: Sequence[Node]) -> Node:
    a = arguments[0]
    if attributes.get("approximate", "none") == "none":
        return gelu(a)
    return a * sigmoid(2 * (2 / np.pi) ** 0.5 * (a + 0.044715 * a**3))  # (1 + tanh(u)) / 2 is sigmoid(2 u)


def _clip(attributes: dict[str, Any], arguments: Sequence[Node]) -> Node:
    a, bounds = arguments[0], list(arguments[1:])
    bounds += [node("const", value=float(attributes[n])) for n in ("min", "max") if n in attributes]
    return minimum(maximum(a, bounds[0]), bounds[1]) if len(bounds) == 2 else maximum(a, bounds[0])


def _operation(name: str) -> Builder:
    return lambda attributes, arguments: node(name, *arguments)


_BUILDERS: dict[str, Builder] = {
    **{name: _of_cells(name) for name in _ONES_OF_CELLS},
    **{name: _operation(name.lower()) for name in ("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Exp", "Sqrt", "Erf")},
    **{name: _operation(name.lower()) for name in ("Tanh", "Sigmoid")},
    "Max": _operation("maximum"),
    "Min": _operation("minimum"),
    "Greater": _operation("gt"),
    "Less": lambda attributes, arguments: node("gt", *arguments[::-1]),
    "Where": lambda attributes, arguments: where(*arguments),
    "Reciprocal": lambda attributes, arguments: 1 / arguments[0],
    "Swish": lambda attributes, arguments: arguments[0] * sigmoid(attributes.get("alpha", 1.0) * arguments[0]),
    "HardSwish": lambda attributes, arguments: arguments[0] * hard_sigmoid(arguments[0]),
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Clip": _clip,
}
OPERATORS = tuple(_BUILDERS)
