"""The kinds of layers that a model is made of: their arrays, their sizes, and how the native network takes them.

All arrays are float32. A layer is checked when it is made, so whatever a model file says ends here or works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra import _native
from recurra.cells import from_text
from recurra.cells.cell import Cell
from recurra.checks import check_array, check_weights
from recurra.engine import _kernel, _native_weights
from recurra.errors import CellError, DtypeError, ShapeError
from recurra.weights import Array, Weights

FLOAT = np.dtype(np.float32)
MOST_CELL_TEXT = 1 << 16  # characters; the zoo's cells have less than a thousand
MOST_NUMBER = 1e30
DIRECTIONS = ("forward", "reverse")

Arrays = Mapping[str, Array]
Settings = Mapping[str, Any]


class Layer:
    """What all kinds have in common.

    Attributes:
        kind: the word that names it in a model file.
        input: features in, or None where any number will do.
        output: features out, or None where as many come out as go in.
        has_arrays: whether it has any.
    """

    kind: ClassVar[str]
    has_arrays: ClassVar[bool] = True

    @property
    def input(self) -> int | None:
        """Features in."""
        return None

    @property
    def output(self) -> int | None:
        """Features out."""
        return None

    def settings(self) -> dict[str, Any]:
        """What the manifest says of this layer besides its kind."""
        return {}

    def arrays(self) -> dict[str, Array]:
        """Its arrays by name."""
        return {}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Layer:
        """From what `settings` and `arrays` gave."""
        return cls()

    def add_to(self, network: Any, width: int) -> None:
        """Add it to a native network whose last layer gives `width` features."""


@dataclass(frozen=True, eq=False)
class Recurrent(Layer):
    """A cell over time; two sets of weights are two directions, whose outputs stand side by side.

    `initial` has, for each direction, what each state begins with, [width] each, in the order of the cell's states;
    without it they begin with zeros.

    Raises:
        ShapeError, DtypeError: the weights do not fit the cell or one another, or are not float32.
    """

    cell: Cell
    weights: Sequence[Weights]
    initial: Sequence[Sequence[Array]] = ()
    kind: ClassVar[str] = "recurrent"

    def __post_init__(self) -> None:
        if len(self.weights) not in (1, 2):
            raise ShapeError(
                f"a recurrent layer of {self.cell.name} has {len(self.weights)} sets of weights, expected one, or two "
                "for both directions"
            )
        name = f"a recurrent layer of {self.cell.name}"
        sizes = set()
        for weights in self.weights:
            if getattr(weights.W, "ndim", 0) == 2 and 0 in weights.W.shape:
                raise ShapeError(f"{name}: `W` has shape {weights.W.shape}, expected at least one gate and one input")
            sizes.add(check_weights(name, self.cell, weights))
            _check_float32(name, dict(weights.items()))
        if len(self.initial) not in (0, len(self.weights)) or any(
            len(i) != len(self.cell.states) for i in self.initial
        ):
            raise ShapeError(f"{name}: `initial` has other states than {', '.join(self.cell.states)} of each direction")
        for states, weights in zip(self.initial, self.weights, strict=False):
            for k, (state, array) in enumerate(zip(self.cell.states, states, strict=True)):
                width = weights.hidden_size if k else weights.U.shape[1]
                check_array(name, f"initial:{state}", array, FLOAT, (width,))
        if len(sizes) > 1:
            raise ShapeError(f"{name}: its directions have the sizes {sizes}, expected the same of both")

    @property
    def input(self) -> int:
        """I."""
        return int(self.weights[0].W.shape[1])

    @property
    def output(self) -> int:
        """The size of the first state, of both directions together."""
        return len(self.weights) * int(self.weights[0].U.shape[1])

    def settings(self) -> dict[str, Any]:
        """The cell's equations, and how many directions."""
        return {"cell": self.cell.text, "directions": len(self.weights)}

    def arrays(self) -> dict[str, Array]:
        """The weights; of two directions under the direction's name."""
        named: dict[str, Array] = {}
        for d, weights in enumerate(self.weights):
            prefix = f"{DIRECTIONS[d]}." if len(self.weights) > 1 else ""
            named |= {prefix + name: array for name, array in weights.items()}
            states = zip(self.cell.states, self.initial[d], strict=True) if self.initial else ()
            named |= {f"{prefix}initial:{state}": array for state, array in states}
        return named

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Recurrent:
        """The cell from its text, without running any code of the file."""
        text, directions = settings.get("cell"), settings.get("directions", 1)
        if not isinstance(text, str) or len(text) > MOST_CELL_TEXT:
            raise CellError(f"`cell` is no text of at most {MOST_CELL_TEXT} characters")
        if directions not in (1, 2) or isinstance(directions, bool):
            raise ShapeError(f"`directions` is {directions!r}, expected 1 or 2")
        try:
            cell = from_text(text)
            prefixes = [""] if directions == 1 else [f"{d}." for d in DIRECTIONS]
            names = [*Weights.shapes(cell, 1, 1, None)]
            begins = [f"initial:{state}" for state in cell.states] if any("initial:" in n for n in arrays) else []
        except (RecursionError, MemoryError, ValueError) as error:
            raise CellError(str(error) or "the equations of the cell are nested too deeply") from error
        wanted = {p + n for p in prefixes for n in (*names, *begins)}
        check_names(wanted, arrays)
        weights = [Weights.of(cell, {n: arrays[p + n] for n in names}) for p in prefixes]
        return cls(cell, weights, [[arrays[p + n] for n in begins] for p in prefixes] if begins else ())

    def add_to(self, network: Any, width: int) -> None:
        """All directions at once."""
        native = [_native_weights(self.cell, w) for w in self.weights]
        initial = self.initial or [[] for _ in self.weights]
        network.add_recurrent(_kernel(self.cell, gradient=False), native, self.weights[0].hidden_size, initial)


