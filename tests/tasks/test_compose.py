"""Music of several notes: the joint head by its definition, frames in and out, and live pieces in the same bits."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import recurra
from helpers import generator
from recurra.cli import app
from recurra.data.music import Note, midi_of, read_midi
from recurra.data.rolls import FIRST, KEYS, FrameBefore, Roll, keys_of, notes_of_keys, read_rolls
from recurra.errors import DataError, ModelFileError, SettingError
from recurra.models.notes import NoteHead
from recurra.runtime.program import Program
from recurra.tasks.composition.baselines import KeyChains, KeyFrequencies, LinearOnFrames, lagged
from recurra.tasks.composition.chords import Chords, chance
from recurra.tasks.composition.live import played
from recurra.tasks.composition.task import Compose, NatsFrame, NoteF1

CHORDS = np.array([[48, 64, 67, 72], [53, 65, 69, 72], [55, 62, 67, 71], [48, 60, 64, 72]])


def pieces(count=24, key="pieces") -> list[np.ndarray]:
    """Chords [T, 4] of a few, in several keys."""
    rng, found = generator(key), []
    for _ in range(count):
        order = [0, *rng.integers(0, 4, size=int(rng.integers(4, 8))), 2, 0]
        found.append(np.repeat(CHORDS[order] + int(rng.integers(-4, 5)), 2, 0))
    return found


@pytest.fixture(scope="module")
def fitted() -> recurra.Composer:
    return recurra.Composer(hidden=20, units=9, epochs=50, batch=6, learning_rate=1e-2).fit(pieces())


def logistic(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def joint(head: NoteHead, output: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The definition, key by key from the lowest."""
    A, W = head.below.detach().numpy()[:, : head.notes], head.below.detach().numpy()[:, head.notes :]
    at = head.intervals.detach().numpy()
    V = head.above.detach().numpy()
    found = np.empty(head.notes)
    for p in range(head.notes):
        bias, hidden = output[p], output[head.notes :].astype(np.float64)
        for q in range(p):
            if frame[q]:
                bias, hidden = bias + A[q, p] + at[p - q], hidden + W[q]
        found[p] = logistic(bias + V[p] @ logistic(hidden))
    return found


@pytest.fixture(scope="module")
def head() -> NoteHead:
    torch.manual_seed(0)
    made = NoteHead(3, KEYS, 5, 0.0)
    for parameter in (made.below, made.above, made.intervals, made.before, made.moves):
        torch.nn.init.normal_(parameter, std=0.7)
    return made


def test_each_note_is_given_those_below_it(head) -> None:
    rng = generator("joint")
    output, frames = rng.normal(size=(4, KEYS + 5)).astype(np.float32), rng.random((4, KEYS)) < 0.1
    frames[3], frames[2, -1] = False, True
    chords = Chords({n: Program(ops) for n, ops in head.programs().items()})
    want = np.stack([joint(head, *pair) for pair in zip(output, frames, strict=True)])
    before, B, m = rng.random((4, KEYS)) < 0.1, head.before.detach().numpy(), head.moves.detach().numpy()
    told = [torch.from_numpy(np.asarray(a, np.float32)) for a in (output, frames, before)]
    moved = output.copy()
    for n, p in np.ndindex(4, KEYS):
        moved[n, p] += sum(B[q, p] + m[p - q + KEYS - 1] for q in np.flatnonzero(before[n]))
    with_before = np.stack([joint(head, *pair) for pair in zip(moved, frames, strict=True)])
    assert np.allclose(head.scores(*told).sigmoid().detach(), with_before, atol=1e-5)
    assert np.allclose(chords.begun(output, before.astype(np.float32)), moved, atol=1e-5)
    assert np.allclose([chords.probabilities(*pair) for pair in zip(output, frames, strict=True)], want, atol=1e-5)
    nats = -np.log(np.where(frames, want, 1 - want)).sum(1)
    targets, outputs = told[1][None].clone(), told[0][None]
    assert head.loss(outputs, targets).item() == pytest.approx(nats.mean(), rel=1e-4)
    targets[0, 1] = torch.nan
    assert head.loss(outputs, targets).item() == pytest.approx(nats[[0, 2, 3]].mean(), rel=1e-4)
    assert NatsFrame().value(frames.astype(float), want) == pytest.approx(nats.mean(), rel=1e-6)


