"""`SpeechEncoder`: convolutions that thin out the steps of sound, and recurrent layers, each normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from recurra.cells import Cell
from recurra.models.encoders import Encoder
from recurra.torch import Recurrent
from recurra.torch.convolution import CausalConv1d

TAPS = 2  # of a convolution, for each step of its stride, and one more


class SpeechEncoder(Encoder):
    """Steps of sound to fewer steps of features.

    Each stride is a causal convolution with a ReLU; after them, and after each recurrent layer, comes a layer
    normalisation, so that a deep stack learns as fast as one layer.

    Args:
        cell: of the recurrent layers.
        input_size: I.
        sizes: of each recurrent layer.
        dropout: between them.
        bidirectional: whether each also reads backwards.
        projection: P, for a cell that projects its output.
        strides: of the convolutions; none: there are none.
        channels: of each convolution.
    """

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        sizes: Sequence[int],
        dropout: float = 0.0,
        bidirectional: bool = False,
        projection: int = 0,
        strides: Sequence[int] = (),
        channels: int = 128,
    ) -> None:
        super().__init__()
        self.input_size, self.bidirectional = input_size, bidirectional
        parts: list[nn.Module] = []
        below = input_size
        for stride in strides:
            parts += [CausalConv1d(below, channels, TAPS * stride + 1, stride), nn.ReLU()]
            below = channels
        self.thin = nn.Sequential(*parts, *([nn.LayerNorm(below)] if parts else []))
        layers: list[nn.Module] = []
        for size in sizes:
            layer = Recurrent(cell, below, size, bidirectional=bidirectional, proj_size=projection)
            below = (projection or size) * (2 if bidirectional else 1)
            layers += [layer, nn.LayerNorm(below), nn.Dropout(dropout)]
        self.layers = nn.ModuleList(layers[:-1])  # the head has a dropout of its own
        self.width = below

    def exported(self) -> list[nn.Module]:
        """See `Encoder`."""
        return [self.thin, *self.layers]

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """As `Encoder.forward`, with a step of features for each product of the strides; no state goes in."""
        y = x
        for part in self.thin:
            y = part(y)
            if isinstance(part, CausalConv1d) and lengths is not None:
                lengths = part.lengths(lengths)
        for part in self.layers:
            y = part(y, lengths=lengths)[0] if isinstance(part, Recurrent) else part(y)
        return y, None
