"""The table of cases of every backend, on Keras' layers: run by test_keras_backends.py, once for each backend."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from common import BACKEND

from conformance.backends import KERAS_BACKENDS, Backend
from conformance.checks import check_cell
from helpers import ALL_CELLS
from recurra.cells import Cell

# On JAX, where each network compiles for long, a few settings of each cell in one dtype.
JAX = [replace(b, share=53) for b in KERAS_BACKENDS if b.dtype == np.float32]


@pytest.mark.parametrize("backend", JAX if BACKEND == "jax" else KERAS_BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_every_cell(cell: Cell, backend: Backend) -> None:
    warnings.filterwarnings("error", message=".*own implementation")
    check_cell(cell, backend)
