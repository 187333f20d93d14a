"""Texts of sound: CTC's loss and search against their definitions, and a recogniser that says the same live."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

import recurra
from recurra.data.audio import Recording
from recurra.errors import DataError, ModelFileError
from recurra.tasks.transcription.ctc import PrefixBeam, Search
from recurra.tasks.transcription.listen import Listener
from recurra.tasks.transcription.metrics import error_rate
from recurra.tasks.transcription.ngram import BEGIN, END, NGram
from recurra.tasks.transcription.task import Transcribe
from recurra.tasks.transcription.units import STRANGE, greedy_text, numbers_of, written

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("kaldi_native_fbank")
RNG = np.random.default_rng(8)
LETTERS = (" ", "a", "b")


def logs(T: int, K: int, sharp: float = 2.0) -> np.ndarray:
    z = sharp * RNG.standard_normal((T, K))
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(k for k, _ in itertools.groupby(path) if k)


def totals(p: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every text: the sum over all ways of writing it."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        text = collapsed(path)
        found[text] = found.get(text, 0.0) + math.exp(sum(p[t, k] for t, k in enumerate(path)))
    return found


def spelled(beam: PrefixBeam) -> tuple[int, ...]:
    return tuple(one.letter for one in beam._letters(beam.best()))


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_the_most_likely_text(seed: int) -> None:
    p = logs(6, 4)
    every = totals(p)
    beam = PrefixBeam(LETTERS, Search(beam=10_000, width=-99))
    for step in p:
        beam.push(step)
    assert spelled(beam) == max(every, key=every.get)
    best = max(
        b if n == -math.inf else max(b, n) + math.log1p(math.exp(-abs(b - n))) if b > -math.inf else n
        for _, b, n in beam.beams
    )
    assert best == pytest.approx(0.0, abs=1e-9)


def test_a_beam_of_one_takes_each_steps_best() -> None:
    p = logs(40, 4)
    beam = PrefixBeam(LETTERS, Search(beam=1))
    for step in p:
        beam.push(step)
    assert spelled(beam) == collapsed(tuple(p.argmax(-1)))


def test_the_model_of_words_and_hot_words_are_counted_where_a_word_ends() -> None:
    model = NGram.learn(["ab b", "ab ab"], 2)
    p = logs(6, 4, 1.0)
    how = Search(beam=10_000, width=-99, model=model, weight=0.7, bonus=0.3, hot={"b": 1.5}, unknown=-2.0)

    def value(text: tuple[int, ...], share: float) -> float:
        words = "".join(LETTERS[k - 1] for k in text).split()
        total, history = math.log(share), [BEGIN]
        for word in words:
            total += 0.7 * model.score(history, word) + 0.3 + how.hot.get(word, 0.0)
            total -= 2.0 * (word not in model.words)
            history.append(word)
        return total + 0.7 * model.score(history, END)

    every = totals(p)
    want = max(every, key=lambda text: value(text, every[text]))
    beam = PrefixBeam(LETTERS, how)
    for step in p:
        beam.push(step)
    assert spelled(beam) == want
    plain = PrefixBeam(LETTERS, Search(beam=10_000, width=-99))
    for step in p:
        plain.push(step)
    assert spelled(plain) != want, "the case does not tell them apart: choose another"


def test_the_loss_is_that_of_the_definition() -> None:
    import torch

    task = Transcribe()
    p, texts = [logs(5, 4), logs(4, 4)], [(2, 3), (2, 2)]
    targets = np.full((5, 2), np.nan, np.float32)
    output = RNG.standard_normal((5, 2, 4))
    for b, (one, text) in enumerate(zip(p, texts, strict=True)):
        targets[: len(one), b] = -1
        targets[: len(text), b] = text
        output[: len(one), b] = one + RNG.normal()
    want = -sum(math.log(totals(one)[text]) for one, text in zip(p, texts, strict=True)) / 4
    found = task.loss(torch.from_numpy(output).float(), torch.from_numpy(targets))
    assert float(found) == pytest.approx(want, rel=1e-5)


def test_language_models_are_probabilities_and_files(tmp_path) -> None:
    model = NGram.learn(["a b a", "b", "a c"], 3)
    for history in ([BEGIN], ["a"], ["b", "a"], ["x"], ["x", "a"]):
        total = sum(math.exp(model.score(history, w)) for w in ("a", "b", "c", END, "<unk>"))
        assert total == pytest.approx(1.0, abs=1e-6)
    model.write(tmp_path / "m.arpa")
    again = NGram.read(tmp_path / "m.arpa")
    for history, word in ((["a"], "b"), (["b", "a"], "c"), (["c"], "c"), ([BEGIN], "x")):
        assert again.score(history, word) == pytest.approx(model.score(history, word), abs=1e-4)
    text = "\\data\\\nngram 1=2\n\n\\1-grams:\n-1.0 A -0.5\n-2.0 B\n\\2-grams:\n-0.25 A B\n\\end\\\n"
    (tmp_path / "n.arpa").write_text(text)
    small = NGram.read(tmp_path / "n.arpa")
    assert small.score(["a"], "b") == pytest.approx(-0.25 * math.log(10))
    assert small.score(["a"], "a") == pytest.approx(-1.5 * math.log(10))
    for bad, match in (("hello", "no n-grams"), (text.replace("-0.25", "x"), "line 8 is 'x A B'")):
        (tmp_path / "bad.arpa").write_text(bad)
        with pytest.raises(DataError, match=match):
            NGram.read(tmp_path / "bad.arpa")


def test_error_rates_are_edits(monkeypatch) -> None:
    def edits(a: list, b: list) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
        return row[-1]

    words = [["".join(RNG.choice(list("abc"), 2)) for _ in range(int(n))] for n in RNG.integers(1, 7, 20)]
    true, said = [" ".join(w) for w in words[:10]], [" ".join(w) for w in words[10:]]
    want = sum(edits(a, b) for a, b in zip(words[:10], words[10:], strict=True)) / sum(map(len, words[:10]))
    assert error_rate("wer", true, said) == pytest.approx(want)
    want = sum(edits(list(a), list(b)) for a, b in zip(true, said, strict=True)) / sum(map(len, true))
    assert error_rate("cer", true, said) == pytest.approx(want)


def test_texts_are_numbers_and_back() -> None:
    assert written(np.array([2, STRANGE + ord("é"), -1]), LETTERS) == "aé"
    assert greedy_text(np.eye(4)[[2, 2, 0, 2, 1, 1, 3, 0]], LETTERS) == "aa b"
    pieces = (" ", "a", "b", "ab", "bab")
    assert numbers_of("babab aé", pieces) == [5, 4, 1, 2, STRANGE + ord("é")]
    for text in ("abba b", "bé a"):
        assert written(np.array(numbers_of(text, pieces)), pieces) == text


PITCH = {"a": 350.0, "b": 900.0, "c": 2200.0}
WORDS = ("ab", "ca", "bac")


def speak(text: str) -> np.ndarray:
    parts = [np.zeros(1600)]
    for letter in text:
        n = int(RNG.integers(1500, 2200))
        parts += [0.3 * np.sin(2 * np.pi * PITCH[letter] * np.arange(n) / 16000) if letter != " " else np.zeros(n)]
        parts.append(np.zeros(700))
    x = np.concatenate(parts)
    return (x + 0.005 * RNG.standard_normal(len(x))).astype(np.float32)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    texts = [" ".join(RNG.choice(WORDS, int(RNG.integers(1, 4)))) for _ in range(64)]
    return [Recording(f"r{i}", speak(t), text=t.upper(), speaker=f"s{i % 8}") for i, t in enumerate(texts)]


@pytest.fixture(scope="module")
def path(recordings, tmp_path_factory):
    reading = {"bins": 16, "copies": 2, "warp": 0.0, "bands": 0, "pauses": 0, "speed": 0.05}
    model = recurra.Transcriber(hidden=24, layers=1, epochs=45, batch=8, learning_rate=1e-2, reading=reading)
    model.fit(recordings)
    found = tmp_path_factory.mktemp("model") / "t.recurra"
    model.save(found)
    assert "failed" not in model.report_
    assert model.report_["sections"][0]["heading"] == "By speaker"
    return found


def test_it_learns_to_write(path, recordings) -> None:
    model = recurra.open_model(path)
    search = model.search(NGram.learn([r.text.lower() for r in recordings], 2))
    assert model.evaluate(recordings)["cer"] < 0.35
    assert model.evaluate(recordings, search=search)["wer"] < 0.35
    strange = [replace(recordings[0], text="ab é")]
    assert model.evaluate(strange)["cer"] >= 1 / 4


def test_a_file_and_pieces_of_any_size_have_the_same_words(path, recordings, tmp_path) -> None:
    model = recurra.open_model(path)
    x = np.concatenate([recordings[0].samples, np.zeros(20000, np.float32), recordings[1].samples])
    soundfile.write(tmp_path / "x.wav", x, 16000, subtype="FLOAT")
    (whole,) = model.transcribe([tmp_path / "x.wav"])
    assert len(whole) >= 2
    for size in (3, 320, 1601):
        hearer = model.listen()
        found = [s for at in range(0, len(x) if size > 3 else 24000, size) for s in hearer.push(x[at : at + size])]
        found += hearer.finish() if size > 3 else []
        assert found == (whole if size > 3 else whole[: len(found)])
    assert " ".join(s.text for s in whole) == model.predict([tmp_path / "x.wav"])[0]
    for segment in whole:
        times = [t for w in segment.words for t in w[1:3]]
        assert times == sorted(times)
        assert all(0 < w[3] <= 1 for w in segment.words)
    assert whole[1].start > len(recordings[0].samples) / 16000


def test_silence_has_no_words(path) -> None:
    model = recurra.open_model(path)
    assert model.predict([Recording("zeros", np.zeros(48_000, np.float32))]).tolist() == [""]
    assert model.listen().finish() == []


def test_files_that_are_cut_or_empty_are_one_line(path, recordings, tmp_path) -> None:
    from typer.testing import CliRunner

    from recurra.cli import app

    soundfile.write(tmp_path / "cut.wav", recordings[0].samples, 16000)
    whole = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16000)
    for name in ("cut", "empty", "none"):
        out = tmp_path / "x.srt"
        done = CliRunner().invoke(app, ["transcribe", str(path), str(tmp_path / f"{name}.wav"), "--srt", str(out)])
        assert isinstance(done.exception, DataError)
        assert f"{name}.wav" in str(done.exception)
        assert "\n" not in str(done.exception)
        assert not out.exists()


def test_settled_words_do_not_change(path, recordings) -> None:
    model = recurra.open_model(path)
    for one in recordings[:6]:
        hearer, promised = model.listen(), []
        for at in range(0, len(one.samples), 800):
            hearer.push(one.samples[at : at + 800])
            now = hearer.partial()
            words = [w[0] for w in now.words]
            assert words[: len(promised)] == promised
            promised = words[: now.settled]


def test_memory_is_bounded_however_long_the_sound_is() -> None:
    listener = Listener(LETTERS, 0.03, Search(beam=4))
    one = logs(1200, 4, 3.0)
    longest = 0
    for _ in range(4):
        listener.take(one)
        prefixes = len(listener.beam.state()[2]) // 2
        longest = max(longest, prefixes // 4, listener.beam.step - listener.beam.begun)
    assert longest <= 1001


def test_bad_texts_are_one_line(recordings, tmp_path) -> None:
    with pytest.raises(DataError, match="r0: there is no text"):
        recurra.Transcriber().fit([replace(recordings[0], text=None)])
    with pytest.raises(DataError, match="fewer than the"):
        recurra.Transcriber().fit([replace(recordings[0], text="ab" * 200)])
    other = tmp_path / "c.recurra"
    made = [replace(r, label="ab"[i % 2], speaker=None) for i, r in enumerate(recordings[:24])]
    recurra.Classifier(hidden=2, epochs=1, refit=False).fit(made, evaluate=False).save(other)
    with pytest.raises(ModelFileError, match="expected 'transcribe'"):
        recurra.Transcriber.load(other)


def test_the_command_line_writes_text_subtitles_and_json(path, recordings, tmp_path) -> None:
    from typer.testing import CliRunner

    from recurra.cli import app

    soundfile.write(tmp_path / "x.flac", recordings[2].samples, 16000)
    names = {"srt": tmp_path / "x.srt", "json": tmp_path / "x.json"}
    wanted = [part for name, file in names.items() for part in (f"--{name}", str(file))]
    done = CliRunner().invoke(app, ["transcribe", str(path), str(tmp_path / "x.flac"), *wanted])
    assert done.exit_code == 0, done.output
    (segments,) = recurra.open_model(path).transcribe([tmp_path / "x.flac"])
    assert segments[0].text in done.output
    assert "real-time factor" in done.output
    assert json.loads(names["json"].read_text())["segments"] == [s.to_dict() for s in segments]
    assert names["srt"].read_text().startswith("1\n00:00:0")
