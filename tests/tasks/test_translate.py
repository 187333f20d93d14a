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
from recurra.errors import DataError, NotFittedError, RecurraError, SessionError, SettingError
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
    assert model.predict(["two five one"]).tolist() == ["ONE FIVE TWO"]
    assert model.report_["parity"]["torch_difference"] < 1e-5
    assert model.report_["parity"]["differing"] == {"a text alone": 0}


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
    assert len(model.translate("five", least=3)[0][0].tokens) >= 3


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
    done = run(app, ["translate", "good"], input="two five one\n\nfive\n", catch_exceptions=False)
    assert done.output.split("\n") == ["ONE FIVE TWO", "", model.predict(["five"])[0], ""]
    done = run(app, ["translate", "good", "--json", "--best", "2"], input="five\n", catch_exceptions=False)
    (line,) = done.output.splitlines()
    said = json.loads(line)
    assert [len(said["written"]), said["written"][0]["text"], said["line"]] == [2, model.predict(["five"])[0], 1]
    assert run(app, ["predict", "good", "pairs.tsv", "--out", "written.csv"], catch_exceptions=False).exit_code == 0
    written = [line.split(",")[1] for line in (tmp_path / "written.csv").read_text().splitlines()[1:]]
    assert written == model.predict(READ).tolist()
    assert run(app, ["info", "good"], catch_exceptions=False).output.count("attend") == 1


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
        (lambda m: fitted(READ, WRITTEN, cell="lstm_projected"), SettingError, "projects its output"),
        (lambda m: m.predict([" ".join(["one"] * 17)]), DataError, "has 17 tokens, expected at most 16"),
        (lambda m: m.translate("one", n=0), DataError, "n=0, expected 1 to 4"),
        (lambda m: m.translate("one", n=9, beam=3), DataError, "n=9, expected 1 to 3"),
        (lambda m: m.live(), SessionError, "reads a text in both directions"),
        (lambda m: recurra.Translator().predict(["one"]), NotFittedError, "there is no model yet"),
    ],
)
def test_what_cannot_be_is_refused(model, call, error, said) -> None:
    with pytest.raises(error, match=said):
        call(model)


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
