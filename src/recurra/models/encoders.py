"""Encoders: recurrent layers of ours, and torch's own linear, convolutional and attention layers to compare with.

Letters: T steps, B batch, I input size, H features out. Every encoder but the bidirectional one is causal: features
[T, B, H] of each step depend on that step and on earlier ones alone, so that one forward over a sequence gives what a
live run gives step by step. `context` is how many steps it looks at; None: all there were.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurra.cells import Cell
from recurra.cells.trace import get
from recurra.errors import ExportError
from recurra.torch import Embedding, Fields, Pool, Recurrent

HEADS = 2
KERNEL = 3  # steps that one convolution sees


class Encoder(nn.Module, ABC):
    """What all encoders share.

    Attributes:
        input_size: I.
        width: H.
        context: steps that an output depends on; None: all.
        dense: whether it is trained on every step of one window, where others need whole windows before a step.
    """

    input_size: int
    width: int
    context: int | None = None
    dense = False

    @abstractmethod
    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Features [T, B, H] of every step of x [T, B, I], and the state to go on from, if it has one.

        Args:
            x: [T, B, I].
            state: from an earlier call.
            lengths: the steps of each row [B]; what comes after them does not matter.
            reset: [T, B], bool: before which steps a row's state is zero.
        """

    def last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Features [B, H] of the last step of each row; `lengths` [B] are at least 1."""
        features: Tensor = self(x)[0]
        return features[lengths - 1, torch.arange(x.shape[1])]

    def exported(self) -> list[nn.Module]:
        """The layers that a model file has of it, one after the other.

        Raises:
            ExportError: it does not run live.
        """
        raise ExportError(f"export: a {type(self).__name__} encoder does not run live, expected recurrent layers")

    def summary(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Features [B, H] of each row as a whole, by which it is labelled: those of its last step, or as is usual for
        an encoder, their mean over its window."""
        return self.last(x, lengths)


class RecurrentEncoder(Encoder):
    """Any cell, in one or two directions; before it, where its numbers are ids of symbols, their `tables`,
    or the `table` that is given, and what the cell does to the `fields` of a row, where it has so many."""

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        sizes: Sequence[int],
        dropout: float = 0.0,
        bidirectional: bool = False,
        projection: int = 0,
        pool: str = "last",
        tables: Sequence[int] = (),
        embedding: int = 0,
        table: Embedding | None = None,
        fields: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        between = dropout if len(sizes) > 1 else 0.0
        own = Embedding(tables, embedding, shared=len(set(tables)) == 1) if tables and table is None else None
        self.table, self.drop = table or own, nn.Dropout(dropout if own is not None else 0.0)
        inner = input_size if self.table is None else len(self.table.tables) * self.table.weight.shape[1]
        self.fields = _fields_of(get(cell), *fields, inner)
        self.layers = Recurrent(
            cell,
            inner,
            list(sizes),
            dropout=between,
            bidirectional=bidirectional,
            proj_size=projection,
        )
        self.input_size = input_size
        self.bidirectional = bidirectional
        width = (projection or sizes[-1]) * (2 if bidirectional else 1)
        both, how = (False, "last") if pool == "each" else (bidirectional, pool)  # each step has its own two outputs
        self.pool = Pool(how, width if pool == "attention" else 0, bidirectional=both)
        self.width = width * (3 if pool == "all" else 1)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """As `Encoder.forward`."""
        output, state = self.layers(self.enter(x), state, lengths=lengths, reset=reset)
        return self.pool(output), state

    def enter(self, x: Tensor) -> Tensor:
        """What the recurrent layers see of x: itself, what the tables have of its symbols, or its fields prepared."""
        if self.fields is not None:
            prepared: Tensor = self.fields(x)
            return prepared
        return x if self.table is None else self.drop(self.table(x))

    def exported(self) -> list[nn.Module]:
        """The table or the fields, the layers, and the pool where it does something."""
        pools = self.pool.how != "last" or self.pool.bidirectional  # the last output of one direction is what comes in
        parts = [self.table, self.fields, self.layers, self.pool if pools else None]
        return [part for part in parts if part is not None]

    def summary(self, x: Tensor, lengths: Tensor) -> Tensor:
        """What the pool makes of all outputs."""
        return self.pool.ends(self.layers(self.enter(x), lengths=lengths)[0], lengths)

    def last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The pool of all steps, which for "last" is the last output of each direction, in its own order of reading."""
        return self.summary(x, lengths)


def _fields_of(cell: Cell, count: int, size: int, width: int) -> Fields | None:
    """What prepares the inputs of a cell, where a row of `width` begins with as many fields as it takes."""
    if cell.inputs is None or count < len(cell.inputs.states):
        return None
    return Fields(cell.inputs, size, width - size * len(cell.inputs.states))


class Feedforward(Encoder):
    """Linear layers on a flattened window; before a sequence begins, there are zeros."""

    def __init__(self, input_size: int, window: int, sizes: list[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.input_size, self.context, self.width = input_size, window, sizes[-1]
        steps: list[nn.Module] = []
        for below, size in zip([input_size * window, *sizes], sizes, strict=False):
            steps += [nn.Linear(below, size), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*steps)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """As `Encoder.forward`."""
        assert self.context is not None
        padded = functional.pad(x, (0, 0, 0, 0, self.context - 1, 0))
        windows = padded.unfold(0, self.context, 1)  # [T, B, I, window]
        return self.layers(windows.flatten(2)), None

    def last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Only the last window of each row."""
        assert self.context is not None
        window = last_steps(x, lengths, self.context)
        result: Tensor = self.layers(window.permute(1, 2, 0).flatten(1))
        return result


