"""Dropout, which is gone after training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recurra.runtime.ops.op import Op


@dataclass(frozen=True, eq=False)
class Dropout(Op):
    """Nothing, for it is gone after training; kept so that the file says what was trained."""

    p: float = 0.5
    kind: ClassVar[str] = "dropout"

    def add_to(self, network: Any, width: int, offsets: Mapping[str, int]) -> None:
        """What comes in goes on."""
