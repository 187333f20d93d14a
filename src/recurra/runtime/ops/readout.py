"""What a decoder writes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recurra.errors import ShapeError
from recurra.runtime.ops.op import FLOAT, MOST_NUMBERS, Op, Shapes
from recurra.weights import Array


@dataclass(frozen=True, eq=False)
class Readout(Op):
    """The probability of each of V symbols, from features f, and of each of M places of a memory, to copy from.

        e = tanh(W f + b)
        p = softmax(S e + c)
        g = sigmoid(w e + d)                     the share of p, where it copies (See et al. 2017)
        y = [g p | 0] + (1 - g) sum a_m at the number of place m

    What comes in is [f | a], where a [M] are the shares of an attention that shows them. The number of a place is that
    of a symbol, 0 to V - 1, or V + m of something that is no symbol; these numbers are the op's state, so each row of a
    batch has its own: `places` makes it. At the beginning all are 0.

    Shapes: W [E, F], b [E], S [V, E], c [V]; of copying w [1, E], d [1]. The output is [V], [V + M] where it copies,
    and e behind it where it is to be fed to the next step (Luong et al. 2015).

    Args:
        copies: M; 0: it does not copy.
        feeds: whether e is part of the output.

    Raises:
        ShapeError, DtypeError: the arrays do not fit one another, or are not those of copying.

    >>> import numpy as np
    >>> from recurra.runtime import Model, Readout
    >>> zeros = {"W": (2, 1), "b": (2,), "S": (3, 2), "c": (3,), "w": (1, 2), "d": (1,)}
    >>> op = Readout(**{n: np.zeros(s, np.float32) for n, s in zeros.items()}, copies=2)
    >>> live = Model([op]).session()
    >>> live.state |= op.places([1, 4], "layers.0.")  # a symbol, and a word that is none
    >>> live.step(np.array([0, 0.25, 0.75], np.float32)).round(3)
    array([0.167, 0.292, 0.167, 0.   , 0.375], dtype=float32)
    """

    W: Array
    b: Array
    S: Array
    c: Array
    w: Array | None = None
    d: Array | None = None
    copies: int = 0
    feeds: bool = False
    kind: ClassVar[str] = "readout"
    shapes: ClassVar[Shapes] = {
        "W": ("E", "F"),
        "b": ("E",),
        "S": ("V", "E"),
        "c": ("V",),
        "w": ("G", "E"),
        "d": ("G",),
    }
    optional = ("w", "d")

    def __post_init__(self) -> None:
        super().__post_init__()
        M, most = self.copies, MOST_NUMBERS - self.sizes["V"]
        if isinstance(M, bool) or not isinstance(M, int) or not 0 <= M <= most:
            raise ShapeError(f"readout: `copies` is {str(M)[:40]}, expected the places of a memory, 0 to {most}")
        if [self.w is not None, self.d is not None, self.sizes.get("G", 1) == 1] != [M > 0, M > 0, True]:
            raise ShapeError(f"readout: copies={M}, expected `w` [1, E] and `d` [1] where it copies, and none else")
        if not isinstance(self.feeds, bool):
            raise ShapeError(f"readout: `feeds` is {str(self.feeds)[:40]}, expected True or False")

    @property
    def symbols(self) -> int:
        """V, and M where it copies: what can be written."""
        return self.sizes["V"] + self.copies

    @property
    def fed(self) -> int:
        """The numbers of the output that belong into the next step."""
        return self.sizes["E"] if self.feeds else 0

    @property
    def input_size(self) -> int:
        """F, and M shares where it copies."""
        return self.sizes["F"] + self.copies

    @property
    def output_size(self) -> int:
        """A probability for all that can be written, and what is fed."""
        return self.symbols + self.fed

    def states(self, width: int) -> Mapping[str, int]:
        """The number of each place."""
        return {"places": self.copies} if self.copies else {}

    def places(self, numbers: Sequence[int] | Array, prefix: str = "") -> dict[str, Array]:
        """The state that holds the numbers of n places, by name; none where it does not copy.

        Raises:
            ShapeError: there are more than M, or one is no number of what can be written.
        """
        if not self.copies:
            return {}
        found = np.asarray(numbers, np.int64)
        if found.ndim != 1 or len(found) > self.copies or not ((found >= 0) & (found < self.symbols)).all():
            raise ShapeError(
                f"readout: places are {str(found.tolist())[:60]}, expected at most {self.copies} numbers from 0 to "
                f"{self.symbols - 1}"
            )
        state = np.zeros(self.copies, FLOAT)
        state[: len(found)] = found
        return {f"{prefix}places": state}

    def settings(self) -> dict[str, Any]:
        """What it copies and feeds, where it does."""
        return {name: value for name, value in super().settings().items() if value}

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [self.copies, self.feeds]
