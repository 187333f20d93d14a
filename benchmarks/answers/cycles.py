"""C-MAPSS FD003 at every cycle: the life left after each of the 16,596 cycles of the test engines, cut at 125 cycles.

What was published is of the last cycles alone (Zheng 2017: an LSTM).
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

import recurra
from benchmarks.answers.engines import CAP, Array, Engines, read, windows
from benchmarks.answers.row import Metric, Row


def errors(data: Engines, answers: Array) -> tuple[float, float]:
    """The root mean squared error over all cycles, and over the last of each engine."""
    pairs = zip(data.stopped, data.left, strict=True)
    left = np.concatenate([left + np.arange(len(x))[::-1] for x, left in pairs])
    ends = np.cumsum([len(x) for x in data.stopped]) - 1
    off = np.clip(answers, 0, CAP) - np.minimum(left, CAP)
    return float(np.sqrt((off**2).mean())), float(np.sqrt((off[ends] ** 2).mean()))


def mean(data: Engines) -> tuple[float, float]:
    """Of all cycles of training."""
    return errors(data, np.full(sum(map(len, data.stopped)), np.concatenate(data.y).mean()))


def boosting(data: Engines) -> tuple[float, float]:
    """Gradient boosting on what the last 30 cycles say, at every cycle."""
    model = HistGradientBoostingRegressor(random_state=0, max_iter=300, learning_rate=0.05)
    model.fit(np.concatenate([windows(x) for x in data.X]), np.concatenate(data.y))
    return errors(data, model.predict(np.concatenate([windows(x) for x in data.stopped])))


def regressor(data: Engines) -> tuple[float, float]:
    """`recurra.Regressor` as it is made."""
    return errors(data, np.concatenate(recurra.Regressor().fit(data.X, data.y).predict(data.stopped)))


ROW = Row(
    name="cycles",
    data="C-MAPSS FD003, at every cycle",
    split="the challenge's, 100 and 100",
    metrics=(Metric("RMSE, cut at 125", reach=12.0), Metric("at the last cycles", reach=12.0, recurrent=16.2)),
    read=read,
    naive=mean,
    simple=boosting,
    ours=regressor,
)
