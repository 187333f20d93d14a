"""Keras' activations in the language of cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from recurra.cells import symbols as s
from recurra.cells.symbols import Node

Activation = Callable[[Node], Node]


def _leaky(slope: float) -> Activation:
    def leaky_relu(a: Node) -> Node:
        return s.leaky_relu(a, slope)

    return leaky_relu


def _relu6(a: Node) -> Node:
    return s.clip(a, 0.0, 6.0)


def _hard_tanh(a: Node) -> Node:
    return s.clip(a, -1.0, 1.0)


def _hard_silu(a: Node) -> Node:
    return a * s.hard_sigmoid(a)


def _mish(a: Node) -> Node:
    return a * s.tanh(s.softplus(a))


def _selu(a: Node) -> Node:
    return 1.0507009873554805 * s.elu(a, 1.6732632423543772)


def _log_sigmoid(a: Node) -> Node:
    return -s.softplus(-a)


def _tanh_shrink(a: Node) -> Node:
    return a - s.tanh(a)


# By the name that a function has in keras.activations.
MEANINGS: dict[str, Activation] = {
    "elu": s.elu,
    "exponential": s.exp,
    "gelu": s.gelu,
    "hard_sigmoid": s.hard_sigmoid,
    "hard_silu": _hard_silu,
    "hard_tanh": _hard_tanh,
    "leaky_relu": _leaky(0.2),
    "linear": s.identity,
    "log_sigmoid": _log_sigmoid,
    "mish": _mish,
    "relu": s.relu,
    "relu6": _relu6,
    "selu": _selu,
    "sigmoid": s.sigmoid,
    "silu": s.silu,
    "softplus": s.softplus,
    "softsign": s.softsign,
    "tanh": s.tanh,
    "tanh_shrink": _tanh_shrink,
}

# Functions of keras.ops of one argument that mean the same under the same name.
_OPS = ("hard_sigmoid", "relu", "relu6", "sigmoid", "silu", "softplus", "softsign", "tanh")


def meaning(activation: Any) -> Activation | None:
    """What a Keras activation is in the language of cells; None where it has no word.

    Known are the functions of `keras.activations` that act on each number alone, those of `keras.ops` under the same
    names, and the layers ReLU, LeakyReLU and ELU, which Keras takes as activations too.

    >>> import keras
    >>> meaning(keras.activations.tanh).__name__, meaning(keras.activations.softmax)
    ('tanh', None)
    """
    if isinstance(activation, keras.layers.LeakyReLU):
        return _leaky(float(activation.negative_slope))
    if isinstance(activation, keras.layers.ELU):
        alpha = float(activation.alpha)
        return lambda a: s.elu(a, alpha)
    if isinstance(activation, keras.layers.ReLU):
        plain = not activation.threshold and activation.max_value is None
        return (_leaky(float(activation.negative_slope)) if activation.negative_slope else s.relu) if plain else None
    name = getattr(activation, "__name__", "")
    known = [getattr(keras.activations, name, None), getattr(keras.ops, name, None) if name in _OPS else None]
    return MEANINGS.get(name) if any(activation is function for function in known) else None
