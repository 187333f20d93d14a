"""`NGrams`: n-grams beside a network, as `recurra.runtime.NGrams` has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.runtime import ops


class NGrams(nn.Module):
    """Scores mixed with what the last symbols alone say; nothing in it is trained.

    Args:
        op: the n-grams.

    >>> import numpy as np, torch
    >>> from recurra.runtime import NGrams as Op
    >>> numbers = [[0, 1], [1, 0], [1, 1], [0.5, 0.5], [0, 1], [0.5, 0.5]]
    >>> beside = NGrams(Op(*(np.array(n, np.float32) for n in numbers), mix=0.5))
    >>> beside(torch.zeros(2, 1, 2), torch.tensor([[0], [1]])).exp().squeeze(1)
    tensor([[0.6250, 0.3750],
            [0.4375, 0.5625]])
    """

    goes_by_ids = True

    def __init__(self, op: ops.NGrams) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor, symbols: Tensor) -> Tensor:
        """Scores [T, B, V] of the symbols after `symbols` [T, B], which begin."""
        steps, past = len(symbols), self.op.past
        before = torch.cat([symbols.new_full((past - 1, symbols.shape[1]), -1), symbols])
        last = torch.stack([before[past - 1 - k : past - 1 - k + steps] for k in range(past)], -1)
        p = self.op.probabilities(last.flatten(0, 1).cpu().numpy(), x.shape[-1])
        beside = torch.from_numpy(p).to(x).reshape(x.shape)
        return ((1 - self.op.mix) * x.softmax(-1) + self.op.mix * beside).log()
