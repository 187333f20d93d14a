"""C-MAPSS FD003: in how many cycles a turbofan engine fails, by its sensors so far (Saxena 2008).

The published network is an LSTM (Zheng 2017). The targets of training are cut at 125 cycles, as is usual: before that
nothing is to be seen. The test engines are judged with their targets cut alike, and as they are.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

import recurra
from benchmarks.answers.row import Metric, Row, shared

CAP = 125
WINDOW = 30  # cycles that the simple model sees
Array = NDArray[Any]


@dataclass(frozen=True)
class Engines:
    """Settings and sensors [T, 24] of engines run to failure; those of others, stopped before, and the cycles left."""

    X: Sequence[Array]
    stopped: Sequence[Array]
    left: Array

    @property
    def y(self) -> list[Array]:
        """The cycles left at each cycle of the training engines, cut."""
        return [np.minimum(np.arange(len(x))[::-1], CAP) for x in self.X]


def read() -> Engines:
    parts = []
    for part in ("train", "test"):
        with gzip.open(shared(f"cmapss/{part}_FD003.txt.gz")) as file:
            table = np.loadtxt(file)
        parts.append([table[table[:, 0] == unit, 2:] for unit in np.unique(table[:, 0])])
    return Engines(*parts, np.loadtxt(shared("cmapss/RUL_FD003.txt")))


def errors(data: Engines, predicted: Array) -> tuple[float, float]:
    """The root mean squared errors for targets cut, and as they are."""
    answers = np.clip(predicted, 0, CAP)
    cut, whole = answers - np.minimum(data.left, CAP), answers - data.left
    return float(np.sqrt((cut**2).mean())), float(np.sqrt((whole**2).mean()))


def mean(data: Engines) -> tuple[float, float]:
    return errors(data, np.full(len(data.left), np.concatenate(data.y).mean()))


def boosting(data: Engines) -> tuple[float, float]:
    """Gradient boosting on what the last 30 cycles say, at every cycle of training."""
    x = np.concatenate([windows(x) for x in data.X])
    model = HistGradientBoostingRegressor(random_state=0, max_iter=300, learning_rate=0.05)
    model.fit(x, np.concatenate(data.y))
    return errors(data, model.predict(np.stack([windows(x)[-1] for x in data.stopped])))


def windows(x: Array) -> Array:
    """At each cycle the mean, deviation and trend of each column over the last 30 cycles, its mean over 5, and t."""
    rows = []
    for t in range(1, len(x) + 1):
        last = x[max(0, t - WINDOW) : t]
        slope = (last * np.linspace(-1, 1, len(last))[:, None]).mean(0)
        rows.append(np.concatenate([last.mean(0), last.std(0), slope, last[-5:].mean(0), [t]]))
    return np.stack(rows)


def regressor(data: Engines) -> tuple[float, float]:
    """`recurra.Regressor` as it is made, on the cycles left at every cycle."""
    return errors(data, recurra.Regressor().fit(data.X, data.y).predict(data.stopped, steps="last"))


ROW = Row(
    name="engines",
    data="C-MAPSS FD003, remaining cycles",
    split="the challenge's, 100 and 100",
    metrics=(
        Metric("RMSE, cut at 125", reach=12.0, recurrent=16.2),
        Metric("RMSE", reach=13.6),
    ),
    read=read,
    naive=mean,
    simple=boosting,
    ours=regressor,
)
