"""How well a detector knows what is usual, and how well its alarms find what is not."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.base import Floats
from recurra.tasks.metrics import Metric


class Surprise(Metric):
    """-log of the density of what came, normal with the given mean and deviation; truth [M, I], answers [M, I, 2].

    >>> Surprise().value(np.array([[0.0]]), np.array([[[0.0, 1.0]]]))
    0.9189385332046727
    """

    key, name, error = "nats", "nats a number", "surprise"

    def value(self, truth: Floats, answers: Floats) -> float:
        """The mean over all that is not missing."""
        return float(np.nanmean(self.units(truth, answers)))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """The mean over the numbers of each step [M]; NaN where none is there."""
        e = (truth - answers[..., 0]) / answers[..., 1]
        nats = 0.5 * np.minimum(e * e, 1e12) + np.log(answers[..., 1]) + 0.5 * math.log(2 * math.pi)
        there = np.isfinite(nats)
        sums = np.where(there, nats, 0.0).sum(-1)
        return np.where(there.any(-1), sums / np.maximum(there.sum(-1), 1), np.nan)


def of_steps(said: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Precision, recall, F1 and the share of usual steps that were said to be anomalous."""
    hit, false, missed = (float((a & b).sum()) for a, b in ((said, truth), (said, ~truth), (~said, truth)))
    return {
        "precision": hit / (hit + false) if hit + false else 0.0,
        "recall": hit / (hit + missed) if hit + missed else 0.0,
        "f1": 2 * hit / (2 * hit + false + missed) if hit + false + missed else 0.0,
        "false_alarm_rate": false / max(1.0, float((~truth).sum())),
    }


def delays(alarms: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """How well alarms find the stretches that are anomalous, of one stream.

    Args:
        alarms: [T], the steps at which one began.
        truth: [T], the steps that are anomalous.

    Returns:
        `events`, `found` of them, the summed `delay` of those in steps, alarms outside (`false`), `steps` outside.

    >>> delays(np.array([0, 1, 0, 0, 1], bool), np.array([0, 0, 0, 1, 1], bool))
    {'events': 1.0, 'found': 1.0, 'delay': 1.0, 'false': 1.0, 'steps': 3.0}
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], truth.astype(np.int8), [0]])))
    found = delay = 0.0
    for start, stop in edges.reshape(-1, 2):
        rung = np.flatnonzero(alarms[start:stop])
        if len(rung):
            found, delay = found + 1, delay + float(rung[0])
    outside = ~truth
    return {
        "events": len(edges) / 2,
        "found": found,
        "delay": delay,
        "false": float((alarms & outside).sum()),
        "steps": float(outside.sum()),
    }
