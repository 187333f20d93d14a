"""`Augment`: recordings as they might have been: faster, louder, in noise; and with parts of the picture left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]


@dataclass
class Augment:
    """How training recordings are changed; 0 turns a change off.

    Args:
        speed: up to so much faster or slower, voice included: 0.1 is 10 %.
        gain: up to so many decibels louder or softer.
        pad: up to so many seconds of perfect silence before it and after it; as often as not none.
        hiss: white noise at 40 dB down to so many decibels below the recording; 0: none.
        warp: up to so much of a shift of frequencies, as a longer or shorter throat makes it (Jaitly and Hinton 2013).
        bands, band: SpecAugment (Park et al. 2019): so many bands of up to so many filters are set to their mean.
        pauses, pause: and so many stretches of up to so many steps, at most a fifth of all.
        copies: so many changed recordings are made of each; epochs take turns with these and the recording itself.
    """

    speed: float = 0.1
    gain: float = 6.0
    pad: float = 0.0
    hiss: float = 15.0
    warp: float = 0.1
    bands: int = 2
    band: int = 6
    pauses: int = 2
    pause: int = 8
    copies: int = 3

    def samples(self, x: F32, rng: np.random.Generator, rate: int) -> F32:
        """A recording [N] changed, of `rate` samples a second."""
        if self.speed:
            factor = 1 + self.speed * rng.uniform(-1, 1)
            at = np.arange(int((len(x) - 1) / factor) + 1) * factor
            x = np.interp(at, np.arange(len(x)), x).astype(np.float32)
        if self.hiss:
            power = float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))
            decibels = rng.uniform(min(self.hiss, 40.0), 40.0)
            x = x + (power * 10 ** (-decibels / 20) * rng.standard_normal(len(x))).astype(np.float32)
        if self.pad:
            before, after = (np.zeros(max(0, int(rate * self.pad * rng.uniform(-1, 1))), np.float32) for _ in range(2))
            x = np.concatenate([before, x, after])
        if self.gain:
            x = x * np.float32(10 ** (self.gain * rng.uniform(-1, 1) / 20))
        return x

    def frames(self, x: F32, rng: np.random.Generator, bins: int) -> F32:
        """Normalised rows [T, k F] changed, F = bins; what is left out is 0, the mean."""
        T = len(x)
        y = x.reshape(T, -1, bins)
        if self.warp:
            factor = 1 + self.warp * rng.uniform(-1, 1)
            at = np.clip(np.arange(bins) * factor, 0, bins - 1)
            low = np.minimum(at.astype(int), bins - 2)
            share = (at - low).astype(np.float32)
            y = y[..., low] * (1 - share) + y[..., low + 1] * share
        else:
            y = y.copy()
        for _ in range(self.bands):
            width = int(rng.integers(0, min(self.band, bins) + 1))
            first = int(rng.integers(0, bins - width + 1))
            y[..., first : first + width] = 0
        for _ in range(self.pauses):
            width = int(rng.integers(0, min(self.pause, T // 5) + 1))
            first = int(rng.integers(0, T - width + 1))
            y[first : first + width] = 0
        return np.ascontiguousarray(y.reshape(T, -1), np.float32)
