"""The operators that arrange numbers and compute none, in NumPy; as `operators`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.onnx.budget import check_size
from recurra.onnx.graph import Node, Value


def reshape(node: Node, values: list[Any], opset: int) -> list[Value]:
    """The same numbers in another shape."""
    x, shape = values[0], [int(n) for n in values[1]]
    if not node.attributes.get("allowzero"):
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return [x.reshape(shape)]


def flatten(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Two axes: those before `axis`, and those from it on."""
    x, axis = values[0], int(node.attributes.get("axis", 1))
    axis += x.ndim if axis < 0 else 0
    return [x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))]


def transpose(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Axes in another order."""
    return [values[0].transpose(node.attributes.get("perm"))]


def squeeze(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Without axes of one."""
    given = axes(node, values)
    return [np.squeeze(values[0], None if given is None else tuple(given))]


def unsqueeze(node: Node, values: list[Any], opset: int) -> list[Value]:
    """With new axes of one."""
    given = axes(node, values)
    if given is None:
        raise ValueError("there are no axes")
    return [np.expand_dims(values[0], tuple(given))]


def concat(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Side by side along an axis."""
    axis, shape = place(int(node.attributes["axis"]), values[0].ndim), list(values[0].shape)
    shape[axis] = sum(v.shape[axis] for v in values)
    check_size(shape, node.label)
    return [np.concatenate(values, axis)]


def split(node: Node, values: list[Any], opset: int) -> list[Value]:
    """In parts along an axis."""
    x = values[0]
    axis = place(int(node.attributes.get("axis", 0)), x.ndim)
    given = optional(values, 1) if opset >= 13 else node.attributes.get("split")
    count = len(node.outputs)
    if given is None:
        most = -(-x.shape[axis] // count)
        given = [min(most, max(x.shape[axis] - i * most, 0)) for i in range(count)]
    sizes = [int(n) for n in given]
    if sum(sizes) != x.shape[axis] or len(sizes) != count or min(sizes) < 0:
        raise ValueError(f"parts of {sizes} for {count} outputs, of an axis of {x.shape[axis]}")
    return [np.ascontiguousarray(part) for part in np.split(x, np.cumsum(sizes)[:-1], axis)]


def slice_(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Every so many places from one to another, along some axes."""
    x = values[0]
    if opset < 10:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes"), None
    else:
        starts, ends, axes, steps = values[1], values[2], optional(values, 3), optional(values, 4)
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index: list[Any] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        start, end, step = int(start), int(end), int(step)
        # An end before the beginning stands for "through the first", which a slice writes as None.
        end_or_none = None if step < 0 and end < -x.shape[int(axis)] else end
        index[place(int(axis), x.ndim)] = slice(start, end_or_none, step)
    return [x[tuple(index)]]


def gather(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Places of an axis, by number."""
    x, indices = values
    axis = place(int(node.attributes.get("axis", 0)), x.ndim)
    check_size((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), node.label)
    return [np.asarray(np.take(x, indices.astype(np.int64, casting="same_kind"), axis))]


def scatter_nd(node: Node, values: list[Any], opset: int) -> list[Value]:
    """A copy with updates at places by number."""
    y, indices, updates = np.array(values[0]), values[1], values[2]
    places = tuple(np.moveaxis(indices, -1, 0))
    how = node.attributes.get("reduction", "none")
    if how == "none":
        y[places] = updates
    else:
        {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[how].at(y, places, updates)
    return [y]


def pad(node: Node, values: list[Any], opset: int) -> list[Value]:
    """With more before and after each axis, or with less."""
    x, mode = values[0], str(node.attributes.get("mode", "constant"))
    given = node.attributes["pads"] if "pads" in node.attributes else values[1].tolist()
    over = range(x.ndim) if optional(values, 3) is None else [place(int(a), x.ndim) for a in values[3]]
    if len(given) != 2 * len(over):
        raise ValueError(f"pads {given[:9]} of {len(over)} axes")
    widths = [(0, 0)] * x.ndim
    for axis, before, after in zip(over, given[: len(over)], given[len(over) :], strict=True):
        widths[axis] = (int(before), int(after))
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, widths, strict=True))]
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    check_size([n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)], node.label)
    if mode != "constant":
        known: dict[str, Any] = {name: name for name in ("reflect", "edge", "wrap")}
        return [np.pad(x, widths, known[mode])]
    with_value = optional(values, 2)
    number = node.attributes.get("value", 0) if with_value is None else with_value.reshape(())
    return [padded(x, widths, number)]


def padded(x: Value, widths: Sequence[tuple[int, int]], number: Any = 0) -> Value:
    """With a number so many times before and after each axis; `numpy.pad` is slow where arrays are small."""
    if not any(map(any, widths)):
        return x
    wide = np.full([n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)], number, x.dtype)
    wide[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True))] = x
    return wide


def expand(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Repeated to a larger shape."""
    shape = np.broadcast_shapes(values[0].shape, tuple(int(n) for n in values[1]))
    check_size(shape, node.label)
    return [np.array(np.broadcast_to(values[0], shape))]


def tile(node: Node, values: list[Any], opset: int) -> list[Value]:
    """Repeated so many times along each axis."""
    repeats = [int(n) for n in values[1]]
    check_size([n * r for n, r in zip(values[0].shape, repeats, strict=True)], node.label)
    return [np.tile(values[0], repeats)]


def shape(node: Node, values: list[Any], opset: int) -> list[Value]:
    """The shape itself."""
    shape = np.array(values[0].shape, np.int64)
    return [shape[node.attributes.get("start", 0) : node.attributes.get("end")]]


def axes(node: Node, values: list[Any], at: int = 1) -> list[int] | None:
    """Axes from an attribute, or from an input as in later opsets."""
    if "axes" in node.attributes:
        return [int(a) for a in node.attributes["axes"]]
    given = optional(values, at)
    return None if given is None else [int(a) for a in np.atleast_1d(given)]


def optional(values: Sequence[Any], i: int) -> Any:
    """An input that may be left out."""
    return values[i] if i < len(values) else None


def place(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        ValueError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of an array with {rank} axes")
    return axis % rank
