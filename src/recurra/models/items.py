"""`ItemHead`: from features to a score for each of many items, by the table of their embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurra.runtime.ops import Op
from recurra.torch.bridge import layers_of


class ItemHead(nn.Module):
    """A query [E] of features, and its product with the row of each item (Press and Wolf 2017).

    In training it gives the query alone: `loss` scores the items that it needs.

    Args:
        width: H.
        size: E.
        count: V, of items; number 0 is the unknown one.
        dropout: before the query.
        negatives: items beside the right one that a loss is taken over, drawn anew in each update, whose sum is scaled
            up to all (sampled softmax, Jean et al. 2015); None: all of them.
    """

    def __init__(self, width: int, size: int, count: int, dropout: float, negatives: int | None) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, size))
        self.items = nn.Linear(size, count)
        nn.init.zeros_(self.items.bias)
        self.negatives = negatives if negatives is not None and negatives < count - 1 else None

    def tie(self, table: nn.Parameter) -> None:
        """Let the rows of items be those of a table [V, E]."""
        nn.init.normal_(table, std=table.shape[1] ** -0.5)
        self.items.weight = table

    def forward(self, h: Tensor) -> Tensor:
        """[..., H] to [..., V]; in training to [..., E]."""
        query: Tensor = self.query(h)
        return query if self.training else self.items(query)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy: [..., E] or [..., V] as `forward` gave it, targets [...], NaN or 0 where there is none."""
        wanted = targets.nan_to_num().long().flatten()
        there = wanted > 0
        output, wanted = output.flatten(0, -2)[there], wanted[there]
        if not len(wanted):
            return output.sum() * 0.0
        if not self.training:
            return functional.cross_entropy(output, wanted)
        if self.negatives is None:
            return functional.cross_entropy(self.items(output), wanted)
        W, b, N = self.items.weight, self.items.bias, self.negatives
        drawn = torch.randint(1, len(W), (N,))
        scores = output @ W[drawn].T + b[drawn] + math.log((len(W) - 1) / N)
        scores = scores.masked_fill(drawn == wanted.unsqueeze(-1), -torch.inf)
        right = (output * W[wanted]).sum(-1, keepdim=True) + b[wanted].unsqueeze(-1)
        return functional.cross_entropy(torch.cat([right, scores], -1), torch.zeros_like(wanted))

    def model_layers(self) -> list[Op]:
        """Two linear layers."""
        return [*layers_of(self.query), *layers_of(self.items)]
