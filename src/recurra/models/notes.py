"""`NoteHead`: from features to the notes that sound together, each by those below it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recurra.runtime.ops import Activation, Linear, Op
from recurra.torch.bridge import layers_of

RARE = -3.0  # the score that a note begins with: few sound at a time


class NoteHead(nn.Module):
    """The joint distribution of P notes (NADE, Larochelle and Murray 2011, as in RNN-NADE, Boulanger-Lewandowski 2012).

    Of the features of a frame come a bias for each note and what U hidden units begin with. From the lowest note
    upwards, each that sounds adds to the biases of those above it (a number for each pair, and one for each interval)
    and to the hidden units, which say of the next how probable it is. The notes of the frame before add to the biases
    too, so that what sounds on or moves by a step need not go through the features. Without hidden units, notes are
    independent, given what was before.

    Args:
        width: H.
        notes: P.
        units: U.
        dropout: of the features.
    """

    def __init__(self, width: int, notes: int, units: int, dropout: float) -> None:
        super().__init__()
        self.notes, self.units = notes, units
        last = nn.Linear(width, notes + units)
        nn.init.constant_(last.bias[:notes], RARE)
        self.frame = nn.Sequential(nn.Dropout(dropout), last)
        self.below = nn.Parameter(torch.zeros(notes, notes + units))
        self.above = nn.Parameter(torch.zeros(notes, units))
        self.before = nn.Parameter(torch.zeros(notes, notes))
        self.moves = nn.Parameter(torch.zeros(2 * notes - 1))  # what a note of the frame before adds so far from it
        self.intervals = nn.Parameter(torch.zeros(notes))  # what a note adds so far above it, wherever it is
        for weight in (self.below[:, notes:], self.above):
            nn.init.normal_(weight, std=0.1)

    def forward(self, h: Tensor) -> Tensor:
        """[..., H] to [..., P + U]: what is known of a frame before its first note."""
        output: Tensor = self.frame(h)
        return output

    def added(self) -> Tensor:
        """[P, P + U]: what each note adds, to the biases of those above it and to the hidden units."""
        first, rest = self.below.split([self.notes, self.units], 1)
        keys = torch.arange(self.notes)
        first = first + self.intervals[(keys - keys.unsqueeze(1)).clamp(0)]
        return torch.cat([first.triu(1), rest], 1)

    def carried(self) -> Tensor:
        """[P, P]: what each note of the frame before adds to the biases of all notes."""
        keys = torch.arange(self.notes)
        found: Tensor = self.before + self.moves[keys - keys.unsqueeze(1) + self.notes - 1]
        return found

    def scores(self, output: Tensor, frames: Tensor, before: Tensor) -> Tensor:
        """The score [N, P] of each note by those below it in `frames` [N, P] and those of the frames `before` [N, P],
        of outputs [N, P + U]."""
        bias, hidden = output.split([self.notes, self.units], -1)
        told: Tensor = bias + before @ self.carried()
        if not self.units:
            return told
        to_bias, to_hidden = self.added().split([self.notes, self.units], 1)
        below = (frames.cumsum(1) - frames).long()  # how many notes sound below each
        many = int(frames.sum(1).max()) if len(frames) else 0
        there, keys = (frames * torch.arange(self.notes, 0, -1)).topk(many)  # the lowest first
        added = to_hidden[keys] * (there > 0).unsqueeze(-1)
        states = hidden.unsqueeze(1) + torch.cat([torch.zeros_like(hidden).unsqueeze(1), added.cumsum(1)], 1)
        scores = (torch.sigmoid(states) @ self.above.T).gather(1, below.unsqueeze(1))[:, 0]
        result: Tensor = told + frames @ to_bias + scores
        return result

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Nats a frame: outputs [T, B, P + U] and targets [T, B, P] of whole pieces, NaN where there is no frame."""
        before = torch.cat([torch.zeros_like(targets[:1]), targets[:-1]])
        there = ~targets[..., 0].isnan()
        frames = targets[there]
        scores = self.scores(output[there], frames, before[there])
        return nn.functional.binary_cross_entropy_with_logits(scores, frames, reduction="sum") / there.sum().clamp(1)

    def model_layers(self) -> list[Op]:
        """What makes the output of a frame."""
        return layers_of(self.frame)

    def programs(self) -> dict[str, Sequence[Op]]:
        """`before`: what the frame before adds; `above`: from the hidden units to scores; `below`: what a note adds."""
        before = Linear(self.carried().detach().T.contiguous().numpy().copy())
        if not self.units:
            return {"before": [before]}
        above = Linear(self.above.detach().numpy().copy())
        below = Linear(self.added().detach().T.contiguous().numpy().copy())
        return {"before": [before], "above": [Activation("sigmoid"), above], "below": [below]}
