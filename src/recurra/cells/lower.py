"""From the nodes of a routine to elementary operations of a vector unit, once for every printer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from recurra.cells import vmath
from recurra.cells.routines import Place, Routine
from recurra.cells.symbols import Node


class Printer(vmath.Kernel, Protocol):
    """Elementary operations, and the access to memory that a routine needs besides."""

    def load(self, place: Place) -> Any:
        """The vector at a place of the tile."""

    def store(self, place: Place, value: Any) -> None:
        """Write a vector to a place of the tile; a parameter's gradient is added to what is there."""

    def call(self, function: str, value: Any) -> Any:
        """One of the functions of `vmath.FUNCTIONS`."""


def lower(routine: Routine, k: Printer) -> None:
    """Print a routine: all loads and operations, then all stores, so that a store may overwrite what was loaded."""
    values: dict[Node, Any] = {}
    for n in routine.order():
        if n in routine.loads:
            values[n] = k.load(routine.loads[n])
        elif n._op == "const":
            values[n] = k.const(n._value)
        elif n._op in vmath.FUNCTIONS:
            values[n] = k.call(n._op, values[n._args[0]])
        else:
            values[n] = _OPERATIONS[n._op](k, *(values[a] for a in n._args))
    for place, n in routine.stores:
        k.store(place, values[n])


def _larger(k: Printer, a: Any, b: Any) -> Any:
    return k.select(k.gt(a, b), a, k.select(k.gt(b, a), b, _middle(k, a, b)))


def _smaller(k: Printer, a: Any, b: Any) -> Any:
    return k.select(k.gt(b, a), a, k.select(k.gt(a, b), b, _middle(k, a, b)))


def _middle(k: Printer, a: Any, b: Any) -> Any:
    """The value of both where they are equal, NaN where they do not compare."""
    half = k.const(0.5)
    return k.add(k.mul(half, a), k.mul(half, b))


def _clip(k: Printer, a: Any, low: Any, high: Any) -> Any:
    """NaN passes through: it is neither below nor above."""
    return k.select(k.gt(low, a), low, k.select(k.gt(a, high), high, a))


def _elu(k: Printer, a: Any) -> Any:
    return k.select(k.gt(a, k.const(0.0)), a, k.call("expm1", a))


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda k, a, b: k.add(a, b),
    "sub": lambda k, a, b: k.sub(a, b),
    "mul": lambda k, a, b: k.mul(a, b),
    "div": lambda k, a, b: k.div(a, b),
    "neg": lambda k, a: k.neg(a),
    "abs": lambda k, a: k.abs(a),
    "sqrt": lambda k, a: k.sqrt(a),
    "gt": lambda k, a, b: k.gt(a, b),
    "where": lambda k, condition, a, b: k.select(condition, a, b),
    "relu": lambda k, a: k.select(k.gt(k.const(0.0), a), k.const(0.0), a),
    "clip": _clip,
    "hard_sigmoid": lambda k, a: _clip(k, k.add(k.div(a, k.const(6.0)), k.const(0.5)), k.const(0.0), k.const(1.0)),
    "maximum": _larger,
    "minimum": _smaller,
    "elu": _elu,
}
