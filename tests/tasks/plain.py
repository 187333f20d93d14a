"""A table that a process without any testing library can make."""

from __future__ import annotations

import numpy as np


def table(T: int = 240) -> dict[str, np.ndarray]:
    """Demand with a yearly cycle, and its columns."""
    rng, t = np.random.default_rng(5), np.arange(T)
    columns = {"holiday": rng.integers(0, 2, T).astype(float), "warmth": rng.normal(size=T)}
    return {"time": np.datetime64("2000-01", "M") + t, "demand": 50 + 9 * np.sin(t / 12 * 2 * np.pi), **columns}