def test_what_is_drawn_has_the_joint_distribution(head) -> None:
    """Of three keys, by all eight frames."""
    chords = Chords({n: Program(ops) for n, ops in head.programs().items()})
    output = np.zeros(KEYS + 5, np.float32)
    output[[0, 1, 2]] = -chords.probabilities(output, np.zeros(KEYS, bool))[:3]
    counts, N = np.zeros(8), 3000
    for u in chance(7, 3, N):
        u[3:] = 2.0
        counts[int(chords.draw(output, u)[0][:3] @ [1, 2, 4])] += 1
    for k in range(8):
        frame = np.array([k & 1, k & 2, k & 4, *[0] * (KEYS - 3)], bool)
        p = joint(head, output, frame)[:3]
        want = np.prod(np.where(frame[:3], p, 1 - p))
        assert counts[k] / N == pytest.approx(want, abs=4.5 * math.sqrt(want * (1 - want) / N) + 1e-3)


def test_temperature_is_of_frames_not_of_notes(head) -> None:
    """Two keys: the joint distribution to the power 1 / T."""
    chords = Chords({n: Program(ops) for n, ops in head.programs().items()})
    output, N = np.zeros(KEYS + 5, np.float32), 300
    counts = np.zeros(4)
    for seed in range(N):
        u = chance(seed, 1, 31)
        u[:-1, 2:] = 2.0
        counts[int(chords.choose(output, u, (), 0.5)[:2] @ [1, 2])] += 1
    want = []
    for k in range(4):
        frame = np.array([k & 1, k & 2, *[0] * (KEYS - 2)], bool)
        p = joint(head, output, frame)[:2]
        want.append(np.prod(np.where(frame[:2], p, 1 - p)) ** 2)
    assert np.allclose(counts / N, np.array(want) / sum(want), atol=0.09)


def test_without_units_notes_are_independent() -> None:
    model = recurra.Composer(hidden=4, units=0, epochs=1).fit(pieces(8), evaluate=False)
    assert list(model.model_.programs) == ["main", "before"]
    (roll,) = read_rolls([CHORDS]).with_targets(None)
    (p,) = model.predict([CHORDS])
    rows = model.transform_.rows(roll, 0, 4)
    assert np.allclose(p[:4], logistic(model.model_.run(rows) + model.model_.program("before").run(rows)), atol=1e-6)


def test_frames_ask_for_the_next() -> None:
    frames = np.zeros((3, KEYS), bool)
    frames[[0, 1, 2], [5, 40, 80]] = True
    piece, learned = Roll("", frames, open=True), FrameBefore(9)
    assert learned.rows(piece, 0, 4).argmax(1).tolist() == [0, 5, 40, 80]
    assert learned.rows(piece, 0, 1).sum() == 0
    assert learned.targets(piece, 1, 4).argmax(1).tolist()[:2] == [40, 80]
    assert np.isnan(learned.targets(piece, 1, 4)[-1]).all()
    seen = set()
    for k in range(60):
        rows, targets = learned.varied(piece, 3, np.random.default_rng(k))
        by = int(targets[0].argmax()) - 5
        assert targets.argmax(1).tolist() == [5 + by, 40 + by, 80 + by]
        assert rows.argmax(1).tolist() == [0, 5 + by, 40 + by]
        seen.add(by)
    assert seen == set(range(-5, 8))
    task = Compose()
    assert np.isnan(task.truth(piece, 0, 3)[0]).all()
    assert (task.truth(piece, 1, 3) == frames[1:]).all()


def test_pieces_are_read_from_anything(tmp_path) -> None:
    notes = [Note(0, 60, 4), Note(2, 64, 2), Note(4, 20, 1)]
    (tmp_path / "b.mid").write_bytes(midi_of(notes))
    (tmp_path / "a.MID").write_bytes(midi_of(notes[:2]))
    found = read_rolls(tmp_path)
    assert found.names == ("a.MID", "b.mid")
    want = np.zeros((5, KEYS), bool)
    want[:4, 60 - FIRST] = want[2:4, 64 - FIRST] = want[4, 32 - FIRST] = True
    both = np.zeros((5, 128), np.float32)
    both[:4, 60] = both[2:4, 64] = both[4, 20] = 1
    voices = np.array([[60, 0], [60, 0], [60, 64], [60, 64], [20, 0]])
    given = [tmp_path / "b.mid", str(tmp_path / "b.mid"), midi_of(notes), notes, both, want, voices]
    for x in read_rolls(given).x:
        assert (x == want).all()
    assert notes_of_keys(want) == [*notes[:2], Note(4, 32, 1)]
    for pitch in range(128):
        key = int(keys_of(np.eye(128)[[pitch]]).argmax())
        assert (key + FIRST - pitch) % 12 == 0
        assert key + FIRST == pitch or not FIRST <= pitch < FIRST + KEYS


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([], "there are none"),
        (3, "got a int"),
        ([b"no midi"], "it is no MIDI file"),
        ([np.zeros((0, KEYS))], "number 0"),
        ([np.full((2, KEYS), np.nan)], "number 0"),
        ([[1.5, 2.5]], "number 0"),
        ([np.array([[60, 300]])], "pitches 0-127"),
    ],
)
def test_what_is_no_music_is_said(X, said, tmp_path) -> None:
    with pytest.raises(DataError, match=said):
        recurra.Composer().fit(X)
    with pytest.raises(DataError, match="no MIDI file in the folder"):
        read_rolls(tmp_path)


