"""The linear candidate of forecasting: scikit-learn's ridge regression, one for each horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recurra.compare.problem import Array
from recurra.errors import MissingExtraError

if TYPE_CHECKING:
    from recurra.compare.forecast import Ahead

MOST = 20_000  # training origins, evenly spaced where there are more


class Linear:
    """Ridge regressions: scaled forecasts [origins, N] from what the encoder sees at the origin, `window` lags of the
    target, and what the head sees of the horizon.

    Attributes:
        parameters: the coefficients of all horizons.
    """

    def __init__(self, problem: Ahead, window: int) -> None:
        self.problem, self.window = problem, window
        f = problem.features
        width = f.input_size + window + f.ahead_size + f.season_size
        self.weights, self.biases = np.zeros((f.horizon, width), np.float32), np.zeros(f.horizon, np.float32)

    @property
    def parameters(self) -> int:
        """How many coefficients."""
        return int(self.weights.size + self.biases.size)

    def inputs(self, k: int, origins: Array) -> tuple[Array, Array]:
        """What all horizons share [origins, I + window], and what is of each [origins, N, F + S]."""
        f, one = self.problem.features, self.problem.series[k]
        first = max(0, int(origins[0]) - self.window + 1)
        rows = f.rows(one, first, int(origins[-1]) + 1)
        at = origins - first
        lags = at[:, None] - np.arange(self.window)
        target = np.where(lags >= 0, rows[np.maximum(lags, 0), 0], 0)
        beside = rows[at, f.input_size :].reshape(len(at), f.horizon, -1)
        return np.concatenate([rows[at, : f.input_size], target], 1, dtype=np.float32), beside

    def __call__(self, k: int, origins: Array) -> Array:
        """The forecasts of series k after the rows `origins`, which rise."""
        return self.apply(*self.inputs(k, origins))

    def apply(self, shared: Array, beside: Array) -> Array:
        """The forecasts from what `inputs` gave."""
        split = shared.shape[1]
        own = np.einsum("onf,nf->on", beside, self.weights[:, split:])
        result: Array = shared @ self.weights[:, :split].T + own + self.biases
        return result


def fit_linear(problem: Ahead, window: int, alpha: float) -> Linear:
    """Fit on the training origins of all series.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import Ridge
    except ImportError:
        raise MissingExtraError("the linear candidate", "scikit-learn", "compare") from None
    linear = Linear(problem, window)
    found = [(linear.inputs(k, o), problem.truth(k, o)) for k, o in problem.origins("train", MOST)]
    shared, beside = (np.concatenate([inputs[i] for inputs, _ in found]) for i in (0, 1))
    y = np.concatenate([truth for _, truth in found])
    for n in range(problem.features.horizon):
        there = np.isfinite(y[:, n])
        x = np.concatenate([shared[there], beside[there, n]], 1)
        ridge = Ridge(alpha=alpha).fit(x, y[there, n])
        linear.weights[n], linear.biases[n] = ridge.coef_, ridge.intercept_
    return linear
