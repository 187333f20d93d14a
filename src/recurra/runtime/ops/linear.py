"""A matrix and a bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurra.runtime.ops.op import Op, Shapes
from recurra.weights import Array


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """y = W x + b, with W [O, I] and b [O] or none."""

    W: Array
    b: Array | None = None
    kind: ClassVar[str] = "linear"
    shapes: ClassVar[Shapes] = {"W": ("O", "I"), "b": ("O",)}
    optional = ("b",)
