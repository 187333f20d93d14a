"""`Audio`: recordings; a step is some frames of a filter bank, and training hears each recording in many ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.data.audio.augment import Augment
from recurra.data.audio.filterbank import KINDS, FilterBank
from recurra.data.audio.recordings import Recording, is_audio, read_recordings
from recurra.data.audio.transform import Heard, Hearing, stacked
from recurra.data.leakage import check_shared_steps
from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import DataError, SettingError
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.bench import Bench
    from recurra.tasks.live.base import Live

MOST = {"speed": 0.5, "tempo": 1.0, "warp": 0.5, "gain": 60.0, "colour": 20.0, "hiss": 60.0, "after": 5.0, "pad": 5.0}
ENOUGH, ALIKE = 12, 6  # speakers, for none to be in two parts where all labels are to be learned; who say all of them


@dataclass(frozen=True)
class AudioSequences(Sequences):
    """What was read: `x` are the steps of each recording, before they are normalised."""

    recordings: tuple[Recording | None, ...] = ()
    after: int = 0

    def with_targets(self, targets: Sequence[Any] | None) -> list[Any]:
        """As `Heard`, with a number (or an array [T]) for each."""
        count = len(self)
        groups = self.groups if self.groups is not None else list(self.names)
        times = self.times if self.times is not None else np.full(count, np.nan)
        values = [np.nan] * count if targets is None else targets
        recordings = self.recordings or (None,) * count
        parts = zip(self.names, self.x, values, groups, times, recordings, strict=True)
        return [
            Heard(n, x, np.asarray(y, np.float64), g, float(t), r and r.samples, (r and r.text) or "", self.after)
            for n, x, y, g, t, r in parts
        ]


@dataclass
class Audio(Augment, Input):
    """Files of sound, folders of them, manifests, or a list of `recurra.data.audio.Recording`.

    Attributes:
        kind, bins, rate: of the filter bank, see `recurra.data.audio.FilterBank`.
        stack: frames of 10 ms in a step.
        running: whether the mean that is taken off is a running one, or that of training.
        after: seconds of nothing that follow each recording; what is answered there looks so far ahead.

    The settings of `recurra.data.audio.Augment` say how training recordings are changed; `copies` 0: not at all.
    """

    kind: str = "log-mel"
    bins: int = 40
    rate: int = 16_000
    stack: int = 1
    running: bool = True
    after: float = 0.0
    name = "audio"
    _grouped = False  # by whoever gave the recordings, and not by speakers that were found

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """What `recurra.data.audio.is_audio` takes for sound."""
        return is_audio(X)

    @property
    def bank(self) -> FilterBank:
        """Of the frames."""
        return FilterBank(self.kind, self.bins, self.rate)

    def _check(self) -> None:
        if self.kind not in KINDS:
            raise SettingError(f"reading: kind={self.kind!r}, expected one of {', '.join(KINDS)}")
        for name, low, high in (("stack", 1, 32), ("copies", 0, 100), ("bands", 0, 16), ("pauses", 0, 100)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingError(f"reading: {name}={value!r}, expected a whole number from {low} to {high}")
        for name, most in MOST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
                raise SettingError(f"reading: {name}={value!r}, expected a number from 0 to {most:g}")

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """Labels are given, or those of the folder or manifest; groups too, or the speakers."""
        self._check()
        for role in ("series", "time", "columns"):
            if given.get(role) is not None:
                raise DataError(f"sound: {role} is {given[role]!r}, expected none: each recording is a sequence")
        recordings = read_recordings(X, self.rate)
        task.roles = {}
        self._grouped = given.get("groups") is not None
        return self._sequences(recordings, given.get("y"), given.get("groups"))

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """Of the same filter bank."""
        return self._sequences(read_recordings(X, transform.bank.rate), given.get("y"), None, targets)

    def _sequences(self, recordings: Sequence[Recording], y: Any, groups: Any, targets: bool = True) -> AudioSequences:
        bank, x = self.bank, list[Any]()
        for one in recordings:
            steps = stacked(bank.frames(one.samples), self.stack)
            if not len(steps):
                raise DataError(
                    f"{one.name}: {len(one.samples) / self.rate:.3f} s of sound, expected at least "
                    f"{(15 + 10 * self.stack) / 1000:g} s, one step: leave it out"
                )
            x.append(steps)
        count = len(recordings)
        for what, values in (("y", y), ("groups", groups)):
            if values is not None and (isinstance(values, str) or len(values) != count):
                got = f"the text {values!r}" if isinstance(values, str) else f"{len(values)} values"
                raise DataError(f"{what}: got {got} for {count} recordings, expected one for each")
        labels = list(y) if y is not None else [one.label for one in recordings] if targets else None
        if groups is None and _told_apart(recordings, labels):
            groups = [one.speaker for one in recordings]
        names = tuple(one.name for one in recordings)
        spoken = None if groups is None else [str(g) for g in groups]
        return AudioSequences(names, tuple(x), (), labels, spoken, None, tuple(recordings), self._after)

    @property
    def _after(self) -> int:
        """Steps of nothing."""
        return round(100 * self.after / self.stack)

    def groups(self, sequences: Sequence[Any], parts: Any) -> list[str]:
        """See `Input`; where the part of each recording is given, speakers may be in several."""
        own = isinstance(parts[0], str) and not self._grouped
        return [str(i) for i in range(len(sequences))] if own else super().groups(sequences, parts)

    def cut(self, sequence: Any, end: int) -> dict[str, Any]:
        """See `Input`; nothing follows what does not end."""
        return {"x": sequence.x[:end], "after": sequence.after if end >= len(sequence) else 0}

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """`Hearing`."""
        made = Hearing.fit(sequences, splits, self.bank, self.stack, self.running, self._after)
        if self.copies:  # cepstra have no frequencies to shift, colour or leave out
            made.augment = self if self.kind == "log-mel" else replace(self, warp=0.0, colour=0.0, bands=0)
        return made

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """`Hearing`."""
        return Hearing.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveSound`."""
        from recurra.tasks.live.sound import LiveSound

        return LiveSound(model, task, transform)

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Their steps one after the other; another process changes nothing of them in training."""
        return {"x": np.concatenate([s.x for s in sequences])}, {
            "texts": [s.text for s in sequences],
            "after": sequences[0].after,
        }

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        after = int(settings.get("after", 0))
        x = np.split(arrays["x"], np.cumsum(arrays["lengths"] - after)[:-1])
        groups = list(settings["groups"])
        return AudioSequences(tuple(settings["names"]), tuple(x), (), None, groups, arrays["time"], after=after)

    def suspicions(self, bench: Bench) -> list[str]:
        """Pieces of one recording on both sides of a split."""
        check_shared_steps([s.x for s in bench.sequences], bench.splits)
        return []


def _told_apart(recordings: Sequence[Recording], labels: Sequence[Any] | None) -> bool:
    """Whether no speaker is to be in two parts: all are known, and those of training will have said every label."""
    speakers = {one.speaker for one in recordings}
    if None in speakers:
        return False
    if labels is None or labels[0] is None or len(speakers) >= ENOUGH:
        return True
    said = {(one.speaker, str(label)) for one, label in zip(recordings, labels, strict=True)}
    return len(speakers) >= ALIKE and len(said) == len(speakers) * len({label for _, label in said})
