"""Streams: the values of a graph that depend on its input, as the layers that they have gone through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from recurra.cells import Node as Symbol
from recurra.errors import OnnxError
from recurra.onnx.graph import Node
from recurra.runtime import Op, Pool
from recurra.runtime.chained import ENDS, FEATURES, Chained
from recurra.runtime.elementwise import ELEMENT, op_of

DIRECTION = "directions"  # what a part of an axis holds, besides FIRST, SECOND and FEATURES
Axis = tuple[str, ...]


@dataclass(frozen=True)
class Stream(Chained):
    """A value that depends on the input's numbers; an axis holds parts, from the slowest to the fastest, or none.

    Attributes:
        sizes: how many there are of each part.
        expression: what was done since the last layer, element by element, to `ELEMENT`.
        ends: whether these are the final states of both directions, each after its own order of reading.
    """

    axes: tuple[Axis, ...]
    sizes: Mapping[str, int]
    expression: Symbol = ELEMENT
    ends: bool = False

    @property
    def pending(self) -> str:
        """As of any value; and the ends of both directions are no features until they stand side by side."""
        return super().pending or (ENDS if self.ends else "")

    def then(self, layer: Op, features: int) -> Stream:
        """After a layer over the features."""
        return replace(self, layers=(*self.layers, layer), sizes={**self.sizes, FEATURES: features})

    @property
    def settled(self) -> Stream:
        """The same with what was done element by element as a layer of its own."""
        if self.expression is ELEMENT:
            return self
        layer = op_of(self.expression, self.sizes[FEATURES])
        return replace(self, layers=(*self.layers, layer), expression=ELEMENT)


def joined(stream: Stream) -> Stream:
    """Directions and features side by side along the last axis are features."""
    if stream.axes[-1] != (DIRECTION, FEATURES):
        return stream
    sizes = {p: n for p, n in stream.sizes.items() if p != DIRECTION}
    sizes[FEATURES] = stream.sizes[FEATURES] * stream.sizes[DIRECTION]
    layers = (*stream.layers, Pool("last", directions=2)) if stream.ends else stream.layers
    return replace(stream, axes=(*stream.axes[:-1], (FEATURES,)), sizes=sizes, layers=layers, ends=False)


@dataclass(frozen=True)
class Parts:
    """Final states of several layers, one after the other along an axis, of which one is taken."""

    streams: tuple[Stream, ...]
    axis: int

    def at(self, index: int) -> tuple[Stream, int]:
        """The stream that has a place of the axis, and its place there."""
        sizes = [size_of(stream, stream.axes[self.axis]) for stream in self.streams]
        index %= sum(sizes)
        for stream, size in zip(self.streams, sizes, strict=True):
            if index < size:
                return stream, index
            index -= size
        raise AssertionError("an index below the sum of the sizes is in one of them")


def size_of(stream: Stream, axis: Axis) -> int:
    """How long an axis is."""
    return int(np.prod([stream.sizes[part] for part in axis], dtype=int))


def features(node: Node, stream: Stream) -> int:
    """How many features stand along the last axis; raises where it holds something else."""
    last = stream.axes[-1] if stream.axes else ()
    if last != (FEATURES,) and not (last == () and stream.sizes.get(FEATURES) == 1):
        raise OnnxError(f"{node.label} works along an axis of {last or 'one'}, expected the features")
    return stream.sizes[FEATURES]


def along_features(node: Node, stream: Stream, default: int) -> int:
    """The same for a node with an axis of its own, which must be the last."""
    count, axis = features(node, stream), int(node.attributes.get("axis", default))
    if axis % len(stream.axes) != len(stream.axes) - 1:
        raise OnnxError(f"{node.label} works along axis {axis}, expected the last one")
    return count
