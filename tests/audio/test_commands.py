"""Labels of sound: whole, live in pieces of any size; words that are detected, and how often by mistake."""

from __future__ import annotations

import io

import numpy as np
import pytest

import recurra
from recurra.data.audio import Recording
from recurra.data.split import PARTS
from recurra.errors import DataError, SettingError
from recurra.tasks.classification.classifier import Classify
from recurra.tasks.live.spotter import Spotter, _rarer, _upper

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("kaldi_native_fbank")
RNG = np.random.default_rng(3)
PITCH = {"low": 300.0, "high": 1800.0}


def tone(label: str, n: int) -> np.ndarray:
    wave = np.sin(2 * np.pi * PITCH[label] * RNG.uniform(0.95, 1.05) * np.arange(n) / 16000)
    return (0.2 * wave + 0.004 * RNG.standard_normal(n)).astype(np.float32)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    labels = [("low", "high")[i % 2] for i in range(48)]
    return [
        Recording(f"{i}", tone(label, int(RNG.integers(4000, 7000))), label=label) for i, label in enumerate(labels)
    ]


@pytest.fixture(scope="module")
def model(recordings, tmp_path_factory):
    made = recurra.Classifier(
        learning_rate=1e-2, hidden=8, epochs=14, batch=8, refit=False, reading={"bins": 16, "copies": 2, "warp": 0.02}
    )
    made.fit(recordings, evaluate=False)
    path = tmp_path_factory.mktemp("model") / "m.recurra"
    made.save(path)
    return recurra.open_model(path)


def test_it_learns_and_says_so(model, recordings) -> None:
    assert model.score(recordings) > 0.9
    assert set(model.report_["data"]["labels"]) == {"low", "high"}


def test_live_is_the_whole_to_the_last_bit(model, recordings) -> None:
    whole = model.predict_proba(recordings[:2], steps="all")
    for sizes in ([1], [160], [37, 1200]):
        for x, want in zip([r.samples for r in recordings[:2]], whole, strict=True):
            live, found, at, k = model.live(), [], 0, 0
            while at < len(x):
                found.append(live.outputs(x[at : at + sizes[k % len(sizes)]]))
                at, k = at + sizes[k % len(sizes)], k + 1
                if k == 7:
                    snapshot, other = live.snapshot(), model.live()
                    other.restore(snapshot)
                    other.fork("", "twin")
                    live = other
            assert np.concatenate(found).tobytes() == want.tobytes()
            assert live.state_bytes < 12_000
    live = model.live()
    answers = live.step(recordings[0].samples)
    assert answers[-1]["label"] == model.predict(recordings[:1])[0]
    with pytest.raises(DataError, match="is no number"):
        live.step(np.array([np.nan], np.float32))


def test_another_rate_is_the_same_sound(model) -> None:
    x = tone("high", 24000)
    live = model.live()
    slow = live.step((x[::2]), rate=8000)
    assert slow[-1]["label"] in PITCH
    assert len(slow) == pytest.approx(150, abs=3)
    with pytest.raises(DataError, match="16000 a second, expected 8000"):
        live.step(x[:10])


def stream(words: list[str]) -> tuple[np.ndarray, list[float]]:
    parts, ends, at = [], [], 0
    for word in words:
        quiet = (0.001 * RNG.standard_normal(16000)).astype(np.float32)
        parts += [quiet, tone(word, 6000)]
        at += 22000
        ends.append(at / 16000)
    return np.concatenate([*parts, quiet]), ends


def test_words_are_detected_once_and_soon(model) -> None:
    x, ends = stream(["low", "high", "low"])
    detector = Spotter(model, 0.6)
    found = detector.push(x)
    assert [one.label for one in found] == ["low", "high", "low"]
    for one, end in zip(found, ends, strict=True):
        assert end - 0.375 < one.time < end + 0.3
    shut = detector.probabilities.sum(1) == 0
    assert shut[:95].all()
    again = Spotter(model, 0.6)
    pieces = [again.push(x[at : at + 997]) for at in range(0, len(x), 997)]
    assert [one for piece in pieces for one in piece] == found
    assert detector.bytes["all"] == sum(v for k, v in detector.bytes.items() if k != "all")
    assert detector.bytes["network"] == sum(a.nbytes for a in model.model_.arrays().values())


