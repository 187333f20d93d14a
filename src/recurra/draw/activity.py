"""What a network does with a sequence: its input and output, each state and each gate at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recurra import engine
from recurra.cells import Cell
from recurra.errors import DrawError
from recurra.weights import Array, Weights

_DIRECTIONS = ("", " backwards")


@dataclass
class Activity:
    """The values of one sequence, each [T, units].

    Attributes:
        name: of the layer.
        input, output: of the whole network.
        states, gates: of one recurrent layer, by name; those of a second direction end in " backwards".
    """

    name: str
    input: Array
    output: Array
    states: dict[str, Array] = field(default_factory=dict)
    gates: dict[str, Array] = field(default_factory=dict)


@dataclass
class Run:
    """One recurrent layer as it ran: its input [T, 1, I], and the cell, weights and first states of each direction."""

    x: Array
    directions: Sequence[tuple[Cell, Weights, Sequence[Array] | None]]


def observe(thing: Any, x: Any, layer: int | None, row: int) -> Activity:
    """Run a network over a sequence and watch one of its recurrent layers, the last if not given.

    Raises:
        DrawError: the thing has no weights, or there is no such layer or row.
        ShapeError, DtypeError: x does not fit.
    """
    if isinstance(thing, tuple) and len(thing) == 2 and isinstance(thing[1], Weights):
        cell, weights = thing
        sequence = _one_row(x, row, 3)[:, None].astype(weights.W.dtype)
        runs = [Run(sequence, [(cell, weights, None)])]
        output = engine.forward(cell, weights, sequence).output[:, 0]
        return _watch(runs, layer, sequence[:, 0], output)
    if hasattr(thing, "layers") and hasattr(thing, "preprocessing"):
        return _observe_model(thing, x, layer, row)
    if hasattr(thing, "named_children"):
        from recurra.draw.hooks import observe_module

        runs, given, output = observe_module(thing, x, row)
        return _watch(runs, layer, given, output)
    raise DrawError(f"states: {thing!r} has no weights, expected a torch module, a model, or a pair (cell, Weights)")


def _observe_model(model: Any, x: Any, layer: int | None, row: int) -> Activity:
    from recurra.runtime import Recurrent

    sequence = _one_row(x, row, 2 if model.words else 3)
    batch: Any = np.ascontiguousarray(sequence[:, None], np.int64 if model.words else np.float32)
    runs = []
    for i, part in enumerate(model.layers):
        if isinstance(part, Recurrent):
            before = _through(model.layers[:i], batch)
            initial: list[Any] = [[a[None] for a in states] for states in part.initial] or [None] * len(part.weights)
            pairs = zip(part.weights, initial, strict=True)
            runs.append(Run(before, [(part.cell, weights, states) for weights, states in pairs]))
    shown = sequence[:, None] if model.words else sequence
    return _watch(runs, layer, shown, model.run(batch)[:, 0])


def _through(layers: Sequence[Any], x: Array) -> Array:
    """What the first layers of a model make of x; what a split sets aside is left out."""
    from recurra.runtime import Linear, Model

    if layers and layers[0].kind == "split":
        x, layers = np.ascontiguousarray(x[..., : layers[0].first]), layers[1:]
    if not layers:
        return x
    if not any(layer.has_arrays for layer in layers):  # a model has some: the identity
        layers = [*layers, Linear(np.eye(x.shape[-1], dtype=np.float32))]
    return Model(layers).run(x)


def _one_row(x: Any, row: int, batched: int) -> Array:
    """One sequence [T, I] of an array, or of a batch [T, B, I] its row (ids: [T] or [T, B])."""
    values = np.asarray(x.detach().cpu().numpy() if hasattr(x, "detach") else x)
    if values.ndim == batched:
        if not -values.shape[1] <= row < values.shape[1]:
            raise DrawError(f"states: row is {row}, but x has {values.shape[1]} rows: choose one of them")
        values = values[:, row]
    elif values.ndim == batched - 2 and batched == 3:
        values = values[:, None]
    if values.ndim != batched - 1 or len(values) == 0:
        wanted = "[T, I] or [T, B, I]" if batched == 3 else "[T] or [T, B]"
        raise DrawError(f"states: x has shape {np.shape(x)}, expected {wanted} with at least one step")
    return np.asarray(values)


def _watch(runs: Sequence[Run], layer: int | None, given: Array, output: Array) -> Activity:
    """The states and gates of one of the recurrent layers."""
    chosen = len(runs) - 1 if layer is None else layer
    if not 0 <= chosen < len(runs):
        raise DrawError(f"states: layer is {layer}, but there are {len(runs)} recurrent layers: count them from 0")
    run = runs[chosen]
    cell = run.directions[0][0]
    name = cell.name if len(runs) == 1 else f"{cell.name}, recurrent layer {chosen}"
    activity = Activity(name, np.asarray(given, np.float64), np.asarray(output, np.float64))
    for d, (cell, weights, initial) in enumerate(run.directions):
        done = engine.forward(
            cell,
            weights,
            np.ascontiguousarray(run.x, weights.W.dtype),
            initial,
            reverse=bool(d),
            return_states=True,
            return_gates=True,
        )
        pairs = zip(cell.states, done.states or [], strict=True)
        activity.states |= {s + _DIRECTIONS[d]: a[:, 0] for s, a in pairs}
        activity.gates |= {g + _DIRECTIONS[d]: a[:, 0] for g, a in (done.gates or {}).items()}
    return activity
