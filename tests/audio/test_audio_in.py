"""Sound in: files, rates, filter banks; whole, in pieces and a sample at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recurra.data.audio import (
    Augment,
    FilterBank,
    Gate,
    Hearing,
    Recording,
    Resampler,
    is_audio,
    read_recordings,
    read_sound,
    stream_sound,
)
from recurra.data.audio.transform import Heard
from recurra.data.split import Split
from recurra.errors import DataError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("kaldi_native_fbank")
RNG = np.random.default_rng(5)


def noise(n: int, scale: float = 0.1) -> np.ndarray:
    return (scale * RNG.standard_normal(n)).astype(np.float32)


def pieces(x: np.ndarray, sizes: list[int]):
    at, k = 0, 0
    while at < len(x):
        yield x[at : at + sizes[k % len(sizes)]]
        at, k = at + sizes[k % len(sizes)], k + 1


@pytest.mark.parametrize(("before", "after"), [(8000, 16000), (48000, 16000), (44100, 16000), (22050, 8000)])
def test_resampling_is_scipys_and_in_pieces_the_same_bits(before: int, after: int) -> None:
    from scipy.signal import resample_poly

    x = noise(3011)
    whole = Resampler(before, after).push(x)
    there = resample_poly(x.astype(np.float64), after, before)[: len(whole)]
    assert abs(len(whole) - len(x) * after / before) < 12 * max(1, after / before)
    np.testing.assert_allclose(whole, there, atol=2e-6)
    for sizes in ([1], [7, 160, 0, 3], [997]):
        one = Resampler(before, after)
        parts = []
        for i, piece in enumerate(pieces(x, sizes)):
            if i == 3:  # another takes over
                other = Resampler(before, after)
                other.restore(one.state())
                one = other
            parts.append(one.push(piece))
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("bank", [FilterBank(bins=23), FilterBank("mfcc", 13, 8000)])
def test_frames_of_pieces_are_those_of_the_whole(bank: FilterBank) -> None:
    x = noise(2903)
    whole = bank.frames(x)
    assert whole.shape == (1 + (2903 - bank.window) // bank.shift, bank.bins)
    for sizes in ([1], [320], [13, 800, 0, 1]):
        live, found = bank.live(), []
        for i, piece in enumerate(pieces(x, sizes)):
            if i == 5:
                other = bank.live()
                other.restore(live.state())
                live = other
            found.append(live.push(piece))
            assert len(live.state()["tail"]) < bank.window
        assert np.concatenate(found).tobytes() == whole.tobytes()


def test_log_mel_is_the_definition() -> None:
    """Against Kaldi's definition in NumPy float64: mean off, preemphasis, Povey's window, power, triangles in mel."""
    bank, x = FilterBank(bins=20), noise(400)
    frame = x.astype(np.float64) * 32768
    frame -= frame.mean()
    frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
    frame *= (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(frame, 512)) ** 2
    mel = lambda f: 1127 * np.log(1 + f / 700)  # noqa: E731
    edges = np.linspace(mel(20), mel(8000), 22)
    bins = mel(np.arange(257) * 16000 / 512)
    up, down = (
        (bins - edges[:-2, None]) / np.diff(edges)[:-1, None],
        (edges[2:, None] - bins) / np.diff(edges)[1:, None],
    )
    weights = np.maximum(0, np.minimum(up, down))
    weights[:, 256] = 0  # Kaldi leaves out the last
    np.testing.assert_allclose(bank.frames(x)[0], np.log(weights @ power), atol=2e-3)


@pytest.mark.parametrize("running", [True, False])
def test_rows_live_are_those_of_the_whole(running: bool) -> None:
    bank = FilterBank(bins=8)
    made = Hearing(bank, 3, np.zeros(24), np.ones(24))
    recordings = [Recording(f"{i}", noise(4000 + 777 * i, 0.01 * (i + 1)), speaker="a") for i in range(3)]
    heard = [made.heard(r) for r in recordings]
    learned = Hearing.fit(
        heard, [Split(len(h), len(h), len(h)) for h in heard[:2]] + [Split(0, 0, len(heard[2]))], bank, 3, running
    )
    train = np.concatenate([h.x for h in heard[:2]]).astype(np.float64)
    np.testing.assert_allclose(learned.center, train.mean(0))
    np.testing.assert_allclose(learned.scale, train.std(0), rtol=1e-6)
    learned = Hearing.from_dict(json.loads(json.dumps(learned.to_dict())))
    whole = learned.rows(heard[2], 0, len(heard[2]))
    if running:  # the definition
        mean, want = learned.center, []
        for t, x in enumerate(heard[2].x):
            mean = mean + (x - mean) / min(learned.prior + t + 1, learned.memory + learned.prior)
            want.append((x - mean) / learned.scale)
        np.testing.assert_allclose(whole, want, rtol=1e-5, atol=1e-5)
    cuts = np.concatenate([learned.rows(heard[2], a, b) for a, b in ((0, 4), (4, 5), (5, len(heard[2])))])
    assert cuts.tobytes() == whole.tobytes()
    assert learned.rows(heard[2], 6, 9).tobytes() == whole[6:9].tobytes()
    for sizes in ([1], [160], [5, 1300]):
        live, found = learned.live(), []
        for i, piece in enumerate(pieces(recordings[2].samples, sizes)):
            if i == 2:
                other = learned.live()
                other.restore(live.state())
                live = other
            found.append(live.push(piece))
        assert np.concatenate(found).tobytes() == whole.tobytes()
    with pytest.raises(DataError, match="8000 a second, expected 16000"):
        live.push(noise(5), 8000)
    with pytest.raises(DataError, match="is no number"):
        live.push(np.array([0.0, np.nan], np.float32))


def test_files_are_read_whole_and_in_pieces_alike(tmp_path) -> None:
    stereo = np.stack([noise(9001), noise(9001)], 1)
    for name, rate in (("a.wav", 48000), ("b.flac", 8000), ("c.ogg", 16000)):
        soundfile.write(tmp_path / name, stereo, rate)
        notes: list[str] = []
        whole = read_sound(tmp_path / name, notes=notes)
        assert abs(len(whole) / 16000 - 9001 / rate) < 0.003
        assert "2 channels mixed to one" in notes
        assert (f"resampled from {rate} to 16000 Hz" in notes) == (rate != 16000)
        assert np.concatenate(list(stream_sound(tmp_path / name, block=0.013))).tobytes() == whole.tobytes()
    pcm = np.round(stereo[:, :1] * 32767).clip(-32768, 32767).astype(np.int16)
    soundfile.write(tmp_path / "d.wav", pcm, 16000)
    assert (read_sound(tmp_path / "d.wav") == pcm[:, 0] / np.float32(32768)).all()


def test_bad_files_are_one_line(tmp_path) -> None:
    def refused(name: str, match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            read_sound(tmp_path / name)
        assert "\n" not in str(caught.value)

    (tmp_path / "empty.wav").write_bytes(b"")
    refused("empty.wav", "the file is empty")
    (tmp_path / "text.wav").write_text("hello")
    refused("text.wav", "this is no sound")
    for name in ("whole.wav", "whole.flac"):
        soundfile.write(tmp_path / name, noise(16000), 16000)
        (tmp_path / name.replace("whole", "cut")).write_bytes((tmp_path / name).read_bytes()[:9001])
    refused("cut.wav", "cut off, .* bytes are missing")
    refused("cut.flac", "cut off|damaged")
    soundfile.write(tmp_path / "none.wav", noise(0), 16000)
    refused("none.wav", "no samples")
    x = noise(8000)
    x[4000] = np.nan
    soundfile.write(tmp_path / "nan.wav", x, 16000, subtype="FLOAT")
    refused("nan.wav", "at 0.250 s is no number")
    notes: list[str] = []
    soundfile.write(tmp_path / "loud.wav", 20 * noise(8000), 16000)
    read_sound(tmp_path / "loud.wav", notes=notes)
    soundfile.write(tmp_path / "still.wav", np.zeros(8000), 16000)
    read_sound(tmp_path / "still.wav", notes=notes)
    assert "clipped" in notes[0]
    assert "silence" in notes[1]
    with pytest.raises(DataError, match="rate is 10"):
        read_sound(tmp_path / "loud.wav", 10)


def test_folders_and_manifests(tmp_path) -> None:
    for label in ("yes", "no"):
        (tmp_path / label).mkdir()
        soundfile.write(tmp_path / label / "a.wav", noise(800), 16000)
    assert is_audio(tmp_path)
    assert [r.label for r in read_recordings(tmp_path)] == ["no", "yes"]
    lines = [
        {"path": "yes/a.wav", "text": "YES", "speaker": 7},
        {"audio_filepath": str(tmp_path / "no/a.wav"), "text": "no"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    (tmp_path / "m.csv").write_text('path,text,speaker\nyes/a.wav,"YES, sir",7\n')
    found = read_recordings(tmp_path / "m.jsonl")
    assert [(r.text, r.speaker) for r in found] == [("YES", "7"), ("no", None)]
    assert read_recordings(tmp_path / "m.csv")[0].text == "YES, sir"
    assert is_audio(str(tmp_path / "m.csv"))
    assert is_audio([tmp_path / "yes/a.wav"])
    (tmp_path / "t.csv").write_text("time,y\n1,2\n")
    assert not is_audio(tmp_path / "t.csv")
    assert not is_audio([[1.0, 2.0]])
    for text, match in (
        ('{"path": "gone.wav"}', "line 1: there is no file 'gone.wav'"),
        ('{"text": "x"}', "line 1 names no file"),
        ("[1]", "line 1 is no object"),
        ("{", "line 1 is unreadable"),
        ("", "no lines"),
    ):
        (tmp_path / "bad.jsonl").write_text(text)
        with pytest.raises(DataError, match=match):
            read_recordings(tmp_path / "bad.jsonl")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="no sound in this folder"):
        read_recordings(tmp_path / "void")


def test_augmentation_changes_what_it_says() -> None:
    off = Augment(speed=0, tempo=0, gain=0, colour=0, hiss=0, warp=0, bands=0, pauses=0)
    x, rows = noise(4000), RNG.standard_normal((30, 24)).astype(np.float32)
    assert (off.samples(x, RNG, 16_000) == x).all()
    assert (off.frames(rows, RNG, 8) == rows).all()
    tone = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000).astype(np.float32)
    from dataclasses import replace

    for seed in range(3):
        rng = np.random.default_rng(seed)
        y = replace(off, speed=0.2).samples(tone, rng, 16_000)
        at = np.abs(np.fft.rfft(y)).argmax() / len(y) * 16000
        assert 0.79 < len(tone) / len(y) < 1.21
        assert at == pytest.approx(500 * len(tone) / len(y), abs=2)
        y = replace(off, hiss=20).samples(tone, rng, 16_000)
        share = 10 * np.log10((tone**2).mean() / ((y - tone) ** 2).mean())
        assert 19 < share < 41
        masked = replace(off, bands=1, band=4).frames(rows, rng, 8).reshape(30, 3, 8)
        zero = (masked == 0).all((0, 1))
        assert (masked[..., ~zero] == rows.reshape(30, 3, 8)[..., ~zero]).all()
        warped = replace(off, warp=0.3).frames(np.tile(np.arange(8, dtype=np.float32), (2, 3)), rng, 8)
        factor = warped[0, 1]
        np.testing.assert_allclose(warped[0, :8], np.minimum(np.arange(8) * factor, 7), rtol=1e-5)
    gained = replace(off, gain=6).samples(x, RNG, 16_000)
    assert np.ptp(gained[x != 0] / x[x != 0]) < 1e-4


def test_haste_changes_the_tempo_alone() -> None:
    frames = np.outer(np.arange(91), [1, -2, 0.5]).astype(np.float32)  # straight lines: what lies between is known
    steps = frames[:90].reshape(45, 6)
    assert (Augment(tempo=0).hurried(steps, RNG, 3) == steps).all()
    lengths = set()
    for seed in range(6):
        rows = Augment(tempo=0.5).hurried(steps, np.random.default_rng(seed), 3)
        factor = rows.reshape(-1, 3)[1, 0]
        assert 1 / 1.501 < factor < 1.501
        assert len(rows) == round(90 / factor) // 2
        want = np.minimum(np.arange(2 * len(rows)) * factor, 89)[:, None] * [1, -2, 0.5]
        np.testing.assert_allclose(rows.reshape(-1, 3), want, rtol=1e-4, atol=1e-4)
        lengths.add(len(rows))
    assert min(lengths) < 40 < 50 < max(lengths)


@pytest.mark.parametrize(("running", "stack"), [(False, 1), (True, 2)])
def test_color_is_a_filter_before_all_else(running: bool, stack: int) -> None:
    bank, T = FilterBank(bins=7), 33
    x = RNG.normal(10, 2, (T, 7 * stack)).astype(np.float32)
    hearing = Hearing.fit([Heard("a", x, np.nan, "a", np.nan)], [Split(T, T, T)], bank, stack, running=running)
    curve = 3 * np.cos(np.arange(7)).astype(np.float32)  # decibels
    energy = np.exp(x.reshape(T, stack, 7)) * 10 ** (curve / 10)
    filtered = Heard("b", np.log(energy).reshape(T, -1).astype(np.float32), np.nan, "b", np.nan)
    rows = hearing.rows(Heard("c", x, np.nan, "c", np.nan), 0, T)
    want = hearing.rows(filtered, 0, T) - rows
    np.testing.assert_allclose(hearing.decibel(T) * np.tile(curve, stack), want, atol=2e-4)
    only = Augment(tempo=0, colour=4, warp=0, bands=0, pauses=0)
    coloured = [only.frames(rows, np.random.default_rng(seed), 7, hearing.decibel(T)) for seed in range(400)]
    found = np.stack([(one - rows) / hearing.decibel(T) for one in coloured])  # the curves, at each step
    np.testing.assert_allclose(found, np.tile(found[:, :1, :7], (1, T, stack)), atol=2e-3)
    assert 3.4 < found[:, 0, [0, -1]].std() < 4.6
    assert np.corrcoef(found[:, 0, 0], found[:, 0, 1])[0, 1] > 0.3 > np.corrcoef(found[:, 0, 0], found[:, 0, 6])[0, 1]


def test_gate_opens_for_speech_and_learns_the_room() -> None:
    bank = FilterBank(bins=20)
    room = noise(16000 * 3, 0.002)
    room[16000:24000] += noise(8000, 0.1)
    frames = bank.frames(room)
    opened = Gate(hold=10).many(frames)
    assert not opened[:97].any()
    assert opened[102:148].all()
    assert not opened[165:].any()
    live = Gate(hold=10).live()
    for frame in frames[:120]:
        live.push(frame)
    other = Gate(hold=10).live()
    other.restore(live.state())
    assert [other.push(f) for f in frames[120:]] == opened[120:].tolist()
    assert not Gate().many(bank.frames(np.zeros(8000, np.float32))).any()
