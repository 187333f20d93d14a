"""`Recommender`: the next item of a session; live, an event in and the best items out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.cells import Cell
from recurra.data.forecasting.clock import Clock
from recurra.errors import SettingError
from recurra.tasks.estimator import Estimator
from recurra.tasks.recommendation.task import LAST, Recommend
from recurra.train import Progress

if TYPE_CHECKING:
    from recurra.tasks.recommendation.live import LiveRecommender


class Recommender(Estimator):
    """The next item of a session: what is bought, heard or read after what came before.

    A recurrent network reads the items one by one (GRU4Rec, Hidasi et al. 2016), with cross entropy over all items and
    one table of items for what is read and what is scored. Rules of which item goes with which, counted in training,
    have a share in the answer that is chosen on the validation part.

    The arguments that are not here are those of `recurra.tasks.Estimator`; `reading` has the settings of
    `recurra.tasks.inputs.items.Items`, such as `{"embedding": 64, "min_count": 5}`.

    Args:
        best: how many items an answer has.
        again: whether items of a session may be recommended again; None: if they came again in training.
        negatives: items that a loss is taken over beside the right one; None: all up to 4,096, of more 2,048 that are
            drawn in each update.
        parts: "last": the last item of each session is the test part and the one before it validation; or shares of
            sessions, in the order of time where it is known.

    >>> import recurra
    >>> sessions = [["milk", "tea", "cake"], ["ale", "nuts", "crisps"]] * 30
    >>> model = recurra.Recommender(hidden=8, epochs=10, best=2, parts=(0.8, 0.1, 0.1)).fit(sessions, evaluate=False)
    >>> str(model.predict([["ale", "nuts"]])[0, 0])
    'crisps'
    """

    task = Recommend
    bidirectional = False
    pool = "last"
    projection: int | None = None
    noise: float | None = None
    channels_first = False

    def __init__(
        self,
        best: int = 10,
        cell: str | Cell = "gru",
        hidden: int = 128,
        layers: int = 1,
        dropout: float = 0.3,
        again: bool | None = None,
        negatives: int | None = None,
        refit: bool = True,
        epochs: int | None = None,
        batch: int | None = None,
        chunk: int = 24,
        learning_rate: float = 3e-3,
        clip: float = 1.0,
        patience: int | None = 3,
        parts: Any = LAST,
        seed: int = 0,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.best = best
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.dropout = dropout
        self.again = again
        self.negatives = negatives
        self.refit = refit
        self.epochs = epochs
        self.batch = batch
        self.chunk = chunk
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.parts = parts
        self.seed = seed
        self.reading = reading

    def make_task(self) -> Recommend:
        """The task, with how many items are wanted."""
        for name, high, none in (("best", 10_000, False), ("negatives", 1 << 24, True)):
            value = getattr(self, name)
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 1 <= value <= high
            if not (whole or (none and value is None)):
                raise SettingError(f"Recommender: {name}={value!r}, expected a whole number from 1 to {high}")
        if self.again not in (None, True, False):
            raise SettingError(f"Recommender: again={self.again!r}, expected True, False or None")
        made: Any = super().make_task()
        made.best, made.asked_again, made.negatives = int(self.best), self.again, self.negatives
        return made  # type: ignore[no-any-return]

    def fit(  # type: ignore[override]
        self,
        X: Any,
        *,
        item: str | None = None,
        series: str | None = None,
        time: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[Progress], bool] | None = None,
        evaluate: bool = True,
    ) -> Self:
        """Train on sessions, and measure the result on what comes last.

        Args:
            X: lists of items; or a table, see `recurra.data.sessions.read_sessions`.
            item, series, time: the columns of items, of users or sessions, and of times; found by usual names.
            checkpoint, resume, progress, stop, evaluate: as `Estimator.fit` has them.

        Raises:
            SettingError: a parameter is out of range.
            DataError: there are too few sessions, or an item or a user is missing; the message says where.
        """
        how = {"checkpoint": checkpoint, "resume": resume, "progress": progress, "stop": stop}
        self._fit(lambda task: task.examples(X, item=item, series=series, time=time), evaluate, **how)
        return self._of_source(X)

    def _found(self, X: Any) -> tuple[Any, list[list[tuple[str, float]]]]:
        """The sessions, and the best items of each."""
        sessions, predictor = self._read(X, None, None), self._predictor()
        return sessions, [predictor.best(s, self.task_.best) for s in sessions]  # type: ignore[attr-defined]

    def predict(self, X: Any, **given: Any) -> NDArray[Any]:
        """The names of the best items after each of some sessions, the best first: [N, best]; None where there are
        fewer.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: there are no sessions.
        """
        _, found = self._found(X)
        names = np.full((len(found), self.task_.best), None, object)
        for row, best in zip(names, found, strict=True):
            row[: len(best)] = [name for name, _ in best]
        return names

    def predictions(self, X: Any, origins: str | None = None) -> tuple[dict[str, Any], Clock]:
        """For `recurra predict`: a row for each item that is recommended.

        Raises:
            SettingError: `origins` is "all".
        """
        if origins == "all":
            raise SettingError("Recommender: origins='all', expected 'last': what is recommended after a whole session")
        sessions, found = self._found(X)
        rows = [(s.name, k + 1, *pair) for s, best in zip(sessions, found, strict=True) for k, pair in enumerate(best)]
        columns = dict(zip(("series", "rank", "item", "score"), map(list, zip(*rows, strict=True)), strict=True))
        of = {"series": object, "rank": np.int64, "item": object, "score": np.float64}
        return {name: np.array(columns[name], kind) for name, kind in of.items()}, Clock("count")

    def evaluate(self, X: Any, y: Any = None, *, series: str | None = None) -> dict[str, float]:
        """All metrics of the item after each one of other sessions."""
        from recurra.data.split import Split
        from recurra.tasks.bench import Bench

        sessions = self._read(X, None, None, targets=True)
        bench = Bench(self.task_, sessions, [Split(0, 0, len(s)) for s in sessions], self.transform_)
        found: dict[str, float] = self.task_.measure(bench, self._predictor(), bench.pieces("test"))
        return found

    def live(self) -> LiveRecommender:
        """Recommendations after each event, for any number of users."""
        self._check_fitted()
        found: LiveRecommender = self.task_.live(self.model_, self.transform_)
        return found