@dataclass(frozen=True, eq=False)
class Linear(Layer):
    """y = W x + b, with W [O, I] and b [O] or none."""

    W: Array
    b: Array | None = None
    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        check_layer_array("linear", "W", self.W, ("O", "I"))
        if self.b is not None:
            check_layer_array("linear", "b", self.b, (self.W.shape[0],))

    @property
    def input(self) -> int:
        """I."""
        return int(self.W.shape[1])

    @property
    def output(self) -> int:
        """O."""
        return int(self.W.shape[0])

    def arrays(self) -> dict[str, Array]:
        """W, and b where there is one."""
        return {"W": self.W} | ({} if self.b is None else {"b": self.b})

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Linear:
        """From W and perhaps b."""
        check_names({"W", "b"} & {"W", *arrays}, arrays)
        return cls(arrays["W"], arrays.get("b"))

    def add_to(self, network: Any, width: int) -> None:
        """W is packed there."""
        network.add_linear(self.W, self.b)


@dataclass(frozen=True, eq=False)
class Embedding(Layer):
    """Row x of W [count, O] for a whole number x; only as the first layer. The input is int64, one number a row."""

    W: Array
    kind: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        check_layer_array("embedding", "W", self.W, ("count", "O"))

    @property
    def output(self) -> int:
        """O."""
        return int(self.W.shape[1])

    def arrays(self) -> dict[str, Array]:
        """W."""
        return {"W": self.W}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Embedding:
        """From W."""
        check_names({"W"}, arrays)
        return cls(arrays["W"])

    def add_to(self, network: Any, width: int) -> None:
        """W is copied there."""
        network.add_embedding(self.W)


