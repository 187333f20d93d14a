"""The forecaster's network: recurrent layers over the past, and a head that sees what is known of the time ahead."""

from __future__ import annotations

from collections.abc import Sequence

from recurra.cells import Cell
from recurra.models.encoders import RecurrentEncoder
from recurra.models.network import Network
from recurra.torch.forecast import ForecastHead


class ForecastNetwork(Network):
    """An encoder of any cell over the first numbers of each row; the others go beside it to a `ForecastHead`.

    Letters: T steps, B rows, I numbers of the encoder, N horizons, F numbers known of each, S seasons, Q quantiles. A
    row has I + N * (F + S) numbers: what the encoder sees at a step, then for each horizon the known numbers and the
    values one season earlier. Every step is an origin: the output [T, B, N * Q] at step t is the forecast of t + 1 to
    t + N, horizon after horizon.

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
        encoder = RecurrentEncoder(cell, input_size, [hidden] * layers, dropout, projection=projection)
        head = ForecastHead(encoder.width, horizon, known, seasons, levels, units=units, dropout=dropout)
        super().__init__(encoder, head)

    @property
    def input_size(self) -> int:
        """The numbers of a row."""
        head = self.head
        assert isinstance(head, ForecastHead)
        return self.encoder.input_size + head.beside
