"""Texts from texts: learned, saved, the same alone and in company, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from typer.testing import CliRunner

import recurra
from recurra.cli import app
from recurra.data.text.pairs import BEGIN, END
from recurra.errors import DataError, NotFittedError, RecurraError, SettingError
from recurra.report.written import written
from recurra.tasks.translation.metrics import Edits, sequences

WORDS = ("one", "two", "four", "five")
READ = [" ".join(np.random.default_rng(i).choice(WORDS, np.random.default_rng(i).integers(1, 4))) for i in range(200)]
WRITTEN = [" ".join(w.upper() for w in text.split()[::-1]) for text in READ]


@pytest.fixture(scope="module")
def model() -> recurra.Translator:
    reading = {"embedding": 16, "heads": 2}
    return recurra.Translator(
        hidden=24, epochs=25, batch=8, refit=False, dropout=0.0, seed=4, reading=reading, learning_rate=1e-2
    ).fit(READ, WRITTEN)


def test_it_learns_to_turn_a_text_round(model) -> None:
    ours, nearest = model.report_["table"]
    assert ours["edits"] < 0.1 < 0.25 < nearest["edits"]
    assert ours["wrong"] < 0.2 < nearest["wrong"]
    assert model.predict(["five two four"]).tolist() == ["FOUR TWO FIVE"]
    assert model.report_["parity"]["torch_difference"] < 1e-5
    assert model.report_["parity"]["differing"] == {"a text alone": 0}


def test_a_report_shows_what_is_wrong_too() -> None:
    """Of a network that has hardly learned, among the texts that chance did not choose."""
    report = recurra.Translator(hidden=4, epochs=1, refit=False).fit(READ, WRITTEN).report_
    (section,) = report["sections"]
    assert len(section["examples"]) == 12
    assert len(section["wrong"]) == 6
    assert all(tuple(one["written"]) != tuple(one["wanted"]) for one in section["wrong"])
    page = "".join(str(part) for part in written(section))
    assert "Others that have an error:" in page


def test_a_file_has_all_of_it(model, tmp_path) -> None:
    model.save(tmp_path / "model")
    again = recurra.open_model(tmp_path / "model")
    assert isinstance(again, recurra.Translator)
    assert again.predict(READ[:20]).tolist() == model.predict(READ[:20]).tolist()
    scores = model.evaluate(READ[:9], WRITTEN[:9])
    assert again.evaluate(READ[:9], WRITTEN[:9]) == scores
    pairs = zip(WRITTEN[:9], model.predict(READ[:9]), strict=True)
    wrong = sum(Levenshtein.distance(w.split(), p.split()) for w, p in pairs)
    assert scores["edits"] == pytest.approx(wrong / sum(len(w.split()) for w in WRITTEN[:9]))


def test_several_hypotheses_are_ranked_and_say_where_they_looked(model) -> None:
    (found,) = model.translate("five two four", n=4)
    assert len({one.text for one in found}) == 4
    complete = [one.score for one in found if one.complete]
    assert complete == sorted(complete, reverse=True)
    best = found[0]
    assert best.attention.shape == (3, 3)
    np.testing.assert_allclose(best.attention.sum(1), 1, atol=1e-5)
    assert best.text == model.predict(["five two four"])[0]
    assert len(model.translate("five two four", longest=1)[0][0].tokens) <= 1
    assert len(model.translate("five", shortest=3)[0][0].tokens) >= 3


def test_an_unknown_word_is_copied_from_where_it_looked(model) -> None:
    """Its number is that of the unknown symbol, which has no word."""
    symbols = (0, int(model.transform_.vocabulary.numbers["TWO"]), 0)
    looked = np.array([[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]])
    assert model.transform_.tokens(symbols, ["left", "right"], looked) == ("right", "TWO", "left")


def test_begin_and_end_are_no_words(model) -> None:
    known = model.transform_.vocabulary
    assert (known.symbols[BEGIN], known.symbols[END]) == ("\x02", "\x03")
    pair = model.task_.read(["one"], model.transform_, True, y=["ONE two"])[0]
    assert model.transform_.written(pair).tolist() == [known.numbers["ONE"], 0, END]


def test_the_command_line(model, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_text("".join(f"{r}\t{w}\n" for r, w in zip(READ, WRITTEN, strict=True)))
    run = CliRunner().invoke
    done = run(
        app,
        ["fit", "translate", "pairs.tsv", "--hidden", "8", "--epochs", "1", "--out", "m", "--report", "r.html"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    page = (tmp_path / "r.html").read_text()
    assert "What it writes" in page
    assert "token error rate" in page
    model.save(tmp_path / "good")
    done = run(app, ["translate", "good"], input="five two four\n\nfive\n", catch_exceptions=False)
    assert done.output.split("\n") == ["FOUR TWO FIVE", "", model.predict(["five"])[0], ""]
    done = run(app, ["translate", "good", "--json", "--best", "2"], input="five\n", catch_exceptions=False)
    (line,) = done.output.splitlines()
    said = json.loads(line)
    assert [len(said["written"]), said["written"][0]["text"], said["line"]] == [2, model.predict(["five"])[0], 1]
    assert run(app, ["predict", "good", "pairs.tsv", "--out", "written.csv"], catch_exceptions=False).exit_code == 0
    written = [line.split(",")[1] for line in (tmp_path / "written.csv").read_text().splitlines()[1:]]
    assert written == model.predict(READ).tolist()
    assert run(app, ["info", "good"], catch_exceptions=False).output.count("attend") == 1


@pytest.fixture(scope="module")
def waiting() -> recurra.Translator:
    """One that writes while a text arrives."""
    settings = {"hidden": 16, "epochs": 4, "batch": 8, "refit": False, "learning_rate": 1e-2}
    return recurra.Translator(**settings, wait=2, shortest=1, copy=True, reading={"embedding": 12}).fit(READ, WRITTEN)


@pytest.mark.parametrize("pieces", [1, 3, 9])
@pytest.mark.parametrize("kind", ["model", "waiting"])
def test_live_is_what_predict_says(kind, pieces, request) -> None:
    """In pieces that are cut anywhere, with the answers cut, too, and a snapshot between."""
    model = request.getfixturevalue(kind)
    live = model.live()
    for k, text in enumerate(READ[:12]):
        said, cut = [], [text[at : at + pieces] for at in range(0, len(text), pieces)]
        for n, piece in enumerate(cut):
            said.append(live.step({"text": piece, "end": n == len(cut) - 1, "write": 1 if k % 2 else None}))
            if k % 3 == 0:
                other = model.live()
                other.restore(live.snapshot())
                assert other.snapshot() == live.snapshot()
                live = other
        while not said[-1]["complete"]:
            said.append(live.step({"write": 1}))
        assert "".join(s["written"] for s in said) == said[-1]["text"] == model.predict([text])[0]


def test_one_that_waits_writes_before_a_text_ends(waiting) -> None:
    """Token t once wait + t are read; one of both directions nothing."""
    live, text = waiting.live(), max(READ, key=len) + " " + max(READ, key=len)
    assert live.look_ahead == 2
    written = [len(live.step(token + " ")["text"].split()) for token in text.split()]
    assert all(n <= max(0, k - 1) for k, n in enumerate(written, 1))
    assert written[-1] > 0


def test_a_model_that_reads_whole_writes_at_the_end(model) -> None:
    live = model.live()
    assert live.look_ahead is None
    assert live.step("five two four") == {"written": "", "text": "", "complete": False}
    assert live.step({"end": True, "write": 1})["written"] == "FOUR"
    with pytest.raises(DataError, match="the text before is not complete"):
        live.step("one")
    assert live.step({}) == {"written": " TWO FIVE", "text": "FOUR TWO FIVE", "complete": True}
    assert live.step({"text": "one", "end": True})["text"] == model.predict(["one"])[0]


def test_it_is_streamed_and_served(model, tmp_path) -> None:
    """A line of JSON an observation; a server gives token by token."""
    from recurra.serve.decoder import Decoder

    model.save(tmp_path / "model")
    lines = ('{"text": "five two ", "end": false}', '{"text": "four", "end": true, "write": 1}', '{"write": 5}')
    done = CliRunner().invoke(app, ["stream", str(tmp_path / "model")], input="\n".join(lines) + "\n")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["written"] for one in said] == ["", "FOUR", " TWO FIVE"]
    served = Decoder("translator", recurra.load(tmp_path / "model"), "translator")
    assert served.describe()["task"] == "translate"
    state = served.begin()
    state.step({"text": "five two four", "end": True, "write": 1})
    again = served.restore(served.snapshot(state))
    assert (
        again.step({"write": 1})
        == state.step({"write": 1})
        == {"written": " TWO", "text": "FOUR TWO", "complete": False}
    )


def fitted(read, written, **settings):
    recurra.Translator(hidden=4, epochs=1, **settings).fit(read, written)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m: fitted(READ, None), DataError, "y is not given"),
        (lambda m: fitted(["a", ""], ["b", "c"]), DataError, "text number 1 is empty"),
        (lambda m: fitted(["a", "b"], ["b", " "]), DataError, "y number 1 is empty"),
        (lambda m: fitted(["a", "b"], ["b"]), DataError, "y"),
        (lambda m: fitted(READ, WRITTEN, reading={"tokens": "letters"}), SettingError, "tokens='letters'"),
        (lambda m: fitted(READ, WRITTEN, reading={"longest": 1}), DataError, "expected at most 1"),
        (
            lambda m: fitted([*READ, "one " * 10_000], [*WRITTEN, "ONE"]),
            DataError,
            "10000 tokens, expected at most 1024",
        ),
        (lambda m: m.predict(["one " * 10_000]), DataError, "has 10000 tokens, expected at most 16"),
        (lambda m: fitted(READ, WRITTEN, cell="lstm_projected"), SettingError, "projects its output"),
        (lambda m: m.predict([" ".join(["one"] * 17)]), DataError, "has 17 tokens, expected at most 16"),
        (lambda m: m.translate("one", n=0), DataError, "n=0, expected 1 to 4"),
        (lambda m: m.translate("one", n=9, beam=3), DataError, "n=9, expected 1 to 3"),
        (lambda m: m.live().step({"end": True}), DataError, "has 0 tokens, expected 1 to 16"),
        (lambda m: m.live().step(" ".join(["one"] * 19)), DataError, "has 18 tokens, expected 1 to 16"),
        (lambda m: m.live().step({"text": 3}), DataError, "expected a piece of a text"),
        (lambda m: m.live().step({"text": "one", "write": -1}), DataError, "`write` is '-1'"),
        (lambda m: recurra.Translator().predict(["one"]), NotFittedError, "there is no model yet"),
    ],
)
def test_what_cannot_be_is_refused(model, call, error, said) -> None:
    with pytest.raises(error, match=said):
        call(model)


def test_marks_and_control_characters_are_no_end() -> None:
    """Signs that stand for begin and end, and others, in both sides."""
    odd = [f"{r} \x02 \x03 \x00 \x1b[0m" for r in READ[:40]]
    made = recurra.Translator(hidden=8, epochs=1, copy=True, refit=False).fit(odd, [w + " \x03" for w in WRITTEN[:40]])
    pair = made.task_.read(odd[:1], made.transform_, True, y=["\x02 \x03 FIVE"])[0]
    assert not {BEGIN, END} & set(made.transform_.places(pair))
    assert made.transform_.written(pair).tolist()[:2] == [0, 0]
    assert len(made.predict(odd[:3])) == 3


def test_swapped_sides_are_named() -> None:
    read, written = list(READ), list(WRITTEN)
    for i in (3, 50):
        read[i], written[i] = written[i], read[i]
    notes = recurra.Translator(hidden=4, epochs=1, refit=False).fit(read, written).report_["data"]["notes"]
    assert any("2 of 200 pairs look as if their sides were swapped (number 3, 50)" in note for note in notes)
    assert not any(
        "swapped" in note for note in recurra.Translator(epochs=1, hidden=4).fit(READ, READ).report_["data"]["notes"]
    )


@pytest.mark.parametrize("content", ["no tab\n", "a\tb\tc\n", "\n\n", "\tb\n"])
def test_a_file_that_is_no_pairs_is_refused(content, tmp_path) -> None:
    (tmp_path / "pairs.tsv").write_text(content)
    with pytest.raises(RecurraError, match=r"pairs|texts"):
        recurra.Translator(epochs=1).fit(tmp_path / "pairs.tsv")


def test_a_wrong_manifest_is_refused(model, tmp_path) -> None:
    model.save(tmp_path / "model")
    loaded = recurra.load(tmp_path / "model")
    for name, value in (("beam", 0), ("most", -1), ("penalty", None), ("most", 1e9)):
        loaded.preprocessing = {**model.model_.preprocessing, name: value}
        with pytest.raises(RecurraError):
            recurra.Translator.of_model(loaded)


def test_edits_are_a_share_of_all_tokens() -> None:
    truth, said = sequences([("a",), ("a", "b", "c")]), sequences([("b",), ("a", "b", "c")])
    assert Edits().value(truth, said) == 0.25
    assert Edits().units(truth, said).tolist() == [1.0, 0.0]
