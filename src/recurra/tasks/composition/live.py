"""`LiveMusic`: a piece that goes on, played by others, by the model, or by both together; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from recurra.data.rolls import FIRST, KEYS, FrameBefore, Frames, read_rolls
from recurra.errors import DataError, SettingError
from recurra.runtime.model import Model
from recurra.tasks.composition.chords import F32, Chords, chance
from recurra.tasks.generation.live import TEMPERATURES
from recurra.tasks.live.base import Remembered, is_empty
from recurra.tasks.live.stepwise import Steps, Stepwise, alone

CANDIDATES = 16  # frames that an accompaniment is chosen from


class LiveMusic(Stepwise):
    """Pieces that a model goes on with, for any number of them side by side.

    `feed` takes what others play; `generate` goes on by itself; `accompany` is given some notes of a frame, and adds
    the others. A seed gives the same notes on every machine. `fork` gives another session with the same past, so that
    eight bars can be tried and taken back.

    Args:
        model, task, transform: of a `recurra.Composer`.
    """

    answer = "frame"

    def __init__(self, model: Model, task: Any, transform: FrameBefore) -> None:
        super().__init__(model, transform, [], ["notes"])
        self.task, self.transform = task, transform
        self.chords: Chords = task.chords(model)

    def _begun(self, name: str) -> Remembered:
        one = super()._begun(name)
        alone(self._entered(one, np.zeros(KEYS, np.float32)))
        return one

    def _entered(self, one: Remembered, row: F32) -> Steps[None]:
        """Let the network see a frame's row [88]."""
        output = yield one.session, row
        one.rows.output = self.chords.begun(output[None], row[None])[0]

    def _one(self, series: str) -> Remembered:
        if series not in self._series:
            self._series[series] = self._begun(series)
        return self._series[series]

    def _taken(self, one: Remembered, frame: Frames) -> Steps[None]:
        return self._entered(one, one.rows.push(frame))

    def feed(self, frames: Any, series: str = "") -> None:
        """Take frames [T, 88] that were played.

        Raises:
            DataError: they are something else; nothing has changed.
        """
        array = np.asarray(frames)
        if array.ndim != 2 or array.shape[1] != KEYS or array.dtype.kind not in "biuf":
            raise DataError(f"feed: got an array {array.shape} of {array.dtype}, expected frames [T, {KEYS}]")
        one = self._one(series)
        for frame in array > 0:
            alone(self._taken(one, frame))

    def probabilities(self, series: str = "") -> F32:
        """Of each key [88] to sound in the next frame, given those that are likely below it; nothing changes."""
        one = self._series.get(series) or self._begun(series)
        found: F32 = self.chords.likely(one.rows.output)[1]
        return found

    def generate(self, n: int, *, temperature: float = 1.0, seed: int = 0, series: str = "") -> Frames:
        """Go on by n frames, [n, 88].

        Args:
            n: frames.
            temperature: 1: as learned; less: more probable frames yet more often, of 16 that are drawn.
            seed: of all chance.
            series: the name of the piece.

        Raises:
            SettingError: a number is out of range.
        """
        _checked(n, temperature, seed)
        one, found = self._one(series), np.zeros((n, KEYS), bool)
        for row in found:
            u = chance(seed, one.rows.count, 1 + (1 if temperature == 1 else CANDIDATES))
            row[:] = self.chords.choose(one.rows.output, u, (), temperature)
            alone(self._taken(one, row))
        return found

    def accompany(
        self,
        given: Iterable[int],
        *,
        above: bool = False,
        candidates: int = CANDIDATES,
        temperature: float = 1.0,
        seed: int = 0,
        series: str = "",
    ) -> Frames:
        """One frame in which some notes sound, and what the model adds to them, [88].

        Notes below those that are given are drawn before it is known what is above them. So some frames are drawn, and
        one of them is chosen by how probable it makes the given notes.

        Args:
            given: MIDI's numbers of the notes that sound.
            above: whether anything may be added above the highest of them; a melody has nothing above it.
            candidates: frames to choose from.
            temperature, seed, series: as in `generate`.

        Raises:
            SettingError: a number is out of range.
            DataError: a note is none of a piano.
        """
        return alone(self._accompanied(_keys(given), above, candidates, temperature, seed, series))

    def _accompanied(
        self, keys: list[int], above: bool, candidates: int, temperature: float, seed: int, series: str
    ) -> Steps[Frames]:
        _checked(candidates - 1, temperature, seed)
        one = self._one(series)
        u = chance(seed, one.rows.count, candidates + 1)
        u[:-1, keys] = -1.0
        if keys and not above:
            u[:-1, max(keys) + 1 :] = 2.0
        frame: Frames = self.chords.choose(one.rows.output, u, keys, temperature)
        yield from self._taken(one, frame)
        return frame

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any]]:
        """Take the notes that are given of one frame: all that sound, and those that were added.

        Args:
            observation: MIDI's numbers, a list or a text with blanks between; or a mapping with `notes`.
            series: the name of the piece.

        Raises:
            DataError: a note is none of a piano; nothing has changed.
        """
        notes = self._cell(observation, "notes") if isinstance(observation, Mapping) else observation
        if notes is None or is_empty(notes):
            notes = []
        given = notes.split() if isinstance(notes, str) else notes
        keys = _keys(given)
        frame = yield from self._accompanied(keys, False, CANDIDATES, 1.0, 0, series)
        found = (np.flatnonzero(frame) + FIRST).tolist()
        return {"notes": found, "added": [p for p in found if p - FIRST not in keys]}

    def fork(self) -> LiveMusic:
        """Another live session with the same pieces, which go their own way."""
        other = LiveMusic(self.model, self.task, self.transform)
        other.restore(self.snapshot())
        return other

    @property
    def fields(self) -> list[str]:
        """All notes that sound, and those that were added."""
        return ["notes", "added"]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """With blanks between."""
        return [" ".join(map(str, answer[name])) for name in self.fields]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)


