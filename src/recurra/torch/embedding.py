"""`Embedding`: rows of tables for the whole numbers of a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurra.errors import ShapeError


class Embedding(nn.Module):
    """K whole numbers of a row become K rows of a table, side by side, as `recurra.runtime.Embedding` has it.

    Unlike torch.nn.Embedding it takes numbers as any layer here does, float32 [..., K], so that a network's input is
    one kind of array; float32 counts exactly up to 2^24.

    Args:
        tables: for each of the K numbers, how many there are.
        size: E, the features of each.
        shared: whether all have one table, of the largest of these.

    Raises:
        ShapeError: a size is less than 1.

    >>> import torch
    >>> Embedding([65], 16)(torch.tensor([[[64.0]]])).shape
    torch.Size([1, 1, 16])
    """

    def __init__(self, tables: Sequence[int], size: int, *, shared: bool = False) -> None:
        super().__init__()
        if not tables or min(tables) < 1 or size < 1:
            raise ShapeError(f"Embedding: tables {list(tables)[:8]} of size {size}, expected at least 1 of each")
        shared = shared and len(tables) > 1
        self.tables = tuple([max(tables)] * len(tables) if shared else (int(count) for count in tables))
        self.begins = [0 if shared else sum(self.tables[:k]) for k in range(len(self.tables))]
        self.weight = nn.Parameter(torch.empty(max(self.tables) if shared else sum(self.tables), size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Numbers of deviation 1."""
        nn.init.normal_(self.weight)

    def extra_repr(self) -> str:
        """Its tables and features."""
        return f"{list(self.tables)}, {self.weight.shape[1]}"

    def forward(self, x: Tensor) -> Tensor:
        """Features [..., K * E] of x [..., K]."""
        ids = x.long()
        if any(self.begins):
            ids = ids + torch.tensor(self.begins, device=x.device)
        return functional.embedding(ids, self.weight).flatten(-2)
