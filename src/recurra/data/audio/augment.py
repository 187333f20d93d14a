"""`Augment`: recordings as others might have made them, faster, louder, elsewhere; with parts left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
KNOTS = 5  # of the curve that colours a recording


@dataclass
class Augment:
    """How training recordings are changed; 0 turns a change off.

    Args:
        speed: up to so much faster or slower, voice included: 0.1 is 10 %.
        tempo: up to so much faster or slower with the voice as it is, as people are in more or less haste.
        gain: up to so many decibels louder or softer.
        colour: the deviation, in decibels, of a smooth curve over the frequencies, as each microphone and room has one.
        pad: up to so many seconds of perfect silence before it and after it; as often as not none.
        hiss: white noise at 40 dB down to so many decibels below the recording; 0: none.
        warp: up to so much of a shift of frequencies, as a longer or shorter throat makes it (Jaitly and Hinton 2013).
        bands, band: SpecAugment (Park et al. 2019): so many bands of up to so many filters are set to their mean.
        pauses, pause: and so many stretches of up to so many steps, at most a fifth of all.
        copies: so many changed recordings are made of each; epochs take turns with these and the recording itself.
    """

    speed: float = 0.1
    tempo: float = 0.3
    gain: float = 20.0
    colour: float = 3.0
    pad: float = 0.0
    hiss: float = 5.0
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

    def hurried(self, x: F32, rng: np.random.Generator, bins: int) -> F32:
        """Rows [T, k F] in another tempo, F = bins: as many as that takes, between the old ones."""
        frames = x.reshape(-1, bins)
        if not self.tempo or len(frames) < 2:
            return x
        k, factor = x.shape[1] // bins, float(np.exp(np.log1p(self.tempo) * rng.uniform(-1, 1)))
        steps = max(1, round(len(frames) / factor) // k)
        at = np.minimum(np.arange(steps * k) * factor, len(frames) - 1)
        low = np.minimum(at.astype(int), len(frames) - 2)
        share = (at - low).astype(np.float32)[:, None]
        between: F32 = frames[low] * (1 - share) + frames[low + 1] * share
        return between.reshape(steps, k * bins)

    def frames(self, x: F32, rng: np.random.Generator, bins: int, decibel: F32 | None = None) -> F32:
        """Normalised rows [T, k F] changed, F = bins; what is left out is 0, the mean.

        Args:
            x: the rows.
            rng: of all chance.
            bins: F.
            decibel: what a decibel more adds to each number of the rows, [T, k F]; None: there is no colour.
        """
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
        if self.colour and decibel is not None:
            knots = self.colour * rng.standard_normal(KNOTS)
            curve = np.interp(np.linspace(0, KNOTS - 1, bins), np.arange(KNOTS), knots).astype(np.float32)
            y += curve * decibel.reshape(y.shape)
        for _ in range(self.bands):
            width = int(rng.integers(0, min(self.band, bins) + 1))
            first = int(rng.integers(0, bins - width + 1))
            y[..., first : first + width] = 0
        for _ in range(self.pauses):
            width = int(rng.integers(0, min(self.pause, T // 5) + 1))
            first = int(rng.integers(0, T - width + 1))
            y[first : first + width] = 0
        return np.ascontiguousarray(y.reshape(T, -1), np.float32)