def _keys(given: Iterable[Any]) -> list[int]:
    """The keys of MIDI's numbers.

    Raises:
        DataError: one is none of a piano's.
    """
    if not hasattr(given, "__iter__"):
        raise DataError(f"notes are {str(given)[:40]!r}, expected a list of MIDI's numbers")
    found = []
    for pitch in given:
        try:
            key = int(pitch) - FIRST
        except (TypeError, ValueError):
            key = -1
        if isinstance(pitch, bool) or not 0 <= key < KEYS:
            raise DataError(f"the note is {str(pitch)[:40]!r}, expected MIDI's number, {FIRST} to {FIRST + KEYS - 1}")
        found.append(key)
    return sorted(set(found))


def _checked(n: Any, temperature: Any, seed: Any) -> None:
    low, high = TEMPERATURES
    for name, value, least, most in (("n", n, 0, 1 << 30), ("seed", seed, 0, (1 << 64) - 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
            raise SettingError(f"generate: {name}={value!r}, expected a whole number from {least} to {most}")
    number = isinstance(temperature, (int, float, np.floating)) and not isinstance(temperature, bool)
    if not (number and low <= temperature <= high):
        raise SettingError(f"generate: temperature={temperature!r}, expected a number from {low:g} to {high:g}")


def together(live: LiveMusic, given: Any, **how: Any) -> Frames:
    """Frames [T, 88] in which those that are given [T, 88] sound, and what is added to each; `how` as `accompany`."""
    return np.stack([live.accompany((np.flatnonzero(frame) + FIRST).tolist(), **how) for frame in np.asarray(given)])


def played(live: LiveMusic, steps: int, n: int, after: Any = None, to: Any = None, **how: Any) -> tuple[Frames, Frames]:
    """Frames [T, 88], and those of their notes that somebody else played [T, 88].

    Args:
        live: at its beginning.
        steps: frames of a quarter note.
        n: how many frames it goes on by.
        after, to: a piece that it goes on from, or one that it accompanies: what `read_rolls` takes.
        how: temperature and seed.
    """
    if to is not None:
        given = read_rolls(to, steps).x[0] > 0
        return together(live, given, **how), given
    heard = np.zeros((0, KEYS), bool) if after is None else read_rolls(after, steps).x[0] > 0
    live.feed(heard)
    frames = np.concatenate([heard, live.generate(n, **how)])
    given = frames.copy()
    given[len(heard) :] = False
    return frames, given
