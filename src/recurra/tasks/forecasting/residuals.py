"""`Residuals`: how a forecaster erred on the validation part, beyond what its quantiles say: their tails, and how the
errors of one forecast go together over its horizon."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.checks import is_whole
from recurra.errors import DataError, SettingError
from recurra.runtime.ops.forecast import middle_of

Floats = NDArray[np.float64]

GRID = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995)  # shares that tails are known of
MOST_KNOTS = 96  # horizons whose errors' correlation is learned; those between are between
MOST_ORIGINS = 2000  # that it is learned from
MOST_PATHS = 100_000
FARTHEST = 4.0  # an error counts as at most so many deviations
LEAST = 0.02  # of the correlation's eigenvalues


@dataclass(frozen=True, eq=False)
class Residuals:
    """What rolling origins of the validation part say of a forecaster's errors.

    Letters: N horizons, Q quantiles, G shares of `GRID`, K knots.

    Attributes:
        tails: [Q, G], of each quantile but the middle one: how many of its distances from the middle one hold a share
            of the targets on its side.
        knots: [K], the horizons, from 1, whose errors' correlation was learned.
        factor: [K, K], lower triangular: times independent normal numbers it gives the errors of one forecast, as
            normal scores.
    """

    tails: Floats
    knots: NDArray[np.int64]
    factor: Floats

    @classmethod
    def fit(cls, forecasts: Iterable[tuple[NDArray[Any], NDArray[Any]]], levels: Sequence[float]) -> Residuals:
        """Of truths [M, N], NaN where missing, and quantiles [M, N, Q]."""
        truths, said = zip(*forecasts, strict=True)
        y, q = np.concatenate(truths), np.concatenate(said)
        every = max(1, len(y) // MOST_ORIGINS)
        y, q = y[::every], q[::every]
        knots = _knots(y.shape[1])
        scores = normal_scores(y[:, knots - 1], q[:, knots - 1], levels)
        factor = np.asarray(np.linalg.cholesky(_correlation(scores)), np.float64)
        return cls(_tails(y, q, levels), knots, factor)

    def stretched(self, level: int, share: NDArray[np.float64]) -> Floats:
        """How many of a quantile's distances from the middle hold a share of the targets; beyond what was seen it grows
        on, by as much again for as much share as was left."""
        top = self.tails[level, -1]
        beyond = np.maximum(0.0, share - GRID[-1]) / (1 - GRID[-1])
        found: Floats = np.interp(share, GRID, self.tails[level]) + top * beyond
        return found

    def paths(self, quantiles: Floats, levels: Sequence[float], count: int, seed: int) -> Floats:
        """Whole futures [count, N] of one forecast [N, Q], each as likely as any other.

        At every horizon they are spread as the quantiles say, and from horizon to horizon they go together as errors
        did: a Gaussian copula.

        Raises:
            SettingError: the count is out of range, or there is one quantile only, which says nothing of a spread.

        Source:
            Schefzik, Thorarinsdottir, Gneiting, Uncertainty Quantification in Complex Simulation Models Using Ensemble
            Copula Coupling, 2013, of copulas in forecasts.
        """
        check_paths(count, levels)
        z = np.random.default_rng(seed).standard_normal((count, len(self.knots))) @ self.factor.T
        return values_of(_between(z, self.knots, self.factor, len(quantiles)), quantiles, levels)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to the last bit."""
        lower = self.factor[np.tril_indices(len(self.knots))].astype("<f8").tobytes()
        return {
            "tails": self.tails.tolist(),
            "knots": self.knots.tolist(),
            "factor": base64.b64encode(lower).decode(),
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any], horizon: int, levels: int) -> Residuals:
        """From `to_dict`.

        Raises:
            DataError: it does not fit the horizon and the number of levels, or has numbers that are not finite.
        """
        tails, knots = np.array(described["tails"], np.float64), np.array(described["knots"], np.int64)
        K = len(knots)
        lower = np.frombuffer(base64.b64decode(described["factor"], validate=True), "<f8")
        fits = tails.shape == (levels, len(GRID)) and np.array_equal(knots, _knots(horizon))
        if not fits or len(lower) != K * (K + 1) // 2 or not (np.isfinite(lower).all() and (tails >= 0).all()):
            raise DataError("what the model knows of its errors does not fit its horizon: save the model again")
        factor = np.zeros((K, K))
        factor[np.tril_indices(K)] = lower
        return cls(tails, knots, factor)


