"""`Pool`: one row of features for all steps so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from recurra.errors import ShapeError
from recurra.runtime.ops.pool import POOLS
from recurra.torch.traced import as_node


class Pool(nn.Module):
    """The pool over time of what a recurrent layer gives, as `recurra.runtime.Pool` has it.

    `forward` has at each step the pool of the steps so far, as a live session does. What a whole sequence comes to is
    cheaper by `ends`, which training uses.

    Letters: T steps, B rows, H features.

    Args:
        how: "last", "mean", "max", "all" (the three side by side, 3 H features), or "attention", which learns a vector
            that scores each step.
        size: H, for attention.
        bidirectional: whether the layer before reads in both directions; "last" is then the last output of each in its
            own order of reading.
        batch_first: whether h is [B, T, H].

    Raises:
        ShapeError: `how` is none of them, or attention without a size.

    >>> import torch
    >>> h = torch.tensor([[1.0, 4.0], [3.0, 2.0], [2.0, 0.0]]).unsqueeze(1)
    >>> Pool("mean")(h)[:, 0].tolist(), Pool("max").ends(h).tolist()
    ([[1.0, 4.0], [2.0, 3.0], [2.0, 2.0]], [[3.0, 4.0]])
    """

    def __init__(self, how: str, size: int = 0, *, bidirectional: bool = False, batch_first: bool = False) -> None:
        super().__init__()
        if how not in POOLS:
            raise ShapeError(f"Pool: `how` is {how!r}, expected one of: {', '.join(POOLS)}")
        if how == "attention" and size < 1:
            raise ShapeError(f"Pool: `size` is {size}, expected the features that attention scores")
        self.how, self.bidirectional, self.batch_first = how, bidirectional, batch_first
        self._parts = ("last", "mean", "max") if how == "all" else (how,)
        self.v = nn.Parameter(torch.empty(size)) if how == "attention" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first all steps count alike."""
        if self.v is not None:
            nn.init.zeros_(self.v)

    def extra_repr(self) -> str:
        """How it pools."""
        return self.how

    def forward(self, h: Tensor) -> Tensor:
        """Pools [T, B, H] of the steps so far of h [T, B, H]."""
        if isinstance(h, Proxy):
            node: Tensor = as_node(self, h)
            return node
        if self.batch_first and h.dim() == 3:
            return self._so_far(h.transpose(0, 1)).transpose(0, 1)
        return self._so_far(h)

    def _so_far(self, h: Tensor) -> Tensor:
        if self.v is not None:
            return self._attention(h, h @ self.v)
        return torch.cat([self._pool_so_far(how, h) for how in self._parts], -1)

    def _pool_so_far(self, how: str, h: Tensor) -> Tensor:
        if how == "mean":
            count = torch.arange(1, len(h) + 1, device=h.device, dtype=h.dtype)
            return h.cumsum(0) / count.reshape(-1, *[1] * (h.dim() - 1))
        if how == "max":
            return h.cummax(0).values
        if self.bidirectional:
            half = h.shape[-1] // 2
            return torch.cat([h[..., :half], h[:1, ..., half:].expand_as(h[..., half:])], -1)
        return h

    @staticmethod
    def _attention(h: Tensor, score: Tensor) -> Tensor:
        """Sums relative to the largest score so far, each step joined with ever more before it: log T passes."""
        most, total, weight = score, h, torch.ones_like(score)
        distance = 1
        while distance < len(h):
            later, earlier = slice(distance, None), slice(None, -distance)
            joint = torch.maximum(most[later], most[earlier])
            new, old = (most[later] - joint).exp(), (most[earlier] - joint).exp()
            sums = total[later] * new.unsqueeze(-1) + total[earlier] * old.unsqueeze(-1)
            total = torch.cat([total[:distance], sums])
            weight = torch.cat([weight[:distance], weight[later] * new + weight[earlier] * old])
            most = torch.cat([most[:distance], joint])
            distance *= 2
        return total / weight.unsqueeze(-1)

    def ends(self, h: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The pools [B, H] at the last step of each row of h [T, B, H]; zeros where a row has no step.

        Args:
            h: what the recurrent layer gives; what lies past a row's length does not matter.
            lengths: [B], steps of each row; without it all have T.
        """
        h = h.transpose(0, 1) if self.batch_first else h
        T, B, H = h.shape
        if T == 0:
            return h.new_zeros(B, len(self._parts) * H)
        lengths = torch.full((B,), T, device=h.device) if lengths is None else lengths.to(h.device)
        there = (torch.arange(T, device=h.device)[:, None] < lengths).unsqueeze(-1)
        pooled = torch.cat([self._pool_ends(how, h, lengths, there) for how in self._parts], -1)
        return pooled.masked_fill((lengths == 0).unsqueeze(-1), 0)

    def _pool_ends(self, how: str, h: Tensor, lengths: Tensor, there: Tensor) -> Tensor:
        if how == "last":
            last = h.gather(0, (lengths - 1).clamp(min=0)[None, :, None].expand(1, len(lengths), h.shape[-1]))[0]
            half = h.shape[-1] // 2
            return torch.cat([last[:, :half], h[0, :, half:]], -1) if self.bidirectional else last
        if how == "max":
            return h.masked_fill(~there, -torch.inf).amax(0)
        if self.v is None:
            return h.masked_fill(~there, 0).sum(0) / lengths.clamp(min=1).unsqueeze(-1)
        score = (h @ self.v).masked_fill(~there[..., 0], -torch.inf)
        return (score.softmax(0).unsqueeze(-1) * h.masked_fill(~there, 0)).sum(0)
