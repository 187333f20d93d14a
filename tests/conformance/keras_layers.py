"""Keras' layers on the backend of this process, which `KERAS_BACKEND` names: `Recurrent`, and SimpleRNN, LSTM and GRU.

Keras is batch-first and masks where others have lengths. A layer of two directions is Keras' own `Bidirectional`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import recurra.keras as ours
from conformance.cases import Case
from conformance.layers import by_place
from recurra import engine
from recurra.cells import Cell
from recurra.weights import Array, Weights

Outcome = dict[str, np.ndarray]
NAMES = {"W": "kernel", "U": "recurrent_kernel", "b": "bias", "c_": "recurrent_bias", "R": "projection"}


def run_recurrent(case: Case) -> Outcome:
    """`Recurrent`, for any cell."""

    def make(cell: Cell, weights: Weights, **options: Any) -> Any:
        projection = weights.U.shape[1] if cell.projection is not None else None
        return ours.Recurrent(cell, weights.hidden_size, projection, **options)

    def arrays(weights: Weights) -> list[Array]:
        return [a.T for _, a in weights.items() if a.size]

    def back(cell: Cell, weights: Weights, gradients: list[np.ndarray]) -> dict[str, np.ndarray]:
        each = iter(gradients)
        return {n: next(each).T if a.size else np.zeros_like(a) for n, a in weights.items()}

    return _run(case, make, arrays, back)


def run_drop_in(case: Case) -> Outcome:
    """SimpleRNN, LSTM and GRU: z before r, and one bias where the input's and the state's are only added."""

    def make(cell: Cell, weights: Weights, **options: Any) -> Any:
        match cell.name:
            case "lstm":
                return ours.LSTM(weights.hidden_size, **options)
            case "gru" | "gru_reset_before":
                return ours.GRU(weights.hidden_size, reset_after=cell.name == "gru", **options)
        return ours.SimpleRNN(weights.hidden_size, activation="relu" if cell.name == "rnn_relu" else "tanh", **options)

    order = [1, 0, 2] if "gru" in case.cell.name else list(range(len(case.cell.input_gates)))
    two = case.cell.name == "gru"

    def turned(array: Array) -> Array:
        """Gates [G * H, ...] in the other library's order; the order is its own inverse."""
        return array.reshape(len(order), -1, *array.shape[1:])[order].reshape(array.shape)

    def arrays(weights: Weights) -> list[Array]:
        W, U, b, c = (turned(a) for a in (weights.W, weights.U, weights.b, weights.c_))
        return [W.T, U.T, np.stack([b, c]) if two else b + c]

    def back(cell: Cell, weights: Weights, gradients: list[np.ndarray]) -> dict[str, np.ndarray]:
        W, U, bias = gradients
        b, c = bias if two else (bias, bias)
        return {"W": turned(W.T), "U": turned(U.T), "b": turned(b), "c_": turned(c)}

    return _run(case, make, arrays, back)


