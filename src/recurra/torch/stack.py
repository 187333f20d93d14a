"""`Stack`: layers one after the other."""

from __future__ import annotations

from torch import Tensor, nn


class Stack(nn.Module):
    """Layers one after the other, as nn.Sequential, where a recurrent layer passes on its output and not its state.

    >>> import torch
    >>> from recurra.torch import LSTM, Stack
    >>> Stack(LSTM(1, 8), torch.nn.Linear(8, 1))(torch.zeros(5, 2, 1)).shape
    torch.Size([5, 2, 1])
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            self.add_module(str(i), layer)

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's output, [T, B, O] (or [B, T, O] where the recurrent layers are batch_first)."""
        for layer in self.children():
            y = layer(x)
            x = y[0] if isinstance(y, tuple) else y
        return x
