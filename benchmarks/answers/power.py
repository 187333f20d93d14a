"""ItalyPowerDemand: winter or summer, by the electricity that Italy takes in the 24 hours of a day (Keogh 2006)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.answers.row import Metric, Row
from benchmarks.answers.sequences import TRIED, Array, Data, by, classifier, from_aeon, most_frequent


def read() -> Data:
    from aeon.datasets import load_italy_power_demand

    return from_aeon(load_italy_power_demand)


def hours(X: Sequence[Array]) -> Array:
    """All days are 24 steps and aligned."""
    return np.stack(X).reshape(len(X), -1)


ROW = Row(
    name="power",
    data="ItalyPowerDemand, 2 seasons",
    split="the archive's, 67 and 1029",
    metrics=(Metric("accuracy", reach=0.965, less=False),),
    read=read,
    naive=most_frequent,
    simple=by(make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), hours),
    ours=classifier,
    tried=TRIED,
)
