"""A torch module at work: what goes into each of its recurrent layers, whatever the module's own forward does."""

from __future__ import annotations

from typing import Any

import numpy as np

from recurra import engine
from recurra.draw.activity import Run
from recurra.draw.modules import entries_of, is_recurrent
from recurra.errors import DrawError
from recurra.weights import Array, Weights


def observe_module(module: Any, x: Any, row: int) -> tuple[list[Run], Array, Array]:
    """Run a module on x as it takes it, and return its recurrent layers as they ran, the input and the output [T, ...].

    Raises:
        DrawError: no recurrent layer ran, there is no such row, or the module does not take x.
    """
    import torch

    seen: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    parts = [part for part in module.modules() if is_recurrent(part)]
    handles = [
        part.register_forward_pre_hook(lambda p, args, kwargs: seen.append((p, args, kwargs)), with_kwargs=True)
        for part in parts
    ]
    some = next(module.parameters(), torch.zeros(0))
    given = torch.as_tensor(x if isinstance(x, torch.Tensor) else np.asarray(x))
    given = given.to(some.device, some.dtype if given.is_floating_point() else given.dtype)
    mode = module.training
    try:
        with torch.no_grad():
            result = module.eval()(given)
    except (RuntimeError, ValueError, TypeError) as error:
        raise DrawError(
            f"states: {type(module).__name__} does not take x of shape {tuple(given.shape)}: {error}"
        ) from error
    finally:
        module.train(mode)
        for handle in handles:
            handle.remove()
    if not seen:
        raise DrawError(f"states: no recurrent layer of {type(module).__name__} ran: give a module that has one")
    across = any(getattr(part, "batch_first", False) for part in parts)
    output = result[0] if isinstance(result, tuple) else result
    runs = [run for part, args, kwargs in seen for run in _runs(part, args, kwargs, row)]
    steps = len(runs[0].x)
    return runs, _row(given, row, across, steps), _row(output, row, across, steps)


def _runs(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any], row: int) -> list[Run]:
    """Each layer of a recurrent module: the first on what came in, the others on the output of the one below."""
    import torch

    x, state = args[0], args[1] if len(args) > 1 else kwargs.get("state", kwargs.get("hx"))
    unknown = [name for name in ("lengths", "reset") if kwargs.get(name) is not None]
    if unknown or not isinstance(x, torch.Tensor):
        what = unknown[0] if unknown else type(x).__name__
        raise DrawError(f"states: a layer runs with {what}, expected a tensor alone: draw one sequence without padding")
    batched = x.dim() == 3
    if batched and not -x.shape[1 - _first(part)] <= row < x.shape[1 - _first(part)]:
        raise DrawError(f"states: row is {row}, but x has {x.shape[1 - _first(part)]} rows: choose one of them")
    x = x.transpose(0, 1) if batched and _first(part) else x
    values = x[:, row : row + 1 or None] if batched else x[:, None]
    runs, below = [], _array(values)
    for i, entry in enumerate(entries_of(part)):
        directions = []
        for d, (cell, tensors) in enumerate(entry):
            arrays = {n: _array(a) for n, a in tensors.items()}
            for bias, weight in (("b", "W"), ("c_", "U")):
                arrays.setdefault(bias, np.zeros(len(arrays[weight]), arrays[weight].dtype))
            initial = [arrays[f"initial:{s}"][None] for s in cell.states if f"initial:{s}" in arrays]
            initial = _given(state, i, d, len(entry), row, batched) or initial
            directions.append((cell, Weights.of(cell, arrays), initial or None))
        runs.append(Run(below, directions))
        outputs = [engine.forward(c, w, below, s, reverse=bool(d)).output for d, (c, w, s) in enumerate(directions)]
        below = np.ascontiguousarray(np.concatenate(outputs, -1))
    return runs


def _given(state: Any, layer: int, direction: int, directions: int, row: int, batched: bool) -> list[Array]:
    """The first states that were given in the call, [1, H] each."""
    if state is None:
        return []
    tensors = state if isinstance(state, tuple) else (state,)
    found = []
    for tensor in tensors:
        own = tensor[layer][direction] if isinstance(tensor, tuple) else tensor[layer * directions + direction]
        found.append(_array(own[row : row + 1 or None] if batched else own[None]))
    return found


def _first(part: Any) -> bool:
    return bool(getattr(part, "batch_first", False))


def _array(tensor: Any) -> Array:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


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
