"""`Transducer`: an encoder of sound, a network of the letters so far, what joins them, and the loss (Graves 2012)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.cells import Cell
from recurra.models.encoders import Encoder
from recurra.runtime import Model
from recurra.torch import Recurrent
from recurra.torch.bridge import layers_of


class Transducer(nn.Module):
    """What is heard, and what has been written, to a probability of each letter to be written next, or none.

    Letters: T steps, B rows, U letters of a text, K letters there are, J joined features.

    Args:
        encoder: of sound.
        letters: K; number 0 is the blank, which the network of letters begins with.
        cell: of the network of letters.
        hidden: its units.
        joined: J.
        dropout: of what the encoder gives.
    """

    whole = every = True

    def __init__(
        self, encoder: Encoder, letters: int, cell: str | Cell, hidden: int, joined: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.heard = nn.Sequential(nn.Dropout(dropout), nn.Linear(encoder.width, joined))
        self.table = nn.Embedding(letters + 1, hidden)
        self.layers = Recurrent(cell, hidden, hidden)
        self.written = nn.Linear(hidden, joined)
        self.join = nn.Sequential(nn.Tanh(), nn.Linear(joined, letters + 1))

    def forward(self, rows: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Scores [T, B, U + 1, K + 1] of rows [T', B, I] after each of the first letters of labels [U, B]."""
        heard = self.heard(self.encoder(rows, lengths=lengths)[0])
        before = torch.cat([torch.zeros_like(labels[:1]), labels])
        written = self.written(self.layers(self.table(before))[0])
        scores: Tensor = self.join(heard[:, :, None] + written.transpose(0, 1)[None])
        return scores

    def model(self) -> Model:
        """Its three programs: what hears is the main one."""
        recurrent = nn.Sequential(self.table, self.layers, self.written)
        programs = {
            "main": [op for part in (*self.encoder.exported(), self.heard) for op in layers_of(part)],
            "written": layers_of(recurrent),
            "join": layers_of(nn.Sequential(self.join, nn.Softmax(-1))),
        }
        return Model(programs=programs)


def transducer_loss(scores: Tensor, labels: Tensor, steps: Tensor, counts: Tensor) -> Tensor:
    """Minus the logarithm of each text's probability, [B]: the sum over all ways of writing it, exact.

    Forward variables in float64; along a text they are one cumulative sum, so only steps are a loop.

    Args:
        scores: [T, B, U + 1, K + 1], before a softmax.
        labels: [U, B], numbers from 1 on; any past a text's end.
        steps, counts: of each row, [B].
    """
    logs = scores.double().log_softmax(-1)
    nothing = logs[..., 0]
    at = labels.T[None, :, :, None].expand(len(logs), -1, -1, -1)
    next_ = logs[:, :, :-1].gather(-1, at)[..., 0]
    sums = torch.cat([torch.zeros_like(next_[:, :, :1]), next_.cumsum(-1)], -1)  # [T, B, U + 1]
    alpha = [sums[0]]
    for t in range(1, len(logs)):
        alpha.append(sums[t] + (alpha[-1] + nothing[t - 1] - sums[t]).logcumsumexp(-1))
    ends = torch.stack(alpha) + nothing
    rows: Any = torch.arange(len(steps))
    return -ends[steps - 1, rows, counts]