class Convolutional(Encoder):
    """A temporal convolution network: residual causal convolutions, each with twice the reach of the one before."""

    def __init__(self, input_size: int, window: int, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.input_size, self.width = input_size, channels
        layers = reach_layers(window)
        self.context = 1 + (KERNEL - 1) * (2**layers - 1)
        self.enter = nn.Conv1d(input_size, channels, 1)
        self.layers = nn.ModuleList(nn.Conv1d(channels, channels, KERNEL, dilation=2**k) for k in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """As `Encoder.forward`."""
        y = self.enter(x.permute(1, 2, 0))  # [B, C, T]
        for layer in self.layers:
            assert isinstance(layer, nn.Conv1d)
            before = functional.pad(y, ((KERNEL - 1) * layer.dilation[0], 0))
            y = y + self.dropout(functional.relu(layer(before)))
        return y.permute(2, 0, 1), None

    def summary(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The mean over the last `context` steps of each row."""
        assert self.context is not None
        window, kept = last_rows(x, lengths, self.context)
        return mean_of_first(self(window)[0], kept)


class Transformer(Encoder):
    """torch's Transformer encoder with a causal mask and sinusoidal positions.

    A window of at most `window` steps is encoded at once; of a longer sequence, each step past the first window ends a
    window of its own, which is what a live step has to compute.
    """

    dense = True

    def __init__(self, input_size: int, window: int, width: int, layers: int, inner: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.input_size, self.context, self.width = input_size, window, width
        self.enter = nn.Linear(input_size, width)
        layer = nn.TransformerEncoderLayer(width, HEADS, inner, dropout, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.register_buffer("positions", positions(window, width), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Features [T, B, H] of one window, T at most `window`."""
        T, table = x.shape[0], self.positions
        assert isinstance(table, Tensor)
        mask = nn.Transformer.generate_square_subsequent_mask(T)
        result: Tensor = self.layers(self.enter(x) + table[:T, None], mask=mask, is_causal=True)
        return result

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """As `Encoder.forward`."""
        window = self.context
        assert window is not None
        begun = self.encode(x[:window])
        if x.shape[0] <= window:
            return begun, None
        windows = x[1:].unfold(0, window, 1)  # [T - window, B, I, window]
        flat = windows.permute(3, 0, 1, 2).flatten(1, 2)
        parts = [self.encode(part)[-1] for part in flat.split(max(1, 65536 // window), 1)]
        return torch.cat([begun, torch.cat(parts).unflatten(0, (-1, x.shape[1]))]), None

    def last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Only the last window of each row."""
        assert self.context is not None
        window, kept = last_rows(x, lengths, self.context)
        return self.encode(window)[kept - 1, torch.arange(x.shape[1])]

    def summary(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The mean over the last window of each row."""
        assert self.context is not None
        window, kept = last_rows(x, lengths, self.context)
        return mean_of_first(self.encode(window), kept)


def last_steps(x: Tensor, lengths: Tensor, window: int) -> Tensor:
    """The last `window` steps of each row, [window, B, I], after zeros where a row has fewer."""
    at = (lengths - window)[None] + torch.arange(window)[:, None]
    taken = x[at.clamp(0, x.shape[0] - 1), torch.arange(x.shape[1])[None]]
    return taken * (at >= 0)[..., None]


def last_rows(x: Tensor, lengths: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The last `window` steps of each row, [at most window, B, I], from the first on, and how many there are."""
    T = min(window, x.shape[0])
    kept = lengths.clamp(max=T)
    at = (lengths - kept)[None] + torch.arange(T)[:, None]
    return x[at.clamp(max=x.shape[0] - 1), torch.arange(x.shape[1])[None]], kept


def mean_of_first(features: Tensor, counts: Tensor) -> Tensor:
    """The mean of the first steps of each row, [B, H], of features [T, B, H]."""
    there = torch.arange(features.shape[0])[:, None] < counts
    return (features * there[..., None]).sum(0) / counts[:, None]


def reach_layers(window: int) -> int:
    """How many convolutions, each dilated twice as far, until they reach `window` steps."""
    return max(1, math.ceil(math.log2((window - 1) / (KERNEL - 1) + 1)))


def positions(window: int, width: int) -> Tensor:
    """Sines and cosines of positions, [window, width] (Vaswani et al. 2017, section 3.5)."""
    at = torch.arange(window)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(at * rate), torch.cos(at * rate)], -1).flatten(1)[:, :width]
