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

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Nothing to learn."""
        return cls()

    def predict(self, sequence: Any, start: int, stop: int) -> NDArray[np.float64]:
        """[M, 0]: no letters."""
        return np.zeros((stop - start, 0))
