"""`Hearing`: the transform of sound: a filter bank, frames side by side, and their normalisation; whole or live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from recurra.data.audio.augment import Augment
from recurra.data.audio.filterbank import FilterBank
from recurra.data.audio.recordings import Recording
from recurra.data.audio.resample import Resampler
from recurra.data.audio.sound import checked_samples
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import DataError

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
QUIETEST = 3.0  # deviations below the mean of training; what is quieter, as a file of zeros, counts as that
FARTHEST = 20.0  # normalised numbers end here
DECIBEL = np.log(10) / 10  # in the logarithm of an energy
PRIOR = 1.0  # seconds that the mean of training counts for
MOST_AFTER = 1000  # steps of nothing after a sound
MEMORY = 5.0  # seconds that a running mean looks back, about


@dataclass(frozen=True, eq=False)
class Heard:
    """A recording as a sequence: steps of k frames side by side, before they are normalised.

    Attributes:
        name, group, time: as those of other sequences; the group is the speaker.
        x: float32 [T, k F].
        target: what belongs to it.
        after: steps of nothing after it, in which the network may still speak.
        samples: it was made of; none where it came from another process.
        text: what is said in it.
    """

    name: str
    x: F32
    target: Any
    group: str
    time: float
    samples: F32 | None = None
    text: str = ""
    after: int = 0

    def __len__(self) -> int:
        return len(self.x) + self.after


class Hearing(Transform):
    """Samples to rows: k frames of a filter bank side by side, less their mean, over their deviation.

    The deviation is that of the training part. The mean is, too; or running: it begins as that of training, counts as
    one second, and goes on over about the last five seconds of this sound, so that voices and microphones differ less.

    Args:
        bank: of the frames.
        stack: k, so that a step is k times 10 ms.
        center, scale: [k F], learned.
        running: whether the mean is.
        after: steps of nothing, all zeros, that follow a sound: what is answered there is a look ahead of so long.
    """

    def __init__(
        self, bank: FilterBank, stack: int, center: F64, scale: F64, running: bool = True, after: int = 0
    ) -> None:
        self.bank, self.stack, self.center, self.scale, self.running = bank, stack, center, scale, running
        self.after, self.floor = after, (center - QUIETEST * scale).astype(np.float32)
        self.inputs = tuple(
            f"{bank.kind} {f}" + (f" at {k}" if stack > 1 else "") for k in range(stack) for f in range(bank.bins)
        )
        frames = f", {stack} frames side by side" if stack > 1 else ""
        self.described = (f"{bank.bins} numbers of a {bank.kind} filter bank{frames}",)
        self.input_size = self.row_size = stack * bank.bins
        self.prior, self.memory = (max(1.0, seconds * 100 / stack) for seconds in (PRIOR, MEMORY))
        self.augment: Augment | None = None  # how training changes recordings; not part of a model file
        self._copies: WeakKeyDictionary[Any, dict[int, F32]] = WeakKeyDictionary()
        self._at: WeakKeyDictionary[Any, tuple[int, F64]] = WeakKeyDictionary()  # where the mean of a sequence is

    @classmethod
    def fit(
        cls,
        sequences: Sequence[Heard],
        splits: Sequence[Split],
        bank: FilterBank,
        stack: int,
        running: bool = True,
        after: int = 0,
    ) -> Self:
        """Learn mean and deviation from the training part."""
        train = [s.x[: split.train_end] for s, split in zip(sequences, splits, strict=True) if split.train_end]
        count = sum(len(x) for x in train)
        center = sum(x.sum(0, dtype=np.float64) for x in train) / count
        power = sum(((x - center) ** 2).sum(0) for x in train) / count
        return cls(bank, stack, np.asarray(center), np.maximum(np.sqrt(power), 1e-3), running, after)

    @property
    def milliseconds(self) -> int:
        """Of a step."""
        return 10 * self.stack

    def heard(self, recording: Recording, target: Any = np.nan) -> Heard:
        """A recording as a sequence."""
        x = stacked(self.bank.frames(recording.samples), self.stack)
        speaker = recording.speaker or recording.name
        text = recording.text or ""
        return Heard(recording.name, x, np.asarray(target), speaker, np.nan, recording.samples, text, self.after)

    def rows(self, sequence: Heard, start: int, stop: int) -> F32:
        """See `Transform`."""
        nothing = np.zeros((max(0, stop - max(start, len(sequence.x))), self.row_size), np.float32)
        return np.concatenate([self._rows(sequence, start, min(stop, len(sequence.x))), nothing])

    def _rows(self, sequence: Heard, start: int, stop: int) -> F32:
        if start >= stop or not self.running:
            return self.normalised(sequence.x[start:stop], None)
        at, mean = self._at.get(sequence, (0, self.center))
        if at != start:
            mean = self.means(sequence.x[:start], 0, self.center)[-1] if start else self.center
        means = self.means(sequence.x[start:stop], start, mean)
        if len(means):
            self._at[sequence] = stop, means[-1]
        return self.normalised(sequence.x[start:stop], means)

    def varied(self, sequence: Heard, stop: int, rng: np.random.Generator) -> tuple[F32, F32] | None:
        """See `Transform`; where there is a target for each step, the number of steps stays, unless it is a text."""
        how, y = self.augment, np.asarray(sequence.target)
        if how is None or sequence.samples is None:
            return None
        turn = int(rng.integers(1 + how.copies))
        copies = self._copies.setdefault(sequence, {})
        if not turn and turn not in copies:
            copies[turn] = self._alone(sequence.x)
        if turn not in copies:  # made once, whatever the epoch
            own = np.random.default_rng([turn, len(sequence.samples), stop])
            kept = replace(how, speed=0.0, pad=0.0) if y.ndim and not sequence.text else how
            made = stacked(self.bank.frames(kept.samples(sequence.samples, own, self.bank.rate)), self.stack)
            copies[turn] = self._alone(made if self._holds(made, sequence) else sequence.x)
        rows = copies[turn]
        if sequence.text or not y.ndim:
            hurried = how.hurried(rows, rng, self.bank.bins)
            rows = hurried if self._holds(hurried, sequence) else rows
        rows = how.frames(rows, rng, self.bank.bins, self.decibel(len(rows)) if how.colour else None)
        rows = np.concatenate([rows, np.zeros((sequence.after, self.row_size), np.float32)])
        targets = self.targets(sequence, 0, stop)
        if len(rows) == len(targets):
            return rows, targets if y.ndim else targets[-1:]
        if not y.ndim:
            return rows, targets[-1:]
        letters = targets[targets >= 0]
        return rows, np.concatenate([letters, np.full(len(rows) - len(letters), -1.0, np.float32)])

    @staticmethod
    def _holds(rows: F32, sequence: Heard) -> bool:
        """Whether so many rows are enough for what is said in a sequence."""
        y = np.asarray(sequence.target)
        return bool(len(rows) + sequence.after >= 1.2 * (y >= 0).sum()) if y.ndim else len(rows) > 0

    def decibel(self, steps: int) -> F32:
        """What a decibel more from the first step on adds to each number of the rows, [T, k F]; a running mean takes
        it off by and by."""
        left = np.ones(steps)
        if self.running:
            left = np.cumprod(1 - 1 / np.minimum(self.prior + np.arange(1, steps + 1), self.memory + self.prior))
        each: F32 = (left[:, None] * (DECIBEL / self.scale)).astype(np.float32)
        return each

    def _alone(self, x: F32) -> F32:
        """Steps of a whole sound normalised."""
        return self.normalised(x, self.means(x, 0, self.center) if self.running else None)

    def means(self, x: F32, step: int, mean: F64) -> F64:
        """The running means [T, k F] after each step of x, the first of which is number `step`; before it is `mean`."""
        heard = np.asarray((x > self.floor).any(-1))  # perfect silence says nothing of a voice or a room
        x, out = np.maximum(x, self.floor), np.empty(x.shape, np.float64)
        for t in range(len(x)):
            if heard[t]:
                mean = mean + (x[t] - mean) / min(self.prior + step + t + 1, self.memory + self.prior)
            out[t] = mean
        return out

    def normalised(self, x: F32, means: F64 | None) -> F32:
        """[T, k F]."""
        z = (np.maximum(x, self.floor) - (self.center if means is None else means)) / self.scale
        return np.clip(z, -FARTHEST, FARTHEST).astype(np.float32)

    def targets(self, sequence: Heard, start: int, stop: int) -> F32:
        """See `Transform`; the target of a whole sequence is that of its last step."""
        y = np.asarray(sequence.target, np.float32)
        if y.ndim == 0:
            y = np.concatenate([np.full(len(sequence) - 1, np.nan, np.float32), y[None]])
        return y[start:stop]

    def live(self, name: str = "") -> LiveHearing:
        """See `Transform`."""
        return LiveHearing(self)

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {
            "input": "audio",
            "bank": self.bank.to_dict(),
            "stack": self.stack,
            "running": self.running,
            "after": self.after,
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        try:
            bank, stack = FilterBank.from_dict(described["bank"]), int(described["stack"])
            center, scale = (np.array(described[name], np.float64) for name in ("center", "scale"))
            running, after = bool(described["running"]), int(described.get("after", 0))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the model's transform is unreadable ({error}): save the model again") from error
        right = 1 <= stack <= 32 and 0 <= after <= MOST_AFTER and center.shape == scale.shape == (stack * bank.bins,)
        if not (right and np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise DataError("the model's transform contradicts itself: save the model again")
        return cls(bank, stack, center, scale, running, after)


class LiveHearing:
    """Rows as samples come; what it remembers is less than a step, and a mean.

    Args:
        hearing: its settings.
    """

    def __init__(self, hearing: Hearing) -> None:
        self.hearing, self.bank = hearing, hearing.bank.live()
        self.resampler: Resampler | None = None
        self.step, self.mean = 0, hearing.center
        self.waiting = np.zeros((0, hearing.bank.bins), np.float32)  # frames of a step that is not whole
        self.frames = self.waiting  # those of the last push, for a gate

    def push(self, x: Any, rate: int | None = None) -> F32:
        """The rows [n, R] of the steps that are whole once these samples are there; n may be 0.

        Args:
            x: samples, float32 or int16, of any number.
            rate: of the samples; None: that of training.

        Raises:
            DataError: they are no samples, or have another rate than those before; nothing has changed.
        """
        x, hearing = checked_samples(x), self.hearing
        rate = hearing.bank.rate if rate is None else rate
        if self.resampler is None:
            self.resampler = Resampler(rate, hearing.bank.rate)
        if self.resampler.before != rate:
            raise DataError(
                f"samples: {rate} a second, expected {self.resampler.before} as before: end the sound first"
            )
        self.frames = self.bank.push(self.resampler.push(x))
        frames = np.concatenate([self.waiting, self.frames])
        whole = len(frames) // hearing.stack
        self.waiting = frames[whole * hearing.stack :].copy()
        steps = stacked(frames, hearing.stack)
        if not hearing.running:
            return hearing.normalised(steps, None)
        means = hearing.means(steps, self.step, self.mean)
        if whole:
            self.step, self.mean = self.step + whole, means[-1]
        return hearing.normalised(steps, means)

    def state(self) -> dict[str, NDArray[Any]]:
        """See `LiveTransform`."""
        found = {"tail": self.bank.state()["tail"], "mean": self.mean.copy(), "waiting": self.waiting.copy()}
        rate = self.resampler.before if self.resampler else 0
        found["step"] = np.array([self.step, rate], np.int64)
        return found | (self.resampler.state() if self.resampler else {})

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `LiveTransform`."""
        self.bank.restore(state)
        self.mean, self.waiting = np.array(state["mean"], np.float64), np.array(state["waiting"], np.float32)
        self.step, rate = (int(v) for v in state["step"])
        self.resampler = Resampler(rate, self.hearing.bank.rate) if rate else None
        if self.resampler:
            self.resampler.restore(state)


def stacked(frames: F32, stack: int) -> F32:
    """Frames [T, F] as steps [T // k, k F]; those of a step that is not whole are left out."""
    steps = len(frames) // stack
    return np.ascontiguousarray(frames[: steps * stack].reshape(steps, stack * frames.shape[1]), np.float32)
