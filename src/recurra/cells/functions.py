"""What the operations of the language mean: their value in NumPy, their slopes, and how LaTeX writes them.

A slope is written in the language itself, from the arguments and the result y, so that it can use whichever is
cheaper to keep. At a kink the slope is the one that PyTorch takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.cells.symbols import Node, exp, node, sigmoid, where

Slopes = Callable[..., tuple[Node | float, ...]]


@dataclass(frozen=True)
class Function:
    """A primitive: `value(*args)` on arrays, `slopes(*args, y)` in the language, `latex` with {0}, {1}, ..."""

    value: Callable[..., Any]
    slopes: Slopes
    latex: str


def _sigmoid(a: Any) -> Any:
    e = np.exp(-np.abs(a))
    return np.where(a > 0, 1.0, e) / (1.0 + e)


def _step(a: Node) -> Node:
    return where(a > 0, 1, 0)


def _share(a: Node, b: Node) -> Node:
    """The slope of maximum(a, b) in a: 1 where a is larger, 1/2 where they are equal."""
    return 0.5 + 0.5 * (_step(a - b) - _step(b - a))


_erf = np.vectorize(math.erf, otypes=[np.float64])

FUNCTIONS: dict[str, Function] = {
    "tanh": Function(np.tanh, lambda a, y: (1 - y * y,), r"\tanh({0})"),
    "sigmoid": Function(_sigmoid, lambda a, y: (y * (1 - y),), r"\sigma({0})"),
    "exp": Function(np.exp, lambda a, y: (y,), r"\exp({0})"),
    "sqrt": Function(np.sqrt, lambda a, y: (0.5 / y,), r"\sqrt{{{0}}}"),
    "erf": Function(_erf, lambda a, y: (2 / math.sqrt(math.pi) * exp(-(a * a)),), r"\operatorname{{erf}}({0})"),
    "relu": Function(lambda a: np.where(a < 0, 0.0, a), lambda a, y: (_step(y),), r"\operatorname{{relu}}({0})"),
    "softplus": Function(lambda a: np.logaddexp(a, 0.0), lambda a, y: (sigmoid(a),), r"\operatorname{{softplus}}({0})"),
    "elu": Function(
        lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0.0))),
        lambda a, y: (where(y > 0, 1, y + 1),),
        r"\operatorname{{elu}}({0})",
    ),
    "hard_sigmoid": Function(
        lambda a: np.clip(a / 6 + 0.5, 0.0, 1.0),
        lambda a, y: (1 / 6 * _step(y * (1 - y)),),
        r"\operatorname{{hard\_sigmoid}}({0})",
    ),
    "abs": Function(np.abs, lambda a, y: (_step(a) - _step(-a),), r"\left|{0}\right|"),
    "maximum": Function(np.maximum, lambda a, b, y: (_share(a, b), _share(b, a)), r"\max({0}, {1})"),
    "minimum": Function(np.minimum, lambda a, b, y: (_share(b, a), _share(a, b)), r"\min({0}, {1})"),
    "clip": Function(
        np.clip,
        lambda a, low, high, y: ((1 - _step(low - a)) * (1 - _step(a - high)), 0.0, 0.0),
        r"\operatorname{{clip}}({0}, {1}, {2})",
    ),
    "gt": Function(np.greater, lambda a, b, y: (0.0, 0.0), r"{0} > {1}"),
    "where": Function(
        np.where,
        lambda condition, a, b, y: (0.0, node("where", condition, 1, 0), node("where", condition, 0, 1)),
        r"\operatorname{{where}}({0}, {1}, {2})",
    ),
}

ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
}
