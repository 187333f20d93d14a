"""`Voice`: a few words from a formant synthesiser, each time a little different, for demos without recordings.

A buzz or noise goes through resonances (Klatt 1980, in small). It is no speech to train for people with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.audio.sound import RATE

F32: TypeAlias = NDArray[np.float32]
# Of each sound: its formants in Hz (Peterson and Barney 1952, rounded), whether it is voiced, its length in seconds and
# how loud it is.
SOUNDS: dict[str, tuple[tuple[float, float, float], bool, float, float]] = {
    "y": ((280, 2200, 2960), True, 0.07, 0.7),
    "e": ((530, 1840, 2480), True, 0.14, 1.0),
    "s": ((4600, 5800, 7000), False, 0.13, 0.25),
    "n": ((270, 1500, 2400), True, 0.13, 0.7),
    "o": ((500, 900, 2400), True, 0.18, 1.0),
    "u": ((310, 870, 2240), True, 0.10, 0.8),
    "t": ((3200, 4300, 5600), False, 0.04, 0.4),
    "p": ((700, 1300, 2500), False, 0.04, 0.3),
    "a": ((730, 1090, 2440), True, 0.16, 1.0),
    "l": ((360, 1000, 2600), True, 0.08, 0.6),
    "f": ((2500, 4500, 6500), False, 0.11, 0.12),
    "g": ((250, 1700, 2300), True, 0.05, 0.4),
    "i": ((270, 2290, 3010), True, 0.14, 0.9),
}
WORDS = {"yes": "yes", "no": "nou", "stop": "stap", "go": "gou", "left": "left", "on": "an"}


class Voice:
    """A speaker: pitch, length of the throat and pace are drawn once, and vary a little from word to word.

    Args:
        seed: of all chance.

    >>> Voice(0).say("yes no").dtype
    dtype('float32')
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 7])
        self.pitch = self.rng.uniform(90, 230)
        self.throat = self.rng.uniform(0.9, 1.15) * (1 + 0.0006 * (self.pitch - 160))
        self.pace = self.rng.uniform(0.85, 1.25)
        self.room = 10 ** self.rng.uniform(-3.2, -2.5)

    def say(self, text: str | Sequence[str], pause: tuple[float, float] = (0.08, 0.3)) -> F32:
        """Words, each after a pause of so many seconds: samples at 16,000 a second."""
        words = text.split() if isinstance(text, str) else text
        parts = [self._pause(*pause)]
        for word in words:
            parts += [self._word(WORDS.get(word, word)), self._pause(*pause)]
        x = np.concatenate(parts)
        return (x + self.room * self.rng.standard_normal(len(x))).astype(np.float32)

    def _pause(self, low: float, high: float) -> NDArray[np.float64]:
        return np.zeros(int(RATE * self.rng.uniform(low, high)))

    def _word(self, sounds: str) -> NDArray[np.float64]:
        known = [SOUNDS[s] for s in sounds]
        counts = [int(RATE * length * self.pace * self.rng.uniform(0.85, 1.15)) for _, _, length, _ in known]
        total = sum(counts)
        at = (np.cumsum([0, *counts])[:-1] + np.cumsum(counts)) / 2  # the middle of each sound
        t = np.arange(total)
        pitch = self.pitch * self.rng.uniform(0.9, 1.1) * (1.08 - 0.16 * t / total)
        phase = np.cumsum(pitch) / RATE
        buzz = 2 * (phase % 1) - 1
        voiced = np.interp(t, at, [1.0 if v else 0.0 for _, v, _, _ in known])
        loud = np.interp(t, at, [loud for *_, loud in known]) * np.minimum(1, np.minimum(t, total - t) / 200)
        source = voiced * buzz + (1 - voiced) * 1.5 * self.rng.standard_normal(total)
        y = np.zeros(total)
        for k, width in enumerate((80.0, 110.0, 160.0)):
            way = np.interp(t, at, [f[k] for f, *_ in known]) * self.throat * self.rng.uniform(0.97, 1.03)
            y += _resonance(source, np.minimum(way, 7600), width * (1 + way / 2500)) / (k + 1)
        y *= loud
        return 0.25 * y / max(1e-9, float(np.abs(y).max()))


def _resonance(x: NDArray[np.float64], f: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two poles whose frequency and width, in Hz, move."""
    r = np.exp(-np.pi * width / RATE)
    b, c = (2 * r * np.cos(2 * np.pi * f / RATE)).tolist(), (-(r**2)).tolist()
    gain = (1 - r).tolist()
    y, y1, y2 = np.empty(len(x)), 0.0, 0.0
    for t, value in enumerate(x.tolist()):
        y2, y1 = y1, gain[t] * value + b[t] * y1 + c[t] * y2
        y[t] = y1
    return y
