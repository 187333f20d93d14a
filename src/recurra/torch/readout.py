"""`Readout` and `Join`: what a decoder writes next, and what it is given again, as `recurra.runtime` has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from recurra.errors import ShapeError
from recurra.torch.traced import as_node

LEAST = 1e-8  # a probability whose logarithm is taken


class Readout(nn.Module):
    """The probability of each of V symbols, from F features, and of each of M places of a memory, to copy from.

    Letters: T steps, B rows, F features, E numbers of a symbol, V symbols, n places of M at most.

    Args:
        size: F.
        inner: E.
        symbols: V.
        copies: M; 0: it does not copy.
        feeds: whether what the scores are made of is part of the output.
        dropout: the share of it that is dropped in training.

    Raises:
        ShapeError: a size is less than 1, or M than 0.

    >>> import torch
    >>> Readout(4, 3, 7, copies=2)(torch.zeros(5, 1, 4 + 2)).shape
    torch.Size([5, 1, 9])
    """

    def __init__(
        self, size: int, inner: int, symbols: int, *, copies: int = 0, feeds: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if min(size, inner, symbols) < 1 or copies < 0:
            raise ShapeError(f"Readout: {size} to {inner} to {symbols}, {copies} copies, expected at least 1 of each")
        self.size, self.symbols, self.copies, self.feeds = size, symbols, copies, feeds
        self.inner, self.outer, self.drop = nn.Linear(size, inner), nn.Linear(inner, symbols), nn.Dropout(dropout)
        self.gate = nn.Linear(inner, 1) if copies else None

    def extra_repr(self) -> str:
        """What it copies and feeds."""
        return f"copies={self.copies}, feeds={self.feeds}"

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """[T, B, F + M] to [T, B, V + M], with the E numbers behind it where they are fed.

        Args:
            x: features, and shares of the places where it copies.
            places: [B, M], the number of what is at each place; without them all are 0.
        """
        if isinstance(x, Proxy):
            node: Tensor = as_node(self, x)
            return node
        e = self.bent(x[..., : self.size])
        if self.gate is None:
            p = self.outer(e).softmax(-1)
        else:
            shares = x[..., self.size :]
            p = self.mixed(e, shares, x.new_zeros(shares.shape[1:]) if places is None else places)
        return torch.cat([p, e], -1) if self.feeds else p

    def bent(self, features: Tensor) -> Tensor:
        """What the scores are made of, [T, B, E]."""
        e: Tensor = self.inner(features).tanh()
        return e

    def scores(self, e: Tensor, shares: Tensor | None, places: Tensor | None) -> Tensor:
        """Scores of the V symbols, from what `bent` gives; where it copies, logarithms of V + n probabilities.

        Args:
            e: [T, B, E].
            shares: [T, B, n], of the places.
            places: [B, n].
        """
        e = self.drop(e)
        if self.gate is None or shares is None or places is None:
            plain: Tensor = self.outer(e)
            return plain
        return (self.mixed(e, shares, places) + LEAST).log()

    def mixed(self, e: Tensor, shares: Tensor, places: Tensor) -> Tensor:
        """The probabilities [T, B, V + n]."""
        assert self.gate is not None
        own = self.gate(e).sigmoid()
        p = torch.cat([own * self.outer(e).softmax(-1), torch.zeros_like(shares)], -1)
        return p.scatter_add(-1, places.long().expand_as(shares), (1 - own) * shares)


class Join(nn.Module):
    """What flows, with another input of the program behind it.

    Args:
        name: of that input.
        features: of it.

    >>> import torch
    >>> Join("fed", 2)(torch.zeros(1, 1, 3), torch.ones(1, 1, 2)).tolist()
    [[[0.0, 0.0, 0.0, 1.0, 1.0]]]
    """

    def __init__(self, name: str, features: int) -> None:
        super().__init__()
        self.name, self.features = name, features

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """[..., I] and [..., features] to [..., I + features]; without the other input it is zero."""
        if isinstance(x, Proxy):
            node: Tensor = as_node(self, x)
            return node
        return torch.cat([x, x.new_zeros(*x.shape[:-1], self.features) if other is None else other], -1)
