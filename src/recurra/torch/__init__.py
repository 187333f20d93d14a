"""Layers that drop into PyTorch: `RNN`, `LSTM` and `GRU` as torch.nn's, and `Recurrent` for any cell.

>>> import torch
>>> from recurra.torch import Recurrent
>>> output, state = Recurrent("gru", 3, 8)(torch.zeros(10, 2, 3))
"""

from recurra.torch.backend import backend_for
from recurra.torch.convert import Conversion, convert
from recurra.torch.layers import GRU, LSTM, RNN
from recurra.torch.recurrent import Recurrent, Steps

__all__ = ["GRU", "LSTM", "RNN", "Conversion", "Recurrent", "Steps", "backend_for", "convert"]
