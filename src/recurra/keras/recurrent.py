"""`Recurrent`: any cell as a Keras layer, on any of Keras' backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from recurra.cells.cell import Cell
from recurra.cells.symbols import Node, walk
from recurra.cells.trace import from_text, get
from recurra.errors import ShapeError
from recurra.keras.cells import Recipe, lacks_compiler
from recurra.keras.layers import Native
from recurra.keras.run import Call
from recurra.keras.scan import zeros
from recurra.weights import Weights


@keras.saving.register_keras_serializable(package="recurra")
class EquationCell(keras.layers.Layer):  # type: ignore[misc]
    """One step of a cell as a Keras cell: `keras.layers.RNN` runs it on any backend, `Recurrent` on Recurra's kernels.

    Weights are `kernel` [I, gates * H], `recurrent_kernel` [P, gates * H], `bias` and `recurrent_bias` [gates * H],
    for a cell with a projection `projection` [H, P], and each per-unit parameter [H]; gates stand in the cell's order.
    What a cell does not use is not there.

    Args:
        cell: a cell, the name of one in the zoo, or the text of one.
        units: H.
        projection_size: P, for a cell that projects its output.
        use_bias: whether there are biases.
        kernel_initializer, recurrent_initializer, bias_initializer: as Keras' layers have them.
        kwargs: of every Keras layer.
    """

    def __init__(
        self,
        cell: str | Cell,
        units: int,
        projection_size: int | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cell = from_text(cell) if isinstance(cell, str) and "\n" in cell else get(cell)
        self.units, self.projection_size, self.use_bias = units, projection_size, use_bias
        if units < 1 or (projection_size is None) != (self.cell.projection is None):
            has = "no" if self.cell.projection is None else "a"
            raise ShapeError(
                f"EquationCell({self.cell.name}): units={units}, projection_size={projection_size}, expected at least "
                f"1 unit, and a projection_size just where the cell projects: it has {has} projection"
            )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.output_size = units if projection_size is None else projection_size
        self.state_size = [self.output_size, *([units] * (len(self.cell.states) - 1))]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights, for inputs [B, I]."""
        shapes = Weights.shapes(self.cell, int(input_shape[-1] or 0), self.units, self.projection_size)
        names = {"W": "kernel", "U": "recurrent_kernel", "b": "bias", "c_": "recurrent_bias", "R": "projection"}
        initializers = {"U": self.recurrent_initializer, "R": self.recurrent_initializer}
        initializers |= {"b": self.bias_initializer, "c_": self.bias_initializer}
        self._named: dict[str, Any] = {}
        for name, shape in shapes.items():
            if 0 in shape or (name in ("b", "c_") and not self.use_bias):
                continue
            variable = self.add_weight(
                shape=shape[::-1],
                name=names.get(name, name.replace(".", "_")),
                initializer=initializers.get(name, self._initializer_of(name)),
            )
            self._named[name] = variable
        self.built = True

    def _initializer_of(self, name: str) -> Any:
        if name == "W":
            return self.kernel_initializer
        bound = self.units**-0.5
        return keras.initializers.RandomUniform(-bound, bound)  # of a per-unit parameter

    def arrays(self, like: Any, features: int) -> dict[str, Any]:
        """All arrays as `recurra.Weights` has them, zeros for what the cell does not use."""
        shapes = Weights.shapes(self.cell, features, self.units, self.projection_size)
        given = {name: ops.transpose(v.value) if len(v.shape) == 2 else v.value for name, v in self._named.items()}
        return {name: given[name] if name in given else zeros(shape, like) for name, shape in shapes.items()}

    def call(self, inputs: Any, states: Sequence[Any], training: bool = False) -> tuple[Any, list[Any]]:
        """One step in Keras' own operations: inputs [B, I], the states, to the output and the new states."""
        arrays, H, cell = self.arrays(inputs, inputs.shape[-1]), self.units, self.cell
        values: dict[Node, Any] = {}

        def product(a: Any, matrix: str, bias: str, gates: Sequence[str], gate: str) -> Any:
            i = gates.index(gate)
            rows = slice(i * H, (i + 1) * H)
            return ops.matmul(a, ops.transpose(arrays[matrix][rows])) + arrays[bias][rows]

        for n in walk(cell.next):
            given = [values[a] for a in n._args]
            if n._op == "const":
                values[n] = ops.convert_to_tensor(n._value, dtype=inputs.dtype)
            elif n._op == "state":
                values[n] = states[cell.states.index(n._value)]
            elif n._op == "param":
                values[n] = arrays[n._value]
            elif n._op == "input":
                values[n] = product(inputs, "W", "b", cell.input_gates, n._value)
            elif n is cell.projection:
                values[n] = ops.matmul(given[0], ops.transpose(arrays["R"]))
            elif n._op == "product":
                values[n] = product(given[0], "U", "c_", cell.recurrent_gates, n._value)
            else:
                values[n] = _OPERATIONS[n._op](*given)
        new = [
            ops.broadcast_to(values[n], (ops.shape(inputs)[0], width))
            for n, width in zip(cell.next, self.state_size, strict=True)
        ]
        return new[0], new

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Zeros for each state."""
        return [ops.zeros((batch_size, width), dtype=self.compute_dtype) for width in self.state_size]

    def get_config(self) -> dict[str, Any]:
        """What Keras writes into a file: the equations are text, which is read without running any code."""
        config: dict[str, Any] = super().get_config()
        return config | {
            "cell": self.cell.text,
            "units": self.units,
            "projection_size": self.projection_size,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


def _softplus(a: Any) -> Any:
    return ops.logaddexp(a, ops.zeros_like(a))


_OPERATIONS: dict[str, Any] = {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "div": ops.divide,
    "neg": ops.negative,
    "abs": ops.abs,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "exp": ops.exp,
    "sqrt": ops.sqrt,
    "erf": ops.erf,
    "relu": ops.relu,
    "softplus": _softplus,
    "elu": ops.elu,
    "hard_sigmoid": lambda a: ops.clip(a / 6 + 0.5, 0.0, 1.0),
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "clip": lambda a, low, high: ops.minimum(ops.maximum(a, low), high),
    "gt": ops.greater,
    "where": ops.where,
}


@keras.saving.register_keras_serializable(package="recurra")
class Recurrent(Native, keras.layers.RNN):  # type: ignore[misc]
    """Any cell over time, with the interface of Keras' recurrent layers.

    On the torch and JAX backends it runs on Recurra's kernels, elsewhere as equations in Keras' operations. A file
    holds the cell as its text, so that whoever opens it needs Recurra but not the cell's source.

    Args:
        cell: a cell, the name of one in the zoo, the text of one, or an `EquationCell`.
        units: H; not with an `EquationCell`.
        projection_size: P, for a cell that projects its output.
        use_bias: whether there are biases.
        kwargs: of keras.layers.RNN (`return_sequences`, `return_state`, `go_backwards`, `stateful`, ...), and the
            initializers of `EquationCell`.

    Raises:
        CellError, ShapeError: no such cell, or sizes that do not fit it.

    >>> from keras import ops
    >>> Recurrent("mgu", 8, return_sequences=True)(ops.ones((2, 10, 3))).shape
    torch.Size([2, 10, 8])
    """

    stock = keras.layers.RNN

    def __init__(
        self,
        cell: str | Cell | EquationCell,
        units: int | None = None,
        projection_size: int | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        if not isinstance(cell, EquationCell):
            if units is None:
                raise ShapeError(f"Recurrent({cell if isinstance(cell, str) else cell.name}): `units` is missing")
            names = ("kernel_initializer", "recurrent_initializer", "bias_initializer")
            own = {name: kwargs.pop(name) for name in names if name in kwargs}
            dtype = kwargs.get("dtype")
            cell = EquationCell(cell, units, projection_size, use_bias, dtype=dtype, **own)
        super().__init__(cell, **kwargs)

    def recipe(self, training: bool) -> Recipe | str:
        """The cell as it is; every cell can run natively where it can be compiled."""
        made = Recipe(self.cell.cell, ())
        return (lacks_compiler(made.cell) if made.compiled else "") or made

    def arrange(self, found: Recipe, x: Any, state: Sequence[Any], training: bool) -> tuple[Call, Any]:
        """What to run."""
        cell = found.cell
        arrays = self.cell.arrays(x, x.shape[-1])
        weights = [arrays.get(name) for name in ("W", "U", "b", "c_", "R")]
        return Call(cell.text, weights, [arrays[p] for p in cell.parameters], list(state), len(cell.states)), x
