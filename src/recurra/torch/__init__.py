"""Layers that drop into PyTorch: `RNN`, `LSTM` and `GRU` as torch.nn's, and `Recurrent` for any cell.

`export` writes modules built of them to model files, `to_torch` leads back, and `Stack` puts them one after the other.

>>> import torch
>>> from recurra.torch import Recurrent
>>> output, state = Recurrent("gru", 3, 8)(torch.zeros(10, 2, 3))
"""

from recurra.torch.backend import backend_for
from recurra.torch.convert import Conversion, convert
from recurra.torch.export import Stack, export
from recurra.torch.layers import GRU, LSTM, RNN
from recurra.torch.recurrent import Recurrent, Steps
from recurra.torch.to_torch import to_torch

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Conversion",
    "Recurrent",
    "Stack",
    "Steps",
    "backend_for",
    "convert",
    "export",
    "to_torch",
]
