"""Keras layers on Recurra's kernels: change the import of SimpleRNN, LSTM and GRU, keep everything else.

On the torch and JAX backends, in float32 and float64 on the CPU, the loop over time is native; elsewhere Keras' own
code runs, and a warning says so once. `convert` and `load_model` bring the layers into models that exist, `from_keras`
and `to_keras` turn models into those of the runtime and back.

>>> import keras
>>> from recurra.keras import SimpleRNN
>>> model = keras.Sequential([keras.Input((10, 1)), SimpleRNN(50), keras.layers.Dense(1)])
>>> model.count_params()
2651
"""

# ruff: noqa: E402  (the backend is chosen before Keras is imported)

from recurra.keras import choice

choice.choose()

from recurra.keras.convert import convert, load_model
from recurra.keras.layers import GRU, LSTM, SimpleRNN, backend_for
from recurra.keras.models import from_keras, to_keras
from recurra.keras.recurrent import EquationCell, Recurrent

__all__ = [
    "GRU",
    "LSTM",
    "EquationCell",
    "Recurrent",
    "SimpleRNN",
    "backend_for",
    "convert",
    "from_keras",
    "load_model",
    "to_keras",
]
