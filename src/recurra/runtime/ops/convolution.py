"""A causal convolution over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from recurra.errors import ShapeError
from recurra.runtime.ops.op import MOST_NUMBERS, Op, Shapes, check_count
from recurra.weights import Array


@dataclass(frozen=True, eq=False)
class Convolution(Op):
    """y_j = sum_k W[:, k] x[j s - (K - 1 - k) d] + b, with W [O, K, I] and b [O] or none; zeros before the beginning.

    With a stride s it answers at the steps 0, s, 2 s and so on, so T steps give ceil(T / s) rows: `run` returns those,
    and `step` returns None at the other steps.

    Args:
        W, b: taps from the oldest input to the newest, and the bias.
        dilation: d, steps from one tap to the next.
        stride: s.

    Raises:
        ShapeError, DtypeError: the arrays do not fit, or it looks back too far.

    >>> import numpy as np
    >>> from recurra.runtime import Convolution, Model
    >>> model = Model([Convolution(np.ones((1, 2, 1), np.float32), stride=2)])
    >>> model.run(np.arange(5, dtype=np.float32)[:, None]).ravel().tolist()
    [0.0, 3.0, 7.0]
    >>> session = model.session()
    >>> [session.step(np.array([i], np.float32)) is None for i in range(5)]
    [False, True, False, True, False]
    """

    W: Array
    b: Array | None = None
    dilation: int = 1
    stride: int = 1  # in place of the property
    kind: ClassVar[str] = "convolution"
    shapes: ClassVar[Shapes] = {"W": ("O", "K", "I"), "b": ("O",)}
    optional = ("b",)

    def __post_init__(self) -> None:
        check_count(self.kind, "dilation", self.dilation)
        check_count(self.kind, "stride", self.stride)
        super().__post_init__()
        if self.past * self.sizes["I"] > MOST_NUMBERS:
            raise ShapeError(
                f"convolution: it looks back {self.past} steps of {self.sizes['I']} features, expected at most "
                f"{MOST_NUMBERS} numbers: use fewer taps or a smaller dilation"
            )

    @property
    def past(self) -> int:
        """The steps before the present one that it looks back to."""
        return (self.sizes["K"] - 1) * self.dilation

    def states(self, width: int) -> Mapping[str, int]:
        """A ring of the last inputs, the place of the oldest, and the steps until the next answer."""
        ring = {"past": self.past * width, "place": 1} if self.past else {}
        return ring | ({"wait": 1} if self.stride > 1 else {})

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [self.dilation, self.stride]
