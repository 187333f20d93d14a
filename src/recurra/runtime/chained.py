"""What whoever reads somebody's graph as a chain of ops knows of a value in it: `onnx.streams` and `torch.graph`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from recurra.runtime.ops import Op

FIRST, SECOND, FEATURES = "first", "second", "features"  # what an axis holds; time is one of the first two
ENDS = "the final state of one of two directions, expected both side by side"


@dataclass(frozen=True)
class Chained:
    """A value that depends on the input.

    Attributes:
        layers: what it has gone through.
        axes: what each axis holds.
        time: which of the first two axes is time, once a layer has said so.
        last: whether only the last step is there.
        half: of the final states of two directions, which one; None: all that there is.
        padded: how many zeros stand before the first step, and how many after the last, for a convolution.
        surplus: how many steps are too many at the end, which such zeros have made.
    """

    layers: tuple[Op, ...]
    axes: tuple[Any, ...]
    _: KW_ONLY
    time: str = ""
    last: bool = False
    half: int | None = None
    padded: tuple[int, int] = (0, 0)
    surplus: int = 0

    @property
    def pending(self) -> str:
        """What it is as long as something has to be done before a layer may follow, or nothing."""
        if any(self.padded):
            return "steps beside zeros that only a convolution takes"
        if self.surplus:
            return "steps that have seen later ones, expected them to be cut off"
        return "" if self.half is None else ENDS
