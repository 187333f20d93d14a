"""What a transcriber must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.baselines import Baseline
from recurra.tasks.bench import Bench


class Silent(Baseline):
    """Nothing was said, whatever was heard."""

    key, kind, words = "silent", "naive", "nothing was said"
    name = "nothing was said"

    def __init__(self, width: int) -> None:
        self.width = width

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Nothing to learn."""
        return cls(1 + len(bench.task.letters))  # type: ignore[attr-defined]

    def predict(self, sequence: Any, start: int, stop: int) -> NDArray[np.float64]:
        """[M, K + 1]."""
        found = np.full((stop - start, self.width), -30.0)
        found[:, 0] = 0.0
        return found
