"""`Watcher`: what of a stream is unusual, step by step, and when to ring; nothing here needs labels.

It watches the surprise of a network and the level of the numbers themselves, each averaged over several numbers of
steps. How far such an average is from what it usually is, in deviations that it learns while the stream goes on (Ahmad
et al. 2017), is a signal; the rarest signal says how rare the step is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.detection.tails import KEPT, ROWS, Tails

Floats = NDArray[np.float64]

MOST = 12.0  # rarity ends here: once in 10^12 steps
HEAD = 100  # steps that what was learned in training counts for in a stream
BROKEN = 100.0  # deviations of which a single step may move an average: a broken sensor must not blind it for long
FAR = 30.0  # deviations of which an average may change what is usual
SIGNALS = ("surprise", "level")


@dataclass(frozen=True)
class Watch:
    """What a watcher does, ready for JSON.

    Attributes:
        smooth: the H numbers of steps over which what is watched is averaged, exponentially.
        adapt: steps over which what is usual is learned anew, exponentially; 0: never.
        apart: steps from an alarm before there can be another one.
        rarity: from which on there is an alarm.
        usual: [2, H, 1 + I], the means and variances of averages of the surprise and the I numbers, [2, H, 1] where it
            watches no levels; None before they are known.
        tails: [3, S] of the S signals, H or 2 H, see `Tails`.
    """

    smooth: tuple[int, ...]
    adapt: int
    apart: int
    rarity: float
    usual: Floats | None = None
    tails: Floats | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        own = {"smooth": list(self.smooth), "adapt": self.adapt, "apart": self.apart, "rarity": min(self.rarity, 1e9)}
        learned = {"usual": self.usual, "tails": self.tails}
        return own | {name: None if value is None else value.tolist() for name, value in learned.items()}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        if "usual" not in described:
            raise ValueError(
                "the detector is of a version that watched a surprise alone, whose alarms this one cannot give: fit it "
                "again"
            )
        smooth = tuple(int(h) for h in described["smooth"])
        usual, tails = (np.array(described[name], np.float64) for name in ("usual", "tails"))
        counts = int(described["adapt"]), int(described["apart"])
        found = cls(smooth, *counts, float(described["rarity"]), usual, tails)
        fits = usual.ndim == 3 and usual.shape[:2] == (2, len(smooth)) and usual.size > 0
        fits = fits and tails.shape == (KEPT, _signals(usual)) and bool(tails.min() > 0)
        if not fits or not np.isfinite([found.rarity, *usual.flat, *tails.flat]).all():
            raise ValueError("a watch with numbers that are not finite, not above zero, or too few")
        return found


class Said(NamedTuple):
    """What is said of a step.

    Attributes:
        rarity, anomalous, alarm: how rare it is, whether that is too rare, and whether an alarm begins.
        number: which of the numbers is the farthest from what is usual; None: the network knows which.
        signal, over: what was the rarest, and over how many steps.
    """

    rarity: float
    anomalous: bool
    alarm: bool
    number: int | None
    signal: str
    over: int


class Watcher:
    """One stream, a step at a time; a whole stream goes through the same few lines.

    All that it remembers is in `memory`: averages, and their usual means and variances [H, 1 + I]; how often each
    number was there; the tails; steps since an alarm, the rarity at which it rings, and the greatest rarity since the
    last word of an operator.
    """

    def __init__(self, watch: Watch) -> None:
        assert watch.usual is not None
        self.watch, shape = watch, watch.usual.shape[1:]
        averages, tails = 3 * math.prod(shape), ROWS * _signals(watch.usual)
        self.memory = np.zeros(averages + shape[1] + tails + 3)
        self.short, self.mean, self.variance = self.memory[:averages].reshape(3, *shape)
        self.count = self.memory[averages : averages + shape[1]]
        self.tails = Tails(self.memory[-3 - tails : -3].reshape(ROWS, -1)).begin()
        self.ringing = self.memory[-3:]
        self.ringing[:] = math.inf, watch.rarity, 0.0
        self.all = np.ones(shape[1]), np.ones(_signals(watch.usual), bool)  # where nothing is missing
        self.shares = 1.0 / np.array(watch.smooth, np.float64)[:, None]
        self.mean[:], self.variance[:] = watch.usual
        self.short[:] = self.mean
        self.floor = 1e-18 * self.mean * self.mean + 1e-30  # what is left where nothing varies: rounding
        if watch.tails is not None:
            self.tails.numbers[:KEPT] = watch.tails

    def push(self, values: Floats, learn: bool | None = None) -> Said:
        """Take the surprise of a step and its numbers, [1 + I], NaN where they are not known; or the surprise alone.

        `learn`: whether the tails learn from it; None: where the watcher adapts.
        """
        known, there = self.all
        if (total := values.sum()) != total:
            known = (values == values).astype(np.float64)
            there = np.repeat([known[0], known[1:].any()], len(self.short))[: len(there)] > 0
            values = np.where(known > 0, values, self.short)  # what is missing leaves its average as it is
        deviation = np.sqrt(np.maximum(self.variance, self.floor))
        self.short += _within(values - self.short, BROKEN * deviation) * self.shares
        off = self.short - self.mean
        distance = (off / deviation) ** 2 * known
        signals = [distance[:, 0] * (off[:, 0] > 0)]
        if len(known) > 1:
            signals.append(distance[:, 1:].sum(1) / max(1.0, known[1:].sum()))
        logs = np.log1p(np.concatenate(signals))
        rarities = self.tails.rarity(logs)
        if self.watch.adapt if learn is None else learn:
            self.tails.learn(logs, there, self.watch.rarity + math.log10(len(logs)), self.watch.apart)
        if self.watch.adapt:
            self.count += known
            share = known / np.minimum(self.count + min(HEAD, self.watch.adapt), self.watch.adapt)
            off = _within(off, FAR * deviation)
            self.mean += share * off
            self.variance += share * ((1.0 - share) * off * off - self.variance)
        return self._said(rarities, distance)

    def _said(self, rarities: Floats, distance: Floats) -> Said:
        ringing, kinds = self.ringing, len(self.watch.smooth)
        first = int(rarities.argmax())
        rarity = max(0.0, min(MOST, float(rarities[first]) - math.log10(len(rarities))))
        ringing[0] += 1
        ringing[2] = max(ringing[2], rarity)
        odd = bool(rarity > ringing[1])
        alarm = bool(odd and ringing[0] >= self.watch.apart)
        if odd:
            ringing[0] = 0 if alarm else min(ringing[0], self.watch.apart - 1)
        of, scale = divmod(first, kinds)
        number = int(distance[scale, 1:].argmax()) if of else None
        return Said(rarity, odd, alarm, number, SIGNALS[of], self.watch.smooth[scale])

    def feedback(self, said: str) -> float:
        """What an operator says of the time since the last word: "false": it rang for nothing, and rings from above
        what it rang for; "missed": it should have rung, and rings from just below the rarest step; "right": nothing
        changes. Returns the rarity from which it rings now."""
        ringing = self.ringing
        if said == "false":
            ringing[1] = min(MOST - 0.01, max(ringing[1], ringing[2]) + 0.05)
        elif said == "missed":
            ringing[1] = max(0.0, min(ringing[1], ringing[2] - 0.05))
        ringing[2] = 0.0
        return float(ringing[1])


def _within(x: Floats, most: Floats) -> Floats:
    """Between -most and most."""
    found: Floats = np.maximum(np.minimum(x, most), -most)
    return found


def _signals(usual: Floats) -> int:
    """S of what is usual [2, H, 1 + I]."""
    return len(usual[0]) * min(len(usual[0, 0]), len(SIGNALS))


def learned_of(watch: Watch, streams: Sequence[Floats], firsts: Sequence[int]) -> Watch:
    """With what is usual of streams [T, 1 + I], and the tails of each from its first step on that is to be counted."""
    watch = replace(watch, usual=_usual_of(streams, watch.smooth))
    for values, first in zip(streams, firsts, strict=True):
        watcher = Watcher(watch)
        for t, row in enumerate(values):
            watcher.push(row, learn=t >= first)
        watch = replace(watch, tails=watcher.tails.numbers[:KEPT].copy())
    return watch


def _usual_of(streams: Sequence[Floats], smooth: Sequence[int]) -> Floats:
    """The means and variances [2, H, V] of averages over some steps of what is watched, [T, V] for each stream."""
    lengths = np.array(smooth, np.float64)[:, None]
    seen, mean, squares = np.zeros((3, len(smooth), streams[0].shape[1]))
    for values in streams:
        short, count = np.zeros(mean.shape), np.zeros(mean.shape[1])
        begun = np.minimum(lengths, len(values) // 2)
        for t, row in enumerate(values):
            known = row == row
            count += known
            short += np.where(known, row - short, 0.0) / np.minimum(np.maximum(count, 1.0), lengths)
            counts = (t >= begun) & (count > 0)
            seen += counts
            off = (short - mean) * counts
            mean += off / np.maximum(seen, 1.0)
            squares += off * (short - mean)
    return np.stack([mean, squares / np.maximum(seen, 1.0)])
