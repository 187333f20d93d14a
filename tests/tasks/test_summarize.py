"""Summaries: what is unknown is copied, nothing is said twice, and how good they are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from typer.testing import CliRunner

import recurra
from recurra.cli import app
from recurra.errors import DataError, SettingError
from recurra.tasks.translation.baselines import Lead
from recurra.tasks.translation.metrics import ROUGE, sequences

KINDS = ("library", "game", "server", "editor")
LONG = (
    "this package holds {n} . it is a {k} for many users",
    "you may want {n} , a {k} . it is fast",
    "{k} of the year : {n}",
)


def pairs(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Of each name there is one pair, so no name is known."""
    rng = np.random.default_rng(seed)
    names = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(count)]
    kinds = rng.choice(KINDS, count)
    read = [LONG[int(rng.integers(3))].format(n=n, k=k) for n, k in zip(names, kinds, strict=True)]
    return read, [f"{k} {n}" for n, k in zip(names, kinds, strict=True)]


READ, WRITTEN = pairs(150, 0)
SETTINGS = {"hidden": 24, "epochs": 12, "batch": 8, "refit": False, "dropout": 0.0, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def model() -> recurra.Summarizer:
    return recurra.Summarizer(**SETTINGS, seed=1, reading={"embedding": 16, "min_count": 2}).fit(READ, WRITTEN)


def test_names_that_were_never_seen_are_copied(model) -> None:
    read, written = pairs(40, 1)
    found = model.predict(read).tolist()
    assert np.mean([a == b for a, b in zip(found, written, strict=True)]) > 0.8
    names = {w.split()[1] for w in written}
    assert not names & set(model.transform_.vocabulary.symbols)
    assert model.report_["parity"]["torch_difference"] < 1e-5
    assert model.report_["parity"]["differing"] == {"a text alone": 0}
    ours, lead, nearest = model.report_["table"]
    assert ours["rouge1"] > 80 > max(lead["rouge1"], nearest["rouge1"])


def test_a_file_has_all_of_it(model, tmp_path) -> None:
    model.save(tmp_path / "model")
    again = recurra.open_model(tmp_path / "model")
    assert isinstance(again, recurra.Summarizer)
    assert again.task_.writing == model.task_.writing
    read = pairs(9, 2)[0]
    assert again.predict(read).tolist() == model.predict(read).tolist()
    assert [t.attention.shape[0] for t in again.translate(read, n=2)[0]] == [
        len(t.tokens) for t in again.translate(read, n=2)[0]
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"copy": True, "coverage": True, "feeding": True},
        {"copy": False, "feeding": True, "sampling": 0.3},
        {"copy": True, "coverage": False, "wait": 2, "cell": "lstm", "layers": 2},
    ],
)
def test_each_option_is_the_same_live_as_trained_alone_as_in_company(options) -> None:
    made = recurra.Translator(
        **{**SETTINGS, "epochs": 1, "hidden": 9, **options}, reading={"embedding": 7, "score": "additive"}
    ).fit(READ[:60], WRITTEN[:60], evaluate=False)
    assert made.model_.parity["torch_difference"] < 1e-5
    assert made.model_.parity["differing"] == {"a text alone": 0}
    alone = [made.predict([text])[0] for text in READ[:9]]
    assert made.predict(READ[:9]).tolist() == alone


def test_its_file_opens_in_a_fresh_process(model, tmp_path) -> None:
    model.save(tmp_path / "model")
    call = "import recurra, sys; print(type(recurra.open_model(sys.argv[1])).__name__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", call, tmp_path / "model"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Summarizer", "False"]


def test_rouge_is_that_of_rouge_score() -> None:
    truth, said = ["a small fast game", "servers for mail"], ["the fast games run", "mail server"]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    tokens = sequences([t.split() for t in truth]), sequences([s.split() for s in said])
    for metric in ROUGE:
        want = [scorer.score(t, s)[metric.kind].fmeasure for t, s in zip(truth, said, strict=True)]
        assert metric.value(*tokens) == pytest.approx(100 * np.mean(want))
        np.testing.assert_allclose(metric.units(*tokens), 1 - np.array(want))


def test_the_lead_is_the_first_sentence(model) -> None:
    text = model.task_.read(["one two . three", "no end here"], model.transform_)
    assert [tuple(Lead().predict(t, 0, 1)[0]) for t in text] == [("one", "two", "."), ("no", "end", "here")]


def test_the_command_line(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_text("".join(f"{r}\t{w}\n" for r, w in zip(READ, WRITTEN, strict=True)))
    run = CliRunner().invoke
    call = [
        "fit",
        "summarize",
        "pairs.tsv",
        "--hidden",
        "8",
        "--epochs",
        "1",
        "--longest",
        "4",
        "--shortest",
        "2",
        "--out",
        "m",
    ]
    done = run(app, [*call, "--report", "r.html"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "first sentence" in (tmp_path / "r.html").read_text()
    done = run(app, ["translate", "m"], input=READ[0] + "\n", catch_exceptions=False)
    assert 2 <= len(done.output.split()) <= 4


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"shortest": 5, "longest": 4}, SettingError, "the least is 5 tokens and the most 4"),
        ({"sampling": 1.5}, SettingError, "sampling is 1.5, expected a number from 0 to 1"),
        ({"copy": "yes"}, SettingError, "copy is yes, expected True or False"),
        ({"wait": 2, "beam": 4}, SettingError, "beam is 4 with wait=2, expected 1"),
        ({"no_repeat": -1}, SettingError, "no_repeat is -1"),
        ({"reading": {"longest": 4}}, DataError, "expected at most 4"),
    ],
)
def test_what_cannot_be_is_refused(settings, error, said) -> None:
    with pytest.raises(error, match=said):
        recurra.Summarizer(epochs=1, **settings).fit(READ, WRITTEN)
