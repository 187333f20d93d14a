"""Music: MIDI files in and out, notes on a grid, voices and events as tokens, and piano rolls.

A note's pitch is MIDI's number, 60 for middle C. A grid has so many steps to a quarter note. NumPy;
MIDI files are read and written by `mido` (the extra `music`).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError, SettingError, need
from recurra.files import write_atomically

PITCHES = 128
TICKS = 480  # of a quarter note in a file that is written
VELOCITY = 80
LONGEST = 64  # steps that one event of time passes, at most
DRUMS = 9  # the channel of drums, which have no pitch

Voices: TypeAlias = NDArray[np.int64]  # [T, V] pitches, 0 a rest


@dataclass(frozen=True, order=True)
class Note:
    """One note: the step at which it begins, its pitch, and its length in steps."""

    start: int
    pitch: int
    length: int

    def __post_init__(self) -> None:
        if self.start < 0 or not 0 <= self.pitch < PITCHES or self.length < 1:
            raise DataError(f"a note: start {self.start}, pitch {self.pitch}, length {self.length}, expected 0 to 127")


def read_midi(source: str | os.PathLike[str] | bytes, steps: int = 4) -> list[Note]:
    """The notes of a MIDI file on a grid of `steps` to a quarter note, without drums; of all tracks together.

    Raises:
        DataError: it is no MIDI file, or has no notes.
        OSError: it cannot be read.
        MissingExtraError: `mido` is not installed.
    """
    need("MIDI files", "mido", extra="music")
    import mido

    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = "the MIDI file" if isinstance(source, bytes) else str(source)
    try:
        file = mido.MidiFile(file=io.BytesIO(content))
        ticks = file.ticks_per_beat
        if ticks < 1:
            raise ValueError(f"{ticks} ticks a quarter note")
        events = [event for track in file.tracks for event in _events(track)]
    except Exception as error:  # of a damaged file the library raises whatever it meets
        why = " ".join(str(error).split())[:80] or type(error).__name__
        raise DataError(f"{name}: it is no MIDI file ({why}), expected one: export it again") from None
    notes, open_ = list[Note](), dict[tuple[int, int], int]()
    for at, on, channel, pitch in sorted(events, key=lambda e: (e[0], e[1])):
        step, key = round(at * steps / ticks), (channel, pitch)
        if key in open_:  # it ends, or is struck again
            start = open_.pop(key)
            notes.append(Note(start, pitch, max(1, step - start)))
        if on:
            open_[key] = step
    if not notes:
        raise DataError(f"{name}: it has no notes, expected some that begin and end")
    return sorted(set(notes))


def _events(track: Any) -> Iterable[tuple[int, bool, int, int]]:
    """When, whether a note begins, its channel and its pitch."""
    at = 0
    for message in track:
        at += message.time
        if message.type in ("note_on", "note_off") and message.channel != DRUMS:
            yield at, message.type == "note_on" and message.velocity > 0, message.channel, message.note


def write_midi(
    path: str | os.PathLike[str], notes: Sequence[Note], steps: int = 4, tempo: float = 100.0, program: int = 0
) -> None:
    """Write notes to a MIDI file of one track.

    Args:
        path: where to.
        notes: on a grid of `steps` to a quarter note.
        steps: of a quarter note.
        tempo: quarter notes a minute.
        program: MIDI's number of the instrument, 0 for a piano.

    Raises:
        SettingError: tempo or program is out of range.
        OSError: the file cannot be written.
    """
    write_atomically(path, midi_of(notes, steps, tempo, program))


def midi_of(notes: Sequence[Note], steps: int = 4, tempo: float = 100.0, program: int = 0) -> bytes:
    """The bytes of such a file."""
    need("MIDI files", "mido", extra="music")
    import mido

    if not 4 <= tempo <= 1000 or not 0 <= program < 128:
        raise SettingError(f"midi: tempo={tempo!r}, program={program!r}, expected 4 to 1000 a minute, and 0 to 127")
    file, track = mido.MidiFile(type=0, ticks_per_beat=TICKS), mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    track.append(mido.Message("program_change", program=program))
    events = [(n.start + n.length, 0, n.pitch) for n in notes] + [(n.start, 1, n.pitch) for n in notes]
    before = 0
    for step, on, pitch in sorted(events):
        at = round(step * TICKS / steps)
        kind, velocity = ("note_on", VELOCITY) if on else ("note_off", 0)
        track.append(mido.Message(kind, note=pitch, velocity=velocity, time=at - before))
        before = at
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def to_events(notes: Sequence[Note]) -> list[str]:
    """Notes as tokens: `on60` begins a note, `off60` ends it, `t3` passes three steps.

    >>> to_events([Note(0, 60, 2), Note(0, 64, 4)])
    ['on60', 'on64', 't2', 'off60', 't2', 'off64']
    """
    found, now = list[str](), 0
    ends = [(n.start + n.length, 0, n.pitch) for n in notes]
    for at, on, pitch in sorted([*ends, *((n.start, 1, n.pitch) for n in notes)]):
        while at > now:
            passed = min(LONGEST, at - now)
            found.append(f"t{passed}")
            now += passed
        found.append(f"{'on' if on else 'off'}{pitch}")
    return found


def from_events(tokens: Iterable[str]) -> list[Note]:
    """Notes of such tokens; what was never ended ends with the music, and what is no event is passed over.

    >>> from_events(["on60", "t2", "off60", "off61", "on62", "t1"])
    [Note(start=0, pitch=60, length=2), Note(start=2, pitch=62, length=1)]
    """
    now, open_, notes = 0, dict[int, int](), set[Note]()

    def end(pitch: int) -> None:
        start = open_.pop(pitch)
        if now > start:
            notes.add(Note(start, pitch, now - start))

    for token in tokens:
        word = token.rstrip("0123456789")
        number = int(token[len(word) :][:6] or -1)
        if word == "t" and number > 0:
            now += min(number, LONGEST)
        elif word in ("on", "off") and 0 <= number < PITCHES:
            if number in open_:
                end(number)
            if word == "on":
                open_[number] = now
    for pitch in list(open_):
        end(pitch)
    return sorted(notes)


def voices_tokens(voices: Voices) -> list[str]:
    """Voices [T, V] as tokens, those of a step in order: the voice's letter and its pitch, 0 a rest.

    So each note is conditioned on those before it in the same step.

    >>> voices_tokens(np.array([[72, 60], [72, 0]]))
    ['a72', 'b60', 'a72', 'b0']
    """
    array = np.asarray(voices)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not 1 <= array.shape[1] <= 26:
        raise DataError(f"voices: got shape {array.shape} of {array.dtype}, expected whole numbers [T, V], V up to 26")
    if array.size and (array.min() < 0 or array.max() >= PITCHES):
        raise DataError(f"voices: a pitch is {array.min()} or {array.max()}, expected 0 (a rest) to 127")
    return [f"{chr(97 + v)}{pitch}" for step in array.tolist() for v, pitch in enumerate(step)]


def voices_of(tokens: Iterable[str], count: int) -> Voices:
    """Voices [T, count] of such tokens; a step that is not whole at the end, or out of order, is left out."""
    found, step = list[list[int]](), list[int]()
    for token in tokens:
        v, pitch = ord(token[0]) - 97, token[1:]
        if v == len(step) and pitch.isdigit() and int(pitch) < PITCHES:
            step.append(int(pitch))
        else:
            step = [int(pitch)] if v == 0 and pitch.isdigit() and int(pitch) < PITCHES else []
        if len(step) == count:
            found.append(step)
            step = []
    return np.array(found, np.int64).reshape(-1, count)


def notes_of(voices: Voices) -> list[Note]:
    """The notes of voices [T, V]: a pitch that stays is one note.

    >>> notes_of(np.array([[60], [60], [62], [0]]))
    [Note(start=0, pitch=60, length=2), Note(start=2, pitch=62, length=1)]
    """
    notes = []
    for voice in np.asarray(voices).T.tolist():
        start = 0
        for t in range(1, len(voice) + 1):
            if t == len(voice) or voice[t] != voice[start]:
                if voice[start]:
                    notes.append(Note(start, voice[start], t - start))
                start = t
    return sorted(notes)


def roll(notes: Sequence[Note], length: int | None = None) -> NDArray[np.bool_]:
    """A piano roll [T, 128]: whether a pitch sounds at a step."""
    T = max((n.start + n.length for n in notes), default=0) if length is None else length
    found = np.zeros((T, PITCHES), bool)
    for n in notes:
        found[n.start : n.start + n.length, n.pitch] = True
    return found


def from_roll(found: NDArray[Any], first: int = 0) -> list[Note]:
    """The notes of a piano roll [T, P] whose first pitch is `first`; what sounds on is one note."""
    on = np.pad(np.asarray(found) != 0, ((1, 1), (0, 0))).astype(np.int8)
    change = np.diff(on, axis=0)
    notes = []
    for p in range(change.shape[1]):
        begins, ends = np.flatnonzero(change[:, p] == 1), np.flatnonzero(change[:, p] == -1)
        notes += [Note(int(a), first + p, int(b - a)) for a, b in zip(begins, ends, strict=True)]
    return sorted(notes)
