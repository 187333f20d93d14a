"""Keras models and those of the runtime, both ways, compared on the way; one row an op."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import keras
import numpy as np

from recurra.cells import gru, gru_reset_before, lstm, rnn
from recurra.cells.cell import Cell
from recurra.errors import ConversionError, ExportError, RecurraError
from recurra.keras.activations import MEANINGS
from recurra.keras.layers import GRU, LAYERS, LSTM, SimpleRNN, as_ours
from recurra.keras.recurrent import Recurrent
from recurra.keras.scan import to_numpy
from recurra.runtime import ops
from recurra.runtime.model import Model
from recurra.runtime.parity import TOLERANCE, difference, random_input, refuse_difference
from recurra.weights import Array, Weights

STEPS, BATCH = 17, 3  # of the sample

# Activations that the runtime has between layers, under its names.
_BETWEEN = ("tanh", "sigmoid", "relu", "gelu", "silu", "softplus", "elu", "softsign", "hard_sigmoid", "leaky_relu")

Made = list[tuple[Any, list[Array]]]  # Keras' layers, each with its weights


class Row(NamedTuple):
    """An op in Keras: the classes that are it, what such a layer is (with the layers after it), and back."""

    layers: tuple[type, ...]
    ops: Callable[[Any, Sequence[Any]], list[ops.Op]]
    made: Callable[[Any], Made] | None = None


def from_keras(model: Any) -> Model:
    """A model of the runtime that computes what a Keras model computes.

    Sequential models (and chains in the functional style) of SimpleRNN, LSTM, GRU and `Recurrent`, Dense, Embedding,
    LayerNormalization, Dropout, Activation, ReLU, LeakyReLU, ELU, Softmax, TimeDistributed(Dense) and
    Bidirectional(concat) can be converted. The runtime gives an output at every step: where the last recurrent layer
    returns its last output only, the runtime's output at the last step is that. `model.parity` says so and how far
    Keras' own output is.

    Args:
        model: a Keras model, or the path of a `.keras` file.

    Raises:
        ExportError: a layer or an option of one has no equivalent; the message names it.
        ConversionError: the result computes something else, by more than 1e-5.

    >>> import keras
    >>> made = from_keras(keras.Sequential([keras.Input((None, 1)), keras.layers.LSTM(8), keras.layers.Dense(1)]))
    >>> made, made.parity["output"]
    (<model of lstm, linear: 1 in, 1 out>, 'last step')
    """
    if isinstance(model, (str, os.PathLike)):
        model = keras.saving.load_model(model, compile=False)
    chain = list(_chain(model))
    found = [op for k, part in enumerate(chain) for op in _ops_of(part, chain[k + 1 :])]
    try:
        made = Model(found)
    except RecurraError as error:
        raise ExportError(f"from_keras of {model.name}: {error}") from error
    made.parity = _compare(model, made)
    return made


def to_keras(model: Model, stock: bool = False) -> Any:
    """A Keras Sequential model that computes what a model of the runtime computes, at every step.

    Cells that Keras has become `SimpleRNN`, `LSTM` and `GRU`, all others `Recurrent`.

    Args:
        model: the model. Learned initial states have no place in a Keras layer and are refused.
        stock: whether only Keras' own layers may stand in it, for whoever has no Recurra.

    Raises:
        ExportError: a layer has no equivalent in Keras; the message names it.
        ConversionError: the result computes something else, by more than 1e-5.

    >>> import numpy as np
    >>> from recurra import Weights, cells, runtime
    >>> weights = Weights.random(cells.gru, 1, 8, rng=np.random.default_rng(0))
    >>> made = to_keras(runtime.Model([runtime.Recurrent(cells.gru, [weights])]))
    >>> [type(layer).__name__ for layer in made.layers]
    ['GRU']
    """
    made = keras.Sequential([keras.Input((None,) if model.vocabulary_size else (None, model.input_size))])
    for i, layer in enumerate(model.ops):
        if isinstance(layer, ops.Recurrent):
            parts = [_of_recurrent(i, layer, stock)]
        else:
            make = next((row.made for kind, row in ROWS if isinstance(layer, kind) and row.made), None)
            if make is None:
                raise ExportError(f"to_keras: layer {i} is a {layer.kind}, which Keras does not have")
            parts = make(layer)
        for theirs, weights in parts:
            made.add(theirs)
            theirs.set_weights(weights)
    x = random_input(model, STEPS, BATCH)
    theirs = to_numpy(made(np.ascontiguousarray(x.swapaxes(0, 1)), training=False)).swapaxes(0, 1)
    refuse_difference("to_keras", "the Keras model's", difference(model.run(x), theirs), ConversionError)
    return made


def _chain(model: Any) -> Iterator[Any]:
    """The layers in order."""
    if not isinstance(model, keras.Model):
        raise ExportError(f"from_keras: got a {type(model).__name__}, expected a Keras model or the path of one")
    if not model.built or not getattr(model, "layers", None) or not hasattr(model, "inputs"):
        raise ExportError(
            f"from_keras: {model.name} has no layers with known inputs, expected a built Sequential or functional model"
        )
    before: Any = None
    for layer in model.layers:
        nodes = getattr(layer, "_inbound_nodes", [])
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.Model):
            yield from _chain(layer)
        else:
            yield layer
        parents = [t._keras_history.operation for n in nodes[-1:] for t in n.input_tensors]
        if before is not None and not isinstance(model, keras.Sequential) and parents != [before]:
            raise ExportError(
                f"from_keras: {layer.name} does not follow {before.name} alone, expected a chain of layers"
            )
        before = layer


def _ops_of(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    """The ops of the runtime for one of Keras' layers."""
    for _, row in ROWS:
        if isinstance(layer, row.layers):
            return row.ops(layer, after)
    known = ", ".join(sorted({kind.__name__ for _, row in ROWS for kind in row.layers}))
    raise ExportError(f"from_keras: {layer.name} is a {type(layer).__name__}, expected one of {known}")


