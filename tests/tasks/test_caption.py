"""Texts from pictures: learned, saved, word by word, drawn, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import recurra
from recurra.cli import app
from recurra.data.batches import Piece
from recurra.data.images.frames import frames
from recurra.errors import DataError, RecurraError, SettingError
from recurra.tasks.bench import Bench
from recurra.tasks.captioning.metrics import Bleu, Edits, Exact, references
from recurra.tasks.captioning.task import Caption
from recurra.tasks.translation.metrics import sequences

COLOURS = {"red": (230, 20, 20), "green": (10, 170, 30), "blue": (20, 40, 220)}
SIDES = {"left": np.s_[:, :6], "right": np.s_[:, 6:], "top": np.s_[:6], "bottom": np.s_[6:]}
READING = {"size": 12, "channels": (8, 16), "embedding": 12, "shift": 1, "background": "black"}


def picture(colour: str, side: str, seed: int = 0) -> np.ndarray:
    """Half of it has a colour."""
    x = np.full((12, 12, 3), 120, np.uint8)
    x[SIDES[side]] = COLOURS[colour]
    return (x + np.random.default_rng(seed).integers(0, 20, x.shape)).astype(np.uint8)


NAMES = [(colour, side) for colour in COLOURS for side in SIDES]
KNOWN = [(colour, side, seed) for seed in range(12) for colour, side in NAMES]
PICTURES = [picture(*one) for one in KNOWN]
CAPTIONS = [[f"{colour} on the {side}", f"the {side} is {colour}"][: 1 + seed % 2] for colour, side, seed in KNOWN]


@pytest.fixture(scope="module")
def model() -> recurra.Captioner:
    made = recurra.Captioner(
        hidden=24, epochs=14, batch=12, learning_rate=1e-2, dropout=0.0, refit=False, seed=0, reading=READING
    )
    return made.fit(PICTURES, CAPTIONS)


def test_it_learns_what_is_to_be_seen(model) -> None:
    ours, nearest = model.report_["table"]
    assert ours["wrong"] < 0.1
    assert nearest["name"] == "nearest picture"
    assert model.predict([picture("blue", "top", 99)])[0] in ("blue on the top", "the top is blue")
    assert model.report_["parity"]["torch_difference"] < 1e-5
    assert model.report_["parity"]["differing"] == {"a text alone": 0}
    assert model.grid == (3, 3)


def test_a_file_has_all_of_it(model, tmp_path) -> None:
    model.save(tmp_path / "model")
    again = recurra.open_model(tmp_path / "model")
    assert isinstance(again, recurra.Captioner)
    want = model.predict(PICTURES[:30]).tolist()
    assert again.predict(PICTURES[:30]).tolist() == want
    assert pickle.loads(pickle.dumps(again)).predict(PICTURES[:5]).tolist() == want[:5]
    assert again.evaluate(PICTURES[:30], CAPTIONS[:30]) == model.evaluate(PICTURES[:30], CAPTIONS[:30])
    code = (
        "import sys, numpy as np, recurra; m = recurra.open_model(sys.argv[1]);"
        "print(' '.join(m.live().words(np.load(sys.argv[2]))), 'torch' in sys.modules)"
    )
    np.save(tmp_path / "x.npy", PICTURES[0])
    command = [sys.executable, "-c", code, str(tmp_path / "model"), str(tmp_path / "x.npy")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[0] == f"{want[0]} False"


@pytest.mark.parametrize("beam", [1, 2, 4])
def test_words_come_one_by_one_and_are_those_of_predict(model, beam) -> None:
    live = model.live()
    for one in PICTURES[:8]:
        ((best,),) = model.caption([one], beam=beam)
        assert list(live.words(one, beam)) == list(best.tokens)
    session = live.step({"image": PICTURES[3]})
    assert session["caption"] == model.predict([PICTURES[3]])[0]
    assert np.allclose(np.sum(session["attention"], 1), 1, atol=1e-3)
    other = model.live()
    other.restore(live.snapshot())
    assert other.step(PICTURES[3]) == session


def test_an_image_is_the_same_however_it_comes(model, tmp_path) -> None:
    content = io.BytesIO()
    Image.fromarray(PICTURES[7]).save(content, "PNG")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    coded = base64.b64encode(content.getvalue()).decode()
    live, want = model.live(), model.live().step(PICTURES[7])
    given = [content.getvalue(), {"image": coded}, {"image": f"data:image/png;base64,{coded}"}, PICTURES[7].tolist()]
    assert all(live.step(one) == want for one in given)
    paths = [str(tmp_path / "a.png"), tmp_path / "a.png", tmp_path]
    assert {model.predict(one if one == tmp_path else [one])[0] for one in paths} == {want["caption"]}


def test_a_live_session_opens_no_file(model, tmp_path) -> None:
    Image.fromarray(PICTURES[7]).save(tmp_path / "a.png")
    for odd in (str(tmp_path / "a.png"), tmp_path / "a.png", None, 3, {"picture": 1}, b"GIF", [[1, 2], [3]], [[300]]):
        with pytest.raises(DataError, match="image"):
            model.live().step({"image": odd} if not isinstance(odd, dict) else odd)


def test_a_broken_image_among_others(model, tmp_path) -> None:
    """The others are captioned; the status says that one was not."""
    model.save(tmp_path / "m")
    folder = tmp_path / "some"
    folder.mkdir()
    for k in (1, 3):
        Image.fromarray(PICTURES[k]).save(folder / f"{k}.png")
    (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    done = CliRunner().invoke(app, ["caption", str(tmp_path / "m"), str(folder)], catch_exceptions=False)
    assert done.exit_code == 2
    want = model.predict([PICTURES[1], PICTURES[3]])
    assert done.stdout.splitlines() == [f"{folder / f'{k}.png'}\t{want[i]}" for i, k in enumerate((1, 3))]
    assert done.stderr.count("\n") == 1
    assert "2.png: this cannot be read as an image" in done.stderr


def test_the_command_line(model, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    lines = []
    for k, (one, captions) in enumerate(zip(PICTURES[:24], CAPTIONS[:24], strict=True)):
        Image.fromarray(one).save(tmp_path / "images" / f"{k}.png")
        lines += [f"{k}.png#{i}\t{caption}" for i, caption in enumerate(captions)]
    (tmp_path / "captions.txt").write_text("\n".join(lines) + "\n")
    run = CliRunner().invoke
    fit = ["fit", "caption", "captions.txt", "--size", "12", "--hidden", "8", "--epochs", "1"]
    done = run(app, [*fit, "--out", "m", "--report", "r.html"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "r.html").read_text()
    assert "What it sees" in page
    assert page.count("data:image/png;base64,") >= 4
    model.save(tmp_path / "good")
    done = run(app, ["caption", "good", "images/3.png", "--json", "--best", "2"], catch_exceptions=False)
    said = json.loads(done.output)
    assert [c["text"] for c in said["captions"]] == [c.text for c in model.caption([PICTURES[3]], n=2)[0]]
    assert (len(said["captions"][0]["attention"][0]), said["grid"]) == (9, [3, 3])
    content = io.BytesIO()
    for one in PICTURES[:2]:
        Image.fromarray(one).save(content, "JPEG", quality=100)
    done = run(app, ["caption", "good", "-"], input=content.getvalue(), catch_exceptions=False)
    assert [line.split("\t")[0] for line in done.output.splitlines()] == ["frame 1", "frame 2"]
    done = run(app, ["predict", "good", "captions.txt", "--out", "said.csv"], catch_exceptions=False)
    assert done.exit_code == 0
    written = [line.split(",")[1] for line in (tmp_path / "said.csv").read_text().splitlines()[1:]]
    assert written == model.predict(PICTURES[:24]).tolist()
    assert "BLEU" in run(app, ["evaluate", "good", "captions.txt"], catch_exceptions=False).output
    assert "convolution_2d" in run(app, ["info", "good"], catch_exceptions=False).output


def test_features_in_place_of_pictures(tmp_path) -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(3, 5))
    given = [kinds[i % 3] + 0.1 * rng.normal(size=(1 + i % 4, 5)) for i in range(60)]
    said = [("one thing", "two things", "three things")[i % 3] for i in range(60)]
    settings = {"hidden": 12, "epochs": 12, "batch": 6, "learning_rate": 1e-2, "dropout": 0.0, "refit": False}
    model = recurra.Captioner(**settings, reading={"embedding": 8}).fit(given, said)
    assert model.report_["table"][0]["wrong"] == 0.0
    for i, x in enumerate(given[:6]):
        np.save(tmp_path / f"{i}.npy", x[0] if len(x) == 1 else x)
    assert model.predict(tmp_path).tolist() == model.predict(given[:6]).tolist() == said[:6]
    assert model.live().step(given[5].astype(np.float32))["caption"] == said[5]
    model.save(tmp_path / "m")
    assert recurra.open_model(tmp_path / "m").predict(given[:6]).tolist() == said[:6]
    with pytest.raises(DataError, match=r"got an array \(12, 12, 3\)|trained on features"):
        model.predict(PICTURES[:1])
    with pytest.raises(DataError, match="expected at most 16"):
        model.predict([np.zeros((17, 5), np.float32)])
    with pytest.raises(DataError, match="not finite"):
        model.predict([np.full((2, 5), np.nan)])


def test_a_bench_travels(model) -> None:
    """To another process and back, with its captions."""
    task = Caption()
    task.reading = READING
    examples = task.examples(PICTURES[:24], y=CAPTIONS[:24])
    splits = task.split(examples, (0.7, 0.15, 0.15), 0)
    bench = Bench(task, examples, splits, task.transform(examples, splits))
    again = Bench.from_bytes(bench.to_bytes())
    assert again.fingerprint == bench.fingerprint
    for a, b in zip(bench.sequences, again.sequences, strict=True):
        assert np.array_equal(a.picture, b.picture)
        assert a.captions == b.captions
    assert len(bench.without_test().sequences) < 24
    piece = Piece(again.sequences[0], 0, 1)
    assert again.task.truth(*piece)[0] == examples[0].captions


def test_metrics_take_the_nearest_caption() -> None:
    truth = references([[("a", "b", "c"), ("a", "c")], [("x", "y", "z", "w")]])
    said = sequences([("a", "c"), ("x", "y", "z")])
    assert Exact().units(truth, said).tolist() == [0.0, 1.0]
    assert Edits().units(truth, said).tolist() == [0.0, 0.25]
    assert Edits().value(truth, said) == pytest.approx(1 / 6)
    import sacrebleu

    streams = [["a b c", "x y z w"], ["a c", None]]
    want = sacrebleu.corpus_bleu(["a c", "x y z"], streams, tokenize="none", force=True).score
    assert Bleu().value(truth, said) == pytest.approx(want)
    assert Bleu().value(references([[("x", "y", "z", "w")]]), sequences([("x", "y", "z", "w")])) == pytest.approx(100)


def test_frames_of_a_stream_are_cut_apart() -> None:
    jpeg = [b"\xff\xd8\xff" + bytes(range(k)) + b"\xff\xd9" for k in (3, 200, 9)]

    class Slow(io.RawIOBase):
        def __init__(self, content):
            self.content = content

        def read(self, size=-1):
            piece, self.content = self.content[:7], self.content[7:]
            return piece

    assert list(frames(Slow(b"".join(jpeg)))) == jpeg
    with pytest.raises(DataError, match="frame 2: it begins with"):
        list(frames(Slow(jpeg[0] + b"nothing")))
    with pytest.raises(DataError, match="frame 1: the stream ends within it"):
        list(frames(Slow(jpeg[0][:-1])))


def fitted(X, y, **settings):
    recurra.Captioner(hidden=4, epochs=1, **settings).fit(X, y)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m: fitted(PICTURES, None), DataError, "0: there is no caption of this image"),
        (lambda m: fitted(PICTURES[:2], ["a", " "]), DataError, "y: number 1: the caption is empty"),
        (lambda m: fitted(PICTURES[:2], ["a", 3]), DataError, "y: number 1: the caption is '3'"),
        (lambda m: fitted(PICTURES[:2], ["a"]), DataError, "y: got 1 values for 2 images"),
        (lambda m: fitted(PICTURES[:2], ["a", []]), DataError, "there is no caption"),
        (lambda m: fitted([], []), DataError, "images: there are none"),
        (lambda m: fitted(3, None), DataError, "images: got a int"),
        (lambda m: fitted(PICTURES, CAPTIONS, reading={"size": 0}), SettingError, "size=0"),
        (lambda m: fitted(PICTURES, CAPTIONS, reading={"channels": ()}), SettingError, r"channels=\(\)"),
        (lambda m: fitted(PICTURES, CAPTIONS, reading={"background": "whit"}), SettingError, "background='whit'"),
        (lambda m: fitted(PICTURES, CAPTIONS, reading={"shift": 64}), SettingError, "shift=64"),
        (lambda m: fitted(PICTURES, CAPTIONS, reading={"tokens": "letters"}), SettingError, "tokens='letters'"),
        (lambda m: fitted([*PICTURES[:2], np.zeros(5, F)], ["a", "b", "c"]), DataError, "expected one kind"),
        (lambda m: m.predict("nowhere.png"), DataError, "no file 'nowhere.png'"),
        (lambda m: m.predict([np.zeros((2, 5), F)]), DataError, "trained on pictures"),
        (lambda m: m.caption([PICTURES[0]], n=0), DataError, "n=0, expected 1 to 4"),
        (lambda m: m.evaluate(PICTURES[:3]), DataError, "there is no caption of this image"),
    ],
)
def test_what_is_refused(model, call, error, said) -> None:
    with pytest.raises(error, match=said):
        call(model)


F = np.float32


def test_a_wrong_manifest_is_refused(model, tmp_path) -> None:
    model.save(tmp_path / "model")
    loaded = recurra.load(tmp_path / "model")
    transform = model.model_.preprocessing["transform"]
    for name, value in (("size", -1), ("size", 13), ("mean", [1.0]), ("deviation", [0.0] * 3), ("vocabulary", {})):
        loaded.preprocessing = {**model.model_.preprocessing, "transform": {**transform, name: value}}
        with pytest.raises(RecurraError):
            recurra.Captioner.of_model(loaded)
