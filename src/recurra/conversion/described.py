"""Layers as files of weights have them: arrays in the order and with the conventions of the library that made them.

Everything that a conversion must get right is an attribute here: the order of the gates, whether there are one or two
biases, where the reset gate acts. `definition` computes with these layers as they stand, `mapping` turns them into
ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]

GATES = {"rnn": ("n",), "lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}  # as torch stacks them
KERAS_GATES = {"rnn": ("n",), "lstm": ("i", "f", "g", "o"), "gru": ("z", "r", "n")}


@dataclass(frozen=True)
class Gated:
    """An RNN, LSTM or GRU over time.

    Attributes:
        kind: "rnn", "lstm" or "gru".
        directions: for each direction W [gates * H, I], U [gates * H, P], b and c_ [gates * H] (absent: zero), and
            for a projected LSTM R [P, H].
        gates: the order in which they are stacked.
        reset_after: a GRU's reset gate acts on the recurrent product, bias included; else on the state before it.
        activation, recurrent_activation: words of the language of cells.
    """

    kind: str
    directions: tuple[Mapping[str, Array], ...]
    gates: tuple[str, ...]
    reset_after: bool = True
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"


@dataclass(frozen=True)
class Dense:
    """W x + b, with W [O, I]."""

    W: Array
    b: Array | None = None


@dataclass(frozen=True)
class Convolution:
    """sum_k W[k] x[s t - (K - 1 - k) * dilation] + b, with W [K, O, I]; what is before the beginning is zero."""

    W: Array
    b: Array | None = None
    dilation: int = 1
    stride: int = 1


@dataclass(frozen=True)
class Table:
    """Row x of W."""

    W: Array


@dataclass(frozen=True)
class Norm:
    """Layer normalization over the features."""

    scale: Array
    shift: Array
    epsilon: float = 1e-5


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalization of the features, as it is after training."""

    mean: Array
    variance: Array
    scale: Array
    shift: Array
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Elementwise:
    """An activation by its word in the language of cells, or softmax over the features."""

    word: str
    slope: float = 0.01


@dataclass(frozen=True)
class OfCell:
    """Any cell, with its arrays by the names of `Weights.shapes`, for each direction."""

    cell: str
    directions: tuple[Mapping[str, Array], ...] = field(default_factory=tuple)


Described: TypeAlias = "Gated | Dense | Convolution | Table | Norm | BatchNorm | Elementwise | OfCell"
