"""A convolution over a picture, which is one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from recurra.errors import ShapeError
from recurra.runtime.ops.op import MOST_NUMBERS, Op, Shapes, check_count
from recurra.weights import Array


@dataclass(frozen=True, eq=False)
class Convolution2d(Op):
    """y_ij = sum_kl W[:, k, l] x[i s + k - p, j s + l - p] + b, with W [N, K, L, C] and b [N] or none; zeros around.

    A step has a whole picture, its numbers as they lie in memory: rows x columns x C in, and after it
    ceil((rows + 2 p - K + 1) / s) x ceil((columns + 2 p - L + 1) / s) x N out. No step knows of another one.

    Args:
        W, b: taps from the top to the bottom and from left to right, and the bias.
        rows, columns: of the picture that comes in.
        hop: s, from one place to the next, downwards and to the right.
        padding: p, zeros around the picture.

    Raises:
        ShapeError, DtypeError: the arrays do not fit, or the kernel is larger than what it goes over.

    >>> import numpy as np
    >>> from recurra.runtime import Convolution2d, Model
    >>> op = Convolution2d(np.ones((1, 2, 2, 1), np.float32), rows=3, columns=2)
    >>> Model([op]).run(np.arange(6, dtype=np.float32)[None]).tolist()
    [[6.0, 14.0]]
    """

    W: Array
    b: Array | None = None
    rows: int = 0
    columns: int = 0
    hop: int = 1
    padding: int = 0
    kind: ClassVar[str] = "convolution_2d"
    shapes: ClassVar[Shapes] = {"W": ("N", "K", "L", "C"), "b": ("N",)}
    optional = ("b",)

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "hop"):
            check_count(self.kind, name, getattr(self, name))
        if self.padding != 0 or isinstance(self.padding, bool):
            check_count(self.kind, "padding", self.padding)
        super().__post_init__()
        if min(self.places) < 1:
            K, L = self.sizes["K"], self.sizes["L"]
            raise ShapeError(
                f"{self.kind}: its kernel is {K} x {L} and what it goes over {self.rows} x {self.columns} with "
                f"{self.padding} around it, expected a kernel that fits"
            )
        if max(self.input_size, self.output_size) > MOST_NUMBERS:
            raise ShapeError(
                f"{self.kind}: {self.input_size} numbers come in and {self.output_size} go out, expected at most "
                f"{MOST_NUMBERS}: make the picture smaller"
            )

    @property
    def places(self) -> tuple[int, int]:
        """The rows and columns of what comes out."""
        pairs = ((self.rows, self.sizes["K"]), (self.columns, self.sizes["L"]))
        down, across = ((size + 2 * self.padding - taps) // self.hop + 1 for size, taps in pairs)
        return down, across

    @property
    def input_size(self) -> int:
        """The numbers of a picture."""
        return self.rows * self.columns * self.sizes["C"]

    @property
    def output_size(self) -> int:
        """Those of what comes out."""
        down, across = self.places
        return down * across * self.sizes["N"]

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [self.rows, self.columns, self.hop, self.padding]
