"""An activation between layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recurra import _native
from recurra.errors import ShapeError
from recurra.runtime.ops.op import Op


@dataclass(frozen=True, eq=False)
class Activation(Op):
    """An activation of the language of cells, element by element; `slope` is that of leaky_relu."""

    name: str
    slope: float = 0.01
    kind: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in _native.activations:
            known = ", ".join(_native.activations)
            raise ShapeError(f"activation: the name is {str(self.name)[:80]!r}, expected one of: {known}")
        super().__post_init__()

    def settings(self) -> dict[str, Any]:
        """The name, and the slope where it matters."""
        return {"name": self.name} | ({"slope": self.slope} if self.name == "leaky_relu" else {})

    def _numbers(self, offsets: Mapping[str, int]) -> Sequence[float]:
        return [_native.activations[self.name], self.slope]