@dataclass(frozen=True, eq=False)
class LayerNorm(Layer):
    """(x - mean) / sqrt(variance + epsilon) * scale + shift over the features; scale and shift are [I]."""

    scale: Array
    shift: Array
    epsilon: float = 1e-5
    kind: ClassVar[str] = "layer_norm"

    def __post_init__(self) -> None:
        check_layer_array("layer_norm", "scale", self.scale, ("I",))
        check_layer_array("layer_norm", "shift", self.shift, self.scale.shape)
        _check_number("layer_norm", "epsilon", self.epsilon)

    @property
    def input(self) -> int:
        """I."""
        return len(self.scale)

    def settings(self) -> dict[str, Any]:
        """Epsilon."""
        return {"epsilon": self.epsilon}

    def arrays(self) -> dict[str, Array]:
        """Scale and shift."""
        return {"scale": self.scale, "shift": self.shift}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> LayerNorm:
        """From scale, shift and epsilon."""
        check_names({"scale", "shift"}, arrays)
        return cls(arrays["scale"], arrays["shift"], settings.get("epsilon", 1e-5))

    def add_to(self, network: Any, width: int) -> None:
        """Scale and shift are copied there."""
        network.add_layer_norm(self.scale, self.shift, self.epsilon)


@dataclass(frozen=True, eq=False)
class Activation(Layer):
    """An activation of the language of cells, element by element; `slope` is that of leaky_relu."""

    name: str
    slope: float = 0.01
    kind: ClassVar[str] = "activation"
    has_arrays: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.name not in _native.activations:
            known = ", ".join(_native.activations)
            raise ShapeError(f"activation: the name is {str(self.name)[:80]!r}, expected one of: {known}")
        _check_number("activation", "slope", self.slope)

    def settings(self) -> dict[str, Any]:
        """The name, and the slope where it matters."""
        return {"name": self.name} | ({"slope": self.slope} if self.name == "leaky_relu" else {})

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Activation:
        """From a name and perhaps a slope."""
        name = settings.get("name")
        return cls(name if isinstance(name, str) else repr(name), settings.get("slope", 0.01))

    def add_to(self, network: Any, width: int) -> None:
        """By its number in the native table."""
        network.add_map(_native.activations[self.name], self.slope, width)


@dataclass(frozen=True, eq=False)
class Softmax(Layer):
    """exp(x) / sum exp(x) over the features."""

    kind: ClassVar[str] = "softmax"
    has_arrays: ClassVar[bool] = False

    def add_to(self, network: Any, width: int) -> None:
        """Of any width."""
        network.add_softmax(width)


@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """Nothing, for it is gone after training; kept so that the file says what was trained."""

    p: float = 0.5
    kind: ClassVar[str] = "dropout"
    has_arrays: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_number("dropout", "p", self.p)

    def settings(self) -> dict[str, Any]:
        """The probability in training."""
        return {"p": self.p}

    @classmethod
    def read(cls, settings: Settings, arrays: Arrays) -> Dropout:
        """From p."""
        return cls(settings.get("p", 0.5))


def check_layer_array(kind: str, name: str, array: Array, shape: tuple[int | str, ...]) -> None:
    """Raise unless it is float32 of this shape, with nothing that is empty."""
    check_array(f"a {kind} layer", name, array, FLOAT, shape)
    if 0 in array.shape:
        raise ShapeError(f"a {kind} layer: `{name}` has shape {array.shape}, expected at least 1 in each direction")


def _check_float32(name: str, arrays: Arrays) -> None:
    for array in arrays.values():
        if array.dtype != FLOAT:
            raise DtypeError(f"{name}: its weights are {array.dtype}, expected float32: use weights.map")


def _check_number(kind: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < MOST_NUMBER:
        raise ShapeError(f"{kind}: `{name}` is {str(value)[:80]!r}, expected a finite number that float32 holds")


def check_names(wanted: set[str], arrays: Arrays) -> None:
    """Raise unless these are the names of the arrays."""
    if wanted != set(arrays):
        got, expected = ", ".join(sorted(arrays)[:8]) or "none", ", ".join(sorted(wanted))
        raise ShapeError(f"its arrays are {got}, expected {expected}")
