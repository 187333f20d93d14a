"""MIDI files in and out, notes as events, voices and rolls: each way back gives what went in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.data.music import (
    Note,
    from_events,
    from_roll,
    midi_of,
    notes_of,
    read_midi,
    roll,
    to_events,
    voices_of,
    voices_tokens,
    write_midi,
)
from recurra.errors import DataError, SettingError

mido = pytest.importorskip("mido")


@st.composite
def tunes(draw) -> list[Note]:
    """Notes of which no two of one pitch sound together."""
    found = []
    for pitch in draw(st.lists(st.integers(0, 127), unique=True, min_size=1, max_size=5)):
        at = 0
        for gap, length in draw(st.lists(st.tuples(st.integers(0, 70), st.integers(1, 150)), min_size=1, max_size=4)):
            found.append(Note(at + gap, pitch, length))
            at += gap + length
    return sorted(found)


@given(tunes(), st.sampled_from([1, 3, 4, 7]))
def test_a_file_and_events_give_back_the_notes(notes, steps) -> None:
    assert read_midi(midi_of(notes, steps), steps) == notes
    assert from_events(to_events(notes)) == notes
    joined = from_roll(roll(notes))
    assert (roll(joined) == roll(notes)).all()


def test_a_file_of_another_program_is_read(tmp_path) -> None:
    """Several tracks, velocity 0 as an end, drums, and a note that is struck again."""
    file = mido.MidiFile(ticks_per_beat=96)
    one, two = mido.MidiTrack(), mido.MidiTrack()
    file.tracks += [one, two]
    one += [mido.Message("note_on", note=60, velocity=9, time=0), mido.Message("note_on", note=60, velocity=0, time=97)]
    one += [mido.Message("note_on", note=61, velocity=9, time=0), mido.Message("note_on", note=61, velocity=9, time=95)]
    one += [mido.Message("note_off", note=61, time=48)]
    two += [
        mido.Message("note_on", note=36, velocity=9, channel=9),
        mido.Message("note_off", note=36, channel=9, time=50),
    ]
    two += [
        mido.Message("note_on", note=72, velocity=9, channel=3),
        mido.Message("note_off", note=72, channel=3, time=2),
    ]
    file.save(tmp_path / "other.mid")
    want = [Note(0, 60, 4), Note(2, 72, 1), Note(4, 61, 4), Note(8, 61, 2)]
    assert read_midi(tmp_path / "other.mid") == want
    write_midi(tmp_path / "ours.mid", want, tempo=60, program=19)
    ours = mido.MidiFile(tmp_path / "ours.mid")
    assert ours.length == pytest.approx(2.5)
    assert [m.program for m in ours.tracks[0] if m.type == "program_change"] == [19]


def test_voices_and_their_tokens() -> None:
    voices = np.array([[72, 60, 0], [72, 59, 0], [74, 59, 48]])
    tokens = voices_tokens(voices)
    assert (voices_of(tokens, 3) == voices).all()
    assert (voices_of([*tokens[:4], *tokens[6:], "a70", "xx"], 3) == voices[[0, 2]]).all()
    assert notes_of(voices) == [Note(0, 60, 1), Note(0, 72, 2), Note(1, 59, 2), Note(2, 48, 1), Note(2, 74, 1)]
    assert from_events(["on300", "what", "t1", "on60", "t0", "t", "on60"]) == []


def test_what_is_no_music_is_refused(tmp_path) -> None:
    bad = tmp_path / "bad.mid"
    bad.write_bytes(b"MThd and then something else altogether")
    for source in (bad, b"", b"\0" * 50, midi_of([Note(0, 60, 4)])[:30]):
        with pytest.raises(DataError, match=r"it is no MIDI file|it has no notes"):
            read_midi(source)
    with pytest.raises(DataError, match="it has no notes"):
        read_midi(midi_of([]))
    with pytest.raises(SettingError, match="tempo=0"):
        write_midi(tmp_path / "x.mid", [Note(0, 60, 1)], tempo=0)
    assert not (tmp_path / "x.mid").exists()
    with pytest.raises(DataError, match="expected 0 to 127"):
        Note(0, 128, 1)
    for voices in (np.zeros(3, int), np.zeros((2, 2)), np.full((2, 2), 128)):
        with pytest.raises(DataError, match="voices: "):
            voices_tokens(voices)


def test_a_generator_learns_events_and_goes_on_with_them(tmp_path) -> None:
    import recurra

    scale = [Note(4 * k, 60 + pitch, 4) for k, pitch in enumerate([0, 2, 4, 5, 7, 9, 11, 12] * 4)]
    events = to_events(read_midi(midi_of(scale)))
    model = recurra.Generator(hidden=32, epochs=8, chunk=16, batch=4, learning_rate=1e-2, patience=None)
    live = model.fit([events] * 24, evaluate=False).live()
    live.feed(events[:30])
    tokens = list(live.stream(30, top_k=1))
    assert tokens == events[30:60]
    write_midi(tmp_path / "on.mid", from_events(tokens))
    assert {n.pitch for n in read_midi(tmp_path / "on.mid")} <= {n.pitch for n in scale}
