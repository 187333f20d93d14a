"""`Resampler`: samples at one rate to samples at another, a piece at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.checks import is_whole
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]
CROSSINGS = 10  # zero crossings of the sinc on each side, of the lower rate
BETA = 5.0  # of the Kaiser window
RATES = (1_000, 768_000)  # samples a second


class Resampler:
    """A windowed sinc (Kaiser, beta 5) over ten zero crossings to each side, as `scipy.signal.resample_poly` has it.

    Each sample out is one sum in one order, so pieces of any size give the bits of the whole. A sample out waits for
    the half of the sinc that comes after it, 0.6 ms at 16 kHz; what is still waited for when a file ends is left out.

    Args:
        before, after: samples a second, in and out.

    Raises:
        DataError: a rate is none.

    >>> Resampler(8_000, 16_000).push(np.ones(100, np.float32)).shape
    (180,)
    """

    def __init__(self, before: int, after: int) -> None:
        for rate in (before, after):
            check_rate(rate)
        common = math.gcd(before, after)
        self.before, self.after = before, after
        self.up, self.down = after // common, before // common
        widest = max(self.up, self.down)
        half = CROSSINGS * widest
        at = np.arange(-half, half + 1)
        taps = np.sinc(at / widest) * np.kaiser(2 * half + 1, BETA)
        taps *= self.up / taps.sum()
        self.reach = -(-len(taps) // self.up)  # samples in that one sample out looks at
        padded = np.zeros(self.reach * self.up)
        padded[: len(taps)] = taps
        self.taps = padded.reshape(self.reach, self.up).astype(np.float32)  # [reach, phases]
        self.half = half
        self.same = before == after
        self._past = np.zeros(self.reach, np.float32)  # the samples before the next piece
        self._in = 0  # samples taken
        self._out = 0  # samples given

    def push(self, samples: F32) -> F32:
        """The samples [M] that can be given once these [N] are there."""
        if self.same:
            return samples
        x = np.concatenate([self._past, samples])
        first = self._in - self.reach  # the number of x[0]
        self._in += len(samples)
        # Sample n looks at those up to (n down + half) // up.
        last = ((self._in - 1) * self.up + self.up - 1 - self.half) // self.down
        n = np.arange(self._out, last + 1)
        place = n * self.down + self.half
        phase, newest = place % self.up, place // self.up - first
        y = np.zeros(len(n), np.float32)
        for k in range(self.reach):
            y += self.taps[k, phase] * x[newest - k]
        self._out += len(n)
        self._past = x[len(x) - self.reach :].copy()
        return y

    def state(self) -> dict[str, NDArray[Any]]:
        """All that it remembers."""
        return {"past": self._past.copy(), "counts": np.array([self._in, self._out], np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self._past = np.array(state["past"], np.float32)
        self._in, self._out = (int(v) for v in state["counts"])


def check_rate(rate: object) -> None:
    """Raise DataError unless it is samples a second."""
    low, high = RATES
    if not is_whole(rate, low, high):
        raise DataError(f"the rate is {rate!r} samples a second, expected a whole number from {low} to {high}")
