"""`Gate`: where somebody speaks, by the energy above the noise; a simple one that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Gate:
    """Open where the mean of the log-mel energies is `margin` above the noise, and `hold` frames longer.

    The noise is the least energy so far; it rises by `rise` a frame, so that a louder room is learned.

    Args:
        margin: in natural units: 2.3 are 10 dB.
        hold: frames for which it stays open.
        rise: of the noise, a frame.
        least: an energy below which nothing is speech: digital silence with a bit of noise.

    >>> Gate(hold=1).many(np.array([[9.0], [9.0], [14.0], [9.0], [9.0]])).tolist()
    [False, False, True, True, False]
    """

    margin: float = 2.3
    hold: int = 30
    rise: float = 0.005
    least: float = 6.0

    def many(self, frames: Floats) -> NDArray[np.bool_]:
        """Whether it is open at each of the frames [T, F], [T]."""
        live = self.live()
        return np.array([live.push(frame) for frame in frames], bool)

    def live(self) -> LiveGate:
        """The same, a frame at a time."""
        return LiveGate(self)


class LiveGate:
    """A gate and what it remembers: the noise, and how long it is still open."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.noise, self.left = gate, np.inf, 0

    def push(self, frame: Floats) -> bool:
        """Whether it is open at this frame [F] of log-mel energies."""
        energy = float(np.mean(frame, dtype=np.float64))
        self.noise = min(self.noise + self.gate.rise, energy)
        above = energy > max(self.noise + self.gate.margin, self.gate.least)
        self.left = self.gate.hold if above else self.left - 1
        return above or self.left >= 0

    def state(self) -> dict[str, NDArray[Any]]:
        """All that it remembers."""
        return {"gate": np.array([self.noise, self.left], np.float64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self.noise, self.left = float(state["gate"][0]), int(state["gate"][1])
