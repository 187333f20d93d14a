"""What a network does with a sequence: its input and output, each state and each gate at every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recurra.errors import DrawError
from recurra.traces import LayerTrace
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


def observe(thing: Any, x: Any, layer: int | None, row: int) -> Activity:
    """Run a network over a sequence and watch one of its recurrent layers, the last if not given.

    Raises:
        DrawError: the thing has no weights, or there is no such layer or row.
        ShapeError, DtypeError: x does not fit.
    """
    if isinstance(thing, tuple) and len(thing) == 2 and isinstance(thing[1], Weights):
        cell, weights = thing
        sequence = _one_row(x, row, 3)[:, None].astype(weights.W.dtype)
        trace = LayerTrace.of(cell.name, cell, weights, sequence)
        output = trace.run()[0][cell.states[0]][:, 0]
        return _shown([[trace]], layer, sequence[:, 0], output)
    if hasattr(thing, "ops") and hasattr(thing, "preprocessing"):
        return _observe_model(thing, x, layer, row)
    if hasattr(thing, "named_children"):
        return _observe_module(thing, x, layer, row)
    raise DrawError(f"states: {thing!r} has no weights, expected a torch module, a model, or a pair (cell, Weights)")


def _observe_model(model: Any, x: Any, layer: int | None, row: int) -> Activity:
    sequence = _one_row(x, row, 2 if model.vocabulary_size else 3)
    batch: Any = np.ascontiguousarray(sequence[:, None], np.int64 if model.vocabulary_size else np.float32)
    width = next(iter(model.inputs.values()))
    first = batch if model.vocabulary_size else np.ascontiguousarray(batch[..., :width])
    shown = sequence[:, None] if model.vocabulary_size else sequence
    return _shown(list(_traces(model.ops, first)), layer, shown, model.run(batch)[:, 0])


def _traces(ops: Sequence[Any], x: Array) -> Iterator[list[LayerTrace]]:
    """The recurrent layers of a chain and of the branches in it, each a trace for each direction."""
    from recurra.runtime import Branches, Recurrent

    for i, part in enumerate(ops):
        if isinstance(part, Branches):
            before = _through(ops[:i], x)
            for chain in part.branches:
                yield from _traces(chain, before)
        elif isinstance(part, Recurrent):
            before = _through(ops[:i], x)
            initial: list[Any] = [[a[None] for a in states] for states in part.initial] or [None] * len(part.weights)
            pairs = enumerate(zip(part.weights, initial, strict=True))
            yield [LayerTrace.of("", part.cell, w, before, states, bool(d)) for d, (w, states) in pairs]


def _through(layers: Sequence[Any], x: Array) -> Array:
    """What the first layers of a model make of x."""
    from recurra.runtime import Linear, Model

    if not layers:
        return x
    if not any(layer.arrays() for layer in layers):  # a model has some: the identity
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


def _observe_module(module: Any, x: Any, layer: int | None, row: int) -> Activity:
    """Run a module on x as it takes it, whatever its own forward does."""
    import torch

    from recurra.torch.observe import Observer

    some = next(module.parameters(), torch.zeros(0))
    given = torch.as_tensor(x if isinstance(x, torch.Tensor) else np.asarray(x))
    given = given.to(some.device, some.dtype if given.is_floating_point() else given.dtype)
    mode = module.training
    try:
        with torch.no_grad(), Observer(module) as seen:
            result = module.eval()(given)
    except (RuntimeError, ValueError, TypeError) as error:
        raise DrawError(
            f"states: {type(module).__name__} does not take x of shape {tuple(given.shape)}: {error}"
        ) from error
    finally:
        module.train(mode)
    if not seen.calls:
        raise DrawError(f"states: no recurrent layer of {type(module).__name__} ran: give a module that has one")
    traces: list[list[LayerTrace]] = []
    for call in seen.calls:
        T, B = call.x.shape[:2]
        if call.lengths is not None or call.reset is not None:
            what = "lengths" if call.lengths is not None else "reset"
            raise DrawError(
                f"states: a layer runs with {what}, expected a tensor alone: draw one sequence without padding"
            )
        if not -B <= row < B:
            raise DrawError(f"states: row is {row}, but x has {B} rows: choose one of them")
        for trace in call.traces([(row % B, 0, T)]):
            if trace.reverse:
                traces[-1].append(trace)
            else:
                traces.append([trace])
    across = any(getattr(call.module, "batch_first", False) for call in seen.calls)
    output, steps = result[0] if isinstance(result, tuple) else result, len(seen.calls[0].x)
    return _shown(traces, layer, _row(given, row, across, steps), _row(output, row, across, steps))


def _row(tensor: Any, row: int, across: bool, steps: int) -> Array:
    """One row of a batch, time first, with at least one feature; an output without a time axis is one step long."""
    values = np.asarray(tensor.detach().cpu().numpy())
    if across and values.ndim >= 2 and values.shape[1] == steps:
        values = values.swapaxes(0, 1)
    ids = values.ndim == 2 and values.dtype.kind in "iu" and len(values) == steps
    if values.ndim == 3 or ids:
        values = values[:, row]
    elif values.ndim == 2 and len(values) != steps:
        values = values[row][None]
    return values[:, None] if values.ndim == 1 else values


def _shown(layers: Sequence[Sequence[LayerTrace]], chosen: int | None, given: Array, output: Array) -> Activity:
    """The states and gates of one of the recurrent layers, each a trace for each direction."""
    at = len(layers) - 1 if chosen is None else chosen
    if not 0 <= at < len(layers):
        raise DrawError(f"states: layer is {chosen}, but there are {len(layers)} recurrent layers: count them from 0")
    cell = layers[at][0].cell
    name = cell.name if len(layers) == 1 else f"{cell.name}, recurrent layer {at}"
    activity = Activity(name, np.asarray(given, np.float64), np.asarray(output, np.float64))
    for trace, suffix in zip(layers[at], _DIRECTIONS, strict=False):
        states, gates = trace.run()
        activity.states |= {s + suffix: a[:, 0] for s, a in states.items()}
        activity.gates |= {g + suffix: a[:, 0] for g, a in gates.items()}
    return activity
