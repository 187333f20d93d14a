"""`SequenceToSequence`: a reader, and a decoder that looks at what the reader made of each part of what was read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recurra.cells import Cell
from recurra.runtime import Model
from recurra.runtime.ops import Op
from recurra.runtime.writer import DECODER, ENCODER, FED, MEMORY, START
from recurra.torch import Attend, Embedding, Join, Pool, Readout, Recurrent
from recurra.torch.bridge import layers_of


class TextReader(nn.Module):
    """A sequence of symbols read in both directions, or in one.

    Args:
        cell: of the recurrence.
        symbols: of the vocabulary.
        size: features of a symbol.
        hidden, layers: in each direction.
        dropout: the share dropped in training.
        both: whether it reads from the end, too.

    Attributes:
        width: features that it gives, 2 H or H.
    """

    def __init__(
        self,
        cell: Cell,
        symbols: int,
        size: int,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        both: bool = True,
    ) -> None:
        super().__init__()
        self.width = (1 + both) * hidden
        self.source = Embedding([symbols], size)
        between = dropout if layers > 1 else 0.0
        self.encoder = Recurrent(cell, size, [hidden] * layers, dropout=between, bidirectional=both)
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.source.weight, std=size**-0.5)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, B, width] of symbols [n, B, 1], and how many there are of each row."""
        y, _ = self.encoder(self.drop(self.source(source)), lengths=lengths)
        return self.drop(y), lengths

    def model_layers(self) -> list[Op]:
        """What it is in a model file."""
        return [*layers_of(self.source), *layers_of(self.encoder)]


