"""`Forecaster`: from a table of numbers to a model that forecasts, live."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from recurra.cells import Cell
from recurra.checks import is_whole
from recurra.data import Series, Split
from recurra.data.forecasting.extend import extended
from recurra.data.table import nearest
from recurra.errors import DataError, NotFittedError, SettingError, need
from recurra.tasks.bench import Bench
from recurra.tasks.estimator import Estimator
from recurra.tasks.forecasting.answer import known_residuals
from recurra.tasks.forecasting.backtest import Forecasts, backtest
from recurra.tasks.forecasting.baselines import LinearAutoregression, Naive
from recurra.tasks.forecasting.begin import beginning
from recurra.tasks.forecasting.residuals import check_paths
from recurra.tasks.forecasting.rivals import chosen_rivals
from recurra.tasks.forecasting.tables import as_it_was_given, forecasts_of
from recurra.tasks.forecasting.task import Forecast
from recurra.train import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from recurra.runtime import Model
    from recurra.tasks.live.base import Live


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
        quantiles: levels, as many as are wanted, with 0.5, the forecast, among them.
        seasons: "auto", or lengths in rows.
        dropout: the share dropped in training.
        epochs: at most so many; None: about 800 updates.
        batch: parallel stretches of the training part; None: up to 16.
        chunk: steps of truncated back-propagation.
        learning_rate, clip, patience: see `recurra.train.Settings`.
        refit: "all": once the report is made, the network is trained again on all rows, with as many updates as
            validation chose, and that one is kept; the report is of the network that had not seen the test part.
            "train": that one is kept.
        parts: the shares of training, validation and test, the last of which may be 0; or the two times at which
            validation and test begin.
        seed: of all chance.
        members: how many networks of other seeds are averaged, quantile by quantile; see `recurra.tasks.Estimator`.

    Attributes:
        series_: the data as series on their step.
        model_: a `recurra.runtime.Model`: `f.model_.session()` steps.
        transform_: what was learned of the data: scales, seasons, the calendar.
        history_: of training, epoch by epoch; of several members the mean.
        report_: how well it does on the test part beside the baselines, as plain lists and numbers.

    >>> import numpy as np, recurra
    >>> t = np.arange(400)
    >>> data = {"y": np.sin(t / 4) + 0.01 * t}
    >>> f = recurra.Forecaster(horizon=4, hidden=8, epochs=2, seasons=(25,)).fit(data, target="y")
    >>> forecast = f.predict()
    >>> forecast["horizon"].tolist(), len(forecast["q0.5"])
    ([1, 2, 3, 4], 4)
    """

    task = Forecast
    series_: list[Series]
    _rivals: bool | str | Sequence[str] = False
    pool, noise = "last", 0.0  # what a forecaster's rows have no use for

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
        parts: Any = (0.70, 0.15, 0.15),
        refit: bool | str = "all",
        seed: int = 0,
        members: int = 1,
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
        self.parts = parts
        self.refit = refit
        self.seed = seed
        self.members = members

    def make_task(self) -> Forecast:
        """With its horizon, levels and seasons."""
        return Forecast(self.horizon, self.quantiles, self.seasons)

    def fit(  # type: ignore[override]
        self,
        data: Any,
        target: str | int | Sequence[str | int] = "0",
        *,
        time: str | None = None,
        known_ahead: Sequence[str] | str = (),
        past: Sequence[str] | str = (),
        series: str | None = None,
        static: Sequence[str] | str = (),
        split: str | None = None,
        zone: str | None = None,
        time_format: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[Progress], bool] | None = None,
        evaluate: bool = True,
        rivals: bool | str | Sequence[str] = False,
        init_model: Forecaster | Model | str | os.PathLike[str] | None = None,
    ) -> Self:
        """Train on a table, and measure the result on its last part.

        Ctrl-C ends training with the best weights so far; `history_.ended` then says "interrupted".

        Args:
            data: a pandas or Polars frame, a dict of arrays, a NumPy array, or the path of a CSV or Parquet file.
            target, time, known_ahead, past, series, static, split, zone, time_format: columns, as
                `recurra.data.series_of` takes them; a split takes the place of `parts`. Each of several targets is
                forecast from its own past by the same network.
            checkpoint: a file that is written after every epoch; of several members each has its own, the others
                with .2, .3 and so on behind its name.
            resume: go on from it, where it is there: the end is the same, to the last bit.
            progress: called after every update and validation, with the best naive error on the validation part.
            stop: asked as often whether to end.
            evaluate: whether to make `report_`, with the linear baseline; without, it has no table.
            rivals: what the report is to have beside the model at some origins: True for all, or some of "trees",
                "ets", "theta", "arima" (the extra `rivals`). One that takes too long is left out, and the report says
                so.
            init_model: a fitted forecaster, a model or its file, from whose weights training begins: for data that have
                changed, or more of them. What it learned of columns, scales and seasons holds for the new table too.

        Raises:
            SettingError: a parameter is out of range.
            DataError: the table cannot be used; the message says where.
            TrainingError, CheckpointError: see `recurra.train`.
        """
        columns = {
            "time": time,
            "known_ahead": known_ahead,
            "past": past,
            "series": series,
            "static": static,
            "split": split,
        }
        columns |= {"zone": zone, "time_format": time_format}
        how = {"checkpoint": checkpoint, "resume": resume, "progress": progress, "stop": stop}
        self._source, self._rivals = data, rivals
        for rival in chosen_rivals(rivals):
            need(f"the rival {rival.name}", *rival.packages, extra="rivals")

        def examples(task: Forecast) -> list[Series]:
            task.begin = beginning(init_model, self.horizon, self.quantiles)
            if task.begin is None:
                self.series_ = task.examples(data, target=target, **columns)
            else:
                self.series_ = task.read(data, task.begin[1])
            return self.series_

        return self._fit(examples, evaluate, **how)._of_source(data)

    def update(self, data: Any) -> Self:
        """Take rows that have come since: `predict()`, `paths()` and `backtest()` go on after them. Nothing is learned.

        Rows of a series begin after its last observed one; those between that are left out are missing. After `load`,
        the first rows are where it begins.

        Args:
            data: as in `predict`: only the new rows.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the table cannot be used, or begins before the rows that are known end; nothing has changed.

        >>> import numpy as np, recurra
        >>> y = np.sin(np.arange(320) / 4)
        >>> f = recurra.Forecaster(horizon=4, hidden=4, epochs=1, seasons=(25,)).fit({"y": y[:300]}, "y")
        >>> after = f.update({"y": y[300:]}).predict()
        >>> bool((after["q0.5"] == f.predict({"y": y})["q0.5"]).all())
        True
        """
        self._check_fitted()
        new = self.task_.read(data, self.transform_)
        self.series_ = extended(getattr(self, "series_", []), new)
        if not hasattr(self, "_source"):
            self._source = data
        return self

    def _report(self, bench: Bench, network: Any, evaluate: bool) -> dict[str, Any]:
        from recurra.tasks.forecasting.beside import beside_rivals, rivals_of
        from recurra.tasks.forecasting.report import build_report, mean_season_weights

        predictor, recipe = self._predictor(), self.recipe()
        baselines = [*Naive.each(bench), LinearAutoregression.fit(bench)] if evaluate else []
        report = build_report(bench, predictor, baselines, self.history_, recipe)
        if evaluate and (rivals := chosen_rivals(self._rivals)):
            report["rivals"] = rivals_of(bench, [predictor, *baselines], rivals)
            report["verdict"] += beside_rivals(report["rivals"], predictor.name)
        return report | ({"trust": mean_season_weights(network, bench)} if evaluate else {})

    def predict(self, data: Any = None, origins: Literal["last", "all"] = "last") -> Any:  # type: ignore[override]
        """Forecasts after the last row of each series that was observed, or after every row.

        They are computed by the model of the runtime, so a live session gives the same bits.

        Args:
            data: as in `fit`, with the same columns; rows after the last observed one may have what is known ahead.
                None: the data of `fit`.
            origins: "last", or "all" rows from the first on.

        Returns:
            A table of the kind that was given (a dict of arrays for arrays and files), one row for each origin and
            horizon: series, target (where there are several), origin, time, horizon, and a column q0.1 and so on for
            each quantile. Times that have a zone have that of the frame, or of training; in arrays, which know no
            zones, they are in UTC, and steps of a day or more are dates.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the table cannot be used.
        """
        self._check_fitted()
        levels = self.task_.quantiles

        def columns(quantiles: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return {f"q{q:g}": quantiles[..., k].reshape(-1) for k, q in enumerate(levels)}

        return self._forecast(data, origins, columns)

    def _forecast(self, data: Any, origins: str, said: Callable[[NDArray[Any]], dict[str, Any]], each: int = 1) -> Any:
        columns = forecasts_of(self._given(data), self._predictor(), origins == "all", said, each)
        return as_it_was_given(columns, self._source if data is None else data, self.transform_)

    def paths(self, data: Any = None, count: int = 100, seed: int = 0) -> Any:
        """Whole futures after the last row of each series, each as likely as any other: for sums over the horizon, the
        largest value within it, or what a store holds in the end.

        At every horizon their spread is that of the quantiles; over the horizon they go together as the errors on the
        validation part did. `LiveForecaster` gives the same ones, by `forecast.paths(count, seed)`.

        Args:
            data: as in `predict`.
            count: how many of each series.
            seed: of all chance.

        Returns:
            A table as `predict` gives, one row for each path and horizon: series, origin, time, horizon, path (from 1)
            and value.

        Raises:
            NotFittedError: before `fit` or `load`.
            SettingError: the count is out of range, or the model is of an earlier version.
            DataError: the table cannot be used.

        >>> import numpy as np, recurra
        >>> data = {"y": np.sin(np.arange(300) / 4)}
        >>> f = recurra.Forecaster(horizon=4, hidden=4, epochs=1, seasons=(25,)).fit(data, target="y", evaluate=False)
        >>> paths = f.paths(count=50)["value"].reshape(50, 4)
        """
        self._check_fitted()
        known, levels = known_residuals(self.task_.residuals), self.task_.quantiles
        check_paths(count, levels)

        def drawn(quantiles: NDArray[Any]) -> dict[str, NDArray[Any]]:
            M, N, _ = quantiles.shape
            values = self.transform_.possible(np.stack([known.paths(one, levels, count, seed) for one in quantiles]))
            return {"path": np.tile(np.repeat(np.arange(1, count + 1), N), M), "value": values.reshape(-1)}

        return self._forecast(data, "last", drawn, count)

    def live(self, adapt: float | None = None) -> Live:
        """A live session: one row in, forecasts out, for any number of series side by side.

        Args:
            adapt: how fast intervals follow how often they hold, 0.005 say; None: they stay as they were calibrated,
                and forecasts have the bits of `predict`. See `recurra.tasks.forecasting.adaptive.Adaptive`.
        """
        session = super().live()
        if adapt is not None:
            session.adapt(adapt)
        return session

    @property
    def series_column(self) -> str | None:
        """The column that names the series of a row."""
        name: str | None = self.transform_.columns.series
        return name

    def predictions(self, X: Any, origins: str | None = None) -> tuple[dict[str, Any], Any]:
        """Forecasts of a file, and the clock of its times."""
        return self.predict(X, "all" if origins == "all" else "last"), self.transform_.clock

    def evaluate(self, data: Any) -> dict[str, float]:  # type: ignore[override]
        """MAE, MASE, sMAPE, coverage and pinball loss over all horizons and origins of a table.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the table cannot be used, or has no value that a forecast could be compared with.
        """
        from recurra.tasks.forecasting.report import score

        series = self._given(data)
        splits = [Split(0, 0, one.observed) for one in series]
        bench = Bench(self.task_, series, splits, self.transform_)
        if not any(np.isfinite(one.target[start + 1 :]).any() for one, start, _ in bench.pieces("test")):
            raise DataError(
                f"evaluate: no series has a value of {series[0].columns.target!r} among rows that can be forecast, "
                f"expected more than {self.task_.horizon} rows, the horizon, with values"
            )
        return {
            name: np.nan if v is None else v for name, v in score(bench, self._predictor(), "test").summary().items()
        }

    def score(self, data: Any) -> float:  # type: ignore[override]
        """Minus the MAE of the median over all horizons and origins of a table: the larger, the better."""
        return -self.evaluate(data)["mae"]

    def backtest(  # type: ignore[override]
        self, data: Any = None, folds: int = 5, refit: bool = False, horizon: int | None = None
    ) -> Forecasts:
        """What would have been forecast at rolling origins: each fold's N rows from the rows before, of each series.

        Args:
            data: as in `predict`; None: the data of `fit`.
            folds: how many, the last of them at the end of the data.
            refit: whether each fold has a model of its own, fitted to the rows before it alone. Else all are by this
                model, and folds within what it was fitted to flatter it: `fit` it to earlier rows, or look at `origin`.
            horizon: steps of a fold, at most N; None: N.

        Raises:
            NotFittedError: before `fit` or `load`.
            SettingError, DataError: folds is out of range, or there are too few rows.

        >>> import numpy as np, recurra
        >>> data = {"y": np.sin(np.arange(300) / 4)}
        >>> f = recurra.Forecaster(horizon=4, hidden=4, epochs=1, seasons=(25,)).fit(data, target="y", evaluate=False)
        >>> tested = f.backtest(folds=3)
        >>> tested.residuals.shape, tested.coverage().shape, len(tested.to_dict()["truth"])
        ((3, 4), (4,), 12)
        """

        def fitted(fold: int, series: Sequence[Series]) -> Any:
            if not refit:
                return self._predictor()
            one = type(self)(**self.get_params())
            one._fit(lambda task: series, False, checkpoint=None, resume=False, progress=None, stop=None)
            return one._predictor()

        series, task = self._given(data), self.task_
        steps = task.horizon if horizon is None else horizon
        if not is_whole(steps, 1, task.horizon):
            raise SettingError(f"backtest: horizon is {horizon!r}, expected a whole number from 1 to {task.horizon}")
        return backtest(series, fitted, folds=folds, horizon=int(steps), levels=task.quantiles)

    def plot(
        self, path: str | os.PathLike[str] | None = None, data: Any = None, folds: int = 4, series: str | None = None
    ) -> Figure:
        """The last forecasts of a series against the truth, with their intervals, by Matplotlib.

        Args:
            path: a file to write, PNG, SVG or PDF by its name; None: none is written.
            data, folds: as in `backtest`; what the model was fitted to flatters it.
            series: which one, by its name; None: the first.

        Returns:
            The figure.

        Raises:
            NotFittedError: before `fit` or `load`.
            MissingExtraError: Matplotlib is not installed.
            SettingError, DataError: as `backtest`; or there is no such series.
        """
        from recurra.report.forecast import backtest_figure

        given = self._given(data)
        one = next((s for s in given if series is None or s.name == series), None)
        if one is None:
            raise DataError(f"plot: there is no series {series!r}; {nearest(str(series), [s.name for s in given])}")
        task, predictor = self.task_, self._predictor()
        tested = backtest([one], lambda *_: predictor, folds=folds, horizon=task.horizon, levels=task.quantiles)
        figure = backtest_figure(one, tested)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def _given(self, data: Any) -> Sequence[Series]:
        self._check_fitted()
        if data is not None:
            found: Sequence[Series] = self.task_.read(data, self.transform_)
            return found
        if not hasattr(self, "series_"):
            raise NotFittedError("predict: a loaded forecaster has no data of its own: pass a table")
        return self.series_
