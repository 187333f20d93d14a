"""What a trader must beat: the assets held, momentum, and a ridge on the same features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from recurra.data.markets.bars import Bars
from recurra.data.markets.tape import FLOOR, each
from recurra.errors import need
from recurra.tasks.baselines import STRENGTHS, Baseline, Floats

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

DECAY = 0.94  # of the exponential mean of variances, as RiskMetrics has it (1996)
YEAR, MONTH = 252, 21
LEAST_BARS = 250  # that a GARCH model is fitted to
PERCENT = 100.0  # in which returns are fitted, as its library wants them


class _Rival(Baseline):
    """A position by a rule; what has no forecast of variance has RiskMetrics' exponential mean."""

    def __init__(self, bench: Bench) -> None:
        self.task: Any = bench.task
        self.transform: Any = bench.transform
        pieces = bench.pieces("train")
        returns = np.concatenate([np.zeros(0), *(bench.task.truth(*piece)[:, 0] for piece in pieces)])
        returns = returns[np.isfinite(returns)]
        self.rises = float(np.mean(returns > 0)) if len(returns) else 0.5

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Nothing but the share of rises is learned."""
        return cls(bench)

    def predict(self, sequence: Bars, start: int, stop: int) -> Floats:
        """[M, 3]."""
        nothing = self.rises if self.task.target == "sign" else 0.0
        signal = np.full(stop - start, nothing)
        return np.stack([self._positions(sequence, start, stop), signal, ewma(sequence, stop)[start:]], 1)

    def _positions(self, sequence: Bars, start: int, stop: int) -> Floats:
        """Positions [M]; everything in, where a rule says nothing else."""
        return np.ones(stop - start)


class Garch(_Rival):
    """GARCH(1, 1) of each asset's returns, by the library `arch`; a position by that variance.

    Where bars have a range, in which variance is measured here, it is scaled by how much wider or narrower that is in
    training.

    Source:
        Bollerslev, Generalized Autoregressive Conditional Heteroskedasticity, 1986.
    """

    key, kind, words, name = "garch", "statistical", "GARCH(1, 1) of past returns", "GARCH(1, 1)"
    packages: ClassVar[tuple[str, ...]] = ("arch",)

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.fitted: dict[str, tuple[float, float, float, float, float]] = {}

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Each asset by itself, to the bars of the training part; with few of them it has RiskMetrics' mean."""
        need(f"the {cls.key} baseline", *cls.packages, extra="trade")
        self = cls(bench)
        for one, split in zip(bench.sequences, bench.splits, strict=True):
            returns = np.diff(one.tape.log[: split.train_end])
            if len(returns) >= LEAST_BARS and returns.std() > 0:
                measured = float(one.tape.last[1 : split.train_end].mean())
                self.fitted[one.name] = _garch(returns, measured)
        self.parameters = 3 * len(self.fitted)
        return self

    def predict(self, sequence: Bars, start: int, stop: int) -> Floats:
        """[M, 3]."""
        variance = self.variance(sequence, stop)[start:]
        nothing = self.rises if self.task.target == "sign" else 0.0
        found: Floats = self.task.placed("variance", np.full(len(variance), nothing), variance, self.transform.ratio)
        return found

    def variance(self, sequence: Bars, stop: int) -> Floats:
        """Of the bar after each of the bars so far, [stop]."""
        if sequence.name not in self.fitted:
            return ewma(sequence, stop)
        omega, alpha, beta, value, scale = self.fitted[sequence.name]
        found = []
        for change in np.diff(sequence.tape.log[:stop], prepend=sequence.tape.log[0]).tolist():
            value = omega + alpha * change * change + beta * value
            found.append(max(scale * value, FLOOR))
        return np.array(found)


def _garch(returns: Floats, measured: float) -> tuple[float, float, float, float, float]:
    """Omega, alpha and beta of returns, the variance to begin with, and what variance is measured as over theirs."""
    from arch import arch_model

    model = arch_model(PERCENT * returns, mean="Zero", vol="GARCH", p=1, q=1)
    params = model.fit(disp="off", show_warning=False).params
    square = float((returns * returns).mean())
    omega, alpha, beta = (float(params[name]) for name in ("omega", "alpha[1]", "beta[1]"))
    return omega / PERCENT**2, alpha, beta, square, measured / square


