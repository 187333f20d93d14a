"""Layer normalization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from recurra.runtime.ops.op import Op, Shapes
from recurra.weights import Array


@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """(x - mean) / sqrt(variance + epsilon) * scale + shift over the features; scale and shift are [I]."""

    scale: Array
    shift: Array
    epsilon: float = 1e-5
    kind: ClassVar[str] = "layer_norm"
    shapes: ClassVar[Shapes] = {"scale": ("I",), "shift": ("I",)}

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [self.epsilon]
