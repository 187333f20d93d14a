"""`Tails`: how rarely each of some signals is so high by chance, learned while they come.

What counts is what would ring: a signal that passes a level, and none for some steps after it. Above a high level the
heights of these peaks are exponential (Coles 2001, chapter 4), so two sums say how rare any height is, also where none
was so high. They go on in a stream (Siffer et al. 2017, who call it SPOT); what would ring counts only as high as that.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = math.log1p(9.0)  # three deviations, of signals log(1 + squared deviations)
PEAKS, HEIGHT, RATE = 15.0, 0.2, 0.003  # what is taken to be known before: of a normal distribution, about
ROWS, KEPT = 5, 3  # numbers of a signal, and those of them that are learned
TEN = math.log(10)


class Tails:
    """Of S signals: in `numbers` [5, S] their peaks, the sum of the heights of these above the level, the steps, the
    height of the peak that has begun, and for how many steps no other one begins.

    >>> tails = Tails(np.zeros((ROWS, 1))).begin()
    >>> tails.rarity(np.array([LEVEL, LEVEL + HEIGHT * math.log(10)])).round(2).tolist()
    [2.52, 3.52]
    """

    def __init__(self, numbers: Floats) -> None:
        self.numbers = numbers

    def begin(self) -> Tails:
        """With what is known before anything was seen."""
        self.numbers[:] = np.array([PEAKS, PEAKS * HEIGHT, PEAKS / RATE, 0.0, 0.0])[:, None]
        return self

    def rarity(self, signals: Floats) -> Floats:
        """k for each, where a signal is as high once in 10^k steps; negative far below the level."""
        peaks, heights, steps = self.numbers[:3]
        found: Floats = ((signals - LEVEL) * (peaks / heights) + np.log(steps / peaks)) / TEN
        return found

    def learn(self, signals: Floats, known: NDArray[np.bool_], most: float, apart: int) -> None:
        """Count a step: signals [S], which of them are known, the rarity above which nothing counts as rarer."""
        peaks, heights, steps, height, left = self.numbers
        steps += known
        if max(left.max(), signals.max() - LEVEL) <= 0:
            return
        scale = heights / peaks
        highest = np.maximum(scale * (most * TEN - np.log(steps / peaks)), scale)
        above = np.minimum(signals - LEVEL, highest)
        begins = known & (left <= 0) & (above > 0)
        grows = known & (left > 0) & (above > height)
        heights += begins * above + grows * (above - height)
        np.copyto(height, above, where=begins | grows)
        np.maximum(left - 1.0, 0.0, out=left)
        left[begins] = apart - 1.0
        peaks += begins