def test_what_is_wrong_with_settings_is_said(fitted) -> None:
    for how in ({"units": -1}, {"reading": {"steps": 0}}, {"reading": {"transposed": 99}}):
        with pytest.raises(SettingError, match=next(iter(how.get("reading", how)))):
            recurra.Composer(**how).fit(pieces(6))
    live = fitted.live()
    for call in (
        lambda: live.generate(4, temperature=0.0),
        lambda: live.generate(4, temperature=-1),
        lambda: live.generate(-1),
        lambda: live.generate(4, seed=-1),
    ):
        with pytest.raises(SettingError):
            call()
    for call in (
        lambda: live.step({"notes": [20]}),
        lambda: live.step("60 x"),
        lambda: live.step({"chord": [60]}),
        lambda: live.feed(np.zeros((2, 5))),
    ):
        with pytest.raises(DataError):
            call()
    assert live.series == []


def test_live_says_what_the_whole_piece_says(fitted, tmp_path) -> None:
    fitted.save(tmp_path / "m.recurra")
    model = recurra.open_model(tmp_path / "m.recurra")
    one = pieces(1, "other")[0]
    (frames,) = read_rolls([one]).x
    (whole,) = fitted.predict([one])
    assert (model.predict([one])[0] == whole).all()
    live = model.live()
    for t, frame in enumerate(frames):
        chords = live.chords.probabilities(live._one("").rows.output, frame)
        assert (chords == whole[t]).all()
        live.feed(frame[None])
    assert (live.probabilities() == whole[-1]).all()
    kept = live.snapshot()
    fork, other = live.fork(), model.live()
    other.restore(kept)
    a = live.generate(12, seed=3)
    assert (fork.generate(5, seed=3) == a[:5]).all()
    assert (other.generate(12, seed=3) == a).all()
    assert not (other.generate(12, seed=4) == fork.generate(12, seed=3)[:12]).all()


def test_the_model_has_the_loss_of_its_training(fitted) -> None:
    splits = fitted.task_.split(read_rolls(pieces()).with_targets(None), fitted.parts, 0)
    held = [piece for piece, split in zip(pieces(), splits, strict=True) if split.train_end < split.valid_end]
    nats = count = 0.0
    for frames, p in zip(read_rolls(held).x, fitted.predict(held), strict=True):
        nats -= float(np.log(np.where(frames, p[:-1], 1 - p[:-1])).sum())
        count += len(frames)
    best = min(h["valid_error"] for h in fitted.history_.epochs)
    assert nats / count == pytest.approx(best, rel=0.02)


def test_it_learns_chords_and_is_measured(fitted) -> None:
    table = {row["name"]: row["nats_frame"] for row in fitted.report_["table"]}
    assert table["GRU"] < table["each note by itself before"]
    made = fitted.live().generate(40, temperature=0.5)
    assert 2 < made.sum(1).mean() < 6
    assert [s["kind"] for s in fitted.report_["sections"]] == ["rolls", "table"]
    truth = np.array([[1.0, 0, 1], [np.nan] * 3, [0, 0, 1]])
    assert NoteF1().value(truth, np.array([[0.6, 0.5, 0.1], [0.9] * 3, [0.1, 0.2, 0.5]])) == pytest.approx(4 / 6)


def test_given_notes_sound_and_nothing_is_above_them(fitted) -> None:
    melody = [72, 72, 71, 72]
    live = fitted.live()
    for pitch in melody:
        frame = live.accompany([pitch], seed=5)
        assert frame[pitch - FIRST]
        assert not frame[pitch - FIRST + 1 :].any()
    assert live.accompany([40], above=True, seed=1)[40 - FIRST]
    answer = fitted.live().step({"notes": [72]})
    assert set(answer["notes"]) == {72, *answer["added"]}
    assert fitted.live().step("72") == answer


