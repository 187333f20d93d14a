"""Whether risks are honest: Brier score, expected calibration error, and a table of what was said and what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def reliability(said: ArrayLike, happened: ArrayLike, bins: int = 10) -> dict[str, Any]:
    """Of risks that were said [M] and whether it happened [M].

    Args:
        said: from 0 to 1.
        happened: 0 or 1.
        bins: of as many answers each, from the least risk to the greatest.

    Returns:
        `brier`, the mean squared difference (Brier 1950); `brier_of_share`, that of always saying the share; `ece`, the
        mean over answers of the difference in their bin (Naeini 2015); `rows`, for each bin the mean that was said, the
        share that happened, and how many there are.

    >>> found = reliability([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 0], bins=2)
    >>> round(found["brier"], 3), round(found["ece"], 3), found["rows"]
    (0.21, 0.25, [[0.1, 0.0, 2], [0.9, 0.5, 2]])
    """
    risk, truth = np.asarray(said, np.float64), np.asarray(happened, np.float64)
    order = np.argsort(risk, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    rows = [[round(float(risk[p].mean()), 12), float(truth[p].mean()), len(p)] for p in parts]
    share = float(truth.mean())
    return {
        "brier": float(((risk - truth) ** 2).mean()),
        "brier_of_share": share * (1 - share),
        "ece": sum(n * abs(a - b) for a, b, n in rows) / len(risk),
        "rows": rows,
    }


def auroc(said: ArrayLike, happened: ArrayLike) -> float:
    """The area under the curve: the chance that one of what happened was given the greater risk; ties count half. NaN
    where all or nothing happened.

    >>> auroc([0.1, 0.4, 0.4, 0.8], [0, 1, 0, 1])
    0.875
    """
    risk, positive = np.asarray(said, np.float64), np.asarray(happened) > 0
    n = int(positive.sum())
    if n in (0, len(risk)):
        return float("nan")
    _, place, counts = np.unique(risk, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(risk) - n)))
