"""Layers that drop into PyTorch: `RNN`, `LSTM` and `GRU` as torch.nn's."""

from recurra.torch.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN"]
