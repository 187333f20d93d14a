"""One call of a recurrent Keras layer on the native scan: masks, dropout, directions and states, as Keras has them.

Shapes: B batch, T steps, I features, H units. Keras has the batch first and kernels [I, gates * H].

A masked step carries state and output over. So the valid steps of each row are moved to its front, the scan runs over
rows of different lengths, and each step's output is that of the last valid step at or before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from recurra.keras.cells import Recipe
from recurra.keras.scan import BACKEND, scan, zeros

Results = tuple[Any, Any, list[Any]]

_KEPT = {tuple(range(n)) for n in range(1, 9)}  # orders of gates that are already those of the cell


@dataclass
class Call:
    """What a layer hands to the scan.

    Attributes:
        text: of the cell.
        weights: W, U, b, c and R, as `recurra.Weights` has them.
        parameters: per-unit parameters.
        state: all states of the cell, or nothing for zeros.
        states: how many of the final states the layer returns.
    """

    text: str
    weights: list[Any]
    parameters: list[Any]
    state: list[Any]
    states: int


def run(layer: Any, call: Call, sequences: Any, mask: Any) -> Results:
    """The last output, all outputs (the last again where they are not returned) and the final states.

    Args:
        layer: says `return_sequences`, `go_backwards` and `zero_output_for_mask`.
        call: what to run.
        sequences: [B, T, I].
        mask: [B, T] or [B, T, 1], true for valid steps, or None.
    """
    if mask is None:
        return _run_whole(layer, call, sequences)
    mask = ops.cast(mask, "bool")
    mask = mask if len(mask.shape) == 2 else ops.any(mask, axis=-1)
    if layer.go_backwards:
        sequences, mask = ops.flip(sequences, 1), ops.flip(mask, 1)
    return _run_masked(layer, call, sequences, mask)


def _run_whole(layer: Any, call: Call, sequences: Any) -> Results:
    x, backwards = sequences.swapaxes(0, 1), layer.go_backwards
    output, *final = scan(call.text, x, call.weights, call.parameters, call.state, None, backwards)
    last, states = final[0], final[: call.states]
    if not layer.return_sequences:
        return last, last, states
    output = output.swapaxes(0, 1)
    return last, ops.flip(output, 1) if backwards else output, states


def _run_masked(layer: Any, call: Call, sequences: Any, mask: Any) -> Results:
    T = sequences.shape[1]
    steps = ops.arange(T, dtype="int32")
    order = ops.argsort(ops.where(mask, steps, steps + T), axis=1)
    x = ops.take_along_axis(sequences, order[:, :, None], axis=1)
    count = ops.cumsum(ops.cast(mask, "int32"), axis=1)  # [B, T], valid steps so far
    lengths = ops.cast(count[:, -1], "int64" if BACKEND == "torch" else "int32")
    output, *final = scan(call.text, x.swapaxes(0, 1), call.weights, call.parameters, call.state, lengths)
    before = _before(layer, final[0], call.state)
    last = ops.where((count[:, -1:] > 0), final[0], before)
    if layer.zero_output_for_mask:
        last = ops.where(mask[:, -1:], last, ops.zeros_like(last))
    if not layer.return_sequences:
        return last, last, final[: call.states]
    at = ops.maximum(count - 1, 0)[:, :, None]
    carried = ops.take_along_axis(output.swapaxes(0, 1), at, axis=1)
    if layer.zero_output_for_mask:
        carried = ops.where(mask[:, :, None], carried, ops.zeros_like(carried))
    else:
        carried = ops.where(count[:, :, None] > 0, carried, before[:, None])
    return last, carried, final[: call.states]


def _before(layer: Any, like: Any, state: list[Any]) -> Any:
    """The output before the first valid step: Keras' loop on JAX begins with the state, all others with zeros."""
    return state[0] if state and BACKEND == "jax" and not layer.unroll else ops.zeros_like(like)


def arrange(recipe: Recipe, cell: Any, x: Any, state: Sequence[Any], training: bool) -> tuple[Call, Any]:
    """What to run for one of Keras' cells, and the sequences, with units dropped in training.

    Args:
        recipe: how the cell is computed.
        cell: Keras' cell.
        x: [B, T, I].
        state: Keras' states, [B, H] each, or nothing for zeros.
        training: whether units are dropped.
    """
    H, order = cell.units, recipe.order
    kernel, recurrent = cell.kernel.value, cell.recurrent_kernel.value
    bias = None if cell.bias is None else cell.bias.value
    if bias is None or len(bias.shape) == 1:
        none = zeros((len(order) * H,), kernel)
        b, c = none if bias is None else _reorder(bias, order, H), none
    else:
        b, c = _reorder(bias[0], order, H), _reorder(bias[1], order, H)
    W = _reorder(kernel, order, H)
    dropped = cell.get_dropout_mask(x[:, 0]) if training and cell.dropout else None
    if isinstance(dropped, list):
        x, W = _drop_each(x, W, [dropped[k] for k in order], H)
    elif dropped is not None:
        x = x * dropped[:, None]
    state = list(state)
    if recipe.masks:
        masks = cell.get_recurrent_dropout_mask(state[0])
        masks = [masks[k] for k in recipe.masks] if isinstance(masks, list) else [masks]
        named = dict(zip(recipe.masks, masks, strict=True))
        state += [named[k] * state[0] for k in recipe.carried] + masks
    weights = [W.T, _reorder(recurrent, order, H).T, b, c, None]
    return Call(recipe.cell.text, weights, [], state, recipe.states), x


def _reorder(array: Any, order: tuple[int, ...], H: int) -> Any:
    """The gates along the last axis in another order."""
    if order in _KEPT:
        return array
    return ops.concatenate([array[..., k * H : (k + 1) * H] for k in order], -1)


def _drop_each(x: Any, W: Any, masks: Sequence[Any], H: int) -> tuple[Any, Any]:
    """A mask of its own for each gate: the masked inputs side by side, and weights that are zero off the diagonal."""
    x = ops.concatenate([x * m[:, None] for m in masks], -1)
    G, none = len(masks), zeros((W.shape[0], H), W)
    rows = [ops.concatenate([W[:, j * H : (j + 1) * H] if j == k else none for j in range(G)], -1) for k in range(G)]
    return x, ops.concatenate(rows, 0)
