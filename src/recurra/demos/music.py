"""The demo of music: chorales in four parts, which come with music21, composed and accompanied."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recurra.demos.written import written
from recurra.errors import need
from recurra.terminal import Terminal

PIECES = 60
STEPS = 2  # frames of a quarter note
LONGEST = 64 * STEPS  # frames of a piece
FRAMES = 96  # that are composed
TEMPO = 80.0
TEMPERATURE = 0.7
SOURCE = "chorales by J. S. Bach, from music21"


def chorales(count: int = PIECES) -> list[Any]:
    """The frames [T, 88] of so many chorales of four parts."""
    need("the chorales", "music21", extra="music")
    from music21 import converter, corpus

    found: list[Any] = []
    for path in sorted(p for p in corpus.getComposer("bach") if str(p).endswith(".mxl")):
        if len(found) == count:
            break
        parsed: Any = converter.parse(path)
        parts = parsed.parts
        if len(parts) == 4:
            found.append(_frames(parts))
    return found


def _frames(parts: Any) -> Any:
    """What sounds in each half of a quarter."""
    from recurra.data.music import Note, roll
    from recurra.data.rolls import keys_of

    notes = []
    for part in parts:
        for one in part.flatten().notes:
            start, length = round(float(one.offset) * STEPS), round(float(one.quarterLength) * STEPS)
            notes += [Note(start, pitch.midi, max(1, length)) for pitch in one.pitches]
    return keys_of(roll(notes))[:LONGEST]


def run_music_demo(
    folder: str | os.PathLike[str] = ".", *, seed: int = 0, epochs: int = 40, pieces: Sequence[Any] | None = None
) -> dict[str, Any]:
    """Learn chorales, write a new one, and the lower voices to a melody that it does not know.

    Args:
        folder: for the model file, the report, the music and its pictures; made if it is not there.
        seed: of all chance.
        epochs: of training.
        pieces: frames [T, 88] to learn from; None: `chorales()`.
    """
    from recurra.data.music import write_midi
    from recurra.data.rolls import notes_of_keys
    from recurra.draw import score
    from recurra.tasks.composition.composer import Composer
    from recurra.tasks.composition.live import together
    from recurra.tasks.composition.report import top_notes
    from recurra.tasks.estimator import open_model

    need("MIDI files", "mido", extra="music")
    console, place, began = Terminal(), Path(folder), time.perf_counter()
    place.mkdir(parents=True, exist_ok=True)
    pieces = chorales() if pieces is None else pieces
    console.print(f"[bold]1[/]  {len(pieces)} {SOURCE}, read in {time.perf_counter() - began:.0f} s. What sounds next?")
    rng = np.random.default_rng(seed)
    parts = np.array(["train"] * len(pieces), object)
    order = rng.permutation(len(pieces))
    parts[order[: len(pieces) // 8]], parts[order[len(pieces) // 8 : len(pieces) // 4]] = "test", "valid"
    reading = {"steps": STEPS, "transposed": 5}
    model = Composer(hidden=96, epochs=epochs, parts=parts.tolist(), seed=seed, reading=reading).fit(pieces)
    file = written(model, place, "music", SOURCE, console)
    console.print("[bold]4[/]  A new chorale, and the three lower voices to a melody of the test part, live:")
    melody = top_notes(pieces[order[0]])
    for name, make, given in (
        ("composed", lambda live: live.generate(FRAMES, temperature=TEMPERATURE, seed=seed), np.zeros(88, bool)),
        ("accompanied", lambda live: together(live, melody, temperature=TEMPERATURE, seed=seed), melody),
    ):
        live, at = open_model(file).live(), time.perf_counter()
        frames = make(live)
        each = (time.perf_counter() - at) / len(frames)
        write_midi(place / f"{name}.mid", notes_of_keys(frames), STEPS, TEMPO)
        notes = [notes_of_keys(frames & given), notes_of_keys(frames & ~given)]
        score([*notes[0], *notes[1]], notes[0], title=name, steps=STEPS).save(place / f"{name}.svg")
        console.print(f"   {place / name}.mid and .svg: {len(frames)} frames, {1e6 * each:.0f} µs each")
    report: dict[str, Any] = model.report_
    report["seconds"]["total"] = time.perf_counter() - began
    console.print(f"   {report['seconds']['total']:.0f} seconds in all.")
    return report