def _run(
    case: Case,
    make: Callable[..., Any],
    arrays: Callable[[Weights], list[Array]],
    back: Callable[..., dict[str, np.ndarray]],
) -> Outcome:
    """All layers, forward and back."""
    s, D = case.setting, case.setting.directions
    dtype = case.x.dtype.name
    options = {"return_sequences": True, "return_state": True, "zero_output_for_mask": True, "dtype": dtype}
    engine.set_num_threads(s.threads)
    layers, parts, width = [], [], s.I
    for k in range(0, len(case.weights), D):
        layer = make(case.cell, case.weights[k], go_backwards=s.reverse, **options)
        if D == 2:
            layer = keras.layers.Bidirectional(layer, dtype=dtype)
        layer.build((s.B, s.T, width))
        width = D * case.weights[k].U.shape[1]
        layers.append(layer)
        parts += [layer.forward_layer, layer.backward_layer] if D == 2 else [layer]
    for part, weights in zip(parts, case.weights, strict=True):
        for variable, array in zip(part.trainable_variables, arrays(weights), strict=True):
            variable.assign(array)
    mask = None if case.lengths is None else np.arange(s.T) < case.lengths[:, None]

    def network(x: Any, state: list[Any], call: Callable[..., Any]) -> list[Any]:
        """The output and all final states, in the order of places."""
        n, final = len(case.cell.states) * D, []
        for k, layer in enumerate(layers):
            begin = state[k * n : (k + 1) * n] or None
            x, *last = call(
                layer, x, initial_state=begin, mask=None if mask is None else keras.ops.convert_to_tensor(mask)
            )
            x = keras.ops.flip(x, 1) if s.reverse else x
            final += last
        return [x, *final]

    given = [np.ascontiguousarray(case.x.swapaxes(0, 1)), *(a for place in case.state or [] for a in place)]
    d_output = None if case.d_output is None else np.nan_to_num(case.d_output.swapaxes(0, 1))
    d_state = [a for place in case.d_state or [[None] * len(case.cell.states)] * len(parts) for a in place]
    variables = [v for part in parts for v in part.trainable_variables]
    gradients = {"torch": _torch, "jax": _jax}[keras.backend.backend()]
    results, d_given, d_weights = gradients(network, layers, variables, given, [d_output, *d_state])
    engine.set_num_threads(1)

    n, output, final = len(case.cell.states), results[0].swapaxes(0, 1), results[1:]
    found = {"output": output, "gradient of x": d_given[0].swapaxes(0, 1)}
    found |= by_place(case, [final[k : k + n] for k in range(0, len(final), n)], "final")
    begins = [d_given[1 + k : 1 + k + n] for k in range(0, len(d_given) - 1, n)]
    found |= by_place(case, begins, "gradient of initial") if begins else {}
    each = iter(d_weights)
    for (_, _, name), part, weights in zip(s.places(), parts, case.weights, strict=True):
        own = back(case.cell, weights, [next(each) for _ in part.trainable_variables])
        found |= {f"gradient of {k}{name}": a for k, a in own.items()}
    return found


def _torch(
    network: Any, layers: list[Any], variables: list[Any], given: list[Any], seeds: list[Any]
) -> tuple[Any, ...]:
    import torch

    leaves = [torch.from_numpy(a).requires_grad_() for a in given]
    results = network(leaves[0], leaves[1:], lambda layer, x, **options: layer(x, **options))
    pairs = [
        (r, torch.from_numpy(np.ascontiguousarray(d))) for r, d in zip(results, seeds, strict=True) if d is not None
    ]
    torch.autograd.backward(*zip(*pairs, strict=True))
    wanted = [*leaves, *(v.value for v in variables)]
    gradients = [(torch.zeros_like(t) if t.grad is None else t.grad).numpy().copy() for t in wanted]
    return [r.detach().numpy() for r in results], gradients[: len(leaves)], gradients[len(leaves) :]


def _jax(network: Any, layers: list[Any], variables: list[Any], given: list[Any], seeds: list[Any]) -> tuple[Any, ...]:
    import jax

    own = [len(layer.trainable_variables) for layer in layers]
    fixed = [[v.value for v in layer.non_trainable_variables] for layer in layers]

    def run(weights: list[Any], x: Any, state: list[Any]) -> list[Any]:
        at = [sum(own[:k]) for k in range(len(layers))]

        def call(layer: Any, x: Any, **options: Any) -> Any:
            k = layers.index(layer)
            return layer.stateless_call(weights[at[k] : at[k] + own[k]], fixed[k], x, **options)[0]

        return network(x, state, call)

    weights = [v.value for v in variables]
    results, back = jax.vjp(run, weights, jax.numpy.asarray(given[0]), [*map(jax.numpy.asarray, given[1:])])
    d = [jax.numpy.zeros_like(r) if s is None else jax.numpy.asarray(s) for r, s in zip(results, seeds, strict=True)]
    d_weights, d_x, d_state = back(d)
    return (
        [np.asarray(r) for r in results],
        [np.asarray(a) for a in (d_x, *d_state)],
        [np.asarray(a) for a in d_weights],
    )
