"""The forecaster's network: recurrent layers over the past, and a head that sees what is known of the time ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from recurra.cells import Cell
from recurra.models.heads import ForecastHead
from recurra.runtime import Op
from recurra.torch import Recurrent
from recurra.torch.bridge import layers_of


class ForecastNetwork(nn.Module):
    """An encoder of any cell over the first numbers of each row; the others go beside it to a `ForecastHead`.

    Letters: T steps, B rows, I numbers of the encoder, N horizons, F numbers known of each, S seasons, Q quantiles. A
    row has I + N * (F + S) numbers: what the encoder sees at a step, then for each horizon the known numbers and the
    values one season earlier. Every step is an origin: the output at step t is the forecast of t + 1 to t + N.

    Args:
        cell: a cell, or the name of one in the zoo.
        input_size: I.
        hidden: of each recurrent layer.
        horizon, known, seasons, levels, units: of the head.
        layers: recurrent layers.
        projection: the output's size, for a cell that projects it.
        dropout: the share dropped in training, between recurrent layers and in the head.

    Raises:
        CellError, ShapeError: no such cell, or sizes that cannot be.
    """

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        hidden: int,
        *,
        horizon: int,
        known: int,
        seasons: int,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        layers: int = 1,
        units: int = 32,
        projection: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.encoder = Recurrent(cell, input_size, hidden, layers, dropout=between, proj_size=projection)
        self.head = ForecastHead(projection or hidden, horizon, known, seasons, levels, units=units, dropout=dropout)

    @property
    def input_size(self) -> int:
        """The numbers of a row."""
        return self.encoder.input_size + self.head.beside

    def forward(self, rows: Tensor, state: Any = None, *, reset: Tensor | None = None) -> tuple[Tensor, Any]:
        """The quantiles [T, B, N * Q], horizon after horizon, and the encoder's final state.

        Args:
            rows: [T, B, I + N * (F + S)].
            state: of the encoder, from an earlier call.
            reset: [T, B], bool: before which steps a row's state is zero.
        """
        first = self.encoder.input_size
        h, state = self.encoder(rows[..., :first], state, reset=reset)
        return self.head(h, rows[..., first:]).flatten(-2), state

    def model_layers(self) -> list[Op]:
        """What it is in a model file; `recurra.torch.export` asks."""
        return [*layers_of(self.encoder), *self.head.model_layers()]
