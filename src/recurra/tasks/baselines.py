"""`Baseline`: what a network must beat; and those of whole sequences: naive answers, linear models of summaries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recurra.errors import need

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

Floats = NDArray[np.float64]

STRENGTHS = (1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2)  # of logistic and ridge regression on summaries: 1 / penalty


class Baseline(ABC):
    """An answer without a network.

    Attributes:
        key: what a comparison calls it.
        kind: "naive", "linear", "statistical" or "trees".
        words: what it is, for a reader.
        name: in tables.
        parameters: how many numbers it has learned.
        packages: the modules that it needs, of the extra `train`.
        steps: how many steps it looks back at; None: all.
    """

    key: ClassVar[str]
    kind: ClassVar[str]
    words: ClassVar[str]
    name: str
    parameters: int = 0
    packages: ClassVar[tuple[str, ...]] = ()
    steps: int | None = None

    @classmethod
    @abstractmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Learn from the training part; what `params` does not say is chosen on the validation part."""

    @classmethod
    def each(cls, bench: Bench) -> list[Self]:
        """All that there are of this kind; by default one."""
        return [cls.fit(bench)]

    @abstractmethod
    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """Answers [M, ...] of the steps start .. stop - 1, as the task's `decode` gives them."""

    @classmethod
    def space(cls, windows: Sequence[int]) -> dict[str, tuple[Any, ...]]:
        """What a comparison tunes: by name a range (least, first, most), or choices, the first one first."""
        return {}

    def live(self, bench: Bench) -> Callable[[], Any]:
        """What one live step costs, to be timed: by default an answer from the whole sequence."""
        sequence = max(bench.sequences, key=len)
        return lambda: self.predict(sequence, len(sequence) - 1, len(sequence))

    def state_bytes(self, bench: Bench) -> int:
        """What must be kept from step to step, beside the transform's own memory."""
        return 0


class MostFrequent(Baseline):
    """The shares of the labels in training, whatever the sequence."""

    key, kind, words = "majority", "naive", "always the most frequent label"
    name = "most frequent label"

    def __init__(self, shares: Floats) -> None:
        self.shares, self.parameters = shares, 1

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Count."""
        labels = np.concatenate([bench.task.truth(*piece) for piece in bench.pieces("train")])
        labels = labels[np.isfinite(labels)].astype(int)
        counts = np.bincount(labels, minlength=len(bench.task.labels))  # type: ignore[attr-defined]
        return cls(counts / counts.sum())

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, K]."""
        return np.tile(self.shares, (stop - start, 1))


class MeanOfTraining(Baseline):
    """The mean target of the training part, whatever the sequence."""

    key, kind, words = "mean", "naive", "always the mean of the training part"
    name = "mean of training"

    def __init__(self, mean: float) -> None:
        self.mean, self.parameters = mean, 1

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Average."""
        return cls(float(np.nanmean(np.concatenate([bench.task.truth(*piece) for piece in bench.pieces("train")]))))

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M]."""
        return np.full(stop - start, self.mean)


