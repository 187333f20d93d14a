"""`Trend`: a linear forecast from the last values, which the head takes as it takes what was one season earlier."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.runtime.model import Model
from recurra.runtime.ops import Linear
from recurra.runtime.session import Session

F32 = NDArray[np.float32]

LAGS = (8, 96)  # of the shortest window, at least and at most
WINDOWS = (1, 2, 4)  # times as long, of which one is chosen
SHARE = 4  # of a training part at least so many windows
MOST_ROWS = 40_000  # that it is fitted to, evenly spaced
MOST_WEIGHTS = 1 << 24
HELD_OUT = 0.2  # the last share of each series' rows, by which window and penalty are chosen
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean square of a lag


@dataclass(frozen=True, eq=False)
class Trend:
    """The next N values as a weighted sum of the last K, all relative to the last one and to how far it moves.

    The weights are those of a ridge regression on the training part. One row and many have the same bits, for the
    product is that of the runtime.

    Attributes:
        weights: float32 [N, K].
    """

    weights: F32
    model: Model = field(init=False, repr=False)
    session: Session = field(init=False, repr=False)  # it has no state

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", Model([Linear(self.weights, np.zeros(len(self.weights), np.float32))]))
        object.__setattr__(self, "session", self.model.session())

    @property
    def lags(self) -> int:
        """K."""
        return int(self.weights.shape[1])

    @classmethod
    def fit(cls, parts: Sequence[tuple[F32, F32]], horizon: int, windows: Sequence[int]) -> Trend:
        """Of each series the last values [M, K] at some rows, and the values that follow [M, N], NaN where missing.

        The window, of some that rise up to K, and the penalty are those that err least on the last rows of each series;
        the fit is then on all rows.
        """
        lags = parts[0][0].shape[1]
        early, late = _Sums(lags, horizon), _Sums(lags, horizon)
        held: list[tuple[F32, F32]] = []
        for before, after in parts:
            cut = int(len(before) * (1 - HELD_OUT))
            early.add(before[:cut], after[:cut])
            late.add(before[cut:], after[cut:])
            held.append((before[cut:], after[cut:]))
        x, y = (np.concatenate([part[i] for part in held]).astype(np.float64) for i in (0, 1))
        there = ~np.isnan(y).any(1)
        x, y = x[there], y[there]
        if not len(x):
            return cls(early.joined(late).weights(windows[0], PENALTIES[-1]))
        errors = {
            (k, p): float(np.abs(y - x[:, lags - k :] @ early.solved(k, p)).mean()) for k in windows for p in PENALTIES
        }
        window, penalty = min(errors, key=lambda choice: errors[choice])
        if errors[window, penalty] >= float(np.abs(y).mean()):
            return cls(np.zeros((horizon, windows[0]), np.float32))
        return cls(early.joined(late).weights(window, penalty))

    def one(self, lags: F32) -> F32:
        """The forecast [N] from the last values [K]."""
        found: F32 = self.session.step(np.ascontiguousarray(lags))
        return found

    def many(self, lags: F32) -> F32:
        """Forecasts [M, N] from the last values [M, K]."""
        found: F32 = self.model.session().run(np.ascontiguousarray(lags))
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON, to the last bit."""
        content = self.weights.astype("<f4").tobytes()
        return {"shape": list(self.weights.shape), "weights": base64.b64encode(content).decode()}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Trend:
        """From `to_dict`.

        Raises:
            DataError: the weights are not finite, or not as many as the shape says.
        """
        rows, columns = described["shape"]
        content = base64.b64decode(described["weights"], validate=True)
        fits = type(rows) is int and type(columns) is int and rows > 0 and columns > 0 and rows * columns < MOST_WEIGHTS
        if not fits or len(content) != 4 * rows * columns:
            raise DataError("the trend of the model has weights that do not fit its shape: save the model again")
        weights = np.frombuffer(content, "<f4").astype(np.float32).reshape(rows, columns)
        if not np.isfinite(weights).all():
            raise DataError("the trend of the model has weights that are not finite: save the model again")
        return cls(weights)


class _Sums:
    """Sums of products, from which a ridge regression is solved."""

    def __init__(self, lags: int, horizon: int) -> None:
        self.gram, self.moment, self.count = np.zeros((lags, lags)), np.zeros((lags, horizon)), 0

    def add(self, x: F32, y: F32) -> None:
        there = ~np.isnan(y).any(1)
        x64, y64 = x[there].astype(np.float64), y[there].astype(np.float64)
        self.gram += x64.T @ x64
        self.moment += x64.T @ y64
        self.count += len(x64)

    def joined(self, other: _Sums) -> _Sums:
        both = _Sums(len(self.gram), self.moment.shape[1])
        both.gram, both.moment = self.gram + other.gram, self.moment + other.moment
        both.count = self.count + other.count
        return both

    def solved(self, window: int, penalty: float) -> NDArray[np.float64]:
        """Weights [window, N] of the newest lags."""
        first = len(self.gram) - window
        gram, moment = self.gram[first:, first:], self.moment[first:]
        ridge = penalty * max(1e-12, float(np.trace(gram)) / window) + 1e-9
        return np.asarray(np.linalg.solve(gram + ridge * np.eye(window), moment), np.float64)

    def weights(self, window: int, penalty: float) -> F32:
        """The same as a trend has them, [N, window]."""
        return np.ascontiguousarray(self.solved(window, penalty).T, np.float32)


def windows_for(horizon: int, seasons: Sequence[int], longest: int) -> tuple[int, ...]:
    """Windows to choose from: two horizons or the shortest season, and longer ones where a training part has four.

    >>> windows_for(48, (48, 336), 10_000), windows_for(13, (52,), 400), windows_for(4, (), 12)
    ((96, 192, 384), (52,), (8,))
    """
    shortest = int(np.clip(max(2 * horizon, min(seasons, default=0)), *LAGS))
    return (shortest, *(shortest * n for n in WINDOWS[1:] if SHARE * shortest * n <= longest))
