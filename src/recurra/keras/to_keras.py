"""From a model of the runtime to a Keras model, compared on the way."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import keras
import numpy as np

from recurra.cells import gru, gru_reset_before, lstm, rnn
from recurra.cells.cell import Cell
from recurra.errors import ConversionError, ExportError
from recurra.keras.activations import MEANINGS
from recurra.keras.from_keras import STEPS, TOLERANCE, sample
from recurra.keras.layers import GRU, LSTM, SimpleRNN
from recurra.keras.recurrent import Recurrent
from recurra.keras.scan import to_numpy
from recurra.runtime import ops
from recurra.runtime.model import Model
from recurra.weights import Array, Weights


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
        for theirs, weights in _layers_of(i, layer, stock):
            made.add(theirs)
            theirs.set_weights(weights)
    _compare(model, made)
    return made


Made = list[tuple[Any, list[Array]]]


def _layers_of(i: int, layer: ops.Op, stock: bool) -> Made:
    """Keras' layers for one of the runtime's, each with its weights."""
    k: Any = keras.layers
    match layer:
        case ops.Recurrent():
            return [_recurrent(i, layer, stock)]
        case ops.Linear():
            weights = [layer.W.T] if layer.b is None else [layer.W.T, layer.b]
            return [(k.Dense(layer.output_size, use_bias=layer.b is not None), weights)]
        case ops.Embedding():
            return [(k.Embedding(*layer.W.shape), [layer.W])]
        case ops.LayerNorm():
            return [(k.LayerNormalization(epsilon=layer.epsilon), [layer.scale, layer.shift])]
        case ops.Dropout():
            return [(k.Dropout(layer.p), [])]
        case ops.Softmax():
            return [(k.Softmax(), [])]
        case ops.Activation(name="leaky_relu"):
            return [(k.LeakyReLU(negative_slope=layer.slope), [])]
        case ops.Activation():
            return [(k.Activation("linear" if layer.name == "identity" else layer.name), [])]
    raise ExportError(f"to_keras: layer {i} is a {layer.kind}, which Keras does not have")


def _recurrent(i: int, layer: ops.Recurrent, stock: bool) -> tuple[Any, list[Array]]:
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


def _compare(model: Model, made: Any) -> None:
    x = sample(model, STEPS)
    ours = model.run(x)
    theirs = to_numpy(made(np.ascontiguousarray(x.swapaxes(0, 1)), training=False)).swapaxes(0, 1)
    difference = float(np.abs(theirs - ours).max() / max(1.0, float(np.abs(ours).max())))
    if not difference <= TOLERANCE:
        raise ConversionError(
            f"to_keras: the Keras model's output is {difference:.2g} from the model's, expected at most {TOLERANCE}: "
            "please report this"
        )
