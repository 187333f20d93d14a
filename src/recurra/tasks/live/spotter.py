"""`Spotter`: commands and wake words in sound that goes on; no torch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.data.audio.gate import Gate
from recurra.data.audio.resample import Resampler
from recurra.data.audio.sound import checked_samples
from recurra.errors import DataError

BEFORE = 10  # frames before the gate opens that are heard too
LEAST = 20  # frames that are heard before anything is said
SMOOTH = 12  # frames over which a probability is averaged
UNSURE = 1e-7  # a probability is never nearer to 1
FEW = 10  # alarms among which a threshold can be counted off; of fewer, it follows from as many of the highest peaks


class Detection(NamedTuple):
    """A word that was detected: when, in seconds, which, and how probable it is."""

    time: float
    label: str
    probability: float


@dataclass(frozen=True)
class Rate:
    """What a threshold comes to on other sound.

    Attributes:
        threshold: of the probability.
        alarms: detections in that sound.
        hours: of it.
        bound: false alarms an hour, with 95 % fewer than this (Poisson; three in all those hours where there was none).
    """

    threshold: float
    alarms: int
    hours: float
    bound: float


class Spotter:
    """A classifier of sound that listens: every 10 ms the probabilities of its labels, and detections.

    It hears what the gate lets through: where somebody begins to speak, the network begins anew. A word is detected
    where the mean of its last probabilities reaches the threshold (Chen et al. 2014), once for each time the gate
    opens. Steps are frames of 10 ms.

    Args:
        estimator: a `recurra.Classifier` of sound, with `stack` 1.
        threshold: of the probability.
        others: labels that are no words to detect, such as noise.
        gate: where somebody speaks.
        smooth: frames of that mean; the more, the later a word is said, and the less its beginning is taken for
            another.

    Raises:
        DataError: the classifier is none of sound, or its steps are longer.
    """

    def __init__(
        self,
        estimator: Any,
        threshold: float = 0.9,
        others: Sequence[str] = (),
        gate: Gate | None = None,
        smooth: int = SMOOTH,
    ) -> None:
        self.model, self.transform, self.task = estimator.model_, estimator.transform_, estimator.task_
        bank = getattr(self.transform, "bank", None)
        if bank is None or bank.kind != "log-mel" or self.transform.stack != 1:
            raise DataError(
                "a spotter: the model is no classifier of sound by steps of one frame of log-mel energies, expected "
                "recurra.Classifier fitted to recordings"
            )
        if isinstance(smooth, bool) or not isinstance(smooth, int) or not 1 <= smooth <= 100:
            raise DataError(f"a spotter: smooth={smooth!r}, expected a whole number of frames from 1 to 100")
        if not 0 < threshold <= 1:
            raise DataError(f"a spotter: threshold={threshold!r}, expected a number above 0, at most 1")
        labels = [str(label) for label in self.task.labels.tolist()]
        odd = next((name for name in others if name not in labels), None)
        if odd is not None:
            raise DataError(f"a spotter: there is no label {odd!r}, expected some of {', '.join(labels)}")
        self.labels, self.threshold, self.smooth = labels, threshold, smooth
        self.wanted = np.array([k for k, label in enumerate(labels) if label not in others])
        self.gate = gate or Gate()
        self.reset()

    def reset(self) -> None:
        """Another sound begins."""
        self._bank, self._gate = self.transform.bank.live(), self.gate.live()
        self._resampler: Resampler | None = None
        self._before: deque[Any] = deque(maxlen=BEFORE)
        self._recent: deque[Any] = deque(maxlen=self.smooth)
        self._session: Any = None
        self._fired, self._heard, self.frames = False, 0, 0
        self._mean = self.transform.center
        self.probabilities = np.zeros((0, len(self.labels)), np.float32)

    @property
    def bytes(self) -> dict[str, int]:
        """The memory of the whole spotter: the network's numbers, its states, and what is kept of the sound."""
        numbers = sum(a.nbytes for a in self.model.arrays().values())
        states = 4 * (sum(self.model.program().state_widths().values()) + self.smooth * len(self.labels))
        bank = self.transform.bank
        sound = 4 * (bank.window + bank.shift + BEFORE * bank.bins) + self.transform.center.nbytes * 3
        return {"network": numbers, "states": states, "sound": sound, "all": numbers + states + sound}

    def push(self, samples: Any, rate: int | None = None) -> list[Detection]:
        """Take samples: the detections in them. `probabilities` has those of each frame, 0 where the gate is shut.

        Args:
            samples: float32 or int16, of any number.
            rate: samples a second; None: those of training.

        Raises:
            DataError: they are no samples; nothing has changed.
        """
        x, bank = checked_samples(samples), self.transform.bank
        if self._resampler is None:
            self._resampler = Resampler(rate or bank.rate, bank.rate)
        frames = self._bank.push(self._resampler.push(x))
        found, shown = [], np.zeros((len(frames), len(self.labels)), np.float32)
        for i, frame in enumerate(frames):
            said = self._take(frame)
            self.frames += 1
            if said is None:
                continue
            shown[i] = said
            best, level = self._best()
            if not self._fired and level >= self.threshold:
                self._fired = True
                at = ((self.frames - 1) * bank.shift + bank.window) / bank.rate
                found.append(Detection(at, self.labels[best], level))
        self.probabilities = shown
        return found

    def _best(self) -> tuple[int, float]:
        """The most probable word and its mean probability; 0 where another label is more probable, or too soon."""
        mean = np.mean(self._recent, axis=0)
        best = int(self.wanted[mean[self.wanted].argmax()])
        sure = self._heard >= LEAST and len(self._recent) == self.smooth and mean.argmax() == best
        return best, float(mean[best]) if sure else 0.0

    def _take(self, frame: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """The probabilities after a frame, where the gate is open."""
        if not self._gate.push(frame):
            self._session = None
            self._before.append(frame)
            return None
        new = [frame]
        if self._session is None:
            self._session, self._mean, self._heard, self._fired = self.model.session(), self.transform.center, 0, False
            new = [*self._before, frame]
            self._before.clear()
            self._recent.clear()
        steps, hearing = np.stack(new), self.transform
        means = hearing.means(steps, self._heard, self._mean) if hearing.running else None
        rows = hearing.normalised(steps, means)
        self._mean = self._mean if means is None else means[-1]
        self._heard += len(new)
        out: NDArray[np.float32] = self._session.run(rows)[-1]
        self._recent.append(out)
        return out

    def calibrate(self, background: Iterable[Any], an_hour: float = 1.0) -> Rate:
        """Set the least threshold with at most so many detections an hour in sound without the words.

        Where so few come in all of that sound that they cannot be counted off, it is where the tail of the peaks says:
        their logits are exponential above a high level (Coles 2001, chapter 4). Where the network was quite sure of
        more than that, it is above 1 and nothing is ever detected.

        Args:
            background: pieces of samples of one sound at the rate of training, as `stream_sound` gives them.
            an_hour: detections.
        """
        self.reset()
        self.threshold = 1e-300  # every opening counts, with its most probable word
        peaks: list[float] = []
        for piece in background:
            for best in self._peaks(piece):
                if best is None:
                    peaks.append(0.0)
                else:
                    peaks[-1] = max(peaks[-1], best)
        hours = self.frames / 360_000
        self.reset()
        if not hours:
            raise DataError("a spotter: there is no background to hear, expected sound without the words")
        self.threshold = max(0.5, _rarer(peaks, an_hour * hours))
        alarms = sum(peak >= self.threshold for peak in peaks)
        return Rate(self.threshold, alarms, hours, _upper(alarms) / hours)

    def _peaks(self, samples: Any) -> Iterator[float | None]:
        """None where the gate opens, and then the probability of the most probable word, where one may be detected."""
        for frame in self._bank.push(checked_samples(samples)):
            was = self._session is None
            said = self._take(frame)
            self.frames += 1
            if said is None:
                continue
            if was:
                yield None
            level = self._best()[1]
            if level:
                yield level


def _rarer(peaks: Sequence[float], count: float) -> float:
    """The level that so many peaks pass, or are likely to, and no more of these.

    >>> logits = -np.log((np.arange(1000) + 0.5) / 1000)  # exponential
    >>> found = _rarer((1 / (1 + np.exp(-logits))).tolist(), 0.5)
    >>> round(np.log(found / (1 - found)).item(), 1), round(math.log(2000), 1)  # once in two thousand
    (7.6, 7.6)
    """
    highest = np.sort(np.asarray(peaks, np.float64))[::-1]
    least = highest[int(count)] if count < len(highest) else 0.0
    level = float(np.nextafter(np.float32(least), np.float32(2)))
    tail = highest[: FEW + 1][highest[: FEW + 1] > 0]
    if count >= FEW or len(tail) <= FEW or least >= 1:
        return level
    logits = np.log(tail) - np.log1p(-np.minimum(tail, 1 - UNSURE))
    beyond = logits[-1] + float((logits[:-1] - logits[-1]).mean()) * math.log(FEW / count)
    return max(level, 1 / (1 + math.exp(-beyond)))


def _upper(count: int) -> float:
    """The mean of a Poisson number of which so few come with 5 % only, after Wilson and Hilferty.

    >>> round(_upper(0), 2), round(_upper(3), 1)
    (2.97, 7.7)
    """
    n = float(count + 1)
    found: float = n * (1 - 1 / (9 * n) + 1.645 / (3 * n**0.5)) ** 3
    return found
