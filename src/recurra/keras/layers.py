"""`SimpleRNN`, `LSTM`, `GRU`: Keras' layers on Recurra's kernels. Change the import, keep everything else.

They are Keras' own classes in all but the loop over time: constructors, weights, random masks, masking, states, files.
What they cannot run natively they leave to Keras, and say so once in a `UserWarning`; `backend_for` tells beforehand.

>>> from keras import ops
>>> LSTM(8, return_sequences=True)(ops.ones((2, 10, 3))).shape
torch.Size([2, 10, 8])
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import keras
from keras.src.saving.object_registration import GLOBAL_CUSTOM_NAMES, GLOBAL_CUSTOM_OBJECTS

from recurra.keras.cells import Recipe, recipe_of_cell
from recurra.keras.run import Call, arrange, run
from recurra.keras.scan import BACKEND, NATIVE, foreign, is_plain

Kind = TypeVar("Kind", bound=type)


def as_keras(kind: Kind) -> Kind:
    """Let a layer be written to files as Keras' layer of the same name.

    Keras writes a class as its module and name, with the name that it is registered under. These files say
    `keras.layers`, and the registered name `LSTM`, which stands for our class where that is imported and for nothing
    elsewhere: so a file opens here with our layers and anywhere else with Keras' own.
    """
    kind.__module__ = "keras.layers"
    GLOBAL_CUSTOM_OBJECTS[kind.__name__] = kind
    GLOBAL_CUSTOM_NAMES[kind] = kind.__name__
    return kind


class Native:
    """What the three layers share: the loop over time, in place of Keras'."""

    stock: type[Any]
    stock_cell: type[Any]

    @classmethod
    def from_config(cls, config: dict[str, Any], **options: Any) -> Any:
        """As Keras' own, and of files that TensorFlow's Keras 2 wrote."""
        config = {n: v for n, v in config.items() if n != "time_major" or v}  # Keras 3 has batches first alone
        stock: Any = super()
        return stock.from_config(config, **options)

    def recipe(self, training: bool) -> Recipe | str:
        """How the layer is computed, or why it is left to Keras."""
        return recipe_of(self, training)

    def arrange(self, found: Recipe, x: Any, state: Sequence[Any], training: bool) -> tuple[Call, Any]:
        """What to run by a recipe, and the sequences as it takes them."""
        layer: Any = self
        return arrange(found, layer.cell, x, state, training)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """As Keras' method of this name. Where there is nothing to prepare it goes straight to the kernels."""
        layer: Any = self
        if initial_state is None and not (layer.stateful or layer.unroll or drops(layer.cell)) and is_plain(sequences):
            found = self.recipe(False)
            if isinstance(found, Recipe) and layer.compute_dtype == layer.cell.compute_dtype == "float32":
                call, x = self.arrange(found, sequences, [], False)
                last, outputs, states = run(layer, call, x, _one(mask))
                output = outputs if layer.return_sequences else last
                return (output, *states) if layer.return_state else output
        stock: Any = super()
        return stock.call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """As Keras' method of this name: last output, outputs and final states."""
        layer: Any = self
        state = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
        found = self.recipe(training)
        reason = found if isinstance(found, str) else foreign(state[0])
        if isinstance(found, str) or reason:
            say_once(self, reason)
            stock: Any = super()
            return stock.inner_loop(sequences, initial_state, mask, training)
        if layer.stateful and BACKEND == "torch":
            state = [s.clone() for s in state]  # Keras will write the new states over these, which backward needs
        x = sequences if sequences.dtype == state[0].dtype else keras.ops.cast(sequences, state[0].dtype)
        call, x = self.arrange(found, x, state, training)
        return run(layer, call, x, _one(mask))


def drops(cell: Any) -> bool:
    """Whether a cell draws random masks, which it does when it is called, in training or not."""
    return bool(getattr(cell, "dropout", 0) or getattr(cell, "recurrent_dropout", 0))


def _one(mask: Any) -> Any:
    return mask[0] if isinstance(mask, (list, tuple)) else mask


@as_keras
class SimpleRNN(Native, keras.layers.SimpleRNN):  # type: ignore[misc]
    """keras.layers.SimpleRNN on Recurra's kernels: h' = tanh(x W + h U + b), or another activation."""

    stock, stock_cell = keras.layers.SimpleRNN, keras.layers.SimpleRNNCell


@as_keras
class LSTM(Native, keras.layers.LSTM):  # type: ignore[misc]
    """keras.layers.LSTM on Recurra's kernels."""

    stock, stock_cell = keras.layers.LSTM, keras.layers.LSTMCell


@as_keras
class GRU(Native, keras.layers.GRU):  # type: ignore[misc]
    """keras.layers.GRU on Recurra's kernels, with the reset gate after or before the recurrent product."""

    stock, stock_cell = keras.layers.GRU, keras.layers.GRUCell


LAYERS: tuple[type[Any], ...] = (SimpleRNN, LSTM, GRU)


def recipe_of(layer: Any, training: bool) -> Recipe | str:
    """How a layer is computed, or why it is left to Keras."""
    cell = layer.cell
    if type(cell) is not layer.stock_cell:
        return f"its cell is a {type(cell).__name__}, not Keras' own"
    if 1.0 in (cell.dropout, cell.recurrent_dropout):
        return "a dropout of 1 drops everything"
    if getattr(layer, "use_cudnn", "auto") is True:
        return "use_cudnn=True asks for another kernel"
    return recipe_of_cell(cell, bool(training and cell.recurrent_dropout))


_said: set[tuple[str, str]] = set()


def say_once(layer: Any, reason: str) -> None:
    """Warn that Keras' own implementation runs a layer, once for each class and reason."""
    said = type(layer).__name__, reason
    if said not in _said:
        _said.add(said)
        warnings.warn(
            f"{layer.name}: Keras' own implementation of {said[0]} runs, because {reason}", UserWarning, stacklevel=4
        )


def backend_for(layer: Any, training: bool = False) -> str:
    """What a layer's loop over time runs on.

    Args:
        layer: one of Recurra's layers for Keras.
        training: whether it is called in training, where `recurrent_dropout` needs other equations.

    Returns:
        "native avx512" (or another instruction set), or "keras torch: ..." (or another backend) with the reason.

    >>> backend_for(GRU(8)).partition(" ")[0], backend_for(GRU(8, activation="softmax"))
    ('native', "keras torch: activation='softmax' has no word in the language of cells")
    """
    from recurra import engine

    found = layer.recipe(training)
    like = keras.ops.zeros((1,), layer.cell.compute_dtype) if BACKEND in NATIVE else None
    reason = found if isinstance(found, str) else foreign(like)
    return f"keras {BACKEND}: {reason}" if reason else f"native {engine.isa()}"
