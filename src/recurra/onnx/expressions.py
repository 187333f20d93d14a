"""Element by element: operators as words of the language of cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recurra.cells import Node, clip, gelu, hard_sigmoid, maximum, minimum, sigmoid, where
from recurra.cells.symbols import node
from recurra.onnx.cells import choose

_ONES_OF_CELLS = ("Relu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Softsign", "Softplus")

Builder = Callable[[dict[str, Any], Sequence[Node]], Node]


def build(op: str, attributes: dict[str, Any], arguments: Sequence[Node]) -> Node | None:
    """An operator on symbols; None where it is none that goes element by element."""
    return _BUILDERS[op](attributes, arguments) if op in _BUILDERS else None


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
