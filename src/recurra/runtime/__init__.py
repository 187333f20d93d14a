"""Load a model file and run it live: NumPy, safetensors and the native module only.

>>> import numpy as np
>>> from recurra import cells, runtime
>>> from recurra.weights import Weights
>>> rng = np.random.default_rng(0)
>>> ops = [
...     runtime.Recurrent(cells.gru, [Weights.random(cells.gru, 1, 8, rng=rng)]),
...     runtime.Linear(rng.normal(size=(1, 8)).astype(np.float32)),
... ]
>>> session = runtime.Model(ops).session()
>>> session.step(np.ones(1, np.float32)).shape
(1,)
"""

from recurra.runtime.file import load, save_model
from recurra.runtime.model import Model
from recurra.runtime.ops import (
    Activation,
    Affine,
    Convolution,
    Dropout,
    Embedding,
    Forecast,
    LayerNorm,
    Linear,
    Op,
    Pool,
    Recurrent,
    Softmax,
)
from recurra.runtime.parity import check_parity
from recurra.runtime.program import Program
from recurra.runtime.session import Session

__all__ = [
    "Activation",
    "Affine",
    "Convolution",
    "Dropout",
    "Embedding",
    "Forecast",
    "LayerNorm",
    "Linear",
    "Model",
    "Op",
    "Pool",
    "Program",
    "Recurrent",
    "Session",
    "Softmax",
    "check_parity",
    "load",
    "save_model",
]