class _OnSummaries(Baseline):
    """A linear model of what can be said of a sequence in a few numbers, and of its last steps.

    Of each number of a row the mean, deviation, least, greatest, first, last, mean change and mean size of changes,
    over the steps so far; and the last `window` steps themselves, after zeros where there are fewer.
    """

    kind = "linear"
    packages = ("sklearn",)

    def __init__(self, bench: Bench, window: int) -> None:
        self.transform, self.window = bench.transform, window
        self.model: Any = None

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """The strength is chosen on the validation part where `params` has none; its window is 0 then."""
        need(f"the {cls.key} baseline", *cls.packages, extra="train")
        params = params or {}
        made = cls(bench, params.get("window", 0))
        x, y = made._data(bench, "train")
        strengths = [params["strength"]] if "strength" in params else STRENGTHS
        models = [made._model(strength, x, y) for strength in strengths]
        if len(models) > 1:
            vx, vy = made._data(bench, "valid")
            made.model = min(models, key=lambda model: made._loss(model, vx, vy))
        else:
            made.model = models[0]
        made.parameters = int(made.model[-1].coef_.size + np.size(made.model[-1].intercept_))
        return made

    @classmethod
    def space(cls, windows: Sequence[int]) -> dict[str, tuple[Any, ...]]:
        """How strongly it fits, and how many last steps it sees besides."""
        return {"strength": (STRENGTHS[0], 1.0, STRENGTHS[-1]), "window": (0, *reversed(windows))}

    def _data(self, bench: Bench, part: str) -> tuple[Floats, Floats]:
        pieces = bench.pieces(part)
        x = np.concatenate([self.inputs(*piece) for piece in pieces])
        y = np.concatenate([bench.task.truth(*piece) for piece in pieces])
        return x[np.isfinite(y)], y[np.isfinite(y)]

    def inputs(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, inputs] of the steps start .. stop - 1."""
        rows = self.transform.rows(sequence, 0, stop).astype(np.float64)
        n = np.arange(1, stop + 1)[:, None]
        mean = np.cumsum(rows, 0) / n
        spread = np.sqrt(np.maximum(np.cumsum(rows**2, 0) / n - mean**2, 0))
        change = np.concatenate([np.zeros_like(rows[:1]), np.cumsum(np.abs(np.diff(rows, axis=0)), 0)]) / n
        low, high = np.minimum.accumulate(rows), np.maximum.accumulate(rows)
        first = np.broadcast_to(rows[:1], rows.shape)
        parts = [mean, spread, low, high, first, rows, (rows - first) / n, change, np.log(n)]
        padded = np.concatenate([np.zeros((self.window, rows.shape[1])), rows])
        parts += [padded[self.window - k : len(padded) - k] for k in range(1, self.window)]
        inputs: Floats = np.concatenate(parts, 1)[start:]
        return inputs

    def live(self, bench: Bench) -> Callable[[], Any]:
        """The model alone: summaries are kept up to date by a few additions."""
        sequence = bench.sequences[0]
        x = self.inputs(sequence, len(sequence) - 1, len(sequence))
        return lambda: self.model.predict(x)

    def state_bytes(self, bench: Bench) -> int:
        """The summaries and the window."""
        sequence = bench.sequences[0]
        return 4 * self.inputs(sequence, len(sequence) - 1, len(sequence)).size

    @abstractmethod
    def _model(self, strength: float, x: Floats, y: Floats) -> Any: ...

    @abstractmethod
    def _loss(self, model: Any, x: Floats, y: Floats) -> float: ...


class LogisticOnSummaries(_OnSummaries):
    """Logistic regression on summaries of a sequence."""

    key, words = "logistic", "logistic regression on summaries of the sequence"
    name = "logistic regression"
    labels: int

    def _model(self, strength: float, x: Floats, y: Floats) -> Any:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3)).fit(
            x, y.astype(int)
        )

    def _loss(self, model: Any, x: Floats, y: Floats) -> float:
        from sklearn.metrics import log_loss

        return float(log_loss(y.astype(int), model.predict_proba(x), labels=model.classes_))

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, K]."""
        found: Floats = self.model.predict_proba(self.inputs(sequence, start, stop))
        return found


class RidgeOnSummaries(_OnSummaries):
    """Ridge regression on summaries of a sequence."""

    key, words = "ridge", "ridge regression on summaries of the sequence"
    name = "ridge regression"

    def _model(self, strength: float, x: Floats, y: Floats) -> Any:
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), Ridge(alpha=1 / strength)).fit(x, y)

    def _loss(self, model: Any, x: Floats, y: Floats) -> float:
        return float(((model.predict(x) - y) ** 2).mean())

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M]."""
        found: Floats = self.model.predict(self.inputs(sequence, start, stop))
        return found