def test_an_accompaniment_knows_what_is_above_it(fitted) -> None:
    """Below a note the others are drawn as often as frames that have it say; one candidate does not know of it."""
    (frames,) = read_rolls([pieces(1, "above")[0]]).x
    live = fitted.live()
    live.feed(frames[:4])
    output = live._one("").rows.output
    draws = [live.chords.draw(output, u) for u in chance(11, 0, 2500)]
    tops = [int(np.flatnonzero(f)[-1]) if f.any() else -1 for f, _ in draws]
    top = max((t for t in set(tops) if t >= 0), key=tops.count)
    want = np.mean([f for (f, _), t in zip(draws, tops, strict=True) if t == top], 0)
    got = []
    for seed in range(250):
        got.append(live.fork().accompany([top + FIRST], seed=seed, candidates=24))
    error = np.abs(np.mean(got, 0) - want)[:top].max()
    assert error < 0.16


def test_baselines_are_what_they_say() -> None:
    rng = generator("baselines")
    frames = [rng.random((9, KEYS)) < 0.2 for _ in range(6)]
    task = Compose()
    sequences = task.examples(frames)
    splits = task.split(sequences, ["train"] * 4 + ["valid", "test"], 0)
    from recurra.tasks.bench import Bench

    bench = Bench(task, sequences, splits, task.transform(sequences, splits))
    train, test = np.concatenate(frames[:4]), sequences[5]
    assert np.allclose(KeyFrequencies.fit(bench).predict(test, 2, 4), (train.sum(0) + 0.5) / (len(train) + 1))
    pairs = [(a, b) for f in frames[:4] for a, b in pairwise(f)]
    k, was = 11, bool(frames[5][3, 11])
    after = [bool(b[k]) for a, b in pairs if bool(a[k]) == was]
    want = (sum(after) + 0.5) / (len(after) + 1)
    assert KeyChains.fit(bench).predict(test, 4, 5)[0, k] == pytest.approx(want)
    x = lagged(frames[0], 3)
    assert (x[5] == np.concatenate([frames[0][4], frames[0][3], frames[0][2]])).all()
    assert (x[1, KEYS:] == 0).all()
    free = LinearOnFrames.fit(bench, {"penalty": 1e-6})
    learned = np.concatenate([free.predict(s, 1, 9) for s in sequences[:4]])
    assert NatsFrame().value(np.concatenate([f[1:] for f in frames[:4]]).astype(float), learned) < 1.0


def test_the_commands_write_music_and_a_picture(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "midi").mkdir()
    for k, voices in enumerate(pieces(8, "files")):
        from recurra.data.music import notes_of

        (tmp_path / "midi" / f"{k}.mid").write_bytes(midi_of(notes_of(voices)))
    run = CliRunner()
    done = run.invoke(app, ["fit", "compose", "midi", "--hidden", "6", "--units", "3", "--epochs", "2"])
    assert done.exit_code == 0, done.output
    done = run.invoke(app, ["compose", "model.recurra", "--out", "a.mid", "-n", "20", "--picture", "a.svg"])
    assert done.exit_code == 0, done.output
    assert "notes in 20 frames" in done.output
    assert read_midi(tmp_path / "a.mid")
    assert (tmp_path / "a.svg").read_text().count("path") > 3
    done = run.invoke(app, ["compose", "model.recurra", "--out", "b.mid", "--to", "midi/1.mid"])
    assert done.exit_code == 0, done.output
    live = recurra.open_model("model.recurra").live()
    frames, given = played(live, 4, 8, after="midi/2.mid")
    assert (frames[: len(given) - 8] == read_rolls("midi/2.mid").x[0]).all()
    assert not given[-8:].any()
    assert run.invoke(app, ["draw", "midi/0.mid"]).output.startswith("0.mid")
    done = run.invoke(app, ["compose", "model.recurra", "--to", "midi/1.mid", "--after", "midi/1.mid"])
    assert isinstance(done.exception, SettingError)
    text = recurra.Generator(hidden=4, epochs=1, chunk=8, batch=2).fit("abcd\n" * 30, evaluate=False)
    text.save("text.recurra")
    assert isinstance(run.invoke(app, ["compose", "text.recurra"]).exception, ModelFileError)
