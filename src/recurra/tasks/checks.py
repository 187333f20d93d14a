"""The parameters of an estimator, checked when it is fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recurra.cells.trace import get
from recurra.checks import is_whole
from recurra.errors import SettingError
from recurra.runtime.ops.branches import MOST_BRANCHES
from recurra.runtime.ops.pool import POOLS

MOST_SIZE = 1 << 14
MAY_BE_ZERO = ("dropout", "noise")


def check_parameters(estimator: Any) -> None:
    """Raise SettingError where a parameter is out of range; the message names it. CellError: no such cell."""
    call = type(estimator).__name__

    def whole(name: str, low: int, high: int, none: bool = False) -> None:
        if not hasattr(estimator, name):
            return
        value = getattr(estimator, name)
        if none and value is None:
            return
        if not is_whole(value, low, high):
            raise SettingError(
                f"{call}: {name}={value!r}, expected a whole number from {low} to {high}{', or None' if none else ''}"
            )

    def real(name: str, low: float, high: float, none: bool = False) -> None:
        value = getattr(estimator, name)
        if none and value is None:
            return
        number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and low <= value < high and (value > low or name in MAY_BE_ZERO)):
            raise SettingError(f"{call}: {name}={value!r}, expected a number above {low:g} and below {high:g}")

    whole("horizon", 1, 10_000)
    whole("hidden", 1, MOST_SIZE)
    whole("layers", 1, 100)
    whole("projection", 1, MOST_SIZE, none=True)
    whole("epochs", 1, 1_000_000, none=True)
    whole("batch", 1, MOST_SIZE, none=True)
    whole("chunk", 1, 100_000)
    whole("patience", 1, 1_000_000, none=True)
    whole("seed", 0, 2**63 - 1)
    whole("members", 1, MOST_BRANCHES)
    real("dropout", 0, 1)
    real("noise", 0, 100, none=True)
    real("learning_rate", 0, 10)
    real("clip", 0, 1e9)
    if hasattr(estimator, "quantiles"):
        check_quantiles(call, estimator.quantiles)
    refit = getattr(estimator, "refit", False)
    if not isinstance(refit, (bool, np.bool_)) and refit not in ("all", "train"):
        raise SettingError(f"{call}: refit={refit!r}, expected 'all' or 'train'")
    pool = getattr(estimator, "pool", None)
    if pool is not None and pool not in POOLS:
        raise SettingError(f"{call}: pool={pool!r}, expected one of {', '.join(POOLS)}")
    cell = get(estimator.cell)
    if estimator.projection is not None and cell.projection is None:
        raise SettingError(f"{call}: projection={estimator.projection}, but {cell.name} has none, expected None")


def check_quantiles(call: str, levels: Any) -> None:
    """Raise SettingError unless the levels rise between 0 and 1 and 0.5 is one of them."""
    try:
        given = [float(level) for level in levels]
    except (TypeError, ValueError):
        given = []
    if 0.5 not in given or given != sorted(set(given)) or not 0 < given[0] <= given[-1] < 1:
        raise SettingError(
            f"{call}: quantiles={levels!r}, expected rising levels between 0 and 1 with 0.5, the forecast, among them, "
            "such as (0.1, 0.5, 0.9)"
        )


def check_trading(trader: Any, targets: tuple[str, ...]) -> None:
    """Raise SettingError where a parameter of a trader is out of range; the message names it."""

    def fails(name: str, expected: str) -> SettingError:
        return SettingError(f"{type(trader).__name__}: {name}={getattr(trader, name)!r}, expected {expected}")

    if trader.target not in targets:
        raise fails("target", f"one of {', '.join(targets)}")
    for name, most in (("cost", 1000), ("slippage", 1000)):
        value = getattr(trader, name)
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value <= most:
            raise fails(name, f"basis points from 0 to {most}")
    for name, low, high in (("delay", 0, 250), ("years", 2, 1000), ("embargo", 0, 250), ("tries", 1, 10**9)):
        value = getattr(trader, name)
        if not is_whole(value, low, high):
            raise fails(name, f"a whole number from {low} to {high}")
    value = trader.volatility
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value <= 10:
        raise fails("volatility", "a share a year above 0, such as 0.15")
