"""`Attend`: attention over a memory, as `recurra.runtime.Attend` has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from recurra.errors import ShapeError
from recurra.torch.traced import as_node

SCORES = ("product", "additive")


class Attend(nn.Module):
    """What a query finds in a memory, behind what comes in.

    Letters: T steps, B rows, I features, n rows of a memory, K numbers of a key, V of a value.

    Args:
        size: I.
        keys: K.
        values: V.
        heads: what keys and values are cut into.
        score: "product", q . key (Luong 2015), or "additive", v . tanh(q + key) (Bahdanau 2015).
        capacity: the most rows of a memory in a live session, a multiple of 16.

    Raises:
        ShapeError: `score` is neither, or K or V is no multiple of `heads`.

    >>> import torch
    >>> attend, memory = Attend(3, 4, 2), torch.ones(5, 1, 4 + 2)
    >>> attend(torch.zeros(7, 1, 3), memory)[0, 0].tolist()  # all values are the same
    [0.0, 0.0, 0.0, 1.0, 1.0]
    """

    def __init__(
        self, size: int, keys: int, values: int, *, heads: int = 1, score: str = "product", capacity: int = 64
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ShapeError(f"Attend: `score` is {score!r}, expected one of: {', '.join(SCORES)}")
        if keys % heads or values % heads:
            raise ShapeError(f"Attend: {keys} keys and {values} values, expected multiples of heads={heads}")
        self.size, self.keys, self.values, self.heads, self.capacity = size, keys, values, heads, capacity
        self.weight, self.bias = nn.Parameter(torch.empty(keys, size)), nn.Parameter(torch.empty(keys))
        self.v = nn.Parameter(torch.empty(keys)) if score == "additive" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first scores are of the size of one."""
        nn.init.xavier_uniform_(self.weight, gain=1.0 if self.v is not None else (self.keys // self.heads) ** -0.5)
        nn.init.zeros_(self.bias)
        if self.v is not None:
            nn.init.uniform_(self.v, -((self.keys // self.heads) ** -0.5), (self.keys // self.heads) ** -0.5)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.size}, {self.keys}, {self.values}, heads={self.heads}"

    def forward(self, x: Tensor, memory: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """[T, B, I] to [T, B, I + V]; without a memory nothing is found, which is zero.

        Args:
            x: what the queries are made of.
            memory: [n, B, K + V], keys and then values.
            lengths: [B], the rows of each memory that are there, at least one; without it all are.
        """
        if isinstance(x, Proxy):
            node: Tensor = as_node(self, x)
            return node
        if memory is None:
            return torch.cat([x, x.new_zeros(*x.shape[:-1], self.values)], -1)
        return torch.cat([x, self.found(x, memory, lengths)[0]], -1)

    def found(self, x: Tensor, memory: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What is found, [T, B, V], and the weights, [T, B, heads, n]."""
        n = len(memory)
        q = torch.nn.functional.linear(x, self.weight, self.bias).unflatten(-1, (self.heads, -1))
        keys, values = (m.unflatten(-1, (self.heads, -1)) for m in memory.split([self.keys, self.values], -1))
        if self.v is None:
            scores = torch.einsum("tbhk,nbhk->tbhn", q, keys)
        else:
            bent = (q.unsqueeze(3) + keys.permute(1, 2, 0, 3)).tanh()
            scores = torch.einsum("tbhnk,hk->tbhn", bent, self.v.unflatten(0, (self.heads, -1)))
        if lengths is not None:
            there = torch.arange(n, device=x.device) < lengths.to(x.device)[:, None]
            scores = scores.masked_fill(~there[:, None, :], -torch.inf)
        weights = scores.softmax(-1)
        return torch.einsum("tbhn,nbhv->tbhv", weights, values).flatten(-2), weights
