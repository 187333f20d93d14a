"""Convolutions and their transposes over any number of axes, in NumPy: a product for each tap of the kernel.

Letters: N rows, C channels in, O out, S the spatial axes, K the kernel's, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recurra.onnx.arrangement import optional, padded
from recurra.onnx.budget import check_product, check_size
from recurra.onnx.graph import Node, Value

SMALL = 1 << 16  # numbers of patches that are sooner gathered than the taps taken one after the other


def conv(node: Node, values: list[Any], opset: int) -> list[Value]:
    """[N, O, ...] of x [N, C, *S], W [O, C / G, *K] and a bias [O]."""
    x, W, b = _given(values)
    kernel, strides, dilations, groups = _settings(node, W)
    wide = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(node, x.shape[2:], wide, strides)
    check_size([*x.shape[:2], *(n + a + b for n, (a, b) in zip(x.shape[2:], pads, strict=True))], node.label)
    x = padded(x, [(0, 0), (0, 0), *pads])
    sizes = [(n - w) // s + 1 for n, w, s in zip(x.shape[2:], wide, strides, strict=True)]
    if min(sizes, default=1) < 1 or x.shape[1] != W.shape[1] * groups or len(W) % groups:
        raise ValueError(f"{groups} groups of a kernel of {W.shape} over {x.shape} after padding")
    check_size([len(x), len(W), *sizes], node.label)
    check_product(len(x) * math.prod(sizes), len(W), math.prod(W.shape[1:]), x.dtype, node.label)
    x, W = x.reshape(len(x), groups, -1, *x.shape[2:]), W.reshape(groups, -1, *W.shape[1:])
    places = math.prod(sizes)
    if math.prod(kernel) > places or x.shape[2] * math.prod(kernel) * places < SMALL:  # a live step
        patches = _patches(x, kernel, sizes, strides, dilations)
        y = W.reshape(groups, W.shape[1], -1) @ patches.reshape(len(x), groups, -1, places)
        return [_finished(y.reshape(len(x), -1, *sizes), b, values[0].dtype)]
    y = np.zeros((len(x), groups, W.shape[1], places), x.dtype)
    for tap, begins in _taps(kernel, dilations):
        cut = (slice(i, i + (n - 1) * s + 1, s) for i, n, s in zip(begins, sizes, strides, strict=True))
        part = x[(slice(None),) * 3 + tuple(cut)].reshape(*x.shape[:3], -1)
        y += W[(slice(None),) * 3 + tap] @ part
    return [_finished(y.reshape(len(x), -1, *sizes), b, values[0].dtype)]


def _patches(x: Value, kernel: list[int], sizes: list[int], strides: list[int], dilations: list[int]) -> Value:
    """A view [N, G, C, *K, *sizes] of x [N, G, C, *S]: what each tap of the kernel is laid upon."""
    steps = x.strides[3:]
    taps = [s * d for s, d in zip(steps, dilations, strict=True)]
    moves = [s * d for s, d in zip(steps, strides, strict=True)]
    shape, over = (*x.shape[:3], *kernel, *sizes), (*x.strides[:3], *taps, *moves)
    return np.lib.stride_tricks.as_strided(x, shape, over, writeable=False)


def conv_transpose(node: Node, values: list[Any], opset: int) -> list[Value]:
    """[N, O, ...] of x [N, C, *S], W [C, O / G, *K] and a bias [O]: each number of x spreads the kernel."""
    x, W, b = _given(values)
    kernel, strides, dilations, groups = _settings(node, W)
    more = node.attributes.get("output_padding", [0] * len(kernel))
    full = [
        (n - 1) * s + (k - 1) * d + 1 + m
        for n, s, k, d, m in zip(x.shape[2:], strides, kernel, dilations, more, strict=True)
    ]
    if x.shape[1] != len(W) or len(W) % groups or min(full, default=1) < 1:
        raise ValueError(f"{groups} groups of a kernel of {W.shape} over {x.shape}")
    check_size([len(x), W.shape[1] * groups, *full], node.label)
    check_product(len(x) * math.prod(x.shape[1:]), W.shape[1], math.prod(kernel), x.dtype, node.label)
    W = W.reshape(groups, len(W) // groups, *W.shape[1:])
    if W.shape[1] * math.prod(kernel) * math.prod(full) < SMALL:
        y = _gathered(x, W, full, strides, dilations).reshape(len(x), -1, *full)
        return [_finished(y[(slice(None),) * 2 + tuple(_kept(node, full, x.shape[2:], strides))], b, values[0].dtype)]
    flat = x.reshape(len(x), groups, W.shape[1], -1)
    y = np.zeros((len(x), groups, W.shape[2], *full), x.dtype)
    spread = W.reshape(groups, W.shape[1], -1).swapaxes(-1, -2) @ flat
    spread = spread.reshape(len(x), groups, W.shape[2], *kernel, *x.shape[2:])
    for tap, begins in _taps(kernel, dilations):
        cut = (slice(i, i + (n - 1) * s + 1, s) for i, n, s in zip(begins, x.shape[2:], strides, strict=True))
        y[(slice(None),) * 3 + tuple(cut)] += spread[(slice(None),) * 3 + tap]
    y = y.reshape(len(x), -1, *full)
    return [_finished(y[(slice(None),) * 2 + tuple(_kept(node, full, x.shape[2:], strides))], b, values[0].dtype)]


def _gathered(x: Value, W: Value, full: list[int], strides: list[int], dilations: list[int]) -> Value:
    """A transpose as a convolution, of x with zeros between and around its numbers, by the kernel from its end."""
    kernel, axes = list(W.shape[3:]), len(full)
    past = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    wide = np.zeros((len(x), *W.shape[:2], *(n + p for n, p in zip(full, past, strict=True))), x.dtype)
    at = (slice(p, p + (n - 1) * s + 1, s) for n, p, s in zip(x.shape[2:], past, strides, strict=True))
    wide[(slice(None),) * 3 + tuple(at)] = x.reshape(len(x), *W.shape[:2], *x.shape[2:])
    patches = _patches(wide, kernel, full, [1] * axes, dilations).reshape(len(x), len(W), -1, math.prod(full))
    back = W[(slice(None),) * 3 + (slice(None, None, -1),) * axes]  # [G, C, O, *K]
    product: Value = back.swapaxes(1, 2).reshape(len(W), W.shape[2], -1) @ patches
    return product


def _given(values: list[Any]) -> tuple[Value, Value, Value | None]:
    """Halves as float32, in which they are computed."""
    x, W, b = values[0], values[1], optional(values, 2)
    if x.ndim < 3 or W.ndim != x.ndim:
        raise ValueError(f"arrays with {x.ndim} and {W.ndim} axes, expected at least 3, and the same of both")
    if x.dtype.itemsize < 4:
        x, W, b = (None if a is None else a.astype(np.float32) for a in (x, W, b))
    return x, W, b


def _settings(node: Node, W: Value) -> tuple[list[int], list[int], list[int], int]:
    """The kernel's sizes, strides, dilations and groups."""
    axes = W.ndim - 2
    strides, dilations = ([int(n) for n in node.attributes.get(name, [1] * axes)] for name in ("strides", "dilations"))
    groups = int(node.attributes.get("group", 1))
    if min([*strides, *dilations, groups]) < 1 or {len(strides), len(dilations)} != {axes}:
        raise ValueError(f"strides {strides}, dilations {dilations} and {groups} groups over {axes} axes")
    return list(W.shape[2:]), strides, dilations, groups


