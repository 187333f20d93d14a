"""What a trader's answers are judged by, bar by bar: truth [M, 3] is the return, the return in usual sizes, and the
variance; answers [M, 3] are the position, the signal and the forecast variance."""

from __future__ import annotations

import numpy as np

from recurra.tasks.base import Floats
from recurra.tasks.metrics import Metric

LEAST = 1e-3  # of wealth that is left: a position is not worth less than nothing


class _Mean(Metric):
    less = True

    def value(self, truth: Floats, answers: Floats) -> float:
        """The mean of what is known."""
        return float(np.nanmean(self.units(truth, answers)))


class Growth(Metric):
    """The mean of the log of 1 + position x return - cost x change of position, in basis points a bar."""

    key, name, error, less = "growth", "log growth after costs, bp a bar", "loss of log wealth, bp a bar", False

    def __init__(self, cost: float = 0.0) -> None:
        self.cost = cost

    def value(self, truth: Floats, answers: Floats) -> float:
        """Per bar."""
        return -float(np.nanmean(self.units(truth, answers)))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """What is lost at each bar, in the log of wealth."""
        position = answers[:, 0]
        change = np.abs(np.diff(position, prepend=position[:1]))
        return np.asarray(-1e4 * np.log(np.maximum(1 + position * truth[:, 0] - self.cost * change, LEAST)))


class Qlike(_Mean):
    """The mean of v / f - log(v / f) - 1, of a variance v and its forecast f (Patton 2011).

    >>> Qlike().value(np.array([[0.0, 0.0, 2.0]]), np.array([[0.0, 0.0, 2.0]]))
    0.0
    """

    key, name, error = "qlike", "QLIKE", "QLIKE of tomorrow's variance"

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Of each bar."""
        ratio = truth[:, 2] / answers[:, 2]
        return np.asarray(ratio - np.log(ratio) - 1)


class ReturnError(_Mean):
    """The mean squared error of the return in usual sizes: nothing forecast has about 1."""

    key, name, error = "mse", "MSE of the return", "squared error of the return in its usual sizes"

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Squares."""
        return np.asarray((truth[:, 1] - answers[:, 1]) ** 2)


class Brier(_Mean):
    """The mean squared difference of the probability of a rise from what came; one half always has 0.25."""

    key, name, error = "brier", "Brier score of a rise", "squared error of the probability of a rise"

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Squares."""
        rises = np.where(np.isnan(truth[:, 0]), np.nan, truth[:, 0] > 0)
        return np.asarray((rises - answers[:, 1]) ** 2)