class SequenceToSequence(nn.Module):
    """From what a reader makes of its source to a sequence of symbols, after Luong et al. 2015 (attention behind the
    decoder's state).

        y_1 ... y_n = reader(x)
        keys and values = memory(y_1), ..., memory(y_n)
        s_0 = start(mean of y)                             the states of all layers of the decoder
        s_t = decoder(s_t-1, symbol t-1)                   and e_t-1 beside the symbol, where the head feeds it
        p_t, e_t = head([s_t | what s_t finds in the memory])

    Where it waits, the reader reads in one direction, s_0 is of the first `wait` parts, and step t sees wait + t.

    Letters: n parts of what was read, T target symbols, B rows, V symbols of the vocabulary, E features of one.

    Args:
        reader: a module with `width`, the features of a part, which gives y [n, B, width] and the parts of each row.
        cell: of the decoder.
        symbols: V.
        size: E.
        head: from 2 H features; its scores have the numbers of the target's table. Where it copies, from as many places
            as `capacity`.
        hidden, layers: of the decoder.
        dropout: the share dropped in training.
        heads, score, capacity, covers, wait: see `recurra.torch.Attend`.
        sampled: the share of symbols that in training are not those before, but what it would have written (scheduled
            sampling, Bengio et al. 2015).
    """

    def __init__(
        self,
        reader: nn.Module,
        cell: Cell,
        symbols: int,
        size: int,
        hidden: int,
        head: Readout,
        layers: int = 1,
        dropout: float = 0.0,
        heads: int = 1,
        score: str = "product",
        capacity: int = 64,
        covers: bool = False,
        wait: int = 0,
        sampled: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = reader
        width: int = reader.width  # type: ignore[assignment]
        self.target = Embedding([symbols], size)
        given, between = size + (size if head.feeds else 0), dropout if layers > 1 else 0.0
        self.decoder = Recurrent(cell, given, [hidden] * layers, dropout=between)
        self.memory = nn.Linear(width, 2 * hidden)
        self.start = nn.Linear(width, layers * len(cell.states) * hidden)
        how = {"heads": heads, "score": score, "capacity": capacity, "covers": covers, "wait": wait}
        self.attend = Attend(hidden, hidden, hidden, shows=head.copies > 0, **how)  # type: ignore[arg-type]
        self.head, self.drop, self.mean, self.sampled = head, nn.Dropout(dropout), Pool("mean"), sampled
        nn.init.normal_(self.target.weight, std=size**-0.5)
        head.outer.weight = self.target.weight

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Scores [T, B, V] of the symbol after each of target; where it copies, log-probabilities [T, B, V + n].

        Args:
            source: [n, B, R], what the reader takes; where it copies [n, B, R + 1], the number of each place behind it
                (see `recurra.runtime.Readout`).
            lengths: [B], the steps of each source, at least one.
            target: [T, B, 1], what stands before each symbol: the begin first.
        """
        return self.taught(source, lengths, target)[0]

    def taught(self, source: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and how much of what it looks at it has looked at before, [T, B] (See et al. 2017, eq. 12)."""
        places = source[..., -1].T if self.head.copies else None
        y, lengths = self.encoder(source[..., :-1] if self.head.copies else source, lengths)
        first = self.attend.wait or len(y)
        states, memory = self._states(self.mean.ends(y[:first], lengths.clamp(max=first))), self.memory(y)
        if self.attend.u is not None or self.head.feeds or (self.sampled and self.training):
            e, weights, twice = self._stepped(states, memory, lengths, target, places)
        else:
            h, _ = self.decoder(self.drop(self.target(target)), states)
            e, weights = self._bent(h, memory, lengths)
            twice = e.new_zeros(e.shape[:2])
        return self.head.scores(e, weights.mean(2), places), twice

    def _stepped(
        self,
        states: Tensor | tuple[Tensor, ...],
        memory: Tensor,
        lengths: Tensor,
        target: Tensor,
        places: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the scores are made of [T, B, E], the weights [T, B, heads, n] and what is looked at twice, step by
        step: each needs the one before."""
        e, covered, steps = memory.new_zeros(1, target.shape[1], self.head.inner.out_features), None, []
        before = target[:1]
        for t in range(len(target)):
            x = self.drop(self.target(before))
            h, states = self.decoder(torch.cat([x, e], -1) if self.head.feeds else x, states)
            e, weights = self._bent(h, memory, lengths, covered, t)
            seen = torch.zeros_like(weights[0]) if covered is None else covered
            steps.append((e, weights, torch.minimum(weights[0], seen).sum(-1).mean(-1, keepdim=True).T))
            covered = seen + weights[0]
            before = target[t + 1 : t + 2]
            if self.sampled and self.training and len(before):
                own = self.head.scores(e.detach(), weights.detach().mean(2), places).argmax(-1, keepdim=True)
                own = own.where(own < self.head.symbols, 0).to(before.dtype)
                before = torch.where(torch.rand_like(before) < self.sampled, own, before)
        e, weights, twice = (torch.cat(some) for some in zip(*steps, strict=True))
        return e, weights, twice

    def _bent(
        self, h: Tensor, memory: Tensor, lengths: Tensor, covered: Tensor | None = None, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        h = self.drop(h)
        found, weights = self.attend.found(h, memory, lengths, covered, start)
        return self.head.bent(torch.cat([h, found], -1)), weights

    def _states(self, mean: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Of the decoder, from the mean [B, width] of what the reader gives: [layers, B, H] each."""
        count, layers = len(self.decoder.cell.states), self.decoder.num_layers
        parts = self.start(mean).tanh().unflatten(-1, (layers, count, -1)).permute(2, 1, 0, 3)
        states = tuple(part.contiguous() for part in parts)
        return states if count > 1 else states[0]

    def model(self) -> Model:
        """What it is in a model file: its four programs."""
        fed = [Join(FED, self.head.inner.out_features)] if self.head.feeds else []
        programs: dict[str, Sequence[nn.Module]] = {
            ENCODER: (self.encoder,),
            MEMORY: (self.memory,),
            START: (self.mean, self.start, nn.Tanh()),
            DECODER: (self.target, *fed, self.decoder, self.attend, self.head),
        }
        return Model(
            programs={name: [op for part in parts for op in layers_of(part)] for name, parts in programs.items()}
        )
