"""Losses that leave out what is missing."""

from __future__ import annotations

from torch import Tensor


def pinball(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """The mean over all targets that exist and all levels a of max(a e, (a - 1) e), e = target - quantile.

    Args:
        quantiles: [..., Q].
        target: [...], NaN where it is missing.
        levels: [Q], between 0 and 1.

    Returns:
        One number; 0, with gradients of 0, where every target is missing.

    Source:
        Koenker and Bassett, Regression Quantiles, 1978.

    >>> import torch
    >>> levels = torch.tensor([0.1, 0.5, 0.9])
    >>> pinball(torch.tensor([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]]), torch.tensor([1.0, float("nan")]), levels)
    tensor(0.5000)
    """
    there = ~target.isnan()
    error = target.nan_to_num().unsqueeze(-1) - quantiles
    loss = (levels * error).maximum((levels - 1) * error) * there.unsqueeze(-1)
    return loss.sum() / (there.sum().clamp(min=1) * len(levels))
