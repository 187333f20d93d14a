"""`Regressor`: a number for a sequence, of any length; live, the number so far after every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.data.split import Split
from recurra.data.transform import Standardize, Transform
from recurra.errors import DataError
from recurra.tasks.base import Floats, Task
from recurra.tasks.baselines import MeanOfTraining, RidgeOnSummaries
from recurra.tasks.estimator import Estimator
from recurra.tasks.metrics import R2, MeanAbsoluteError, RootMeanSquaredError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from recurra.tasks.bench import Bench, ModelPredictor

MOST_SHOWN = 500  # test sequences in the report's picture


class Regress(Task):
    """A number for each sequence, or for each of its steps."""

    name = "regress"
    inputs = ("irregular", "numbers")
    noise = 0.3
    metrics = (RootMeanSquaredError(), MeanAbsoluteError(), R2())
    baselines = (MeanOfTraining, RidgeOnSummaries)

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """The target is scaled too."""
        if self.input.name == "numbers":
            learned: Transform = Standardize.fit(sequences, splits, self.columns, quantity=True)
        else:
            learned = super().transform(sequences, splits)
        train = np.concatenate(
            [np.ravel(s.target) for s, split in zip(sequences, splits, strict=True) if split.train_end]
        )
        if not np.nanmax(train) > np.nanmin(train):
            raise DataError(f"y is {np.nanmax(train):g} in all of training, expected numbers that differ")
        return learned

    def head(self, width: int, transform: Transform, dropout: float) -> nn.Module:
        """A linear layer."""
        from torch import nn

        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 1))

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """The mean squared error, in deviations of the target."""
        there = ~targets.isnan()
        return ((output[..., 0] - targets.nan_to_num()).square() * there).sum() / there.sum().clamp(min=1)

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """In the target's units."""
        found: Floats = transform.target.undo(output[:, 0])
        return found

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The number."""
        return {"value": float(numbers)}

    def columns_of(self, answers: Floats) -> dict[str, Any]:
        """The number."""
        return {"value": answers}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """Truth and answers of the test part, evenly spaced where there are many."""
        truth, answers = bench.predictions(predictor, bench.pieces("test"))
        truth, answers = truth[np.isfinite(truth)], answers[np.isfinite(truth)]
        every = max(1, -(-len(truth) // MOST_SHOWN))
        return [{"kind": "scatter", "truth": truth[::every].tolist(), "answers": answers[::every].tolist()}]


class Regressor(Estimator):
    """Numbers of sequences of numbers, of any length; or of each of their steps.

    A recurrent network reads each sequence; what it gives at the end is a number. The parts are drawn at random, or
    by time or group where these are given. Missing values may be anywhere. A live session gives the number so far
    after every step. Where y has an array for each sequence, the network learns to say the number of every step from
    the steps so far; one that is NaN is not known.

    The arguments are those of `recurra.tasks.Estimator`.

    >>> import numpy as np, recurra
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 7, 1)).cumsum(1)
    >>> model = recurra.Regressor(hidden=8, epochs=60).fit(X, X[:, -1, 0])
    >>> model.score(X, X[:, -1, 0]) > 0.5  # R², as scikit-learn's regressors
    True
    """

    task = Regress
    _estimator_type = "regressor"

    def score(self, X: Any, y: Any = None) -> float:
        """R² on other sequences, as scikit-learn's regressors have it."""
        return self.evaluate(X, y)["r2"]
