"""What a report shows of a composer: piano rolls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.data.rolls import KEYS, notes_of_keys

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

SHOWN = 96  # frames of a picture
HEARD = 16  # frames after which it goes on by itself
TEMPERATURE = 0.8
TIMED = 200  # frames


def sections(task: Any, bench: Bench, predictor: Any) -> list[dict[str, Any]]:
    """A piece, how the model goes on with it, how it accompanies its highest notes; and what a frame costs."""
    from recurra.tasks.composition.live import together

    pieces = bench.pieces("test")
    if not pieces:
        return []
    frames = max(pieces, key=lambda piece: min(SHOWN, piece.stop)).sequence.frames[:SHOWN]
    heard, live = frames[:HEARD], task.live(predictor.model, bench.transform)
    live.feed(heard)
    made = np.concatenate([heard, live.generate(len(frames) - len(heard), temperature=TEMPERATURE)])
    top = top_notes(frames)
    played = together(task.live(predictor.model, bench.transform), top, temperature=TEMPERATURE)
    rolls = [
        roll_of(f"A piece of the test part, {len(frames)} frames.", frames, frames),
        roll_of(f"Its first {len(heard)} frames, and what the model goes on with.", made, _first(made, len(heard))),
        roll_of("Its highest notes, and what the model adds below them, frame by frame.", played, top),
    ]
    return [
        {"kind": "rolls", "heading": "A piece, and what is made of it", "rolls": rolls},
        _live(task, predictor, bench),
    ]


def roll_of(caption: str, frames: Any, given: Any) -> dict[str, Any]:
    """Notes as plain data: start, pitch, length, and whether somebody else played it."""
    notes = []
    for own, part in ((0, np.asarray(frames) & np.asarray(given)), (1, np.asarray(frames) & ~np.asarray(given))):
        notes += [[n.start, n.pitch, n.length, own] for n in notes_of_keys(part)]
    return {"caption": caption, "notes": notes, "frames": len(frames)}


def _first(frames: Any, count: int) -> Any:
    found = np.array(frames)
    found[count:] = False
    return found


def _live(task: Any, predictor: Any, bench: Bench) -> dict[str, Any]:
    """What a frame costs."""
    live = task.live(predictor.model, bench.transform)
    live.generate(10)
    began = time.perf_counter()
    live.generate(TIMED)
    made = (time.perf_counter() - began) / TIMED
    began = time.perf_counter()
    for k in range(TIMED // 4):
        live.accompany([60 + k % 12])
    played = (time.perf_counter() - began) / (TIMED // 4)
    state = sum(a.nbytes for a in live.states().values()) + 4 * (KEYS + task.units)
    rows = [
        ["a frame is generated in", f"{1e6 * made:.0f} µs"],
        ["a frame is accompanied in", f"{1e6 * played:.0f} µs"],
        ["what a session remembers", f"{state:,} bytes"],
    ]
    return {"kind": "table", "heading": "Live", "headings": ["", "measured"], "rows": rows}


def top_notes(frames: Any) -> Any:
    """The highest note of each frame alone, [T, 88]."""
    found = np.zeros((len(frames), KEYS), bool)
    for row, frame in zip(found, frames, strict=True):
        sounding = np.flatnonzero(frame)
        if len(sounding):
            row[sounding[-1]] = True
    return found
