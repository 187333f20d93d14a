"""`SequenceToSequence`: a reader, and a decoder that looks at what the reader made of each part of what was read."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recurra.cells import Cell
from recurra.runtime import Model
from recurra.runtime.ops import Op
from recurra.runtime.writer import DECODER, ENCODER, MEMORY, START
from recurra.torch import Attend, Embedding, Pool, Recurrent
from recurra.torch.bridge import layers_of


class TextReader(nn.Module):
    """A sequence of symbols read in both directions.

    Args:
        cell: of the recurrence.
        symbols: of the vocabulary.
        size: features of a symbol.
        hidden, layers: in each direction.
        dropout: the share dropped in training.

    Attributes:
        width: features that it gives, 2 H.
    """

    def __init__(self, cell: Cell, symbols: int, size: int, hidden: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.source = Embedding([symbols], size)
        between = dropout if layers > 1 else 0.0
        self.encoder = Recurrent(cell, size, [hidden] * layers, dropout=between, bidirectional=True)
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.source.weight, std=size**-0.5)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features [n, B, 2 H] of symbols [n, B, 1], and how many there are of each row."""
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
        s_t = decoder(s_t-1, symbol t-1)
        p_t = softmax(head([s_t | what s_t finds in the memory]))

    Letters: n parts of what was read, T target symbols, B rows, V symbols of the vocabulary, E features of one.

    Args:
        reader: a module with `width`, the features of a part, which gives y [n, B, width] and the parts of each row.
        cell: of the decoder.
        symbols: V.
        size: E.
        head: from 2 H features to V scores; its last layer has the numbers of the target's table.
        hidden, layers: of the decoder.
        dropout: the share dropped in training.
        heads, score: see `recurra.torch.Attend`.
        capacity: the most parts, a multiple of 16.
    """

    def __init__(
        self,
        reader: nn.Module,
        cell: Cell,
        symbols: int,
        size: int,
        hidden: int,
        head: nn.Sequential,
        layers: int = 1,
        dropout: float = 0.0,
        heads: int = 1,
        score: str = "product",
        capacity: int = 64,
    ) -> None:
        super().__init__()
        self.encoder = reader
        width: int = reader.width  # type: ignore[assignment]
        self.target = Embedding([symbols], size)
        self.decoder = Recurrent(cell, size, [hidden] * layers, dropout=dropout if layers > 1 else 0.0)
        self.memory = nn.Linear(width, 2 * hidden)
        self.start = nn.Linear(width, layers * len(cell.states) * hidden)
        self.attend = Attend(hidden, hidden, hidden, heads=heads, score=score, capacity=capacity)
        self.head, self.drop, self.mean = head, nn.Dropout(dropout), Pool("mean")
        nn.init.normal_(self.target.weight, std=size**-0.5)
        head[-1].weight = self.target.weight

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Scores [T, B, V] of the symbol after each of target.

        Args:
            source: [n, B, R], what the reader takes.
            lengths: [B], the steps of each source, at least one.
            target: [T, B, 1], what stands before each symbol: the begin first.
        """
        y, parts = self.encoder(source, lengths)
        h, _ = self.decoder(self.drop(self.target(target)), self._states(self.mean.ends(y, parts)))
        found = self.attend(self.drop(h), self.memory(y), parts)
        scores: Tensor = self.head(found)
        return scores

    def _states(self, mean: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Of the decoder, from the mean [B, width] of what the reader gives: [layers, B, H] each."""
        count, layers = len(self.decoder.cell.states), self.decoder.num_layers
        parts = self.start(mean).tanh().unflatten(-1, (layers, count, -1)).permute(2, 1, 0, 3)
        states = tuple(part.contiguous() for part in parts)
        return states if count > 1 else states[0]

    def model(self) -> Model:
        """What it is in a model file: its four programs."""
        programs: dict[str, Sequence[nn.Module]] = {
            ENCODER: (self.encoder,),
            MEMORY: (self.memory,),
            START: (self.mean, self.start, nn.Tanh()),
            DECODER: (self.target, self.decoder, self.attend, self.head, nn.Softmax(-1)),
        }
        return Model(
            programs={name: [op for part in parts for op in layers_of(part)] for name, parts in programs.items()}
        )
