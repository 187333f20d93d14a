"""`Detector`: what is unusual in a stream of numbers, learned without labels; live, an answer after every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.cells import Cell
from recurra.checks import is_whole
from recurra.data.forecasting.clock import Clock
from recurra.errors import SettingError
from recurra.tasks.detection.metrics import delays, of_steps
from recurra.tasks.detection.streams import SPANS
from recurra.tasks.detection.task import SMOOTH, Detect
from recurra.tasks.estimator import Estimator

WAYS = {"forecast": 1, "autoencoder": 0}  # the lag of the rows
MOST_SMOOTH = 8
KEYS = ("events", "found", "delay", "false_alarms", "precision", "recall", "f1", "false_alarm_rate")


class Detector(Estimator):
    """What is unusual in a stream of numbers, learned without labels.

    A recurrent network says at each step what the next one will be, with its deviation, or rebuilds the step that it
    sees (`surprise="autoencoder"`); what is far from that is surprising. That, and the level of the numbers themselves,
    is averaged over some numbers of steps, and compared with what such averages usually are, which it goes on learning.
    How rarely a stream without anomalies is so far from it is learned on the validation part and then from the stream,
    and an alarm rings at what is as rare as was declared. A live session says after every step how rare it was, and
    takes an operator's word on its alarms.

    Args:
        false_alarms, per: so many false alarms in so many steps, or in a "minute", "hour", "day", "week", "month" or
            "year" where `fit` is told the column of times.
        surprise: "forecast", of one step ahead, or "autoencoder".
        smooth: steps over which the surprise and the level are averaged, exponentially: a number, or several, the
            rarest of which counts.
        adapt: steps over which what is usual is learned anew, exponentially, live too; 0: never.
        apart: steps from an alarm before there can be another one.
        levels: whether to watch the level of the numbers besides the surprise; not where it goes anywhere by itself.
        cell, hidden, layers, projection, dropout, noise, epochs, batch, chunk, learning_rate, clip, patience, seed,
            members: as of every estimator.
        parts: the shares of each stream, by time, to learn from, to learn the level from, and to report on.

    >>> import numpy as np, recurra
    >>> x = np.sin(np.arange(600) / 5) + np.random.default_rng(0).normal(0, 0.1, 600)
    >>> model = recurra.Detector(hidden=8, epochs=20, per=1000, seed=1).fit(x)
    >>> live = model.live()
    >>> said = [live.step([v]) for v in x[:100]]
    >>> live.step([4.0])["alarm"]
    True
    """

    task = Detect
    bidirectional, pool, refit, channels_first = False, "last", False, False

    def __init__(
        self,
        false_alarms: float = 1.0,
        per: int | str = 10_000,
        surprise: str = "forecast",
        smooth: int | Sequence[int] = SMOOTH,
        adapt: int = 1000,
        apart: int = 10,
        levels: bool = True,
        cell: str | Cell = "gru",
        hidden: int = 32,
        layers: int = 1,
        projection: int | None = None,
        dropout: float = 0.0,
        noise: float | None = None,
        epochs: int | None = None,
        batch: int | None = None,
        chunk: int = 48,
        learning_rate: float = 3e-3,
        clip: float = 1.0,
        patience: int | None = 10,
        parts: Any = (0.60, 0.25, 0.15),
        seed: int = 0,
        members: int = 1,
    ) -> None:
        self.false_alarms = false_alarms
        self.per = per
        self.surprise = surprise
        self.smooth = smooth
        self.adapt = adapt
        self.apart = apart
        self.levels = levels
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.projection = projection
        self.dropout = dropout
        self.noise = noise
        self.epochs = epochs
        self.batch = batch
        self.chunk = chunk
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.parts = parts
        self.seed = seed
        self.members = members

    def make_task(self) -> Detect:
        """With what it is to watch for."""
        if self.surprise not in WAYS:
            raise SettingError(f"Detector: surprise={self.surprise!r}, expected one of {', '.join(WAYS)}")
        given: Any = self.smooth
        smooth = list(given) if isinstance(given, (list, tuple, np.ndarray)) else [given]
        checked = [("smooth", h, 1) for h in smooth] + [("adapt", self.adapt, 0), ("apart", self.apart, 1)]
        for name, value, low in checked:
            if not is_whole(value, low, 10**9):
                raise SettingError(f"Detector: {name}={value!r}, expected a whole number of steps from {low}")
        if len(set(smooth)) < len(smooth) or not 1 <= len(smooth) <= MOST_SMOOTH:
            raise SettingError(
                f"Detector: smooth={self.smooth!r}, expected a number of steps, or up to {MOST_SMOOTH} different ones"
            )
        number = isinstance(self.per, (int, float, np.number)) and not isinstance(self.per, bool)
        if not (self.per in SPANS if isinstance(self.per, str) else number and float(self.per) >= 1):
            raise SettingError(f"Detector: per={self.per!r}, expected a number of steps, or one of {', '.join(SPANS)}")
        if not (isinstance(self.false_alarms, (int, float, np.number)) and 0 < float(self.false_alarms) < math.inf):
            raise SettingError(f"Detector: false_alarms={self.false_alarms!r}, expected a number above 0")
        per = self.per if isinstance(self.per, str) else float(self.per)
        lengths = tuple(sorted(int(h) for h in smooth))
        counts = int(self.adapt), int(self.apart)
        return Detect(WAYS[self.surprise], float(self.false_alarms), per, lengths, *counts, bool(self.levels))

    def detect(self, X: Any, *, series: str | None = None) -> dict[str, NDArray[Any]]:
        """Every step of one stream or several as columns: series, step (from 1), surprise, rarity (k: once in 10^k
        steps), whether it is anomalous, whether an alarm begins, by which column, and by which signal; in the bits of a
        live session."""
        streams, predictor = self._read(X, None, series), self._predictor()
        found = [self.task_.watched(predictor, s) for s in streams]
        columns = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        lengths = [len(s) for s in streams]
        step = np.concatenate([np.arange(1, n + 1) for n in lengths])
        return {"series": np.repeat(np.array([s.name for s in streams], object), lengths), "step": step, **columns}

    def predict(self, X: Any, *, series: str | None = None, steps: str | None = None) -> Any:
        """Whether each step is anomalous: [T], or a list of these where there are several streams."""
        streams, predictor = self._read(X, None, series), self._predictor()
        found = [self.task_.watched(predictor, s)["anomalous"] for s in streams]
        return found[0] if len(found) == 1 and not isinstance(X, list) else found

    def predictions(self, X: Any, origins: str | None = None) -> tuple[dict[str, Any], Any]:
        """What `detect` says, and a clock that counts."""
        return self.detect(X), Clock("count")

    def evaluate(self, X: Any, y: Any = None, *, series: str | None = None) -> dict[str, float]:
        """How well its alarms find the steps that y says are anomalous.

        Returns:
            `events` (anomalous stretches), the share of them `found` by an alarm that began within, the mean `delay` of
            these in steps, `false_alarms` in as many steps as `per` is; and of single steps `precision`, `recall`, `f1`
            and `false_alarm_rate`.
        """
        streams, predictor = self._read(X, y, series, targets=True), self._predictor()
        totals: dict[str, float] = {}
        said: list[NDArray[np.bool_]] = []
        truth: list[NDArray[np.bool_]] = []
        for s in streams:
            one, known = self.task_.watched(predictor, s), s.target > 0
            for name, value in delays(one["alarm"], known).items():
                totals[name] = totals.get(name, 0.0) + value
            said, truth = [*said, one["anomalous"]], [*truth, known]
        found, events = totals["found"], totals["events"]
        rate = totals["false"] / max(1.0, totals["steps"]) * self.task_.steps_of(self.task_.per)
        return {
            "events": events,
            "found": found / events if events else math.nan,
            "delay": totals["delay"] / found if found else math.nan,
            "false_alarms": rate,
            **of_steps(np.concatenate(said), np.concatenate(truth)),
        }

    def score(self, X: Any, y: Any = None) -> float:
        """F1 of single steps."""
        return self.evaluate(X, y)["f1"]

    @property
    def evaluated(self) -> list[dict[str, Any]]:
        """What `evaluate` gives, for whoever shows it."""
        return [{"key": key, "name": key.replace("_", " "), "less": False, "percent": False} for key in KEYS]
