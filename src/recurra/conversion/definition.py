"""What described layers compute, in NumPy float64, with the source's own conventions.

A conversion is held against this. It shares nothing with the engine: gates are cut from sums in the order in which the
source stacks them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from recurra import reference
from recurra.cells import get
from recurra.conversion.described import (
    Array,
    BatchNorm,
    Convolution,
    Dense,
    Described,
    Elementwise,
    Gated,
    Norm,
    OfCell,
    Table,
)
from recurra.weights import Weights

_erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda a: a,
    "tanh": np.tanh,
    "sigmoid": lambda a: 0.5 * (1 + np.tanh(0.5 * a)),
    "relu": lambda a: np.maximum(a, 0),
    "elu": lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))),
    "softplus": lambda a: np.logaddexp(a, 0),
    "softsign": lambda a: a / (1 + np.abs(a)),
    "gelu": lambda a: 0.5 * a * (1 + _erf(a / math.sqrt(2))),
    "silu": lambda a: a / (1 + np.exp(-a)),
    "hard_sigmoid": lambda a: np.clip(a / 6 + 0.5, 0, 1),
}


def run(layers: Sequence[Described], x: Any) -> Any:
    """One sequence [T, I] (ids [T]) through all layers."""
    for layer in layers:
        x = _RUN[type(layer)](layer, x)
    return x


def _gated(layer: Gated, x: Any) -> Any:
    outputs = []
    for d, arrays in enumerate(layer.directions):
        order = x[::-1] if d else x
        output = np.array(_one_direction(layer, arrays, order))
        outputs.append(output[::-1] if d else output)
    return np.concatenate(outputs, -1)


def _one_direction(layer: Gated, arrays: Mapping[str, Array], x: Any) -> list[Any]:
    w = {name: np.asarray(a, np.float64) for name, a in arrays.items()}
    rows = len(w["W"])
    b, c_ = w.get("b", np.zeros(rows)), w.get("c_", np.zeros(rows))
    h, c = np.zeros(w["U"].shape[1]), np.zeros(rows // len(layer.gates))
    f, s = ACTIVATIONS[layer.activation], ACTIVATIONS[layer.recurrent_activation]
    outputs = []
    for step in x:
        a = dict(zip(layer.gates, np.split(w["W"] @ step + b, len(layer.gates)), strict=True))
        r = dict(zip(layer.gates, np.split(w["U"] @ h + c_, len(layer.gates)), strict=True))
        if layer.kind == "rnn":
            h = f(a["n"] + r["n"])
        elif layer.kind == "lstm":
            c = s(a["f"] + r["f"]) * c + s(a["i"] + r["i"]) * f(a["g"] + r["g"])
            h = s(a["o"] + r["o"]) * f(c)
            h = w["R"] @ h if "R" in w else h
        else:
            reset, z = s(a["r"] + r["r"]), s(a["z"] + r["z"])
            n = layer.gates.index("n")
            U, bias = (np.split(w["U"], 3)[n], np.split(c_, 3)[n])
            product = reset * r["n"] if layer.reset_after else U @ (reset * h) + bias
            h = z * h + (1 - z) * f(a["n"] + product)
        outputs.append(h)
    return outputs


def _convolution(layer: Convolution, x: Any) -> Any:
    W, K = np.asarray(layer.W, np.float64), len(layer.W)
    padded = np.concatenate([np.zeros(((K - 1) * layer.dilation, x.shape[1])), x])
    taps = (padded[k * layer.dilation :][: len(x)] @ W[k].T for k in range(K))
    return (sum(taps) + (0 if layer.b is None else layer.b))[:: layer.stride]


def _norm(layer: Norm, x: Any) -> Any:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + layer.epsilon) * layer.scale + layer.shift


def _batch_norm(layer: BatchNorm, x: Any) -> Any:
    deviation = np.sqrt(layer.variance.astype(np.float64) + layer.epsilon)
    return (x - layer.mean) / deviation * layer.scale + layer.shift


def _elementwise(layer: Elementwise, x: Any) -> Any:
    if layer.word == "softmax":
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    return np.where(x > 0, x, layer.slope * x) if layer.word == "leaky_relu" else ACTIVATIONS[layer.word](x)


def _of_cell(layer: OfCell, x: Any) -> Any:
    cell = get(layer.cell)
    runs = []
    for d, arrays in enumerate(layer.directions):
        begins = [np.asarray(arrays[f"initial:{s}"])[None] for s in cell.states] if "initial:h" in arrays else None
        run = reference.forward(cell, Weights.of(cell, dict(arrays)), x[:, None], begins, reverse=bool(d))
        runs.append(run.output[:, 0])
    return np.concatenate(runs, -1)


_RUN: dict[type, Callable[[Any, Any], Any]] = {
    Gated: _gated,
    Dense: lambda layer, x: x @ layer.W.astype(np.float64).T + (0 if layer.b is None else layer.b),
    Convolution: _convolution,
    Table: lambda layer, x: layer.W[x].astype(np.float64),
    Norm: _norm,
    BatchNorm: _batch_norm,
    Elementwise: _elementwise,
    OfCell: _of_cell,
}
