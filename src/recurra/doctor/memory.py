"""How far back an input still matters: inputs are changed one step at a time, and the last output compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recurra import engine
from recurra.doctor.walk import Walk

FAINT = 1e-3  # a change below this share of the largest change, at whatever lag, is none
MOST_LAGS = 48
ROWS = 4


@dataclass(frozen=True)
class Memory:
    """What the last output still knows of earlier inputs.

    Attributes:
        lags: steps before the last output.
        changes: the norm of the change of the last output where the input of that step moves by a standard deviation.
        horizon: the longest of those lags at which it changes by more than `FAINT` of the largest change; -1 where
            no input changes it at all.
    """

    lags: list[int]
    changes: list[float]
    horizon: int

    @property
    def complete(self) -> bool:
        """Whether even the first input of the sequence still matters, so that the horizon may be longer."""
        return self.horizon == self.lags[-1]


def memory_of(walk: Walk) -> Memory:
    """Of one layer: from the states before each step, with the native kernels in float64."""
    trace, T = walk.trace, len(walk.trace.x)
    rows = slice(0, ROWS)
    x = trace.x[:, rows]
    moved = shift_of(x)

    def change(lag: int) -> float:
        t = T - 1 - lag
        both = np.concatenate([x[t:], x[t:]], axis=1)
        both[0, : x.shape[1]] += moved
        begin = [np.concatenate([s[rows], s[rows]]) for s in walk.states[t]]
        last = engine.forward(trace.cell, trace.weights, both, begin).output[-1]
        return float(np.linalg.norm(last[: x.shape[1]] - last[x.shape[1] :]))

    return measured(change, T)


def measured(change: Callable[[int], float], steps: int, floor: float = 0.0) -> Memory:
    """From a function that gives the change at a lag; changes up to `floor` are rounding."""
    lags = sorted({*range(min(steps, 8)), *(int(k) for k in np.geomspace(1, steps, MOST_LAGS) - 1), steps - 1})
    changes = [c if (c := change(lag)) > floor else 0.0 for lag in lags]
    faint = FAINT * max(changes)
    return Memory(lags, changes, max((k for k, c in zip(lags, changes, strict=True) if c > faint), default=-1))


def shift_of(x: np.ndarray) -> np.ndarray:
    """One standard deviation of each feature over everything else (1 where it never changes), up and down in turn."""
    deviation = np.std(x, axis=tuple(range(x.ndim - 1)), dtype=np.float64)
    sizes: np.ndarray = np.where(deviation > 0, deviation, 1.0) * np.where(np.arange(x.shape[-1]) % 2, -1.0, 1.0)
    return sizes.astype(x.dtype)
