"""A named input behind what flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from recurra.runtime.ops.op import Op, check_count


@dataclass(frozen=True, eq=False)
class Join(Op):
    """y = [x | another input of the program], as where a decoder is given again what it came to at the step before.

    Args:
        name: of the input.
        features: of it.

    Raises:
        ShapeError: `features` is no number of them.

    >>> import numpy as np
    >>> from recurra.runtime import Join, Linear, Model
    >>> model = Model([Linear(np.eye(2, dtype=np.float32)), Join("fed", 1)])
    >>> model.run(np.array([[1, 2, 3]], np.float32)).tolist()
    [[1.0, 2.0, 3.0]]
    """

    name: str
    features: int
    kind: ClassVar[str] = "join"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("join", "features", self.features)

    def width(self, before: int) -> int:
        """What flows, and the input."""
        return before + self.features

    @property
    def reads(self) -> Mapping[str, int]:
        """The input."""
        return {self.name: self.features}

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [offsets[self.name], self.features]
