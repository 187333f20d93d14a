"""`Trader`: from prices to positions, judged year after year on what it had not seen, after costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from recurra.cells import Cell
from recurra.data import Split
from recurra.data.markets.bars import Bars
from recurra.errors import need
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.checks import check_trading
from recurra.tasks.estimator import Estimator
from recurra.train import Progress

if TYPE_CHECKING:
    pass
from recurra.tasks.trading.task import BP, TARGETS, Trade, table_of_prices


class Trader(Estimator):
    """Positions in one asset or many, after every bar, from the bars so far; and an honest account of their worth.

    Year after year the network learns from the years before and is judged on the year that follows; what it is judged
    on is put together, after costs and a delay, beside the same assets held, momentum and a ridge. Then it is trained
    once more on everything. On daily prices "no edge was found" is the usual answer.

    Args:
        target: "position", trained on log wealth after costs; "return" or "sign" of the next bar, or "variance" of
            tomorrow, from which a position follows.
        cell: a cell or the name of one in the zoo.
        hidden, layers, projection, dropout, epochs, batch, chunk, learning_rate, clip, patience, seed: as those of
            `recurra.tasks.Estimator`.
        cost, slippage: of trading, in basis points of what is traded.
        delay: bars from the close at which a position is known to the close at which it is taken.
        short: whether positions may be below zero.
        volatility: a year, that positions by variance aim at.
        years: before the first that is judged, two at least.
        rolling: whether the first year is left out when one is added.
        embargo: bars between parts, beside those that a target spans.
        tries: how many models, settings and data were tried in all before this one, for the deflated Sharpe ratio.
        refit: whether it is trained on everything in the end.

    Attributes:
        model_, transform_, history_, report_: as those of `recurra.tasks.Estimator`; the history is that of the last
            year that was judged.
        positions_: of the years that were judged, as columns: time, asset, position, and the return that it met.

    >>> import numpy as np, recurra
    >>> rng = np.random.default_rng(0)
    >>> prices = {"close": 100 * np.exp(0.01 * rng.normal(size=900).cumsum())}
    >>> trader = recurra.Trader(hidden=4, epochs=1, years=2, refit=False).fit(prices, evaluate=False)
    >>> sorted(trader.live().step({"close": 101.0}))
    ['position', 'volatility']
    """

    task = Trade
    positions_: dict[str, NDArray[Any]]
    pool, noise, bidirectional = "last", 0.0, False  # what bars have no use for
    parts, channels_first = (0.70, 0.15, 0.15), False

    def __init__(
        self,
        target: str = "position",
        cell: str | Cell = "gru",
        hidden: int = 16,
        layers: int = 1,
        projection: int | None = None,
        dropout: float = 0.2,
        cost: float = 10.0,
        slippage: float = 0.0,
        delay: int = 1,
        short: bool = False,
        volatility: float = 0.15,
        years: int = 5,
        rolling: bool = False,
        embargo: int = 5,
        tries: int = 1,
        refit: bool = True,
        epochs: int | None = None,
        batch: int | None = None,
        chunk: int = 24,
        learning_rate: float = 1e-3,
        clip: float = 1.0,
        patience: int | None = 5,
        seed: int = 0,
    ) -> None:
        self.target = target
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.projection = projection
        self.dropout = dropout
        self.cost = cost
        self.slippage = slippage
        self.delay = delay
        self.short = short
        self.volatility = volatility
        self.years = years
        self.rolling = rolling
        self.embargo = embargo
        self.tries = tries
        self.refit = refit
        self.epochs = epochs
        self.batch = batch
        self.chunk = chunk
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.seed = seed

    def make_task(self) -> Trade:
        """With what is learned, and the account."""
        check_trading(self, TARGETS)
        cost = (float(self.cost) + float(self.slippage)) * BP
        return Trade(
            self.target, cost, self.delay, self.short, self.volatility, self.embargo, int(self.years), self.rolling
        )

    def fit(  # type: ignore[override]
        self,
        prices: Any,
        *,
        time: str | None = None,
        asset: str | None = None,
        columns: Sequence[str] | str | None = None,
        inputs: Sequence[str] = (),
        calendar: str | None = None,
        benchmark: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[Progress], bool] | None = None,
        evaluate: bool = True,
    ) -> Self:
        """Walk forward over the years of a table of prices, and then train on all of it.

        Args:
            prices: a frame, a dict of arrays, or the path of a CSV or Parquet file: bars of one asset, long (a row is a
                bar of an asset), or wide (a column of closes for each asset).
            time: the column of times; None: found by its name.
            asset: the column that says which asset a row is of, in a long table.
            columns: the close; or open, high, low and close, with which variance is that of Parkinson's range; or the
                closes of several assets; None: by their names.
            inputs: more columns that are known at the close of a bar.
            calendar: an exchange (XNYS), as `exchange_calendars` names it, whose sessions are held against the bars.
            benchmark: a table of one more price, to be held beside; it must have the same dates.
            checkpoint, resume, progress, stop, evaluate: as `recurra.tasks.Estimator.fit`; the checkpoint is of the
                last year that is judged.

        Raises:
            SettingError: a parameter is out of range.
            DataError: the prices cannot be used; the message names the row.
            LeakageError: an input knows a return to come.
        """
        need("a trader", "arch", "skfolio", "sklearn", extra="trade")
        given = {"time": time, "asset": asset, "prices": columns, "inputs": list(inputs), "calendar": calendar}
        how = {"checkpoint": checkpoint, "resume": resume, "progress": progress, "stop": stop}
        self._told, self._benchmark = progress, None

        def examples(task: Trade) -> list[Bars]:
            found = task.examples(prices, **given)
            if benchmark is not None:
                from recurra.tasks.trading.accounts import benchmark_of

                self._benchmark = benchmark_of(table_of_prices(benchmark), found)
            return found

        self._fit(examples, evaluate, **how)
        return self._of_source(prices)

    def _report(self, bench: Bench, network: Any, evaluate: bool) -> dict[str, Any]:
        from recurra.tasks.trading.report import judged

        task: Any = bench.task
        report = super()._report(bench, network, False) | {"target": task.target, "accounts": {}}
        if not evaluate:
            return report
        self.positions_, found = judged(bench, self._predictor(), self.recipe(), self, self._benchmark, self._told)
        return report | found

    def predict(self, prices: Any, *, steps: str | None = None) -> dict[str, NDArray[Any]]:  # type: ignore[override]
        """Positions after the last bar of each asset, or with `steps="all"` after all bars, as columns.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the prices cannot be used; the message names the row.
        """
        self._check_fitted()
        columns, clock = self.predictions(prices, steps)
        return columns | {"time": clock.array(columns["time"])}

    @property
    def series_column(self) -> str | None:
        """None: assets are answered together."""
        return None

    def predictions(self, X: Any, origins: str | None = None) -> tuple[dict[str, Any], Any]:
        """The same with times as ticks, and their clock."""
        self._check_fitted()
        found, predictor = self.task_.read(X, self.transform_), self._predictor()
        parts = [(s, 0 if origins == "all" else len(s) - 1) for s in found]
        answers = np.concatenate([predictor.predict(s, start, len(s)) for s, start in parts])
        names = np.array([s.name for s, start in parts for _ in range(start, len(s))], object)
        ticks = np.concatenate([s.ticks[start:] for s, start in parts])
        return {"time": ticks, "asset": names, **self.task_.columns_of(answers)}, found[0].clock

    def backtest(  # type: ignore[override]
        self, prices: Any, *, cost: float | None = None, delay: int | None = None
    ) -> dict[str, Any]:
        """The account of this model, as it is, on other prices than those of `fit`: a report, ready for JSON.

        Nothing is learned. Of prices that it was trained on the report is worth nothing, and says so.

        Args:
            prices: a table with the columns of `fit`.
            cost: in basis points of what is traded; None: as in `fit`.
            delay: bars; None: as in `fit`.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the prices cannot be used; the message names the row.
        """
        from recurra.tasks.trading.report import account_of_model

        self._check_fitted()
        need("a backtest", "arch", extra="trade")
        found = self.task_.read(prices, self.transform_)
        cost_ = self.task_.cost if cost is None else float(cost) * BP
        report = account_of_model(self, found, cost_, self.task_.delay if delay is None else int(delay))
        report["data"]["source"] = Path(prices).name if isinstance(prices, (str, Path)) else ""
        return report

    def predictor(self) -> ModelPredictor:
        """What answers for the model that was kept."""
        return self._predictor()

    def evaluate(self, X: Any, y: Any = None, *, series: str | None = None) -> dict[str, float]:
        """The metrics of the task on other prices, bar by bar, without an account."""
        self._check_fitted()
        found = self.task_.read(X, self.transform_)
        bench = Bench(self.task_, found, [Split(0, 0, len(s)) for s in found], self.transform_)
        truth, answers = bench.predictions(self._predictor(), bench.pieces("test"))
        return {metric.key: metric.value(truth, answers) for metric in self.task_.metrics}

    def score(self, X: Any, y: Any = None) -> float:
        """The first metric on other prices, with a sign so that more is better."""
        values = self.evaluate(X)
        metric = self.task_.metrics[0]
        return -values[metric.key] if metric.less else values[metric.key]
