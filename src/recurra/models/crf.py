"""`TagHead`: scores of tags, with what may follow what: a linear-chain conditional random field (Lafferty 2001)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.data.text.paths import NEVER
from recurra.runtime.ops import Op
from recurra.torch.bridge import layers_of

LEAST = 1e-30  # of a share of all paths; what is less counts as that


class TagHead(nn.Module):
    """A linear layer to K scores a token, and learned scores [K + 1, K] of one tag after another.

    Args:
        width: H.
        allowed: [K + 1, K], which may follow which; the last row is for the first token.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, allowed: Tensor, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, allowed.shape[1]))
        self.steps = nn.Parameter(torch.zeros(allowed.shape))
        self.register_buffer("allowed", allowed, persistent=False)

    @property
    def moves(self) -> Tensor:
        """Scores of moves [K + 1, K]; of those that are not allowed, so low that none is made."""
        known = self.allowed
        assert isinstance(known, Tensor)
        return self.steps.masked_fill(~known, float(NEVER))

    def forward(self, h: Tensor) -> Tensor:
        """[..., H] to [..., K]."""
        scores: Tensor = self.layers(h)
        return scores

    def model_layers(self) -> list[Op]:
        """The linear layer; the moves belong to the decoding."""
        return layers_of(self.layers)

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """-log p of the right paths, a token: scores [T, B, K], targets [T, B], NaN behind the end of a text."""
        there, tags = ~targets.isnan(), targets.nan_to_num().long()
        moves = self.moves
        own = scores.gather(-1, tags.unsqueeze(-1))[..., 0] * there
        first, between = moves[-1][tags[0]], moves[tags[:-1], tags[1:]] * there[1:]
        right = own.sum() + first.sum() + between.sum()
        total, ways = moves[-1] + scores[0], moves[:-1].exp()
        for t in range(1, len(scores)):
            most = total.amax(-1, keepdim=True).detach()
            next_ = most + ((total - most).exp() @ ways).clamp(min=LEAST).log() + scores[t]
            total = torch.where(there[t].unsqueeze(-1), next_, total)
        return (total.logsumexp(-1).sum() - right) / there.sum().clamp(min=1)
