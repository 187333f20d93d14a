"""`ForecastHead`: quantiles of the time ahead, from a state and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recurra.errors import ShapeError
from recurra.runtime import Forecast, Op
from recurra.runtime.ops.forecast import middle_of

SPREAD = 0.3  # of the quantiles at first, in standard deviations of the target, from one to the next
ENOUGH = 1000  # targets by which one horizon's quantiles are calibrated


class ForecastHead(nn.Module):
    """Quantiles of N horizons from a state h and what is known of each horizon, as `recurra.runtime.Forecast` has it.

        u_n = tanh(A h + e_n + B x_n)
        trust_n = softmax(W u_n + w_n)
        v_n = C u_n + c_n
        middle = trust_n . season_n + D_n . h + v_n[middle]
        the others: outward from there, by k softplus(v_n) from one to the next, so that they never cross

    At first it forecasts the mean of the seasons. `k` is no parameter: `calibrate` sets it after training.

    Args:
        state_size: P, of h.
        horizon: N.
        known: F, numbers known of each horizon.
        seasons: S, values of each horizon one season earlier.
        levels: of the quantiles.
        units: U.
        dropout: the share of h and of u that is dropped in training.

    Raises:
        ShapeError: a size is less than it can be.
    """

    reads = ("future",)

    def __init__(
        self,
        state_size: int,
        horizon: int,
        known: int,
        seasons: int,
        levels: Sequence[float] = (0.1, 0.5, 0.9),
        *,
        units: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(state_size, horizon, seasons, units, known + 1) < 1:
            raise ShapeError(
                f"ForecastHead: sizes {state_size}, {horizon}, {known}, {seasons}, {units} of state, horizon, known "
                "numbers, seasons and units, expected at least 1 of each (0 known numbers)"
            )
        self.levels = tuple(float(level) for level in levels)
        self.middle = middle_of(self.levels)
        self.horizon, self.known, self.seasons = horizon, known, seasons
        N, P, U, F, S, Q = horizon, state_size, units, known, seasons, len(self.levels)
        self.A = nn.Parameter(torch.empty(U, P))
        self.B = nn.Parameter(torch.empty(U, F + S))
        self.e = nn.Parameter(torch.empty(N, U))
        self.W = nn.Parameter(torch.empty(S, U))
        self.w = nn.Parameter(torch.empty(N, S))
        self.C = nn.Parameter(torch.empty(Q, U))
        self.c = nn.Parameter(torch.empty(N, Q))
        self.D = nn.Parameter(torch.empty(N, P))
        self.k: Tensor
        self.register_buffer("k", torch.empty(N, Q))
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw them anew, so that the mean of the seasons is forecast."""
        _uniform(self.A)
        _uniform(self.B)
        self.e.copy_(0.3 * torch.randn_like(self.e))
        _uniform(self.W)
        for zero in (self.w, self.C, self.D):
            zero.zero_()
        self.c.fill_(float(np.log(np.expm1(SPREAD))))
        self.c[:, self.middle] = 0
        self.k.fill_(1)

    @property
    def beside(self) -> int:
        """How many numbers it takes besides h."""
        return self.horizon * (self.known + self.seasons)

    def forward(self, h: Tensor, beside: Tensor) -> Tensor:
        """Quantiles [..., N, Q] from h [..., P] and beside [..., N * (F + S)], horizon after horizon."""
        h = self.dropout(h)
        units, seasons = self._units(h, beside)
        trust = torch.softmax(units @ self.W.T + self.w, -1)
        value = units @ self.C.T + self.c
        middle = (trust * seasons).sum(-1) + h @ self.D.T + value[..., self.middle]
        step = self.k * nn.functional.softplus(value)
        above = middle.unsqueeze(-1) + step[..., self.middle + 1 :].cumsum(-1)
        below = middle.unsqueeze(-1) - step[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, middle.unsqueeze(-1), above], -1)

    def trust(self, h: Tensor, beside: Tensor) -> Tensor:
        """How much of each season is taken, [..., N, S]: shares that add up to 1."""
        shares: Tensor = torch.softmax(self._units(h, beside)[0] @ self.W.T + self.w, -1)
        return shares

    def _units(self, h: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        """u [..., N, U], and the seasons' values [..., N, S]."""
        x = beside.unflatten(-1, (self.horizon, self.known + self.seasons))
        units = torch.tanh((h @ self.A.T).unsqueeze(-2) + self.e + x @ self.B.T)
        if self.training and self.dropout.p:  # the same units for all horizons, so that there is less chance to draw
            units = units * self.dropout(torch.ones_like(units[..., :1, :]))
        return units, x[..., self.known :]

    @torch.no_grad()
    def calibrate(self, quantiles: Tensor, target: Tensor) -> None:
        """Widen or narrow the quantiles so that on these data each has its share of targets below it, at each horizon.

        Split conformal prediction, with distances from the next quantile inwards as scores: the factor of a quantile
        at a horizon is the score that its share of the targets does not exceed, counted as in a sample with one more.
        Where a horizon has fewer than 1,000 targets, those of the horizons around it count with it. Call it with the
        network's own output, as it is, at origins that it was not trained on.

        Args:
            quantiles: [..., N, Q].
            target: [..., N], NaN where it is missing.

        Source:
            Romano, Patterson, Candes, Conformalized Quantile Regression, 2019.
        """
        N, Q = self.horizon, len(self.levels)
        given = quantiles.reshape(-1, N, Q).double().numpy()
        y = target.reshape(-1, N).double().numpy()
        around = _windows(np.isfinite(y).sum(0))
        for sign, outward in ((1, range(self.middle + 1, Q)), (-1, range(self.middle - 1, -1, -1))):
            before = given[..., self.middle]
            for q in outward:
                step = (given[..., q] - given[..., q - sign]) * sign
                share = self.levels[q] if sign > 0 else 1 - self.levels[q]
                scores = (y - before) * sign / np.maximum(step, 1e-12)
                factors = np.array([_conformal(scores[:, first:last], share) for first, last in around])
                before = before + sign * factors * step
                self.k[:, q] *= torch.from_numpy(factors).to(self.k)

    def model_layers(self) -> list[Op]:
        """What it is in a model file."""
        named = {n: np.array(getattr(self, n).detach().cpu().numpy(), order="C") for n in Forecast.shapes}
        return [Forecast(self.levels, **named)]


def _uniform(matrix: Tensor) -> None:
    """Within +-1/sqrt(columns), as nn.Linear's weights."""
    bound = matrix.shape[-1] ** -0.5
    nn.init.uniform_(matrix, -bound, bound)


def _windows(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """For each horizon the first and the end of those that are calibrated together: as few as have enough targets."""
    N, total = len(counts), np.concatenate([[0], np.cumsum(counts)])
    found, reach = [], 0
    for n in range(N):
        reach = max(0, reach - 1)
        while total[min(N, n + reach + 1)] - total[max(0, n - reach)] < ENOUGH and reach < N:
            reach += 1
        found.append((max(0, n - reach), min(N, n + reach + 1)))
    return found


def _conformal(scores: NDArray[np.float64], share: float) -> float:
    """The score that a share of them and one more does not exceed; at least 0, and 1 where there are none."""
    known = scores[np.isfinite(scores)]
    if not len(known):
        return 1.0
    level = min(1.0, np.ceil((len(known) + 1) * share) / len(known))
    return max(0.0, float(np.quantile(known, level, method="inverted_cdf")))
