"""`Branches`: what several chains of layers make of the same input, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from recurra.errors import ShapeError
from recurra.runtime.ops.branches import HOW
from recurra.torch.stack import Stack

_PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul}


class Branches(nn.Module):
    """x + f(x), x * g(x), [x | f(x)] and the like: a residual connection, a gate, features side by side.

    Args:
        branches: chains of layers, each a list or a `Stack`; one without a layer is x itself.
        how: "add", "subtract" (from the first), "multiply", or "join": side by side.

    Raises:
        ShapeError: `how` is none of these.

    >>> import torch
    >>> from recurra.torch import LSTM, Branches, Stack
    >>> module = Stack(Branches([[], [LSTM(3, 3)]]), torch.nn.Linear(3, 1))
    >>> module(torch.zeros(5, 2, 3)).shape
    torch.Size([5, 2, 1])
    """

    def __init__(self, branches: Sequence[Sequence[nn.Module] | Stack], how: str = "add") -> None:
        super().__init__()
        if how not in HOW:
            raise ShapeError(f"Branches: how={how!r}, expected one of {', '.join(HOW)}")
        self.branches = nn.ModuleList(one if isinstance(one, Stack) else Stack(*one) for one in branches)
        self.how = how
        for part in self.modules():
            if hasattr(part, "batch_first"):
                self.batch_first = part.batch_first
                break

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] to what a branch gives, or to all of that side by side."""
        found: list[Tensor] = [branch(x) for branch in self.branches]
        return torch.cat(found, -1) if self.how == "join" else reduce(_PAIRS[self.how], found)
