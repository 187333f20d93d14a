"""`Errors`: how surprising a step's numbers are to a network that has said others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SQUEEZE = 6.0  # the log of a predicted deviation stays within
TOGETHER = 64  # numbers of a step whose errors are looked at together; of more each by itself
FAR = 10.0  # deviations beyond which an error says no more of how errors go together
SURE = 4.0  # standard errors, of steps as if each were by itself
MOST = 1e12


@dataclass(frozen=True)
class Errors:
    """The errors of a network that has not gone wrong, and how far from these one is.

    Attributes:
        covariance: [I, I].
        predicted: whether of errors over the deviations that the network said, or of errors as they are.

    >>> Errors(np.array([[4.0]]), False).surprise([3.0], [1.0, 9.9])[0] == math.log1p((3.0 - 1.0) ** 2 / 4.0)
    True
    """

    covariance: Floats
    predicted: bool

    @classmethod
    def fit(cls, learned: Sequence[tuple[Floats, Floats]], held: Sequence[tuple[Floats, Floats]]) -> Self:
        """Of numbers [T, I] and outputs [T, 2 I] of what a network has learned from, and of what it has not: by which
        it is decided whether the deviations that it says are worth more, beyond chance, than one for all steps."""

        def nats(predicted: bool) -> Floats:
            own = cls(_covariance([_errors(*one, predicted) for one in learned]), predicted)
            return np.concatenate([own._nats(*one) for one in held])

        gain = nats(False) - nats(True)
        predicted = len(gain) > 1 and bool(gain.mean() > SURE * gain.std(ddof=1) / math.sqrt(len(gain)))
        return cls(_covariance([_errors(*one, predicted) for one in (*learned, *held)]), predicted)

    def _nats(self, numbers: Floats, outputs: Floats) -> Floats:
        """-log of the normal density of each step that has all numbers."""
        there = ~np.isnan(numbers).any(1)
        e, size = _errors(numbers, outputs, self.predicted)[there], numbers.shape[1]
        logs = np.clip(outputs[there, size:], -SQUEEZE, SQUEEZE).sum(1) if self.predicted else 0.0
        distance = np.minimum(((e @ self.inverse) * e).sum(1), size * FAR**2)
        found: Floats = 0.5 * (distance + np.linalg.slogdet(self.covariance)[1]) + logs
        return found

    @cached_property
    def inverse(self) -> Floats:
        """[I, I]."""
        found: Floats = np.linalg.inv(self.covariance)
        return found

    def surprise(self, numbers: Any, output: Any) -> tuple[float, int]:
        """How surprising the numbers [I] of a step are to whom outputs [2 I], means and log deviations, were given; and
        the number that is the most surprising. NaN where nothing is known.

        log(1 + d), d the squared distance by the covariance (Mahalanobis) of the errors that are known, over their
        count.
        """
        x, said = np.asarray(numbers, np.float64), np.asarray(output, np.float64)
        e, inverse, known = _errors(x, said, self.predicted), self.inverse, None
        if (total := x.sum()) != total:
            known = np.flatnonzero(x == x)
            if not len(known):
                return math.nan, 0
            e, inverse = e[known], np.linalg.inv(self.covariance[np.ix_(known, known)])
        shares = e * (inverse * e).sum(1)
        found = math.log1p(max(0.0, min(float(shares.sum()) / len(e), MOST)))
        where = int(shares.argmax())
        return found, where if known is None else int(known[where])

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"covariance": self.covariance.tolist(), "predicted": self.predicted}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        covariance = np.array(described["covariance"], np.float64)
        square = covariance.ndim == 2 and covariance.shape[0] == covariance.shape[1] > 0
        if not square or not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance).min() <= 0:
            raise ValueError("a covariance of errors that is none")
        return cls(covariance, bool(described["predicted"]))


def _errors(numbers: Floats, outputs: Floats, predicted: bool) -> Floats:
    """[..., I] of numbers [..., I] and outputs [..., 2 I]."""
    size = numbers.shape[-1]
    e: Floats = numbers - outputs[..., :size]
    return e * np.exp(np.maximum(np.minimum(-outputs[..., size:], SQUEEZE), -SQUEEZE)) if predicted else e


def _covariance(errors: Sequence[Floats]) -> Floats:
    """Of errors [T, I], about zero, drawn towards a multiple of the identity as far as they are few (Ledoit and Wolf
    2004); of very many numbers, or where steps are rarely complete, only the variances."""
    e = np.concatenate(errors)
    size, complete = e.shape[1], e[~np.isnan(e).any(1)]
    usual = 1.4826 * np.nanmedian(np.abs(e), 0)
    usual = np.where(usual > 0, usual, np.sqrt(np.nanmean(e * e, 0)))
    least = 1e-6 * max(1e-6, float(usual.max()))
    far = FAR * np.maximum(usual, least)
    if size > TOGETHER or len(complete) < 2 * size:
        return np.diag(np.maximum(np.nanmean(np.clip(e, -far, far) ** 2, 0), least**2))
    e = np.clip(complete, -far, far)
    sample = e.T @ e / len(e)
    middle = np.trace(sample) / size * np.eye(size)
    apart = ((sample - middle) ** 2).sum()
    noise = ((e * e).sum(1) ** 2).sum() / len(e) ** 2 - (sample**2).sum() / len(e)
    share = min(1.0, max(0.0, noise / apart)) if apart > 0 else 1.0
    found: Floats = (1 - share) * sample + share * middle + least**2 * np.eye(size)
    return found