def ewma(sequence: Bars, stop: int) -> Floats:
    """The exponential mean of the variances of the bars so far, [stop]."""
    found, mean = [], None
    for value in sequence.tape.last[:stop].tolist():
        mean = value if mean is None or mean == 0 else DECAY * mean + (1 - DECAY) * value
        found.append(max(mean, FLOOR))
    return np.array(found)


class Hold(_Rival):
    """Always everything in, whatever the bars say."""

    key, kind, words, name = "hold", "naive", "the assets held", "equal weight"
    parameters = 0


class Momentum(_Rival):
    """In where the price of a month ago is above that of a year ago, else out (Jegadeesh and Titman 1993)."""

    key, kind, words, name = "momentum", "naive", "in after eleven months of rise", "momentum"
    steps: ClassVar[int | None] = YEAR  # type: ignore[misc]

    def _positions(self, sequence: Bars, start: int, stop: int) -> Floats:
        at, log = np.arange(start, stop), sequence.tape.log
        rise = log[np.maximum(at - MONTH, 0)] - log[np.maximum(at - YEAR, 0)]
        low = -1.0 if self.task.short else 0.0
        return np.where(at >= YEAR, np.where(rise > 0, 1.0, low), 0.0)


class MarketRidge(_Rival):
    """Ridge regression of the next return on the same features; its variance is the linear forecast of them."""

    key, kind, words, name = "market_ridge", "linear", "ridge regression on features of past bars", "ridge"
    packages: ClassVar[tuple[str, ...]] = ("sklearn",)
    steps: ClassVar[int | None] = YEAR  # type: ignore[misc]
    model: Any

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """The strength is chosen on the validation part where `params` has none."""
        need(f"the {cls.key} baseline", *cls.packages, extra="train")
        from sklearn.linear_model import Ridge

        self = cls(bench)
        (x, y), (vx, vy) = self._data(bench, "train"), self._data(bench, "valid")
        strengths = STRENGTHS if params is None or "strength" not in params else (params["strength"],)
        models = [Ridge(alpha=len(y) / 100 / s).fit(x, y) for s in strengths]
        self.model = min(models, key=lambda m: float(((m.predict(vx) - vy) ** 2).mean()) if len(vy) else 0.0)
        self.parameters = x.shape[1] + 1
        return self

    @classmethod
    def space(cls, windows: Any) -> dict[str, tuple[Any, ...]]:
        """How strongly it fits."""
        return {"strength": (STRENGTHS[0], 1.0, STRENGTHS[-1])}

    def _data(self, bench: Bench, part: str) -> tuple[Floats, Floats]:
        pieces = bench.pieces(part)
        width = self.transform.input_size
        x = np.concatenate([np.zeros((0, width)), *(self.transform.rows(*piece)[:, :width] for piece in pieces)])
        y = np.concatenate([np.zeros(0), *(bench.task.truth(*piece)[:, 1] for piece in pieces)])
        there = np.isfinite(y)
        return x[there].astype(np.float64), np.clip(y[there], -5, 5)

    def predict(self, sequence: Bars, start: int, stop: int) -> Floats:
        """[M, 3]; by the sign, the probability that a normal number with that mean is above zero."""
        rows = self.transform.rows(sequence, start, stop).astype(np.float64)
        mean = self.model.predict(rows[:, : self.transform.input_size])
        variance = each(np.exp, np.clip(rows[:, -1], -40, 10).tolist())
        rule = "variance" if self.task.target == "variance" else "return"
        found: Floats = self.task.placed(rule, mean, variance, self.transform.ratio)
        if self.task.target == "sign":
            from math import erf

            found[:, 1] = 0.5 * (1 + each(erf, (mean / np.sqrt(2)).tolist()))
        return found
