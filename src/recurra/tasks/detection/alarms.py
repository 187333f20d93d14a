"""Alarms: how surprising a step was, how rarely a stream without anomalies is so surprising, and when to ring.

Nothing here needs labels. The surprises of steps that a network has not learned from have a tail, which is exponential
above a high level (Coles 2001, chapter 4); it says how often a level is passed by chance, also where none was seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SHARES = (0.998, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.65, 0.5)  # of surprises below the level at which a tail begins
PEAKS, MANY = 8, 20  # that a tail has at least, and that are enough
MOST = 12.0  # rarity ends here: once in 10^12 steps


@dataclass(frozen=True)
class Tail:
    """How rarely a surprise passes a level by chance.

    Attributes:
        level: where the tail begins.
        scale: the mean of what passes it.
        rate: peaks above it in a step.

    >>> tail = Tail(level=2.0, scale=1.0, rate=0.1)
    >>> round(tail.rarity(2.0), 6), round(tail.rarity(2.0 + math.log(10)), 6)
    (1.0, 2.0)
    """

    level: float
    scale: float
    rate: float

    @classmethod
    def of(cls, surprises: Floats, apart: int) -> Self:
        """Of surprises in their order. What counts is what would ring: one that passes the level, and none for `apart`
        steps after it. The tail begins at the highest level that enough of these pass."""
        values = np.asarray(surprises, np.float64)
        apart = min(apart, max(1, len(values) // (2 * PEAKS)))
        tails = [(float(level), _peaks(values, float(level), apart)) for level in np.quantile(values, SHARES)]
        level, peaks = next(tail for enough in (MANY, PEAKS, 0) for tail in tails if len(tail[1]) >= enough)
        spread = max(float(values.std()), 1e-6)
        scale = max(float(np.mean(peaks - level)) if len(peaks) else spread, 0.05 * spread)
        return cls(level, scale, max(len(peaks), 1) / len(values))

    def rarity(self, surprise: float) -> float:
        """k where it is passed once in 10^k steps; below the tail it is that of its beginning at most."""
        k = ((surprise - self.level) / self.scale - math.log(self.rate)) / math.log(10)
        return max(0.0, min(MOST, k))


def _peaks(values: Floats, level: float, apart: int) -> Floats:
    """The greatest value of the `apart` steps from each one on that would ring at a level."""
    found, free = [], 0
    for t in np.flatnonzero(values > level).tolist():
        if t >= free:
            found.append(values[t : t + apart].max())
            free = t + apart
    return np.array(found)


@dataclass(frozen=True)
class Watch:
    """What a watcher does, ready for JSON.

    Attributes:
        smooth: steps over which surprises are averaged, exponentially.
        adapt: steps over which what is usual is learned anew, exponentially; 0: never.
        apart: steps from an alarm before there can be another one.
        rarity: from which on there is an alarm.
        tail: of surprises; None before it is known.
    """

    smooth: int
    adapt: int
    apart: int
    rarity: float
    tail: Tail | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        tail = described["tail"]
        found = cls(
            int(described["smooth"]),
            int(described["adapt"]),
            int(described["apart"]),
            float(described["rarity"]),
            None if tail is None else Tail(**{name: float(tail[name]) for name in ("level", "scale", "rate")}),
        )
        numbers = [found.rarity] + ([] if found.tail is None else list(asdict(found.tail).values()))
        if not all(map(math.isfinite, numbers)) or (found.tail and min(found.tail.scale, found.tail.rate) <= 0):
            raise ValueError("a watch with numbers that are not finite, or not above zero")
        return found


class Watcher:
    """The surprises of one stream, one at a time; a whole stream goes through the same few lines.

    What it remembers is in `memory`: the smoothed surprise, the mean and the deviation of what is usual, steps so far,
    steps since an alarm, the rarity at which it rings, and the greatest rarity since the last word of an operator.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.memory = np.array([0.0, 0.0, 1.0, 0.0, np.inf, watch.rarity, 0.0])

    def level(self, surprise: float) -> float:
        """Take a surprise: how far the smoothed one is above what is usual."""
        m, watch = self.memory, self.watch
        if surprise == surprise:
            m[3] += 1
            m[0] += (surprise - m[0]) / min(m[3], watch.smooth)
        if not watch.adapt:
            return float(m[0])
        found = float((m[0] - m[1]) / math.sqrt(m[2])) if m[3] > 2 else 0.0
        if surprise == surprise:  # after the answer, and what is far off counts only as far as a few deviations
            off = max(-4.0, min(4.0, (m[0] - m[1]) / math.sqrt(m[2]))) * math.sqrt(m[2]) if m[3] > 8 else m[0] - m[1]
            share = 1 / min(m[3], watch.adapt)
            m[1] += share * off
            m[2] = max(1e-6, m[2] + share * (off * off - m[2]))
        return found

    def push(self, surprise: float) -> tuple[float, bool, bool]:
        """Take a surprise: its rarity, whether the step is anomalous, and whether an alarm begins."""
        m = self.memory
        assert self.watch.tail is not None
        rarity = self.watch.tail.rarity(self.level(surprise))
        m[4] += 1
        m[6] = max(m[6], rarity)
        odd = rarity > m[5]
        alarm = bool(odd and m[4] >= self.watch.apart)
        if odd:
            m[4] = 0 if alarm else min(m[4], self.watch.apart - 1)
        return rarity, bool(odd), alarm

    def feedback(self, said: str) -> float:
        """What an operator says of the time since the last word: "false": it rang for nothing, and rings from above
        what it rang for; "missed": it should have rung, and rings from just below the rarest step; "right": nothing
        changes. Returns the rarity from which it rings now."""
        m = self.memory
        if said == "false":
            m[5] = min(MOST - 0.01, max(m[5], m[6]) + 0.05)
        elif said == "missed":
            m[5] = max(0.0, min(m[5], m[6] - 0.05))
        m[6] = 0.0
        return float(m[5])


