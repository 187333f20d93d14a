"""A model file's network as a torch module, so that everything which takes a module takes a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recurra import runtime as layers
from recurra.models import ForecastHead
from recurra.runtime.model import Model
from recurra.runtime.ops import Op
from recurra.torch import Stack
from recurra.torch.bridge import layers_of, module_of


class Forecaster(nn.Module):
    """A forecaster's network: an encoder of the first numbers of each row, and a head that takes the others too."""

    def __init__(self, encoder: nn.Module, head: ForecastHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, rows: Tensor) -> Tensor:
        """Quantiles [T, B, N * Q] from rows [T, B, I + N * (F + S)]."""
        first = rows.shape[-1] - self.head.beside
        quantiles: Tensor = self.head(self.encoder(rows[..., :first]), rows[..., first:])
        return quantiles.flatten(-2)

    def model_layers(self) -> list[Op]:
        """What it is in a model file."""
        return [*layers_of(self.encoder), *self.head.model_layers()]


def as_module(network: nn.Module | Model) -> nn.Module:
    """A module as it is; a model as a module with its weights, time-major.

    Raises:
        ExportError: it has an op that has no torch module.
    """
    if isinstance(network, nn.Module):
        return network
    last = network.ops[-1]
    if isinstance(last, layers.Forecast):
        return Forecaster(_stack(network.ops[:-1]), _head(last))
    return _stack(network.ops)


def _stack(ops: Sequence[Op]) -> Stack:
    return Stack(*(module_of(i, op) for i, op in enumerate(ops)))


def anew(model: Model) -> nn.Module:
    """The same network with weights drawn anew."""
    module = as_module(model)
    for part in module.modules():
        if isinstance(part, ForecastHead):
            fresh = ForecastHead(
                part.A.shape[1], part.horizon, part.known, part.seasons, part.levels, units=len(part.A)
            )
            part.load_state_dict(fresh.state_dict())
        elif callable(reset := getattr(part, "reset_parameters", None)):
            reset()
    return module


def _head(layer: layers.Forecast) -> ForecastHead:
    S, U = layer.W.shape
    head = ForecastHead(layer.sizes["I"], layer.horizon, layer.B.shape[1] - S, S, layer.levels, units=U)
    head.load_state_dict({name: torch.from_numpy(np.array(getattr(layer, name))) for name in layer.shapes})
    return head
