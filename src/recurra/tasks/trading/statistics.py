"""What an account is worth as evidence: Sharpe ratios with intervals, deflated for the number of tries."""

from __future__ import annotations

import math
import warnings
from statistics import NormalDist
from typing import Any

import numpy as np

from recurra.tasks.base import Floats

REPEATS = 1000
LEVEL = 0.95
EULER = 0.5772156649015329
NORMAL = NormalDist()


def sharpe(returns: Floats) -> float:
    """Mean over deviation, of one bar; 0 where nothing moved."""
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / spread if spread > 1e-12 else 0.0


def deflated(found: float, T: int, skew: float, kurtosis: float, tries: int, variance: float | None = None) -> float:
    """The probability that a Sharpe ratio is above what the best of so many tries without skill would have.

        DSR = Phi((SR - SR0) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2))
        SR0 = sqrt(V) ((1 - e) Phi^-1(1 - 1/N) + e Phi^-1(1 - 1/(N exp 1)))

    with skewness g3, kurtosis g4 and Euler's number e = 0.5772; ratios are of one of T bars.

    Args:
        found, T, skew, kurtosis: of the returns.
        tries: N; with one, SR0 is 0.
        variance: V, of the ratios of all tries; None: 1 / (T - 1), which chance alone gives them.

    Source:
        Bailey and Lopez de Prado, The Deflated Sharpe Ratio, 2014, equations 1 and 2.

    >>> round(deflated(2.5 / 250**0.5, 1250, -3.0, 10.0, 100, 0.5 / 250), 3)  # the example of the paper
    0.9
    """
    least = 0.0
    if tries > 1:
        a, b = NORMAL.inv_cdf(1 - 1 / tries), NORMAL.inv_cdf(1 - 1 / (tries * math.e))
        least = math.sqrt(1 / (T - 1) if variance is None else variance) * ((1 - EULER) * a + EULER * b)
    under = max(1e-12, 1 - skew * found + (kurtosis - 1) / 4 * found**2)
    return NORMAL.cdf((found - least) * math.sqrt(T - 1) / math.sqrt(under))


def deflated_sharpe(returns: Floats, tries: int) -> float:
    """`deflated`, of returns; where nothing moved there is nothing to be said: a half.

    >>> deflated_sharpe(np.array([0.01, -0.01] * 50), 1)
    0.5
    """
    spread = float(returns.std()) if len(returns) else 0.0
    if len(returns) < 3 or spread < 1e-12:
        return 0.5
    z = (returns - returns.mean()) / spread
    return deflated(sharpe(returns), len(returns), float((z**3).mean()), float((z**4).mean()), tries)


def intervals(returns: Floats, statistics: Any, seed: int) -> Floats:
    """95 % intervals [2, S] of S statistics of returns [T, ...], by the stationary bootstrap (Politis and Romano 1994).

    The length of blocks is that of Politis and White (2004), of the first column; `arch` does both.
    """
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    first = returns if returns.ndim == 1 else returns[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        block = float(optimal_block_length(first)["stationary"].iloc[0]) if np.ptp(first) > 0 else 1.0
    block = block if math.isfinite(block) else 1.0
    mean: Any = min(max(1.0, block), max(1.0, len(returns) / 3))  # `arch` declares an int, and takes any number
    made = StationaryBootstrap(mean, returns, seed=seed)
    found = made.apply(lambda sample: np.atleast_1d(statistics(sample)), REPEATS)
    tail = (1 - LEVEL) / 2
    return np.asarray(np.quantile(found, [tail, 1 - tail], axis=0))
