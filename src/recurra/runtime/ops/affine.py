"""A scale and a shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurra.runtime.ops.op import Op, Shapes
from recurra.weights import Array


@dataclass(frozen=True, eq=False)
class Affine(Op):
    """y = scale x + shift, feature by feature; scale and shift are [I]. A trained batch normalization is one."""

    scale: Array
    shift: Array
    kind: ClassVar[str] = "affine"
    shapes: ClassVar[Shapes] = {"scale": ("I",), "shift": ("I",)}