def test_the_threshold_keeps_to_the_alarms_asked_for(model) -> None:
    background, _ = stream([("low", "high")[int(k)] for k in RNG.integers(0, 2, 12)])
    hours = (1 + (len(background) - 400) // 160) / 360_000
    detector = Spotter(model)
    for alarms in (0, 3, 7):
        rate = detector.calibrate([background[:50_001], background[50_001:]], (alarms + 0.5) / hours)
        assert rate.hours == pytest.approx(hours)
        assert rate.alarms <= alarms
        assert len(detector.push(background)) == rate.alarms
        assert rate.bound == pytest.approx(_upper(rate.alarms) / hours)
        detector.reset()
    only = Spotter(model, 0.6, others=["low"])
    assert {one.label for one in only.push(background)} == {"high"}
    for match, bad in (("no label 'x'", {"others": ["x"]}), ("threshold=0", {"threshold": 0})):
        with pytest.raises(DataError, match=match):
            Spotter(model, **bad)
    with pytest.raises(DataError, match="no background"):
        detector.calibrate([])


@pytest.mark.parametrize("count", [0.1, 1.0, 4.0])
def test_a_threshold_of_few_alarms_follows_from_the_tail(count) -> None:
    """Of a thousand peaks whose logits are exponential beyond 1: how many of another thousand pass what is found."""
    passed, by_the_highest = [], []
    for seed in range(300):
        logits = 1 + np.random.default_rng(seed).exponential(0.7, 1000)
        peaks = (1 / (1 + np.exp(-logits))).tolist()
        level, highest = _rarer(peaks, count), sorted(peaks)[-1 - int(count)]
        for found, at in ((passed, level), (by_the_highest, highest)):
            found.append(1000 * np.exp(-(np.log(at / (1 - at)) - 1) / 0.7))
    assert 0.6 * count < np.median(passed) < 1.3 * count
    assert count > 0.5 or np.median(by_the_highest) > 3 * count  # the highest peak says nothing of once in ten thousand


def test_a_threshold_of_many_alarms_is_counted_off() -> None:
    peaks = np.random.default_rng(1).uniform(0.5, 1, 200).tolist()
    assert sum(peak >= _rarer(peaks, 12.5) for peak in peaks) == 12
    assert _rarer([], 3.0) == np.nextafter(np.float32(0), np.float32(2))
    assert _rarer([0.0] * 50, 0.2) == np.nextafter(np.float32(0), np.float32(2))
    assert _rarer([1.0] * 20, 0.2) > 1  # quite sure of more than that


def test_a_folder_from_the_command_line(tmp_path, recordings, monkeypatch) -> None:
    from typer.testing import CliRunner

    from recurra.cli import app

    for one in recordings[:24]:
        place = tmp_path / "words" / one.label
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{one.name}.wav", one.samples, 16000)
    out = tmp_path / "m.recurra"
    done = CliRunner().invoke(
        app, ["fit", "classify", str(tmp_path / "words"), "--hidden", "4", "--epochs", "1", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    x, _ = stream(["low"])
    soundfile.write(tmp_path / "x.wav", x, 16000)
    soundfile.write(tmp_path / "b.wav", x[:16000], 16000)
    said = CliRunner().invoke(
        app, ["listen", str(out), str(tmp_path / "x.wav"), "--background", str(tmp_path / "b.wav")]
    )
    assert said.exit_code == 0, said.output
    assert "memory of the detector" in said.output
    assert "false alarms in 0.00 h" in said.output

    class Stdin:
        buffer = io.BytesIO((x * 32767).astype("<i2").tobytes()[:-1])

    from recurra.data.audio import sound

    monkeypatch.setattr(sound.sys, "stdin", Stdin)
    with pytest.raises(DataError, match="half a sample"):
        list(sound.sound_of("-", 16000, 16000))
    columns = tmp_path / "p.csv"
    done = CliRunner().invoke(app, ["predict", str(out), str(tmp_path / "words"), "--out", str(columns)])
    assert done.exit_code == 0, done.output
    assert columns.read_text().count("\n") == 25


def test_what_cannot_be_is_one_line(recordings) -> None:
    with pytest.raises(DataError, match=r"0\.006 s of sound, expected at least"):
        recurra.Classifier().fit([*recordings[:4], Recording("short", np.zeros(100, np.float32), label="low")])
    with pytest.raises(SettingError, match="no setting 'hop' of audio"):
        recurra.Classifier(reading={"hop": 3}).fit(recordings)
    with pytest.raises(SettingError, match="stack=0"):
        recurra.Classifier(reading={"stack": 0}).fit(recordings)
    with pytest.raises(DataError, match="y: number 0 is 'None'"):
        recurra.Classifier().fit([Recording("a", recordings[0].samples)] * 4)
    with pytest.raises(DataError, match="3 values for 2 recordings"):
        recurra.Classifier().fit(recordings[:2], ["a", "b", "c"])


@pytest.mark.parametrize("speakers", [5, 6])
def test_speakers_who_say_all_words_are_told_apart(speakers: int) -> None:
    said = [(s, label) for s in range(speakers) for label in ("low", "high") for _ in range(3)]
    order = RNG.permutation(len(said))
    made = [Recording(f"{i}", tone(said[i][1], 900), label=said[i][1], speaker=f"{said[i][0]}") for i in order]

    def parts(some: list[Recording]) -> list[set[str | None]]:
        task = Classify()
        splits = task.split(task.examples(some), (0.7, 0.15, 0.15), 0)
        return [{one.speaker for one, s in zip(some, splits, strict=True) if np.diff(s.part(p))} for p in PARTS]

    train, valid, test = parts(made)
    assert all((train, valid, test))
    assert (not (train & valid | train & test | valid & test)) == (speakers == 6)
    task = Classify()
    own = [PARTS[i % 3] for i in range(len(made))]  # each speaker in every part, as somebody wants it
    splits = task.split(task.examples(made), own, 0)
    assert [PARTS[int(np.argmax([np.diff(s.part(p)) for p in PARTS]))] for s in splits] == own
    silent = [one for one in made if (one.speaker, one.label) != ("3", "low")]
    assert parts(silent)[0] == set("012345"[:speakers])
