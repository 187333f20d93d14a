"""Softmax over the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurra.runtime.ops.op import Op


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """exp(x) / sum exp(x) over the features."""

    kind: ClassVar[str] = "softmax"
