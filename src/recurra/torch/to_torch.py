"""From a runtime model to a torch module, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.cells import Cell, gru, lstm, lstm_projected, rnn, rnn_relu
from recurra.errors import ExportError
from recurra.runtime import Model, layers
from recurra.torch.export import _ACTIVATIONS, TOLERANCE, Stack, _difference, _sample
from recurra.torch.recurrent import Recurrent
from recurra.weights import Weights

# torch.nn's layers by the fingerprint of their equations.
_STOCK: dict[str, Callable[..., nn.RNNBase]] = {
    rnn.fingerprint: nn.RNN,
    rnn_relu.fingerprint: lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    lstm.fingerprint: nn.LSTM,
    lstm_projected.fingerprint: nn.LSTM,
    gru.fingerprint: nn.GRU,
}


def to_torch(model: Model) -> Stack:
    """A torch module with a model's layers and numbers, to train on or to use elsewhere.

    A recurrent layer with the equations of torch.nn's RNN, LSTM or GRU becomes that layer, every other cell
    `recurra.torch.Recurrent`, as does a layer whose states do not begin with zeros. The module takes [T, B, I] (ids
    [T, B]), is in eval mode, and has been run on random numbers. `recurra.torch.convert` puts Recurra's kernels under
    torch.nn's layers; `export` leads back.

    Raises:
        ExportError: a layer has no form in torch, or the module does not compute what the model does.

    >>> import numpy as np
    >>> from recurra import cells, runtime
    >>> from recurra.torch import to_torch
    >>> from recurra.weights import Weights
    >>> weights = Weights.random(cells.lstm, 2, 5, rng=np.random.default_rng(0))
    >>> to_torch(runtime.Model([runtime.Recurrent(cells.lstm, [weights]), runtime.Activation("relu")]))
    Stack(
      (0): LSTM(2, 5)
      (1): ReLU()
    )
    """
    module = Stack(*(_module(i, layer) for i, layer in enumerate(model.layers))).eval()
    difference = _difference(module, model, _sample(model, None, False), False)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"to_torch: the module's output is {difference:.2g} from the model's, expected at most {TOLERANCE}: some "
            "networks enlarge rounding errors; please report this if yours should not"
        )
    return module


def _module(i: int, layer: layers.Layer) -> nn.Module:
    for kind, make in _MODULES.items():
        if isinstance(layer, kind):
            return make(layer)
    known = ", ".join(kind.kind for kind in _MODULES)
    raise ExportError(f"to_torch: layer {i} is of the kind {layer.kind!r}, expected one of: {known}")


def _recurrent(layer: layers.Recurrent) -> nn.Module:
    cell, first = layer.cell, layer.weights[0]
    stock = None if layer.initial else _STOCK.get(cell.fingerprint)
    options: dict[str, Any] = {"bidirectional": len(layer.weights) == 2}
    if first.R is not None:
        options["proj_size"] = len(first.R)
    sizes = layer.input, first.hidden_size
    if stock is not None:
        module: nn.Module = stock(*sizes, **options)
    else:
        module = Recurrent(cell, *sizes, initial_state="learned" if layer.initial else "zeros", **options)
    named: dict[str, Tensor] = {}
    for d, weights in enumerate(layer.weights):
        begins = layer.initial[d] if layer.initial else ()
        named |= _parameters(cell, weights, "_l0" + ("_reverse" if d else ""), begins)
    own = {name: named[name] for name, _ in module.named_parameters()}
    module.load_state_dict(own)
    return module


def _parameters(cell: Cell, weights: Weights, suffix: str, begins: Any) -> dict[str, Tensor]:
    """The arrays of one direction by the names that torch.nn and `Recurrent` share."""
    arrays: Mapping[str, Any] = {"weight_ih": weights.W, "weight_hh": weights.U, "bias_ih": weights.b}
    arrays = {**arrays, "bias_hh": weights.c_, "weight_hr": weights.R}
    arrays |= {p.replace(".", "_"): weights.parameters[p] for p in cell.parameters}
    arrays |= {f"initial_{state}": value for state, value in zip(cell.states, begins, strict=False)}
    return {name + suffix: torch.from_numpy(np.array(a)) for name, a in arrays.items() if a is not None}


def _linear(layer: layers.Linear) -> nn.Module:
    outputs, inputs = layer.W.shape
    return _filled(nn.Linear(inputs, outputs, bias=layer.b is not None), weight=layer.W, bias=layer.b)


def _embedding(layer: layers.Embedding) -> nn.Module:
    return _filled(nn.Embedding(*layer.W.shape), weight=layer.W)


def _layer_norm(layer: layers.LayerNorm) -> nn.Module:
    return _filled(nn.LayerNorm(len(layer.scale), eps=layer.epsilon), weight=layer.scale, bias=layer.shift)


def _filled(module: nn.Module, **arrays: Any) -> nn.Module:
    module.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in arrays.items() if a is not None})
    return module


def _activation(layer: layers.Activation) -> nn.Module:
    kind = next(kind for kind, word in _ACTIVATIONS.items() if word == layer.name)
    return nn.LeakyReLU(layer.slope) if kind is nn.LeakyReLU else kind()


_MODULES: dict[type[layers.Layer], Callable[[Any], nn.Module]] = {
    layers.Recurrent: _recurrent,
    layers.Linear: _linear,
    layers.Embedding: _embedding,
    layers.LayerNorm: _layer_norm,
    layers.Activation: _activation,
    layers.Softmax: lambda layer: nn.Softmax(-1),
    layers.Dropout: lambda layer: nn.Dropout(layer.p),
}
