"""`Scaler`: numbers to about zero and one, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

FARTHEST = 1e6  # scaled numbers end here: a broken sensor must not make a state infinite


@dataclass(frozen=True)
class Scaler:
    """z = (y - center) / scale, float32, at most a million from zero. One number and many give the same bits.

    >>> Scaler.fit([np.array([1.0, 3.0, np.nan])])
    Scaler(center=2.0, scale=1.0)
    """

    center: float
    scale: float

    @classmethod
    def fit(cls, parts: Sequence[NDArray[np.float64]], otherwise: float = 1.0) -> Scaler:
        """Mean and standard deviation of all numbers that are there; `otherwise` is the scale where all are one."""
        values = np.concatenate(parts)
        values = values[np.isfinite(values)]
        if not len(values):
            return cls(0.0, otherwise)
        center = float(values.mean())
        scale = float(values.std())
        return cls(center, scale if scale > 1e-12 * max(1.0, abs(center)) else otherwise)

    def one(self, y: float) -> float:
        """One number scaled; NaN stays NaN."""
        z = (y - self.center) / self.scale
        return z if z != z else max(-FARTHEST, min(FARTHEST, z))

    def many(self, y: NDArray[np.float64]) -> NDArray[np.float32]:
        """Numbers scaled; NaN stays NaN."""
        return np.clip((y - self.center) / self.scale, -FARTHEST, FARTHEST).astype(np.float32)

    def undo(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scaled numbers in their own units."""
        return z.astype(np.float64) * self.scale + self.center

    def to_dict(self) -> dict[str, float]:
        """As JSON, to the last bit."""
        return {"center": self.center, "scale": self.scale}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Scaler:
        """From `to_dict`.

        Raises:
            DataError: the numbers are not finite, or the scale is not above zero.
        """
        center, scale = float(described["center"]), float(described["scale"])
        if not (math.isfinite(center) and math.isfinite(scale) and scale > 0):
            raise DataError(f"the scaler is {dict(described)}, expected finite numbers and a scale above zero")
        return cls(center, scale)
