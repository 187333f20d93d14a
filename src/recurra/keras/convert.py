"""Keras' recurrent layers inside a model, replaced by Recurra's, or Recurra's by Keras' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from recurra.keras.layers import LAYERS


def convert(model: Any) -> dict[str, str]:
    """Turn every keras.layers.SimpleRNN, LSTM and GRU of a model into Recurra's, in place: the same layer objects.

    Weights, names, compiled state and files stay as they are. A subclass of yours, and a layer whose `call` or
    `inner_loop` was replaced, may compute something else and is left alone.

    Args:
        model: a Keras model or layer; layers inside Bidirectional, TimeDistributed and nested models are found.

    Returns:
        The name of each layer that was replaced, and the class that it is now.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(8, name="memory")])
    >>> convert(model)
    {'memory': 'GRU'}
    """
    replaced = {}
    for layer in _layers(model):
        ours = next((kind for kind in LAYERS if type(layer) is kind.stock), None)
        if ours is not None and not {"call", "inner_loop"} & set(vars(layer)):
            object.__setattr__(layer, "__class__", ours)
            replaced[layer.name] = ours.__name__
    for name in ("train_function", "test_function", "predict_function"):
        if replaced and getattr(model, name, None) is not None:
            setattr(model, name, None)  # compiled for the old classes
    return replaced


def load_model(path: str | Path, **options: Any) -> Any:
    """A Keras model from its file, with Recurra's layers in place of Keras'.

    Args:
        path: a `.keras` file, saved with Keras' layers or with Recurra's.
        options: as keras.saving.load_model takes them.
    """
    model = keras.saving.load_model(path, **options)
    convert(model)
    return model


def _layers(model: Any) -> Iterator[Any]:
    if isinstance(model, keras.layers.Layer):
        yield from model._flatten_layers()
