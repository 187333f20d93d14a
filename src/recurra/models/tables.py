"""`Tables`: learned numbers for symbols, some of which are dropped or forgotten in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recurra.runtime import ops
from recurra.torch import Embedding


class Tables(Embedding):
    """An `Embedding` whose training knows of symbols that are not known: K ids of a step to K * E features.

    Args:
        tables: the rows of each table, K in all; row 0 is for what is unknown.
        size: E.
        dropout: the share of the features that is dropped in training, the same ones at all steps of a row.
        forgotten: the share of ids taken for unknown in training.

    >>> Tables([3, 5], 4)(torch.tensor([[[0.0, 4.0]]])).shape
    torch.Size([1, 1, 8])
    """

    def __init__(self, tables: Sequence[int], size: int, dropout: float = 0.0, forgotten: float = 0.0) -> None:
        super().__init__(tables, size)
        self.dropout, self.forgotten = dropout, forgotten

    def reset_parameters(self) -> None:
        """Small numbers: many symbols come only a few times."""
        nn.init.normal_(self.weight, std=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Features [T, B, K * E] of x [T, B, K]."""
        if self.training and self.forgotten:
            x = x * (torch.rand_like(x) >= self.forgotten)
        found = super().forward(x)
        if self.training and self.dropout:
            found = found * (torch.rand_like(found[:1]) >= self.dropout) / (1 - self.dropout)
        return found

    def model_layers(self) -> list[ops.Op]:
        """What it is in a model file."""
        return [ops.Embedding(self.weight.detach().cpu().numpy().copy(), self.tables)]
