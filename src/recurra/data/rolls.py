"""Piano rolls: which notes sound in each frame, read from MIDI files and arrays, and as rows for a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.music import PITCHES, Note, from_roll, read_midi, roll
from recurra.data.sequences import Sequences
from recurra.data.transform import Transform
from recurra.errors import DataError

FIRST, KEYS = 21, 88  # of a piano: MIDI's number of the lowest, and how many there are
MIDI_ENDINGS = (".mid", ".midi")

Frames: TypeAlias = NDArray[np.bool_]
F32: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Roll:
    """One piece. Step t has frame t - 1, none at the beginning, and its target is frame t; an open one has a step more.

    Attributes:
        name: its file or its number.
        frames: [T, 88], whether a key sounds.
        open: whether what follows the last frame is asked for.
        group, time: nothing is known of them.
    """

    name: str
    frames: Frames
    open: bool = False
    group: str = ""
    time: float = float("nan")

    def __len__(self) -> int:
        return len(self.frames) + self.open

    @property
    def target(self) -> Frames:
        """The frames."""
        return self.frames


@dataclass(frozen=True)
class Rolls(Sequences):
    """What was read: `x` are frames."""

    open: bool = False

    def with_targets(self, targets: Sequence[Any] | None) -> list[Any]:
        """As `Roll`."""
        groups = self.groups or [str(i) for i in range(len(self))]
        parts = zip(self.names, self.x, groups, strict=True)
        return [Roll(name, np.asarray(x, bool), self.open, group) for name, x, group in parts]


def read_rolls(X: Any, steps: int = 4, *, groups: Any = None, open_end: bool = False) -> Rolls:
    """Pieces from whatever holds them.

    Args:
        X: a MIDI file or a folder of such; a list of files, of bytes of MIDI files, of lists of `Note`, or of arrays:
            [T, 88] the keys of a piano, [T, 128] MIDI's pitches, [T, V] whole numbers: the pitches of V voices, 0 none.
        steps: frames of a quarter note, of MIDI files.
        groups: what each was taken from.
        open_end: whether what follows the last frame is asked for.

    Notes that no piano has are moved by octaves.

    Raises:
        DataError: there is none, one has no frame, or one is something else.

    >>> read_rolls([np.array([[60, 64], [62, 0]])]).x[0].sum(1).tolist()
    [2, 1]
    """
    if isinstance(X, (str, os.PathLike)):
        place = Path(X)
        files = [place]
        if place.is_dir():
            files = sorted(p for p in place.rglob("*") if p.suffix.lower() in MIDI_ENDINGS)
            if not files:
                raise DataError(f"{place}: there is no MIDI file in the folder, expected names that end in .mid")
        given: list[Any] = list(files)
    elif isinstance(X, bytes):
        given = [X]
    else:
        try:
            given = list(X)
        except TypeError:
            raise DataError(f"pieces: got a {type(X).__name__}, expected MIDI files or piano rolls") from None
    if not given:
        raise DataError("pieces: there are none, expected at least one")
    names = tuple(Path(one).name if isinstance(one, (str, os.PathLike)) else str(i) for i, one in enumerate(given))
    found: Any = tuple(_frames(f"pieces, number {i}", one, steps) for i, one in enumerate(given))
    if groups is not None and len(groups) != len(found):
        raise DataError(f"groups: got {len(groups)} for {len(found)} pieces, expected one for each")
    return Rolls(names, found, ("keys",), None, None if groups is None else [str(g) for g in groups], None, open_end)


def _frames(where: str, one: Any, steps: int) -> Frames:
    """[T, 88]."""
    if isinstance(one, (str, os.PathLike, bytes)):
        return keys_of(roll(read_midi(one, steps)))
    if isinstance(one, (list, tuple)) and one and all(isinstance(note, Note) for note in one):
        return keys_of(roll(one))
    array = np.asarray(one)
    if array.ndim != 2 or array.dtype.kind not in "biuf" or not array.size or not np.isfinite(array).all():
        raise DataError(f"{where}: {str(one)[:40]!r}, expected a MIDI file, notes, or an array [T, 88] or [T, 128]")
    if array.shape[1] == KEYS:
        return array > 0
    if array.shape[1] == PITCHES:
        return keys_of(array > 0)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= PITCHES:
        raise DataError(
            f"{where}: an array {array.shape} of {array.dtype}, expected [T, 88], [T, 128] or pitches 0-127"
        )
    found = np.zeros((len(array), PITCHES), bool)
    np.put_along_axis(found, array, True, 1)
    found[:, 0] = False
    return keys_of(found)


def keys_of(pitches: NDArray[Any]) -> Frames:
    """The keys [T, 88] of MIDI's pitches [T, 128]; what no piano has is moved by octaves.

    >>> keys_of(np.eye(128, dtype=bool)[[20, 21, 109]]).argmax(1).tolist()
    [11, 0, 76]
    """
    pitches = np.asarray(pitches) > 0
    found: Frames = pitches[:, FIRST : FIRST + KEYS].copy()
    for pitch in (*range(FIRST), *range(FIRST + KEYS, PITCHES)):
        key = pitch - FIRST
        key += 12 * -(key // 12) if key < 0 else -12 * ((key - KEYS) // 12 + 1)
        found[:, key] |= pitches[:, pitch]
    return found


def notes_of_keys(frames: NDArray[Any]) -> list[Note]:
    """The notes of frames [T, 88]; what sounds on is one note."""
    return from_roll(frames, FIRST)


@dataclass(frozen=True)
class FrameBefore(Transform):
    """The frame before, [88] of 0 and 1, for a network that says what sounds next.

    Attributes:
        transposed: semitones up or down, at most, by which a piece is moved in training.

    >>> piece = Roll("", np.eye(88, dtype=bool)[[3, 5]])
    >>> FrameBefore(0).rows(piece, 0, 2).argmax(1).tolist(), FrameBefore(0).targets(piece, 0, 2).argmax(1).tolist()
    ([0, 3], [3, 5])
    """

    transposed: int = 0

    inputs = ("keys",)
    input_size = KEYS
    row_size = KEYS

    def rows(self, sequence: Roll, start: int, stop: int) -> F32:
        """See `Transform`."""
        found = np.zeros((stop - start, KEYS), np.float32)
        first = 1 if start == 0 else 0
        found[first:] = sequence.frames[start - 1 + first : stop - 1]
        return found

    def targets(self, sequence: Roll, start: int, stop: int) -> F32:
        """See `Transform`."""
        found = np.full((stop - start, KEYS), np.nan, np.float32)
        known = sequence.frames[start : min(stop, len(sequence.frames))]
        found[: len(known)] = known
        return found

    def varied(self, sequence: Roll, stop: int, rng: np.random.Generator) -> tuple[F32, F32] | None:
        """In another key, as far as there are keys."""
        if not self.transposed:
            return None
        used = np.flatnonzero(sequence.frames.any(0))
        low, high = (int(used[0]), int(used[-1])) if len(used) else (0, KEYS - 1)
        by = int(rng.integers(-min(self.transposed, low), min(self.transposed, KEYS - 1 - high) + 1))
        moved = Roll(sequence.name, np.roll(sequence.frames[:stop], by, 1))
        return self.rows(moved, 0, stop), self.targets(moved, 0, stop)

    def live(self, name: str = "") -> LiveFrames:
        """See `Transform`."""
        return LiveFrames()

    def to_dict(self) -> dict[str, Any]:
        """See `Transform`."""
        return {"input": "rolls", "transposed": self.transposed}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """See `Transform`."""
        return cls(int(described["transposed"]))


class LiveFrames:
    """How many frames there were, and the last output of the network."""

    def __init__(self) -> None:
        self.count = 0
        self.output: F32 = np.zeros(0, np.float32)

    def push(self, x: Frames) -> F32:
        """The row [88] of a frame that sounded."""
        self.count += 1
        return x.astype(np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """See `LiveTransform`."""
        return {"count": np.array([self.count], np.int64), "output": self.output.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `LiveTransform`."""
        count, output = np.asarray(state["count"]), np.asarray(state["output"], np.float32)
        if count.shape != (1,) or count[0] < 0 or output.ndim != 1:
            raise DataError("the state of a piece is inconsistent")
        self.count, self.output = int(count[0]), output.copy()
