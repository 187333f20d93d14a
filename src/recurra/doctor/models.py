"""A model file's network as a torch module, so that everything which takes a module takes a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra import runtime as layers
from recurra.errors import DoctorError
from recurra.models import ForecastHead
from recurra.runtime.model import Model
from recurra.runtime.ops import Op
from recurra.torch import Recurrent, Stack
from recurra.torch.bridge import layers_of
from recurra.weights import Array

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "softsign": nn.Softsign,
    "hard_sigmoid": nn.Hardsigmoid,
    "identity": nn.Identity,
}


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
        DoctorError: it has a layer of a kind that has no torch module.
    """
    if isinstance(network, nn.Module):
        return network
    last = network.ops[-1]
    if isinstance(last, layers.Forecast):
        return Forecaster(Stack(*map(_module, network.ops[:-1])), _head(last))
    return Stack(*map(_module, network.ops))


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
    _filled(head, {name: getattr(layer, name) for name in layer.shapes})
    return head


def _module(layer: Any) -> nn.Module:
    match layer:
        case layers.Recurrent():
            return _recurrent(layer)
        case layers.Linear(W=W, b=b):
            linear = nn.Linear(W.shape[1], W.shape[0], bias=b is not None)
            return _filled(linear, {"weight": W} | ({} if b is None else {"bias": b}))
        case layers.Embedding(W=W):
            return _filled(nn.Embedding(*W.shape), {"weight": W})
        case layers.LayerNorm(scale=scale, shift=shift, epsilon=epsilon):
            return _filled(nn.LayerNorm(len(scale), eps=epsilon), {"weight": scale, "bias": shift})
        case layers.Activation(name="leaky_relu", slope=slope):
            return nn.LeakyReLU(slope)
        case layers.Activation(name=name) if name in _ACTIVATIONS:
            return _ACTIVATIONS[name]()
        case layers.Softmax():
            return nn.Softmax(-1)
        case layers.Dropout(p=p):
            return nn.Dropout(p)
    raise DoctorError(f"the doctor: a layer of kind {layer.kind!r} has no torch module, so it cannot be examined")


def _recurrent(layer: layers.Recurrent) -> nn.Module:
    cell, w = layer.cell, layer.weights[0]
    module = Recurrent(
        cell,
        w.W.shape[1],
        w.hidden_size,
        bidirectional=len(layer.weights) == 2,
        proj_size=w.U.shape[1] if cell.projection is not None else 0,
        initial_state="learned" if layer.initial else "zeros",
    )
    arrays: dict[str, Array] = {}
    names = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c_": "bias_hh", "R": "weight_hr"}
    for d, weights in enumerate(layer.weights):
        suffix = "_l0" + ("_reverse" if d else "")
        arrays |= {names.get(n, n.replace(".", "_")) + suffix: a for n, a in weights.items() if a.size}
        begins = zip(cell.states, layer.initial[d], strict=True) if layer.initial else ()
        arrays |= {f"initial_{state}{suffix}": a for state, a in begins}
    return _filled(module, arrays)


def _filled(module: nn.Module, arrays: dict[str, Array]) -> nn.Module:
    module.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in arrays.items()})
    return module
