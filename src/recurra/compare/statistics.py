"""What a difference is worth: intervals over seeds, and paired tests over units of the test part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from recurra.compare.trial import Array

LEVEL = 0.05  # of significance
RESAMPLES = 2_999


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean over seeds; None for fewer than two values, of which nothing can be said.

    >>> low, high = interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    from scipy.stats import t

    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return None
    half = float(t.ppf(0.5 + level / 2, len(x) - 1)) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return float(x.mean()) - half, float(x.mean()) + half


def paired(errors: Array, others: Array, seed: int = 0) -> float:
    """How probable a mean difference at least this large is, in either direction, if the two were exchangeable.

    A permutation test that swaps the two in each unit; a unit is a sequence, or a stretch of time long enough that
    stretches can be taken as independent. Exact where there are few units.

    Args:
        errors, others: of the same units, [units].
        seed: of the permutations.

    Returns:
        The p-value, between 0 and 1.

    >>> paired(np.arange(8.0), np.arange(8.0) + 1)  # 2 of 2 ** 8 ways
    0.0078125
    """
    from scipy.stats import permutation_test

    difference = np.asarray(errors, np.float64) - np.asarray(others, np.float64)
    if len(difference) < 2 or not difference.any():
        return 1.0
    result = permutation_test(
        (difference,),
        lambda d, axis: d.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """P-values of several tests, each as if there were only one (Holm 1979): the least is multiplied by their number.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted: dict[str, float] = {}
    most = 0.0
    for k, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        most = max(most, min(1.0, (len(p) - k) * value))
        adjusted[name] = most
    return adjusted
