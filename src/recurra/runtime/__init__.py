"""Load a model file and run it live: NumPy, safetensors and the native module only.

>>> import numpy as np
>>> from recurra import cells, runtime
>>> from recurra.weights import Weights
>>> rng = np.random.default_rng(0)
>>> layers = [
...     runtime.Recurrent(cells.gru, [Weights.random(cells.gru, 1, 8, rng=rng)]),
...     runtime.Linear(rng.normal(size=(1, 8)).astype(np.float32)),
... ]
>>> session = runtime.Model(layers).session()
>>> session.step(np.ones(1, np.float32)).shape
(1,)
"""

from recurra.runtime.file import load, save_model
from recurra.runtime.heads import Forecast, Split
from recurra.runtime.layers import Activation, Dropout, Embedding, LayerNorm, Linear, Recurrent, Softmax
from recurra.runtime.model import Model
from recurra.runtime.parity import check_parity
from recurra.runtime.session import Session

__all__ = [
    "Activation",
    "Dropout",
    "Embedding",
    "Forecast",
    "LayerNorm",
    "Linear",
    "Model",
    "Recurrent",
    "Session",
    "Softmax",
    "Split",
    "check_parity",
    "load",
    "save_model",
]