def _pads(node: Node, sizes: Sequence[int], wide: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """What is added before and after each axis."""
    how = node.attributes.get("auto_pad", "NOTSET")
    if how == "NOTSET":
        given = [int(n) for n in node.attributes.get("pads", [0] * 2 * len(sizes))]
        if len(given) != 2 * len(sizes) or min(given, default=0) < 0:
            raise ValueError(f"pads {given}")
        return list(zip(given[: len(sizes)], given[len(sizes) :], strict=True))
    if how == "VALID":
        return [(0, 0)] * len(sizes)
    totals = [max((-(-n // s) - 1) * s + w - n, 0) for n, w, s in zip(sizes, wide, strides, strict=True)]
    return [(t // 2, t - t // 2) if how == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]


def _kept(node: Node, full: Sequence[int], sizes: Sequence[int], strides: Sequence[int]) -> Iterator[slice]:
    """Of each axis of a transpose, what its padding leaves."""
    how = node.attributes.get("auto_pad", "NOTSET")
    shape = node.attributes.get("output_shape") or [n * s for n, s in zip(sizes, strides, strict=True)]
    given = node.attributes.get("pads", [0] * 2 * len(full))
    for i, n in enumerate(full):
        before, after = int(given[i]), int(given[i + len(full)])
        if how in ("SAME_UPPER", "SAME_LOWER") or "output_shape" in node.attributes:
            total = n - int(shape[i])
            before = total // 2 if how != "SAME_LOWER" else total - total // 2
            after = total - before
        if min(before, after) < 0 or before + after >= n:
            raise ValueError(f"pads {before} and {after} of an axis of {n}")
        yield slice(before, n - after)


def _taps(kernel: Sequence[int], dilations: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each place of the kernel, and where it begins in what it is laid upon."""
    for tap in np.ndindex(*kernel):
        yield tap, tuple(k * d for k, d in zip(tap, dilations, strict=True))


def _finished(y: Value, b: Value | None, dtype: Any) -> Value:
    y = y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2))
    return np.ascontiguousarray(y.astype(dtype, copy=False))
