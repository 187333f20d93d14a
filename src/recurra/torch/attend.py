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
        covers: whether it is told what it has looked at already; it then goes step by step.
        shows: whether the shares of the rows are part of the output.
        wait: how many rows the first step sees at most, each later one another one more; 0: all.

    Raises:
        ShapeError: `score` is neither, or K or V is no multiple of `heads`.

    >>> import torch
    >>> attend, memory = Attend(3, 4, 2), torch.ones(5, 1, 4 + 2)
    >>> attend(torch.zeros(7, 1, 3), memory)[0, 0].tolist()  # all values are the same
    [0.0, 0.0, 0.0, 1.0, 1.0]
    """

    def __init__(
        self,
        size: int,
        keys: int,
        values: int,
        *,
        heads: int = 1,
        score: str = "product",
        capacity: int = 64,
        covers: bool = False,
        shows: bool = False,
        wait: int = 0,
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ShapeError(f"Attend: `score` is {score!r}, expected one of: {', '.join(SCORES)}")
        if keys % heads or values % heads:
            raise ShapeError(f"Attend: {keys} keys and {values} values, expected multiples of heads={heads}")
        self.size, self.keys, self.values, self.heads, self.capacity = size, keys, values, heads, capacity
        self.weight, self.bias = nn.Parameter(torch.empty(keys, size)), nn.Parameter(torch.empty(keys))
        self.shows, self.wait = shows, wait
        self.v = nn.Parameter(torch.empty(keys)) if score == "additive" else None
        self.u = nn.Parameter(torch.empty(keys)) if covers else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first scores are of the size of one."""
        nn.init.xavier_uniform_(self.weight, gain=1.0 if self.v is not None else (self.keys // self.heads) ** -0.5)
        nn.init.zeros_(self.bias)
        for bent in (self.v, self.u):
            if bent is not None:
                nn.init.uniform_(bent, -((self.keys // self.heads) ** -0.5), (self.keys // self.heads) ** -0.5)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.size}, {self.keys}, {self.values}, heads={self.heads}"

    def forward(self, x: Tensor, memory: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """[T, B, I] to [T, B, I + V], with the shares [M] behind it where they are shown.

        Without a memory nothing is found, which is zero.

        Args:
            x: what the queries are made of.
            memory: [n, B, K + V], keys and then values.
            lengths: [B], the rows of each memory that are there, at least one; without it all are.
        """
        if isinstance(x, Proxy):
            node: Tensor = as_node(self, x)
            return node
        if memory is None:
            return torch.cat([x, x.new_zeros(*x.shape[:-1], self.values + self.capacity * self.shows)], -1)
        found, weights = self.found(x, memory, lengths)
        if not self.shows:
            return torch.cat([x, found], -1)
        shares = nn.functional.pad(weights.mean(2), (0, self.capacity - len(memory)))
        return torch.cat([x, found, shares], -1)

    def found(
        self,
        x: Tensor,
        memory: Tensor,
        lengths: Tensor | None = None,
        covered: Tensor | None = None,
        start: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """What is found, [T, B, V], and the weights, [T, B, heads, n].

        Args:
            x, memory, lengths: as `forward` has them.
            covered: [B, heads, n], the sum of the weights of the steps before; None: there were none.
            start: how many steps there were.
        """
        if self.u is None or len(x) == 1:
            return self._found(x, memory, lengths, covered, start)
        parts = []
        for t in range(len(x)):
            parts.append(self._found(x[t : t + 1], memory, lengths, covered, start + t))
            weights = parts[-1][1][0]
            covered = weights if covered is None else covered + weights
        found, weights = (torch.cat(some) for some in zip(*parts, strict=True))
        return found, weights

    def _found(
        self, x: Tensor, memory: Tensor, lengths: Tensor | None, covered: Tensor | None, start: int
    ) -> tuple[Tensor, Tensor]:
        n = len(memory)
        q = nn.functional.linear(x, self.weight, self.bias).unflatten(-1, (self.heads, -1))
        keys, values = (m.unflatten(-1, (self.heads, -1)) for m in memory.split([self.keys, self.values], -1))
        if self.u is not None and covered is not None:
            keys = keys + covered.permute(2, 0, 1).unsqueeze(-1) * self.u.unflatten(0, (self.heads, -1))
        if self.v is None:
            scores = torch.einsum("tbhk,nbhk->tbhn", q, keys)
        else:
            bent = (q.unsqueeze(3) + keys.permute(1, 2, 0, 3)).tanh()
            scores = torch.einsum("tbhnk,hk->tbhn", bent, self.v.unflatten(0, (self.heads, -1)))
        rows = torch.arange(n, device=x.device)
        if lengths is not None:
            there = rows < lengths.to(x.device)[:, None]
            scores = scores.masked_fill(~there[:, None, :], -torch.inf)
        if self.wait:
            seen = self.wait + start + torch.arange(len(x), device=x.device)
            scores = scores.masked_fill((rows >= seen[:, None])[:, None, None, :], -torch.inf)
        weights = scores.softmax(-1)
        return torch.einsum("tbhn,nbhv->tbhv", weights, values).flatten(-2), weights
