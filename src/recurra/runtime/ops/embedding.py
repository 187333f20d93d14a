"""Rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurra.runtime.ops.op import Op, Shapes
from recurra.weights import Array


@dataclass(frozen=True, eq=False)
class Embedding(Op):
    """Row x of W [V, O] for a whole number x; only as the first layer. The input is int64, one number a row."""

    W: Array
    kind: ClassVar[str] = "embedding"
    shapes: ClassVar[Shapes] = {"W": ("V", "O")}
    first_only = True

    @property
    def vocabulary_size(self) -> int:
        """The rows of W."""
        return self.sizes["V"]