def check_paths(count: Any, levels: Sequence[float]) -> None:
    """Raise SettingError where paths cannot be drawn."""
    if not is_whole(count, 1, MOST_PATHS):
        raise SettingError(f"paths: count={count!r}, expected a whole number from 1 to {MOST_PATHS}")
    if len(levels) < 2:
        raise SettingError("paths: the model has one quantile, which says nothing of a spread: fit one with several")


def normal_scores(y: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Of truths [...] where they lie among quantiles [..., Q], as deviations of a normal distribution.

    >>> normal_scores(np.array([3.0, 1.0]), np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]]), [0.1, 0.5, 0.9]).round(2)
    array([1.28, 0.  ])
    """
    if len(levels) < 2:
        return np.where(np.isnan(y), np.nan, 0.0)
    z = _deviations(levels)
    at = np.clip((y[..., None] >= quantiles).sum(-1) - 1, 0, len(z) - 2)
    low, high = (np.take_along_axis(quantiles, (at + i)[..., None], -1)[..., 0] for i in (0, 1))
    width = np.where(high > low, high - low, np.inf)
    found: Floats = np.clip(z[at] + (y - low) / width * (z[at + 1] - z[at]), -FARTHEST, FARTHEST)
    return found


def values_of(scores: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """The inverse of `normal_scores`: values [M, N] of scores [M, N] among quantiles [N, Q]."""
    z = _deviations(levels)
    at = np.clip(np.searchsorted(z, scores, "right") - 1, 0, len(z) - 2)
    n = np.arange(len(quantiles))
    low, high = quantiles[n, at], quantiles[n, at + 1]
    found: Floats = low + (scores - z[at]) / (z[at + 1] - z[at]) * (high - low)
    return found


def _deviations(levels: Sequence[float]) -> Floats:
    return np.array([NormalDist().inv_cdf(level) for level in levels])


def _tails(y: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    middle, found = middle_of(levels), np.zeros((len(levels), len(GRID)))
    off = y - quantiles[..., middle]
    for q in range(len(levels)):
        distance = quantiles[..., q] - quantiles[..., middle]
        there = np.isfinite(off) & (distance != 0)
        if q != middle and there.any():
            found[q] = np.maximum(0.0, np.quantile(off[there] / distance[there], GRID))
    return found


def _knots(horizon: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(1, horizon, min(horizon, MOST_KNOTS)).round().astype(np.int64))


def _correlation(scores: Floats) -> Floats:
    """Of the errors [M, K] of each two horizons; where origins are few, rather that of any two so far apart."""
    M, K = scores.shape
    there = np.isfinite(scores)
    filled = np.where(there, scores, 0.0)
    both = np.maximum(there.T.astype(np.float64) @ there, 1.0)
    scale = np.sqrt(np.maximum((filled**2).sum(0) / np.maximum(there.sum(0), 1), 1e-12))
    found = (filled.T @ filled) / both / np.outer(scale, scale)
    apart = np.abs(np.subtract.outer(np.arange(K), np.arange(K)))
    alike = np.bincount(apart.ravel(), found.ravel()) / np.bincount(apart.ravel())
    weight = min(1.0, K / max(1, M))
    found = (1 - weight) * found + weight * alike[apart]
    values, vectors = np.linalg.eigh(found)
    found = (vectors * np.maximum(values, LEAST)) @ vectors.T
    spread = np.sqrt(np.diag(found))
    return np.asarray(found / np.outer(spread, spread))


def _between(z: Floats, knots: NDArray[np.int64], factor: Floats, horizon: int) -> Floats:
    """Scores [M, N] of all horizons from those of the knots [M, K], each with the variance of one."""
    if len(knots) == horizon:
        return z
    n = np.arange(1, horizon + 1)
    right = np.clip(np.searchsorted(knots, n), 1, len(knots) - 1)
    share = (n - knots[right - 1]) / (knots[right] - knots[right - 1])
    together = (factor[right] * factor[right - 1]).sum(1)
    spread = np.sqrt((1 - share) ** 2 + share**2 + 2 * share * (1 - share) * together)
    found: Floats = ((1 - share) * z[:, right - 1] + share * z[:, right]) / spread
    return found
