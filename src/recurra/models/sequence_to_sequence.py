"""`SequenceToSequence`: an encoder that reads both ways, and a decoder that looks at what it made of each symbol."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recurra.cells import Cell
from recurra.runtime import Model
from recurra.runtime.writer import DECODER, ENCODER, MEMORY, START
from recurra.torch import Attend, Embedding, Pool, Recurrent
from recurra.torch.bridge import layers_of


class SequenceToSequence(nn.Module):
    """From a sequence of symbols to another, after Luong et al. 2015 (attention behind the decoder's state).

        y_1 ... y_n = encoder(x_1 ... x_n)                 both directions
        keys and values = memory(y_1), ..., memory(y_n)
        s_0 = start(mean of y)                             the states of all layers of the decoder
        s_t = decoder(s_t-1, symbol t-1)
        p_t = softmax(head([s_t | what s_t finds in the memory]))

    Letters: n source symbols, T target symbols, B rows, S and V symbols of the two vocabularies, E features of one.

    Args:
        cell: of the encoder and the decoder.
        symbols: S and V.
        size: E.
        head: from 2 H features to V scores; its last layer has the numbers of the target's table.
        hidden, layers: of the encoder in each direction, and of the decoder.
        dropout: the share dropped in training.
        heads, score: see `recurra.torch.Attend`.
        capacity: the most source symbols, a multiple of 16.
    """

    def __init__(
        self,
        cell: Cell,
        symbols: tuple[int, int],
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
        between = dropout if layers > 1 else 0.0
        self.source, self.target = (Embedding([count], size) for count in symbols)
        self.encoder = Recurrent(cell, size, [hidden] * layers, dropout=between, bidirectional=True)
        self.decoder = Recurrent(cell, size, [hidden] * layers, dropout=between)
        self.memory = nn.Linear(2 * hidden, 2 * hidden)
        self.start = nn.Linear(2 * hidden, layers * len(cell.states) * hidden)
        self.attend = Attend(hidden, hidden, hidden, heads=heads, score=score, capacity=capacity)
        self.head, self.drop, self.mean = head, nn.Dropout(dropout), Pool("mean")
        for table in (self.source, self.target):
            nn.init.normal_(table.weight, std=size**-0.5)
        head[-1].weight = self.target.weight

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Scores [T, B, V] of the symbol after each of target.

        Args:
            source: [n, B, 1].
            lengths: [B], the symbols of each source, at least one.
            target: [T, B, 1], what stands before each symbol: the begin first.
        """
        y, _ = self.encoder(self.drop(self.source(source)), lengths=lengths)
        y = self.drop(y)
        h, _ = self.decoder(self.drop(self.target(target)), self._states(self.mean.ends(y, lengths)))
        found = self.attend(self.drop(h), self.memory(y), lengths)
        scores: Tensor = self.head(found)
        return scores

    def _states(self, mean: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Of the decoder, from the mean [B, 2 H] of what the encoder gives: [layers, B, H] each."""
        count, layers = len(self.decoder.cell.states), self.decoder.num_layers
        parts = self.start(mean).tanh().unflatten(-1, (layers, count, -1)).permute(2, 1, 0, 3)
        states = tuple(part.contiguous() for part in parts)
        return states if count > 1 else states[0]

    def model(self) -> Model:
        """What it is in a model file: its four programs."""
        programs: dict[str, Sequence[nn.Module]] = {
            ENCODER: (self.source, self.encoder),
            MEMORY: (self.memory,),
            START: (self.mean, self.start, nn.Tanh()),
            DECODER: (self.target, self.decoder, self.attend, self.head, nn.Softmax(-1)),
        }
        return Model(
            programs={name: [op for part in parts for op in layers_of(part)] for name, parts in programs.items()}
        )