def _recurrent(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    _check_order(layer, after)
    if layer.go_backwards:
        raise ExportError(f"from_keras: {layer.name} reads backwards, expected forwards, or inside Bidirectional")
    cell, weights = _weights(layer)
    return [ops.Recurrent(cell, [weights])]


def _bidirectional(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    if layer.merge_mode != "concat" or not layer.return_sequences:
        raise ExportError(
            f"from_keras: {layer.name} has merge_mode={layer.merge_mode!r} and return_sequences="
            f"{layer.return_sequences}, expected 'concat' and True: the runtime has both directions at every step"
        )
    both = [layer.forward_layer, layer.backward_layer]
    if [part.go_backwards for part in both] != [False, True]:
        raise ExportError(f"from_keras: {layer.name} reads backwards first, expected its first layer to read forwards")
    for part in both:
        _check_order(part, after)
    (cell, forward), (other, backward) = map(_weights, both)
    if cell.fingerprint != other.fingerprint:
        raise ExportError(f"from_keras: the directions of {layer.name} are {cell.name} and {other.name}, expected one")
    return [ops.Recurrent(cell, [forward, backward])]


def _check_order(layer: Any, after: Sequence[Any]) -> None:
    if getattr(layer, "return_state", False):
        raise ExportError(f"from_keras: {layer.name} also returns its state, expected return_state=False")
    later = next((other for other in after if isinstance(other, (keras.layers.RNN, keras.layers.Bidirectional))), None)
    if not layer.return_sequences and later is not None:
        raise ExportError(f"from_keras: {layer.name} returns one output, and {later.name} after it reads a sequence")


def _weights(layer: Any) -> tuple[Cell, Weights]:
    """The cell, and its weights as the engine takes them."""
    ours = as_ours(layer)
    found = ours if isinstance(ours, str) else ours.recipe(False)
    if isinstance(found, str):
        raise ExportError(f"from_keras: {layer.name}: {found}")
    assert not isinstance(ours, str)
    like = keras.ops.zeros((1, 1, _features(layer)), "float32")
    call, _ = ours.arrange(found, like, [], False)
    W, U, b, c, R = (None if a is None else _array(layer, a) for a in call.weights)
    assert W is not None
    assert U is not None
    assert b is not None
    assert c is not None
    parameters = [_array(layer, p) for p in call.parameters]
    return found.cell, Weights(W, U, b, c, R, dict(zip(found.cell.parameters, parameters, strict=True)))


def _features(layer: Any) -> int:
    """Features that come into a built layer."""
    if hasattr(layer.cell, "kernel"):
        return int(layer.cell.kernel.shape[0])
    return int(layer.cell.get_build_config()["input_shape"][-1])


def _dense(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        raise ExportError(f"from_keras: {layer.name} is quantized or has LoRA weights, expected plain ones")
    b = None if layer.bias is None else _array(layer, layer.bias)
    return [
        ops.Linear(_array(layer, keras.ops.transpose(layer.kernel.value)), b),
        *_between(layer, layer.activation),
    ]


def _between(layer: Any, activation: Any) -> list[ops.Op]:
    """An activation between layers."""
    name = getattr(activation, "__name__", "")
    known = activation is getattr(keras.activations, name, None)
    if known and name == "linear":
        return []
    if known and name == "softmax":
        return [ops.Softmax()]
    if known and name in _BETWEEN:
        return [ops.Activation(name, 0.2)]  # the slope is that of Keras' leaky_relu, and of no matter to the others
    if isinstance(activation, keras.layers.Layer):
        return _ops_of(activation, ())
    hint = ": it has a meaning inside a cell only" if known and name in MEANINGS else ""
    raise ExportError(
        f"from_keras: {layer.name} has the activation {(name or activation)!r}{hint}, expected linear, softmax or one "
        f"of {', '.join(_BETWEEN)}"
    )


def _relu(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    if layer.max_value is not None or layer.threshold:
        raise ExportError(f"from_keras: {layer.name} has a max_value or threshold, expected none")
    slope = float(layer.negative_slope)
    return [ops.Activation("leaky_relu", slope) if slope else ops.Activation("relu")]


def _elu(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    if float(layer.alpha) != 1:
        raise ExportError(f"from_keras: {layer.name} has alpha={layer.alpha}, expected 1")
    return [ops.Activation("elu")]


def _softmax(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    if layer.axis not in (-1, 2):
        raise ExportError(f"from_keras: {layer.name} has axis={layer.axis}, expected -1: the features")
    return [ops.Softmax()]


def _layer_norm(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axes not in ([-1], [2]) or getattr(layer, "rms_scaling", False):
        raise ExportError(f"from_keras: {layer.name} normalizes axis {layer.axis}, expected -1: the features")
    gamma, beta = (None if v is None else _array(layer, v) for v in (layer.gamma, layer.beta))
    some = gamma if gamma is not None else beta
    if some is None:
        raise ExportError(f"from_keras: {layer.name} has neither center nor scale, expected one of them")
    scale = np.ones_like(some) if gamma is None else gamma
    shift = np.zeros_like(some) if beta is None else beta
    return [ops.LayerNorm(scale, shift, float(layer.epsilon))]


def _embedding(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    if layer.mask_zero:
        raise ExportError(
            f"from_keras: {layer.name} has mask_zero=True, expected False: the runtime has no padding; leave zeros out "
            "and set `mask_zero` to False"
        )
    return [ops.Embedding(_array(layer, layer.embeddings))]


def _time_distributed(layer: Any, after: Sequence[Any]) -> list[ops.Op]:
    if not isinstance(layer.layer, keras.layers.Dense):
        raise ExportError(f"from_keras: {layer.name} is over a {type(layer.layer).__name__}, expected Dense")
    return _dense(layer.layer, after)


def _array(layer: Any, value: Any) -> Array:
    array = to_numpy(value)
    if array.dtype != np.float32:
        raise ExportError(f"from_keras: {layer.name} has weights of {array.dtype}, expected float32")
    return np.array(array, order="C")


def _of_recurrent(i: int, layer: ops.Recurrent, stock: bool) -> tuple[Any, list[Array]]:
    if any(np.any(a) for states in layer.initial for a in states):
        raise ExportError(f"to_keras: layer {i} begins with learned states, expected zeros, as Keras has them")
    known = _keras_class(layer.cell)
    if known is None and stock:
        raise ExportError(f"to_keras: layer {i} is a {layer.cell.name}, which Keras does not have: use stock=False")
    both = []
    for direction, weights in enumerate(layer.weights):
        options: dict[str, Any] = {"return_sequences": True, "go_backwards": direction == 1}
        if known is None:
            P = None if weights.R is None else len(weights.R)
            both.append((Recurrent(layer.cell, weights.hidden_size, P, **options), _own(weights)))
        else:
            kind, settings = known
            made = (kind.stock if stock else kind)(weights.hidden_size, **dict(settings), **options)
            both.append((made, _theirs(kind, dict(settings), weights)))
    if len(both) == 1:
        return both[0]
    (forward, first), (backward, second) = both
    return keras.layers.Bidirectional(forward, backward_layer=backward), first + second


def _own(weights: Weights) -> list[Array]:
    """In the order of `EquationCell`, without what is empty."""
    return [a.T for _, a in weights.items() if a.size]


def _theirs(kind: type, settings: dict[str, Any], weights: Weights) -> list[Array]:
    """In Keras' order of gates and with its biases."""
    if kind is not GRU:
        return [weights.W.T, weights.U.T, weights.b + weights.c_]

    def order(a: Array) -> Array:  # from r, z, n to z, r, n
        r, z, n = np.split(a, 3)
        return np.concatenate([z, r, n])

    W, U, b, c = map(order, (weights.W, weights.U, weights.b, weights.c_))
    return [W.T, U.T, np.stack([b, c]) if settings["reset_after"] else b + c]


@cache
def _keras_class(cell: Cell) -> tuple[Any, tuple[tuple[str, Any], ...]] | None:
    """Which of Keras' layers a cell is, and with which options."""
    for kind, ours, fixed in (
        (SimpleRNN, rnn, {}),
        (LSTM, lstm, {}),
        (GRU, gru, {"reset_after": True}),
        (GRU, gru_reset_before, {"reset_after": False}),
    ):
        if (ours.gates, len(ours.states), ours.parameters) != (cell.gates, len(cell.states), cell.parameters):
            continue
        words = sorted(MEANINGS, key=lambda word: word not in ("tanh", "sigmoid"))
        for chosen in product(words, repeat=len(ours.options)):
            options = {name: MEANINGS[word] for name, word in zip(ours.options, chosen, strict=True)}
            if ours(**options).fingerprint == cell.fingerprint:
                return kind, tuple((fixed | dict(zip(ours.options, chosen, strict=True))).items())
    return None


_k: Any = keras.layers


def _of_activation(op: ops.Activation) -> Made:
    if op.name == "leaky_relu":
        return [(_k.LeakyReLU(negative_slope=op.slope), [])]
    return [(_k.Activation("linear" if op.name == "identity" else op.name), [])]


def _of_linear(op: ops.Linear) -> Made:
    return [(_k.Dense(op.output_size, use_bias=op.b is not None), [op.W.T] if op.b is None else [op.W.T, op.b])]


ROWS: list[tuple[type[ops.Op], Row]] = [
    (ops.Recurrent, Row((*(kind.stock for kind in LAYERS), Recurrent), _recurrent)),
    (ops.Recurrent, Row((_k.Bidirectional,), _bidirectional)),
    (ops.Linear, Row((_k.TimeDistributed,), _time_distributed)),
    (ops.Linear, Row((_k.Dense,), _dense, _of_linear)),
    (ops.Embedding, Row((_k.Embedding,), _embedding, lambda op: [(_k.Embedding(*op.W.shape), [op.W])])),
    (
        ops.LayerNorm,
        Row(
            (_k.LayerNormalization,),
            _layer_norm,
            lambda op: [(_k.LayerNormalization(epsilon=op.epsilon), [op.scale, op.shift])],
        ),
    ),
    (
        ops.Dropout,
        Row(
            (_k.Dropout, _k.SpatialDropout1D),
            lambda layer, after: [ops.Dropout(float(layer.rate))],
            lambda op: [(_k.Dropout(op.p), [])],
        ),
    ),
    (ops.Activation, Row((_k.Activation,), lambda layer, after: _between(layer, layer.activation), _of_activation)),
    (
        ops.Activation,
        Row((_k.LeakyReLU,), lambda layer, after: [ops.Activation("leaky_relu", float(layer.negative_slope))]),
    ),
    (ops.Activation, Row((_k.ReLU,), _relu)),
    (ops.Activation, Row((_k.ELU,), _elu)),
    (ops.Softmax, Row((_k.Softmax,), _softmax, lambda op: [(_k.Softmax(), [])])),
]


def _compare(model: Any, made: Model) -> dict[str, Any]:
    """Run both on random numbers, in batches of several lengths where the model takes them."""
    steps = model.inputs[0].shape[1]
    largest, whole = 0.0, True
    for T in (steps,) if steps is not None else (1, 2, STEPS):
        x = random_input(made, T, BATCH)
        theirs = to_numpy(model(np.ascontiguousarray(x.swapaxes(0, 1)), training=False))
        ours = made.run(x)
        whole = theirs.ndim == 3
        theirs = theirs.swapaxes(0, 1) if whole else theirs
        ours = ours if whole else ours[-1]
        if theirs.shape != ours.shape:
            raise ConversionError(f"from_keras: the output has shape {ours.shape}, expected Keras' {theirs.shape}")
        largest = max(largest, difference(ours, theirs))
    refuse_difference("from_keras", "Keras' own", largest, ConversionError)
    return {
        "keras": keras.__version__,
        "keras_difference": largest,
        "tolerance": TOLERANCE,
        "output": "every step" if whole else "last step",
    }
