"""Rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recurra.errors import ShapeError
from recurra.runtime.ops.op import MOST_NUMBERS, Op, Shapes, check_count
from recurra.weights import Array

MOST_TABLES = 4096


@dataclass(frozen=True, eq=False)
class Embedding(Op):
    """Row x of W [V, E] for a whole number x; only as the first layer.

    Without `tables` the input is int64, one number a row, and E features come out. With it, a row has K whole numbers
    as float32 (exact below 2^24), and the K rows of W stand side by side: K * E features.

    Args:
        W: the table, or tables one below the other.
        tables: for each of K numbers how many rows its table has: K times V where all have the same table, else
            numbers whose sum is V, in the order of W.

    Raises:
        ShapeError: the tables are not those of W.

    >>> import numpy as np
    >>> from recurra.runtime import Embedding, Model
    >>> model = Model([Embedding(np.arange(5, dtype=np.float32)[:, None], tables=(2, 3))])
    >>> model.run(np.array([[0, 0], [1, 2]], np.float32)).tolist()
    [[0.0, 2.0], [1.0, 4.0]]
    """

    W: Array
    tables: Sequence[int] = ()
    kind: ClassVar[str] = "embedding"
    shapes: ClassVar[Shapes] = {"W": ("V", "E")}
    first_only = True

    def __post_init__(self) -> None:
        super().__post_init__()
        tables, V = self.tables or (), self.sizes["V"]
        if isinstance(tables, (str, bytes)) or not isinstance(tables, Sequence) or len(tables) > MOST_TABLES:
            raise ShapeError(f"{self.kind}: `tables` is {str(tables)[:80]!r}, expected the rows of each table")
        for rows in tables:
            check_count(self.kind, "tables", rows, min(V, MOST_NUMBERS))
        if tables and sum(tables) != V and set(tables) != {V}:
            raise ShapeError(
                f"{self.kind}: `tables` is {str(list(tables))[:80]}, expected numbers whose sum is {V}, the rows of W, "
                f"or {V} each"
            )
        object.__setattr__(self, "tables", tuple(tables))

    @property
    def vocabulary_size(self) -> int:
        """The rows of W, where whole numbers come in as int64."""
        return 0 if self.tables else self.sizes["V"]

    @property
    def id_counts(self) -> tuple[int, ...]:
        """The rows of the table of each number."""
        return tuple(self.tables)

    @property
    def begins(self) -> list[int]:
        """The row of W at which the table of each number begins."""
        shared = sum(self.tables) != self.sizes["V"]
        return [0 if shared else sum(self.tables[:k]) for k in range(len(self.tables))]

    @property
    def input_size(self) -> int | None:
        """K; None where whole numbers come in as int64."""
        return len(self.tables) or None

    @property
    def output_size(self) -> int:
        """E, or K * E."""
        return self.sizes["E"] * max(1, len(self.tables))

    def settings(self) -> dict[str, Any]:
        """The tables, where there are some: what has none is described, and hashed, as ever."""
        return {"tables": list(self.tables)} if self.tables else {}

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return list(self.tables)
