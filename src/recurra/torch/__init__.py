"""Layers that drop into PyTorch: `RNN`, `LSTM` and `GRU` as torch.nn's, and `Recurrent` for any cell;
`Pool`, `CausalConv1d`, `FlatConv2d`, `BatchNorm1d`, `Embedding` and `Fields` around them.

`export` writes modules built of them to model files, `to_torch` leads back, and `Stack` puts them one after the other.

>>> import torch
>>> from recurra.torch import Recurrent
>>> output, state = Recurrent("gru", 3, 8)(torch.zeros(10, 2, 3))
"""

# ruff: noqa: E402  (what is missing is said before it is imported)

from recurra.errors import need

need("recurra.torch", "torch", extra="train")

from recurra.torch.attend import Attend
from recurra.torch.backend import backend_for
from recurra.torch.branches import Branches
from recurra.torch.convert import Conversion, convert
from recurra.torch.convolution import BatchNorm1d, CausalConv1d, FlatConv2d
from recurra.torch.embedding import Embedding
from recurra.torch.export import export, to_torch
from recurra.torch.fields import Fields
from recurra.torch.layers import GRU, LSTM, RNN
from recurra.torch.ngrams import NGrams
from recurra.torch.pool import Pool
from recurra.torch.readout import Join, Readout
from recurra.torch.recurrent import Recurrent, Steps
from recurra.torch.stack import Stack

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Attend",
    "BatchNorm1d",
    "Branches",
    "CausalConv1d",
    "Conversion",
    "Embedding",
    "Fields",
    "FlatConv2d",
    "Join",
    "NGrams",
    "Pool",
    "Readout",
    "Recurrent",
    "Stack",
    "Steps",
    "backend_for",
    "convert",
    "export",
    "to_torch",
]
