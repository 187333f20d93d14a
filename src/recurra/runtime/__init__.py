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

from recurra.runtime import ops
from recurra.runtime.file import load, save_model
from recurra.runtime.model import Model
from recurra.runtime.ops import *  # noqa: F403  (an op is listed once, in its own package)
from recurra.runtime.parity import check_parity
from recurra.runtime.program import Program
from recurra.runtime.session import Session

__all__ = ["Model", "Program", "Session", "check_parity", "load", "save_model"]
__all__ += ops.__all__
