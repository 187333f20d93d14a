"""One row of features for all steps so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.errors import ShapeError
from recurra.runtime.ops.op import Op, Shapes
from recurra.weights import Array

# The states that each way of pooling carries, and the width of each: of a number, or of the features (None).
_STATES: dict[str, dict[str, int | None]] = {
    "last": {},
    "mean": {"mean": None, "count": 1},
    "max": {"max": None},
    "attention": {"largest": 1, "sum": None, "weight": 1},
    "all": {"mean": None, "count": 1, "max": None},
}
POOLS = tuple(_STATES)


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """At each step the pool of the features x_0 ... x_t of all steps so far, so that the last one is that of all.

        last:       x_t
        mean:       sum x_s / (t + 1)
        max:        max x_s
        all:        last, mean and max side by side
        attention:  sum a_s x_s with a = softmax(v . x_0, ..., v . x_t)

    With two directions "last" is the last output of each in its own order of reading: the first half of the features at
    step t, the second half at step 0. It then needs the whole sequence.

    Args:
        how: "last", "mean", "max", "all" or "attention".
        v: [I], of attention alone: what scores each step.
        directions: of the recurrent layer before it; 2 matters to "last" and "all".

    Raises:
        ShapeError: `how` is none of them, or v is there without attention, or missing.

    >>> import numpy as np
    >>> from recurra.runtime import Model, Pool, Linear
    >>> x = np.array([[1, 4], [3, 2], [2, 0]], np.float32)
    >>> Model([Linear(np.eye(2, dtype=np.float32)), Pool("mean")]).run(x).tolist()
    [[1.0, 4.0], [2.0, 3.0], [2.0, 2.0]]
    """

    how: str
    v: Array | None = None
    directions: int = 1
    kind: ClassVar[str] = "pool"
    shapes: ClassVar[Shapes] = {"v": ("I",)}
    optional = ("v",)

    def __post_init__(self) -> None:
        if not isinstance(self.how, str) or self.how not in _STATES:
            raise ShapeError(f"pool: `how` is {str(self.how)[:80]!r}, expected one of: {', '.join(_STATES)}")
        if (self.v is None) == (self.how == "attention"):
            there = "missing" if self.v is None else "given"
            raise ShapeError(f"pool: `v` is {there} for {self.how!r}, expected it of attention alone")
        if isinstance(self.directions, bool) or self.directions not in (1, 2):
            raise ShapeError(f"pool: `directions` is {str(self.directions)[:80]}, expected 1 or 2")
        super().__post_init__()

    @property
    def streams(self) -> bool:
        """Whether the last output of two directions has no part in it."""
        return self.how not in ("last", "all") or self.directions == 1

    def width(self, before: int) -> int:
        """As many as come in, or all three pools of them."""
        return 3 * before if self.how == "all" else before

    def states(self, width: int) -> Mapping[str, int]:
        """Of bounded size, however many steps there were."""
        return {name: size or width for name, size in _STATES[self.how].items()}

    def beginnings(self, width: int) -> Mapping[str, Array]:
        """Zeros, and the lowest number for what is the largest so far."""
        lowest = np.finfo(np.float32).min
        known = super().beginnings(width)
        return {n: np.full_like(a, lowest if n in ("max", "largest") else 0) for n, a in known.items()}

    def add_to(self, network: Any, width: int, offsets: Mapping[str, int]) -> None:
        """The last output of one direction is what comes in."""
        if self.how != "last" or self.directions == 2:
            both = "_of_both" if self.how == "all" and self.directions == 2 else ""
            network.add(f"pool_{self.how}{both}", [self.v], [], width)
