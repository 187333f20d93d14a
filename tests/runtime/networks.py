"""Small networks of every kind of layer, with random distinct weights, and inputs for them."""

from __future__ import annotations

import numpy as np

import user_cells
from helpers import generator, random_weights
from recurra import _native, cells
from recurra.runtime import (
    Activation,
    Dropout,
    Embedding,
    Forecast,
    LayerNorm,
    Linear,
    Model,
    Recurrent,
    Softmax,
)

F = F32 = np.float32


def recurrent(cell, I, H, P=None, directions=1, key=0) -> Recurrent:
    rngs = [generator(cell.name, I, H, key, d) for d in range(directions)]
    return Recurrent(cell, [random_weights(cell, I, H, P, rng=rng, dtype=F) for rng in rngs])


def linear(O, I, bias=True) -> Linear:
    rng = generator("linear", O, I)
    W = (rng.normal(size=(O, I)) * I**-0.5).astype(F)
    return Linear(W, rng.normal(size=O).astype(F) if bias else None)


def layer_norm(I) -> LayerNorm:
    rng = generator("norm", I)
    return LayerNorm(rng.normal(1, 0.3, I).astype(F), rng.normal(size=I).astype(F), 1e-5)


def embedding(words, width) -> Embedding:
    return Embedding(generator("embedding", words).normal(size=(words, width)).astype(F))


def tables(*counts, width) -> Embedding:
    return Embedding(generator("tables", *counts).normal(size=(sum(counts), width)).astype(F), counts)


def voices() -> Model:
    """Three whole numbers a row, each with a table of its own, and what is computed of them."""
    return Model([tables(11, 5, 7, width=3), recurrent(cells.gru, 9, 13), linear(4, 13)])


def forecaster() -> Model:
    return Model([recurrent(cells.lstm, 1, 19), linear(3, 19)])


def tagger() -> Model:
    """Every kind of layer that streams, and every activation; odd sizes."""
    return Model(
        [
            embedding(11, 7),
            layer_norm(7),
            recurrent(cells.gru, 7, 21),
            *(Activation(name, 0.2) for name in ("gelu", "leaky_relu")),
            recurrent(cells.lstm_projected, 21, 18, 5),
            Dropout(0.3),
            linear(17, 5, bias=False),
            *(Activation(name) for name in _native.activations),
            recurrent(user_cells.adaptive, 17, 6),
            layer_norm(6),
            linear(13, 6),
            Softmax(),
        ]
    )


def forecast_head(P, N=7, F=3, S=2, U=6, levels=(0.05, 0.3, 0.5, 0.9)) -> Forecast:
    rng, Q = generator("head", P, N, F, S, U), len(levels)
    shapes = [(U, P), (U, F + S), (N, U), (S, U), (N, S), (Q, U), (N, Q), (N, P), (N, Q)]
    arrays = [(0.6 * rng.normal(size=shape)).astype(F32) for shape in shapes]
    arrays[-1] = abs(arrays[-1])
    return Forecast(levels, *arrays)


def quantiles() -> Model:
    """Two recurrent layers, and the forecast head that reads an input beside them."""
    return Model([recurrent(cells.gru, 4, 9), recurrent(cells.lstm_projected, 9, 8, 5), forecast_head(5)])


def deep() -> Model:
    """Several recurrent layers of the zoo one after the other."""
    stack = [recurrent(cells.get(n), 9, 9, key=n) for n in ("lstm_peephole", "gru_reset_before", "mingru", "indrnn")]
    return Model([linear(9, 4), *stack, linear(2, 9), Activation("tanh")])


def both_ways() -> Model:
    return Model([recurrent(cells.gru, 3, 10, directions=2), recurrent(cells.lstm, 20, 9), linear(2, 9)])


STREAMING = {"forecaster": forecaster, "tagger": tagger, "deep": deep, "quantiles": quantiles, "voices": voices}


def sample(model: Model, T: int, B: int, key: object = 0) -> np.ndarray:
    rng = generator("sample", T, B, key)
    if model.vocabulary_size:
        return rng.integers(0, model.vocabulary_size, (T, B))
    x = rng.normal(size=(T, B, model.input_size)).astype(F)
    for k, count in enumerate(model.id_counts):
        x[..., k] = rng.integers(0, count, (T, B))
    return x


def row(x: np.ndarray, *at: int):
    """One step of one row as `step` takes it."""
    return int(x[at]) if np.ndim(x[at]) == 0 else np.ascontiguousarray(x[at])


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal in every bit."""
    return a.shape == b.shape and a.tobytes() == b.tobytes()
