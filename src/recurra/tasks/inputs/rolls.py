"""`Rolls`: pieces of music, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.rolls import FrameBefore, read_rolls
from recurra.data.rolls import Rolls as Read
from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import SettingError
from recurra.tasks.inputs import Input

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.live.base import Live


@dataclass
class Rolls(Input):
    """MIDI files, notes, or arrays of the keys that sound.

    Attributes:
        steps: frames of a quarter note, of MIDI files; and of those that are written.
        transposed: semitones up or down, at most, by which pieces are moved in training.
    """

    steps: int = 4
    transposed: int = 6
    name = "rolls"

    @classmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """Whatever its task is given."""
        return True

    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """Frames."""
        for name, low, high in (("steps", 1, 96), ("transposed", 0, 24)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingError(f"reading: {name}={value!r}, expected a whole number from {low} to {high}")
        task.columns = ("keys",)
        return read_rolls(X, self.steps, groups=given.get("groups"))

    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """The same."""
        return read_rolls(X, self.steps, open_end=not targets)

    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """`FrameBefore`."""
        return FrameBefore(self.transposed)

    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """`FrameBefore`."""
        return FrameBefore.from_dict(described)

    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """`LiveMusic`."""
        from recurra.tasks.composition.live import LiveMusic

        return LiveMusic(model, task, transform)

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """All frames."""
        return {"frames": np.concatenate([s.frames for s in sequences])}, {"open": sequences[0].open}

    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """See `Input`."""
        x: Any = tuple(np.split(arrays["frames"], np.cumsum(arrays["lengths"] - settings["open"])[:-1]))
        return Read(tuple(settings["names"]), x, ("keys",), None, list(settings["groups"]), None, settings["open"])

    def cut(self, sequence: Any, end: int) -> dict[str, Any]:
        """See `Input`."""
        return {"frames": sequence.frames[:end]}