def surprise_of(z: Sequence[float], output: Sequence[float], squeeze: float) -> tuple[float, int]:
    """How surprising the numbers z [I] of a step are to whom outputs [2 I], means and log deviations, were given; and
    the number that is the most surprising. NaN where nothing is known.

    The mean over the numbers that are there of log(1 + e^2), e the error in predicted deviations.
    """
    total, count, most, where = 0.0, 0, -1.0, 0
    size = len(z)
    for k in range(size):
        if z[k] == z[k]:
            e = (z[k] - output[k]) * math.exp(-max(-squeeze, min(squeeze, output[size + k])))
            one = math.log1p(min(e * e, 1e12))
            total, count = total + one, count + 1
            if one > most:
                most, where = one, k
    return (total / count, where) if count else (math.nan, 0)


def delays(alarms: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """How well alarms find the stretches that are anomalous, of one stream.

    Args:
        alarms: [T], the steps at which one began.
        truth: [T], the steps that are anomalous.

    Returns:
        `events`, `found` of them, the summed `delay` of those in steps, alarms outside (`false`), `steps` outside.

    >>> delays(np.array([0, 1, 0, 0, 1], bool), np.array([0, 0, 0, 1, 1], bool))
    {'events': 1.0, 'found': 1.0, 'delay': 1.0, 'false': 1.0, 'steps': 3.0}
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], truth.astype(np.int8), [0]])))
    found = delay = 0.0
    for start, stop in edges.reshape(-1, 2):
        rung = np.flatnonzero(alarms[start:stop])
        if len(rung):
            found, delay = found + 1, delay + float(rung[0])
    outside = ~truth
    return {
        "events": len(edges) / 2,
        "found": found,
        "delay": delay,
        "false": float((alarms & outside).sum()),
        "steps": float(outside.sum()),
    }
