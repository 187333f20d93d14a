"""Metrics: of any task, and the errors of forecasts, gathered part by part so that the whole need not be in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recurra.runtime.ops.forecast import middle_of

Floats = NDArray[np.floating[Any]]
Keys = NDArray[np.integer[Any]]


class Metric(ABC):
    """One number that says how good answers are.

    Attributes:
        key: in tables and files.
        name: for a reader.
        error: what `units` are, in words.
        less: whether less is better.
        percent: whether it is written in per cent.
    """

    key: ClassVar[str]
    name: ClassVar[str]
    error: ClassVar[str] = ""
    less: ClassVar[bool] = True
    percent: ClassVar[bool] = False

    def better(self, one: float, other: float) -> bool:
        """Whether one value is better than another."""
        return one < other if self.less else one > other

    def text(self, value: float) -> str:
        """A value for a reader."""
        return f"{100 * value:.1f} %" if self.percent else f"{value:.4g}"

    @abstractmethod
    def value(self, truth: Floats, answers: Floats) -> float:
        """Of M answers [M, ...]; what is missing in `truth` [M, ...] is left out."""

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """An error for each answer [M], the less, the better, whose mean is what candidates are compared by.

        Only what can be a task's first metric has it.
        """
        raise TypeError(f"{self.name} is no mean over answers, expected a first metric that is")


class Accuracy(Metric):
    """The share of right labels; truth [M] numbers of labels, answers [M, K] their probabilities.

    >>> Accuracy().value(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """

    key, name, error, less, percent = "accuracy", "accuracy", "share of wrong labels", False, True

    def value(self, truth: Floats, answers: Floats) -> float:
        """One less the mean error."""
        return 1.0 - float(np.nanmean(self.units(truth, answers)))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """1 where the most probable label is wrong; NaN where the right one is not known."""
        return np.where(np.isnan(truth), np.nan, answers.argmax(-1) != truth)


class MacroF1(Metric):
    """The mean over the labels that there are of 2 TP / (2 TP + FP + FN); each counts alike, however rare it is.

    >>> MacroF1().value(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    0.6666666666666666
    """

    key, name, less = "macro_f1", "macro F1", False

    def value(self, truth: Floats, answers: Floats) -> float:
        """As scikit-learn's `f1_score(average="macro")`."""
        there = np.isfinite(truth)
        truth, said = truth[there], answers[there].argmax(-1)
        labels = np.union1d(truth, said)
        return float(
            np.mean([2 * ((said == k) & (truth == k)).sum() / ((said == k).sum() + (truth == k).sum()) for k in labels])
        )


class LogLoss(Metric):
    """The mean of -log p of the right label, p at least 1e-12: how honest the probabilities are."""

    key, name, error = "log_loss", "log loss", "-log of the probability of the right label"

    def value(self, truth: Floats, answers: Floats) -> float:
        """The mean."""
        return float(np.nanmean(self.units(truth, answers)))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Of each answer; NaN where the right label is not known."""
        right = np.nan_to_num(truth).astype(np.int64)
        chosen = np.take_along_axis(answers, right[..., None], -1)[..., 0]
        return np.where(np.isnan(truth), np.nan, -np.log(np.maximum(chosen, 1e-12)))


class RootMeanSquaredError(Metric):
    """sqrt(mean (y - f)^2); truth and answers [M].

    >>> RootMeanSquaredError().value(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.4142135623730951
    """

    key, name, error = "rmse", "RMSE", "squared error"

    def value(self, truth: Floats, answers: Floats) -> float:
        """The root of the mean square of all that is not missing."""
        return float(np.sqrt(np.nanmean(self.units(truth, answers))))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """Squares."""
        return np.asarray((truth - answers) ** 2)


class MeanAbsoluteError(Metric):
    """mean |y - f|; truth and answers [M] or [M, N], or answers [M, N, Q] of which one quantile is the forecast.

    Args:
        middle: which of the quantiles.
    """

    key, name, error = "mae", "MAE", "mean absolute error"

    def __init__(self, middle: int = 0) -> None:
        self.middle = middle

    def value(self, truth: Floats, answers: Floats) -> float:
        """The mean over all that is not missing."""
        return float(np.nanmean(np.abs(truth - self._middle(truth, answers))))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """The mean over what each answer says."""
        off = np.abs(truth - self._middle(truth, answers)).reshape(len(truth), -1)
        known = np.isfinite(off).sum(1)
        return np.where(known > 0, np.nansum(off, 1) / np.maximum(known, 1), np.nan)

    def _middle(self, truth: Floats, answers: Floats) -> Floats:
        return answers if answers.ndim == truth.ndim else answers[..., self.middle]


class R2(Metric):
    """1 - sum (y - f)^2 / sum (y - mean y)^2: 1 is perfect, 0 is no better than the mean."""

    key, name, less = "r2", "R²", False

    def value(self, truth: Floats, answers: Floats) -> float:
        """0 where all of truth is one number."""
        truth, answers = truth[np.isfinite(truth)], answers[np.isfinite(truth)]
        spread = float(((truth - truth.mean()) ** 2).sum())
        return 1.0 - float(((truth - answers) ** 2).sum()) / spread if spread > 0 else 0.0


class Score:
    """Errors of the forecasts of one forecaster; missing targets are left out of all of them.

    Letters: M origins, N horizons, Q quantiles. The middle quantile is the forecast.

        MAE = mean |y - f|
        MASE = mean |y - f| / (mean error of "the same again" in training)      Hyndman and Koehler 2006
        sMAPE = mean 2 |y - f| / (|y| + |f|), a share, 0 where both are 0           Makridakis 1993
        pinball = mean over levels a of max(a (y - q), (a - 1) (y - q))         Koenker and Bassett 1978
        coverage = share of targets from the lowest to the highest quantile

    Args:
        horizon: N.
        levels: of the quantiles; with one, there are no coverage and no pinball.
        groups: how many values each kind of key has: {"hour": 24}.

    >>> score = Score(2, [0.1, 0.5, 0.9])
    >>> forecast = np.array([[[1.0, 2.0, 4.0], [1.0, 3.0, 4.0]]])  # [M, N, Q]
    >>> score.add(np.array([[3.0, 5.0]]), forecast, scale=2.0)
    >>> score.summary()["mae"], score.summary()["mase"], score.summary()["coverage"], score.by_horizon()
    (1.5, 0.75, 0.5, [1.0, 2.0])
    """

    def __init__(self, horizon: int, levels: Sequence[float], groups: Mapping[str, int] | None = None) -> None:
        self.levels = np.asarray(levels, np.float64)
        self.middle = middle_of(levels)
        self.error = np.zeros(horizon)
        self.count = np.zeros(horizon, np.int64)
        self.inside = np.zeros(horizon)
        self.scaled = self.relative = self.tilted = 0.0
        self.groups = {name: (np.zeros(size), np.zeros(size, np.int64)) for name, size in (groups or {}).items()}

    def add(
        self, truth: Floats, forecast: Floats, *, scale: float = 1.0, keys: Mapping[str, Keys] | None = None
    ) -> None:
        """Take in some forecasts.

        Args:
            truth: [M, N], NaN where it is missing.
            forecast: [M, N, Q].
            scale: what MASE divides the error by.
            keys: of each kind a whole number for each target [M, N].
        """
        there = ~np.isnan(truth)
        middle = forecast[..., self.middle]
        error = np.where(there, np.abs(truth - middle), 0.0)
        self.error += error.sum(0)
        self.count += there.sum(0)
        self.scaled += float(error.sum()) / scale
        y, f = truth[there].astype(np.float64), forecast[there].astype(np.float64)
        size = np.abs(y) + np.abs(f[:, self.middle])
        self.relative += float((2 * error[there] / np.where(size > 0, size, 1.0)).sum())
        self.inside += (there & (truth >= forecast[..., 0]) & (truth <= forecast[..., -1])).sum(0)
        over = y[:, None] - f
        self.tilted += float(np.maximum(self.levels * over, (self.levels - 1) * over).mean(1).sum())
        for name, (errors, counts) in self.groups.items():
            key = (keys or {})[name][there]
            errors += np.bincount(key, error[there], len(errors))
            counts += np.bincount(key, minlength=len(counts))

    def summary(self) -> dict[str, float | None]:
        """mae, mase, smape, coverage and pinball; None where there is nothing to say."""
        total = int(self.count.sum())
        if not total:
            return dict.fromkeys(("mae", "mase", "smape", "coverage", "pinball"))
        several = len(self.levels) > 1
        return {
            "mae": float(self.error.sum() / total),
            "mase": self.scaled / total,
            "smape": self.relative / total,
            "coverage": float(self.inside.sum()) / total if several else None,
            "pinball": self.tilted / total if several else None,
        }

    def by_horizon(self) -> list[float | None]:
        """The MAE of each horizon."""
        return _means(self.error, self.count)

    def coverage_by_horizon(self) -> list[float | None]:
        """The share of targets between the outer quantiles, of each horizon."""
        return _means(self.inside, self.count)

    def by(self, group: str) -> list[float | None]:
        """The MAE of each value of a key; None where there was none."""
        return _means(*self.groups[group])


def _means(sums: Floats, counts: Keys) -> list[float | None]:
    return [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]


def naive_scale(values: Floats, season: int) -> float:
    """The mean error of "the same again" one season later: what MASE divides by; 1 where it is 0 or unknown.

    >>> naive_scale(np.array([1.0, 2.0, 3.0, np.nan, 6.0, 4.0]), 2)
    2.5
    """
    errors = np.abs(values[season:] - values[:-season]) if season < len(values) else np.zeros(0)
    errors = errors[~np.isnan(errors)]
    mean = float(errors.mean()) if len(errors) else 0.0
    return mean if mean > 0 else 1.0
