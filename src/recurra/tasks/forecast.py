"""`Forecaster`: from a table of numbers to a model that forecasts, live."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from recurra.cells import Cell, from_text
from recurra.data import Features, Series, Table, as_table, read_table, series_of, split_by_time
from recurra.errors import DataError, ModelFileError, NotFittedError
from recurra.runtime import Model, load
from recurra.tasks.baselines import Naive
from recurra.tasks.checks import check_parameters
from recurra.tasks.describe import card_of
from recurra.tasks.estimator import Estimator
from recurra.tasks.evaluate import Bench, Network
from recurra.tasks.frames import as_frame
from recurra.tasks.learn import learn, mean_trust, to_runtime
from recurra.tasks.report import build_report
from recurra.train import History, Progress


class Forecaster(Estimator):
    """A recurrent forecaster of the next N values of one series or many, with intervals.

    An encoder of any cell reads the past; at every step a head gives quantiles of all N horizons, from the state, what
    is known ahead, and the same time one season earlier. The first 70 % of the time is for training, the next 15 % for
    stopping early and for calibrating the intervals, the last 15 % for the report. Scales and seasons come from the
    training part alone. Missing values may be anywhere.

    Args:
        horizon: N, how many steps to forecast.
        cell: a cell or the name of one in the zoo.
        hidden: H, of each layer.
        layers: recurrent layers.
        projection: the size of the output, for a cell that projects it; None: half of hidden.
        quantiles: levels, with 0.5 among them.
        seasons: "auto", or lengths in rows.
        dropout: the share dropped in training.
        epochs: at most so many; None: about 800 updates.
        batch: parallel stretches of the training part; None: up to 16.
        chunk: steps of truncated back-propagation.
        learning_rate, clip, patience: see `recurra.train.Settings`.
        seed: of all chance.

    Attributes:
        series_: the data as series on their step.
        model_: a `recurra.runtime.Model`: `f.model_.session()` steps.
        features_: what was learned of the data: scales, seasons, the calendar.
        history_: of training, epoch by epoch.
        report_: how well it does on the test part beside the baselines, as plain lists and numbers.

    >>> import numpy as np, recurra
    >>> t = np.arange(400)
    >>> data = {"y": np.sin(t / 4) + 0.01 * t}
    >>> f = recurra.Forecaster(horizon=4, hidden=8, epochs=2, seasons=(25,)).fit(data, target="y")
    >>> forecast = f.predict()
    >>> forecast["horizon"].tolist(), len(forecast["q0.5"])
    ([1, 2, 3, 4], 4)
    """

    series_: list[Series]
    model_: Model
    features_: Features
    history_: History
    report_: dict[str, Any]

    def __init__(
        self,
        horizon: int = 24,
        cell: str | Cell = "gru",
        hidden: int = 64,
        layers: int = 1,
        projection: int | None = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        seasons: str | Sequence[int] = "auto",
        dropout: float = 0.2,
        epochs: int | None = None,
        batch: int | None = None,
        chunk: int = 24,
        learning_rate: float = 3e-3,
        clip: float = 1.0,
        patience: int = 10,
        seed: int = 0,
    ) -> None:
        self.horizon = horizon
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.projection = projection
        self.quantiles = quantiles
        self.seasons = seasons
        self.dropout = dropout
        self.epochs = epochs
        self.batch = batch
        self.chunk = chunk
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.seed = seed

    def fit(
        self,
        data: Any,
        target: str | int = "0",
        *,
        time: str | None = None,
        known_ahead: Sequence[str] | str = (),
        past: Sequence[str] | str = (),
        series: str | None = None,
        zone: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        evaluate: bool = True,
    ) -> Self:
        """Train on a table, and measure the result on its last part.

        Ctrl-C ends training with the best weights so far; `history_.ended` then says "interrupted".

        Args:
            data: a pandas or Polars frame, a dict of arrays, a NumPy array, or the path of a CSV or Parquet file.
            target, time, known_ahead, past, series, zone: columns, as `recurra.data.series_of` takes them.
            checkpoint: a file that is written after every epoch.
            resume: go on from it, where it is there: the end is the same, to the last bit.
            progress: called after every update and validation, with the best naive error on the validation part.
            evaluate: whether to make `report_`, with the linear baseline; without, it has no table.

        Raises:
            SettingError: a parameter is out of range.
            DataError: the table cannot be used; the message says where.
            TrainingError, CheckpointError: see `recurra.train`.
        """
        began = clock.perf_counter()
        check_parameters(self)
        self._source = data
        found = series_of(_table(data), target, time=time, known_ahead=known_ahead, past=past, series=series, zone=zone)
        splits = split_by_time(found, horizon=self.horizon)
        features = Features.fit(found, splits, horizon=self.horizon, seasons=self.seasons)
        bench = Bench(features, found, splits, tuple(self.quantiles))
        naives = [Naive(self.horizon, season, features.step) for season in features.seasons]
        scores = [bench.score(naive, "valid").summary()["mae"] for naive in naives]
        baseline = min(score for score in scores if score is not None)
        network, history = learn(self, bench, checkpoint, resume, progress, baseline)
        trained = clock.perf_counter()

        self.model_ = to_runtime(self, network, bench)
        self.features_, self.history_, self.series_ = features, history, found
        self.report_ = build_report(self, bench, naives if evaluate else [], baseline)
        if evaluate:
            self.report_["trust"] = mean_trust(network, bench)
        self.report_["seconds"] = {"training": trained - began, "total": clock.perf_counter() - began}
        self.model_.card = card_of(self, bench)
        return self

    def predict(self, data: Any = None, origins: Literal["last", "all"] = "last") -> Any:
        """Forecasts after the last row of each series that was observed, or after every row.

        They are computed by the model of the runtime, so a live session gives the same bits.

        Args:
            data: as in `fit`, with the same columns; rows after the last observed one may have what is known ahead.
                None: the data of `fit`.
            origins: "last", or "all" rows from the first on.

        Returns:
            A table of the kind that was given (a dict of arrays for arrays and files), one row for each origin and
            horizon: series, origin, time, horizon, and a column q0.1 and so on for each quantile.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the table cannot be used.
        """
        self._check_fitted()
        levels = self._levels()
        parts: list[dict[str, NDArray[Any]]] = []
        for one in self._given(data):
            if not one.observed:
                continue
            start, stop = (0 if origins == "all" else max(0, one.observed - 1)), one.observed
            values = Network(self.model_, self.features_, len(levels), "").forecast(one, start, stop)
            M, N = values.shape[:2]
            ticks = one.step.add(int(one.ticks[0]), np.arange(len(one) + N))
            at = np.arange(start, stop)[:, None] + np.arange(1, N + 1)
            parts.append(
                {
                    "series": np.full(M * N, one.name, dtype=object),
                    "origin": np.repeat(one.time[start:stop], N),
                    "time": one.clock.array(ticks[at].reshape(-1)),
                    "horizon": np.tile(np.arange(1, N + 1), M),
                    **{f"q{level:g}": values[..., q].reshape(-1) for q, level in enumerate(levels)},
                }
            )
        if not parts:
            raise DataError("predict: no row has a target or a past column, expected some observed rows to go on from")
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return as_frame(joined, self._source if data is None else data)

    def score(self, data: Any) -> float:
        """Minus the MAE of the median over all horizons and origins of a table: the larger, the better."""
        self._check_fitted()
        series, levels = self._given(data), self._levels()
        splits = [replace(split, train_end=0, valid_end=0) for split in split_by_time(series, horizon=1)]
        bench = Bench(self.features_, series, splits, levels)
        error = bench.score(Network(self.model_, self.features_, len(levels), ""), "test").summary()["mae"]
        return float("nan") if error is None else -error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, for `load`, `recurra.load` and the command line.

        Raises:
            NotFittedError: before `fit` or `load`.
            OSError: the file cannot be written; what was there is untouched.
        """
        self._check_fitted()
        self.model_.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Forecaster:
        """From a model file; torch is not imported.

        Raises:
            ModelFileError: it is none, or not a forecaster's.
        """
        model = load(path)
        if model.preprocessing.get("task") != "forecast":
            raise ModelFileError(f"{path}: the model is no forecaster, expected one that Forecaster.save wrote")
        features = Features.from_dict(model.preprocessing["features"])
        parameters = dict(model.card.get("parameters", {}))
        known = {name: value for name, value in parameters.items() if name in cls._names()}
        if isinstance(known.get("cell"), str) and known["cell"].lstrip().startswith("def "):
            known["cell"] = from_text(known["cell"])
        self = cls(**known)
        self.horizon, self.quantiles = features.horizon, tuple(model.preprocessing["quantiles"])
        self.model_, self.features_ = model, features
        self.report_ = dict(model.card)
        return self

    def _levels(self) -> tuple[float, ...]:
        return tuple(self.model_.preprocessing["quantiles"])

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError("Forecaster: there is no model yet, expected one: call fit, or Forecaster.load")

    def _given(self, data: Any) -> list[Series]:
        if data is None:
            if not hasattr(self, "series_"):
                raise NotFittedError("predict: a loaded forecaster has no data of its own: pass a table")
            return self.series_
        return self.features_.series_of(_table(data))


def _table(data: Any) -> Table:
    return read_table(data) if isinstance(data, (str, Path)) else as_table(data)
