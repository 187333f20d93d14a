"""Whole Keras models and those of the runtime, both ways, compared on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any, TypeAlias

import keras
import numpy as np

from recurra.errors import ConversionError, ExportError, RecurraError
from recurra.keras import bridge
from recurra.keras.recurrences import KINDS, made_of
from recurra.keras.scan import to_numpy
from recurra.runtime import ops
from recurra.runtime.model import Model
from recurra.runtime.ops.branches import merged
from recurra.runtime.parity import TOLERANCE, difference, random_input, refuse_difference
from recurra.weights import Array

STEPS, BATCH = 17, 3  # of the sample
Chain: TypeAlias = tuple[ops.Op, ...]


def from_keras(model: Any) -> Model:
    """A model of the runtime that computes what a Keras model computes.

    Sequential and functional models of one input can be converted, of recurrent layers (also Bidirectional, RNN of
    Keras' cells, and `Recurrent`), Dense, causal Conv1D, Embedding, the normalizations, activations, and pools over all
    steps; Add, Subtract, Multiply and Concatenate put together what comes of the same input. What acts in training
    alone does nothing. Stateful and mixed-precision models are compared as a live session runs them: from zero states,
    in float32; a step that would be masked is padding, which is not fed to a live session. The runtime gives an output
    at every step: where the last recurrent layer returns its last output only, the runtime's output at the last step is
    that. `model.parity` says so and how far Keras' own output is.

    Args:
        model: a Keras model, or the path of a `.keras` or `.h5` file. It is as it was afterwards, states included.

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
    found = _ops(model)
    try:
        made = Model(found)
    except RecurraError as error:
        raise ExportError(f"from_keras of {model.name}: {error}") from error
    made.parity = _compare(model, made)
    return made


def to_keras(model: Model, stock: bool = False) -> Any:
    """A Keras Sequential model that computes what a model of the runtime computes, at every step.

    Cells that Keras has become `SimpleRNN`, `LSTM` and `GRU`, all others `Recurrent`; branches become a functional
    model in it, of Add, Subtract, Multiply or Concatenate.

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
    width = model.input_size
    for i, layer in enumerate(model.ops):
        for theirs in _layers(str(i), layer, width, stock):
            made.add(theirs)
        width = layer.width(width)
    x = random_input(model, STEPS, BATCH)
    theirs = to_numpy(made(np.ascontiguousarray(x.swapaxes(0, 1)), training=False)).swapaxes(0, 1)
    refuse_difference("to_keras", "the Keras model's", difference(model.run(x), theirs), ConversionError)
    return made


def _layers(at: str, op: ops.Op, width: int, stock: bool) -> Iterator[Any]:
    """Keras' layers for an op at a place, which are asked for one by one and have their weights once they are built."""
    if isinstance(op, ops.Branches):
        yield _side_by_side(at, op, width, stock)
        return
    parts = [made_of(at, op, stock)] if isinstance(op, ops.Recurrent) else bridge.made(op)
    if parts is None:
        raise ExportError(
            f"to_keras: layer {at} is a {op.kind}, which Keras does not have: recurra.onnx.export writes it for other "
            "libraries"
        )
    for theirs, weights in parts:
        yield theirs
        theirs.set_weights(weights)


def _side_by_side(at: str, op: ops.Branches, width: int, stock: bool) -> Any:
    """A functional model of chains that are put together."""
    start, ends = keras.Input((None, width)), list[Any]()
    for k, chain in enumerate(op.branches):
        ends.append(start)
        before = width
        for i, part in enumerate(chain):
            for theirs in _layers(f"{at}.{k}.{i}", part, before, stock):
                ends[-1] = theirs(ends[-1])
            before = part.width(before)
    merge = next(kind for kind, how in bridge.MERGED.items() if how == op.how)
    if op.how == "subtract":  # Keras takes two
        return keras.Model(start, reduce(lambda a, b: merge()([a, b]), ends))
    return keras.Model(start, merge()(ends))


def answers(model: Any, x: Array) -> Array:
    """What a Keras model answers to x [B, T, I] (ids [B, T]) as a live session would.

    From zero states and in float32; rows are repeated where its batch is larger. Afterwards it is as it was.
    """
    rows = model.inputs[0].shape[0] or len(x)
    given = x[np.arange(-(-len(x) // rows) * rows) % len(x)]
    parts = []
    for begin in range(0, len(given), rows):
        with _live(model):
            parts.append(to_numpy(model(np.ascontiguousarray(given[begin : begin + rows]), training=False)))
    found: Array = np.concatenate(parts)[: len(x)]
    return found


def pads_with_zero(model: Any) -> bool:
    """Whether the id 0 is padding, which is not fed to a live session."""
    return any(getattr(layer, "mask_zero", False) for layer in model._flatten_layers())


@contextmanager
def _live(model: Any) -> Iterator[None]:
    """With zero states, and policies that compute in float32."""
    layers = list(model._flatten_layers())
    policies = [(layer, layer.dtype_policy) for layer in layers]
    stateful = [layer for layer in layers if getattr(layer, "stateful", False) and getattr(layer, "states", None)]
    states = [(state, to_numpy(state).copy()) for layer in stateful for state in keras.tree.flatten(layer.states)]
    try:
        for layer, policy in policies:
            if policy.compute_dtype != policy.variable_dtype:
                layer.dtype_policy = policy.variable_dtype
        for state, was in states:
            state.assign(np.zeros_like(was))
        yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy
        for state, was in states:
            state.assign(was)


def _ops(model: Any) -> Chain:
    """What comes out of a model, as ops from its input on."""
    if not isinstance(model, keras.Model):
        raise ExportError(f"from_keras: got a {type(model).__name__}, expected a Keras model or the path of one")
    if not model.built or not getattr(model, "layers", None) or not hasattr(model, "inputs"):
        raise ExportError(
            f"from_keras: {model.name} has no layers with known inputs, expected a built Sequential or functional model"
        )
    if isinstance(model, keras.Sequential):
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        return tuple(op for layer in layers for op in _ops_of(layer))
    if len(model.inputs) != 1:
        raise ExportError(f"from_keras: {model.name} has {len(model.inputs)} inputs, expected one")
    return _behind(model.outputs[0], model.inputs[0], {})


def _ops_of(layer: Any) -> Chain:
    return _ops(layer) if isinstance(layer, keras.Model) else tuple(bridge.read(layer))


def _behind(tensor: Any, start: Any, known: dict[int, Chain]) -> Chain:
    """The ops from the input of a model to one of its tensors; each tensor is read once."""
    if tensor is start:
        return ()
    if id(tensor) in known:
        return known[id(tensor)]
    layer, number, place = tensor._keras_history
    parents = layer._inbound_nodes[number].input_tensors
    how = next((how for kind, how in bridge.MERGED.items() if isinstance(layer, kind)), None)
    if how is not None and len(parents) > 1:
        if how == "join" and layer.axis not in (-1, len(tensor.shape) - 1):
            raise ExportError(f"from_keras: {layer.name} joins axis {layer.axis}, expected -1: the features")
        found = merged([_behind(parent, start, known) for parent in parents], how)
    elif len(parents) == 1 and (place == 0 or (place == 1 and type(layer) in KINDS)):  # h is the last of what it gives
        found = (*_behind(parents[0], start, known), *_ops_of(layer))
    elif len(parents) == 1:
        raise ExportError(f"from_keras: a state of {layer.name} goes on, expected its output or the state h alone")
    else:
        names = ", ".join(kind.__name__ for kind in bridge.MERGED)
        raise ExportError(
            f"from_keras: {layer.name} takes {len(parents)} values, expected one, or one of the layers {names}"
        )
    known[id(tensor)] = found
    return found


def _compare(model: Any, made: Model) -> dict[str, Any]:
    """Run both on random numbers, in batches of several lengths where the model takes them."""
    steps = model.inputs[0].shape[1]
    largest, whole = 0.0, True
    for T in (steps,) if steps is not None else (1, 2, STEPS):
        x = random_input(made, T, BATCH)
        x = np.maximum(x, 1) if pads_with_zero(model) else x
        try:
            theirs = answers(model, x.swapaxes(0, 1))
        except Exception as error:  # whatever Keras and its backend say of a model that does not run
            why = " ".join(str(error).split())[:200]
            raise ConversionError(
                f"from_keras: Keras cannot run {model.name} on {x.shape[0]} steps: {why!r}"
            ) from error
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
