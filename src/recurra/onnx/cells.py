"""The equations of ONNX's RNN, LSTM and GRU nodes as cells, with whatever activations and limits their attributes name.

Gates have ONNX's letters but for the LSTM's c, which is g here, and the GRU's h, which is n. With the standard's own
activations the equations are those of the zoo, so that their kernels are built in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from recurra.cells import (
    Cell,
    Node,
    clip,
    elu,
    from_function,
    leaky_relu,
    product,
    relu,
    sigmoid,
    softplus,
    softsign,
    tanh,
    where,
    zoo_cells,
)
from recurra.errors import CellError

GATES = {"RNN": "n", "LSTM": "iofg", "GRU": "zrn"}  # in the order in which ONNX stacks them
PEEPHOLES = "iof"
DEFAULTS = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}
STATES = {"RNN": ("h",), "LSTM": ("h", "c"), "GRU": ("h",)}
_SOURCE = "the ONNX standard, operator {}"

Function = Callable[[Node], Node]
_NONE = "must be given"


class _Activation(NamedTuple):
    """An activation of the standard: the function of a symbol, alpha and beta; what these are if not given."""

    function: Callable[..., Node]
    alpha: float | str | None = None
    beta: float | str | None = None


# Where the operator of that name has left the standard there is no default to take: `_NONE`.
ACTIVATIONS: dict[str, _Activation] = {
    "Relu": _Activation(relu),
    "Tanh": _Activation(tanh),
    "Sigmoid": _Activation(sigmoid),
    "Affine": _Activation(lambda a, alpha, beta: alpha * a + beta, 1.0, 0.0),
    "LeakyRelu": _Activation(leaky_relu, 0.01),
    "ThresholdedRelu": _Activation(lambda a, alpha: where(alpha > a, 0, a), 1.0),
    "ScaledTanh": _Activation(lambda a, alpha, beta: alpha * tanh(beta * a), _NONE, _NONE),
    "HardSigmoid": _Activation(lambda a, alpha, beta: clip(alpha * a + beta, 0, 1), 0.2, 0.5),
    "Elu": _Activation(elu, 1.0),
    "Softsign": _Activation(softsign),
    "Softplus": _Activation(softplus),
}
_NAMES = {name.lower(): name for name in ACTIVATIONS}


@dataclass(frozen=True)
class Chosen:
    """An activation by its name in the standard, with its alpha and beta where it has them."""

    name: str
    numbers: tuple[float, ...] = ()

    def __call__(self, a: Node) -> Node:
        """The activation of a symbol."""
        return ACTIVATIONS[self.name].function(a, *self.numbers)


@dataclass(frozen=True)
class Variant:
    """Which equations an operator has.

    Attributes:
        op: "RNN", "LSTM" or "GRU".
        activations: f, and g and h where the operator has them.
        clip: the sum of a gate is limited to [-clip, clip] before its activation; an LSTM's cell state is not, as ONNX
            Runtime has it.
        reset_after: a GRU's reset gate is applied after the recurrent product (`linear_before_reset`).
        coupled: an LSTM's forget gate is one minus its input gate (`input_forget`).
        peepholes: an LSTM's gates see its cell state.
    """

    op: str
    activations: tuple[Chosen, ...]
    clip: float | None = None
    reset_after: bool = False
    coupled: bool = False
    peepholes: bool = False

    @property
    def functions(self) -> list[Function]:
        """The activations of the gates, with the limit on what goes into them, and then that of the cell state."""
        return [self._limited(f) for f in self.activations[:2]] + list(self.activations[2:])

    def _limited(self, function: Function) -> Function:
        limit = self.clip
        return function if limit is None else lambda a: function(clip(a, -limit, limit))


def choose(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> tuple[Chosen, ...]:
    """Activations by name (in any case), which take alphas and betas in their order.

    Raises:
        CellError: a name is unknown, an alpha or beta is needed or left over.
    """
    chosen = []
    left = {"alpha": list(alphas), "beta": list(betas)}
    for given in names:
        name = _NAMES.get(given.lower())
        if name is None:
            raise CellError(f"the activation {given[:80]!r} is unknown, expected one of {', '.join(ACTIVATIONS)}")
        numbers = []
        for which, default in zip(("alpha", "beta"), ACTIVATIONS[name][1:], strict=True):
            if default is not None:
                value = left[which].pop(0) if left[which] else default
                if isinstance(value, str):
                    raise CellError(f"{name} has no activation_{which}, which {value}: it has no default")
                numbers.append(float(value))
        chosen.append(Chosen(name, tuple(numbers)))
    for which, rest in left.items():
        if rest:
            raise CellError(
                f"activation_{which} has {len(rest)} values more than {', '.join(names)} take: leave out those of "
                "activations that take none"
            )
    return tuple(chosen)


@cache
def cell_of(variant: Variant) -> Cell:
    """The cell with the equations of a variant; the zoo's where it is one of those."""
    built = equations_of(variant)
    return next((cell for cell in zoo_cells() if cell.fingerprint == built.fingerprint), built)


def equations_of(variant: Variant) -> Cell:
    """A cell of its own with the equations of a variant."""
    return from_function(_EQUATIONS[variant.op](variant), variant.op.lower(), _SOURCE.format(variant.op))


def variants() -> Iterator[Variant]:
    """Every variant whose activations have no numbers."""
    plain = [Chosen(name) for name, kind in ACTIVATIONS.items() if kind.alpha is None]
    for f in plain:
        yield Variant("RNN", (f,))
        for g in plain:
            yield Variant("GRU", (f, g))
            yield Variant("GRU", (f, g), reset_after=True)
            for coupled in (False, True):
                for peepholes in (False, True):
                    yield from (Variant("LSTM", (f, g, h), None, False, coupled, peepholes) for h in plain)


def _rnn(variant: Variant) -> Callable[..., Any]:
    (f,) = variant.functions

    def rnn(x: Any, h: Any) -> Any:
        return f(x.n + h.n)

    return rnn


def _gru(variant: Variant) -> Callable[..., Any]:
    f, g = variant.functions

    def gru(x: Any, h: Any) -> Any:
        r = f(x.r + h.r)
        z = f(x.z + h.z)
        n = g(x.n + r * h.n) if variant.reset_after else g(x.n + product(r * h).n)
        return (1 - z) * n + z * h

    return gru


def _lstm(variant: Variant) -> Callable[..., Any]:
    f, g, k = variant.functions

    def lstm(x: Any, h: Any, c: Any, *, p: Any) -> Any:
        def gate(name: str, cell: Any) -> Any:
            total = getattr(x, name) + getattr(h, name)
            return f(total + getattr(p, name) * cell) if variant.peepholes else f(total)

        i = gate("i", c)
        keep = 1 - i if variant.coupled else gate("f", c)
        n = g(x.g + h.g)
        if variant.peepholes:
            c = keep * c + i * n
            return gate("o", c) * k(c), c
        o = gate("o", c)
        c = keep * c + i * n
        return o * k(c), c

    return lstm


_EQUATIONS: dict[str, Callable[[Variant], Callable[..., Any]]] = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
