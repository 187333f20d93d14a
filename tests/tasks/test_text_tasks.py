"""Classifiers of texts and taggers: whole and typed the same bits, decoding against all paths, what cannot be."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

import recurra
from recurra.data.text.paths import NEVER, Path, allowed, best_path, repaired
from recurra.errors import DataError, ModelFileError, SettingError

GOOD, BAD, FILL = ["great", "lovely", "superb"], ["dull", "awful", "poor"], ["the", "film", "is", "café", "so", "a"]
READING = {"embedding": 8, "dropout": 0.2}
TYPED = "The CAFE\u0301 film is awful, so dull"  # a mark apart, unseen words, capitals


def sentences(count=120):
    rng = np.random.default_rng(0)
    y = np.array(["good", "bad"] * (count // 2))
    X = []
    for label in y:
        words = list(rng.choice(FILL, rng.integers(3, 7)))
        words[rng.integers(len(words))] = str(rng.choice(GOOD if label == "good" else BAD))
        X.append(" ".join(map(str, words)))
    return X, y


def commands():
    rng = np.random.default_rng(1)
    places, days = ["new york", "paris", "san jose"], ["monday", "friday"]
    X, y = [], []
    for _ in range(90):
        place = str(rng.choice(places)).split()
        X.append(["fly", "to", *place, "on", str(rng.choice(days))])
        y.append(["O", "O", "B-city", *["I-city"] * (len(place) - 1), "O", "B-day"])
    return X, y


@pytest.fixture(scope="module", params=[False, True], ids=["one way", "both ways"])
def classifier(request):
    X, y = sentences()
    return recurra.Classifier(hidden=8, epochs=12, bidirectional=request.param, reading={"embedding": 8}).fit(X, y)


@pytest.fixture(scope="module", params=[False, True], ids=["one way", "both ways"])
def tagger(request):
    X, y = commands()
    return recurra.Tagger(
        hidden=8, epochs=24, learning_rate=0.03, dropout=0.2, bidirectional=request.param, reading=READING
    ).fit(X, y)


def pieces(text, seed):
    content = text.encode()
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(content), 12))
    return [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]


def test_a_classifier_learns_and_is_compared_with_a_bag_of_words(classifier):
    X, y = sentences()
    assert classifier.score(X, y) > 0.95
    names = [row["name"] for row in classifier.report_["table"]]
    assert names == ["GRU", "most frequent label", "bag of words"]
    assert classifier.predict([["a", "lovely", "film"], ["dull"]]).tolist() == ["good", "bad"]


def test_what_is_typed_is_what_is_predicted_after_every_piece(classifier, tmp_path):
    classifier.save(tmp_path / "m.recurra")
    opened = recurra.open_model(tmp_path / "m.recurra")
    for seed in range(4):
        live, so_far = opened.live(), b""
        for k, piece in enumerate(pieces(TYPED, seed)):
            answer = live.step(piece)
            so_far += piece
            text = so_far.decode(errors="ignore")
            if text.strip():
                assert list(answer["probabilities"].values()) == classifier.predict_proba([text])[0].tolist()
            else:
                assert answer is None
            if k % 3 == 0:
                snapshot, live = live.snapshot(), opened.live()
                live.restore(snapshot)
    assert live.empty_line()
    assert live.step("dull")["label"] == "bad"


def test_live_sentences_side_by_side_and_what_is_no_text(classifier):
    live = classifier.live()
    live.step("du", "a")
    live.step({"text": "gre"}, "b")
    with pytest.raises(DataError, match="no UTF-8"):
        live.step(b"\xff", "a")
    with pytest.raises(DataError, match="expected a string"):
        live.step(3.0, "a")
    assert (live.step("ll", "a")["label"], live.step(b"at", "b")["label"]) == ("bad", "good")
    assert live.look_ahead == (0 if classifier.model_.streams else None)


def test_an_explanation_is_the_difference_that_a_token_makes(classifier):
    (found,) = classifier.explain(["the film is dull"])
    assert found.label == "bad"
    given = classifier.predict_proba([["the", "film", "is", "dull"]])[0, 0]
    without = classifier.predict_proba([["the", "film", "is", "\ufffd"]])[0, 0]
    assert found.effects[3] == given - without == max(found.effects)
    (other,) = classifier.explain(["the film is dull"], "good")
    assert other.effects[3] < 0
    with pytest.raises(DataError, match="no label 'fair'"):
        classifier.explain(["film"], "fair")
    numbers = recurra.Classifier(hidden=4, epochs=1).fit(np.random.default_rng(0).normal(size=(40, 5, 1)), [0, 1] * 20)
    assert len(numbers.explain(np.ones((1, 5, 1)))[0].effects) == 5


def test_a_report_has_sentences_with_what_counts(classifier, tmp_path):
    from recurra.report import write_report

    section = classifier.report_["sections"][0]
    assert section["headings"] == ["text", "in truth", "it says", "less probable without"]
    if classifier.model_.streams:
        write_report(classifier.report_, tmp_path / "r.html")
        page = (tmp_path / "r.html").read_text()
        assert "less probable without" in page
        assert "Texts, and the tokens that count" in page


# Tags.


def all_paths(moves, scores):
    """The best path by trying all."""
    T, K = scores.shape
    paths = list(itertools.product(range(K), repeat=T))
    totals = [
        moves[-1, p[0]] + sum(moves[a, b] for a, b in itertools.pairwise(p)) + sum(scores[range(T), p]) for p in paths
    ]
    return paths, np.array(totals, np.float64)


def test_what_must_be_decided_early_is_the_same_at_once(monkeypatch):
    """Texts about as long as tags may wait: token by token, and at once."""
    monkeypatch.setattr("recurra.data.text.paths.MOST_OPEN", 3)
    rng, early = np.random.default_rng(3), 0
    for _ in range(300):
        K, T = int(rng.integers(2, 6)), int(rng.integers(1, 12))
        moves = (0.1 * rng.normal(size=(K + 1, K))).astype(np.float32)
        scores = (0.1 * rng.normal(size=(T, K))).astype(np.float32)
        path, certain = Path(moves), []
        for row in scores:
            certain += path.push(row)
        assert certain + path.open() == best_path(moves, scores)
        plain = Path(moves)
        for row in scores:
            plain.follow(row)
        early += plain.open() != best_path(moves, scores)
    assert early > 3  # there it matters


@pytest.mark.parametrize("seed", range(8))
def test_the_best_path_is_that_of_all(seed):
    rng = np.random.default_rng(seed)
    K, T = int(rng.integers(2, 5)), int(rng.integers(1, 6))
    moves, scores = rng.normal(size=(K + 1, K)).astype(np.float32), rng.normal(size=(T, K)).astype(np.float32)
    paths, totals = all_paths(moves, scores)
    assert tuple(best_path(moves, scores)) == paths[totals.argmax()]
    path, certain = Path(moves), []
    for t, row in enumerate(scores):  # what is certain is never taken back, whatever comes
        certain += path.push(row)
        assert certain + path.open() == best_path(moves, scores[: t + 1])
        state, path = path.state(), Path(moves)
        path.restore(state)
    long = rng.normal(size=(300, K)).astype(np.float32)
    path = Path(moves)
    found = [len(path.push(row)) for row in long]
    assert sum(found) > 250


def test_the_loss_is_that_of_all_paths():
    import torch

    from recurra.models.crf import TagHead

    rng = np.random.default_rng(0)
    labels = ["B-a", "I-a", "O"]
    head = TagHead(2, torch.from_numpy(allowed(labels)), 0.0)
    with torch.no_grad():
        head.steps.copy_(torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)))
    scores = rng.normal(size=(4, 2, 3)).astype(np.float32)
    targets = np.array([[0, 2], [1, 2], [2, 0], [np.nan, 1]], np.float32).reshape(4, 2)
    expected = 0.0
    for b, T in ((0, 3), (1, 4)):
        paths, totals = all_paths(head.moves.detach().numpy().astype(np.float64), scores[:T, b].astype(np.float64))
        right = paths.index(tuple(int(k) for k in targets[:T, b]))
        expected += np.logaddexp.reduce(totals) - totals[right]
    found = head.loss(torch.from_numpy(scores), torch.from_numpy(targets))
    assert float(found.detach()) == pytest.approx(expected / 7, rel=1e-5)
    assert (head.moves.detach().numpy()[2, 1], head.moves.detach().numpy()[3, 1]) == (NEVER, NEVER)


def test_spans_are_consistent_whatever_the_network_says():
    labels = ["B-a", "B-b", "I-a", "I-b", "O"]
    moves = np.where(allowed(labels), 0, NEVER).astype(np.float32)
    for seed in range(50):
        scores = 5 * np.random.default_rng(seed).normal(size=(9, 5)).astype(np.float32)
        said = [labels[k] for k in best_path(moves, scores)]
        assert said == repaired(said)


def test_a_tagger_learns_and_every_tag_is_that_of_the_whole(tagger, tmp_path):
    X, y = commands()
    values = tagger.evaluate(X, y)
    assert values["span_f1"] > 0.95
    assert [row["name"] for row in tagger.report_["table"][1:]] == ["commonest tag of each word", "logistic regression"]
    assert tagger.report_["sections"][0]["heading"] == "Sentences"
    tagger.save(tmp_path / "t.recurra")
    opened = recurra.open_model(tmp_path / "t.recurra")
    text = "fly to San Jose on Friday"
    whole = list(tagger.predict([text])[0])
    assert whole == ["O", "O", "B-city", "I-city", "O", "B-day"]
    for seed in range(3):
        live, certain = opened.live(), []
        for piece in pieces(text, seed):
            answer = live.step(piece)
            certain += answer["certain"] if answer else []
            snapshot, live = live.snapshot(), opened.live()
            live.restore(snapshot)
        found = certain + answer["open"]
        assert [one["tag"] for one in found] == whole
        assert [one["token"] for one in found] == text.split()
    assert bool(certain) == tagger.model_.streams
    live = opened.live()
    assert [live.step({"token": t}) for t in text.split()][-1]["open"][-1]["tag"] == "B-day"


def test_a_taggers_file_runs_without_torch(tagger, tmp_path):
    path = tmp_path / "t.recurra"
    tagger.save(path)
    code = (
        "import sys, json, recurra; live = recurra.open_model(sys.argv[1]).live(); live.step('fly to par');"
        "print(json.dumps(live.step('is')['open'][-1]));"
        "print(sorted({'torch', 'sklearn', 'tokenizers'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
    one, loaded = said.splitlines()
    assert json.loads(one) == {"token": "paris", "tag": "B-city"}
    assert loaded == "[]"


def test_tags_that_cannot_be_are_said():
    X, y = [["a", "b"], ["c", "d"]] * 6, [["O", "B-x"], ["O", "O"]] * 6
    for bad, message in (
        ([["O"], *y[1:]], "number 0 has 1 tags for 2 tokens"),
        ([["O", "O"]] * 12, "all tags are 'O'"),
        ([["O", None], *y[1:]], "number 0 has the tag 'None'"),
        (None, "y is not given"),
    ):
        with pytest.raises(DataError, match=message):
            recurra.Tagger(hidden=4, epochs=1).fit(X, bad)
    with pytest.raises(DataError, match="number 0 is '' and has no token"):
        recurra.Classifier(hidden=4, epochs=1).fit(["", "b"] * 6, [0, 1] * 6)
    with pytest.raises(DataError, match="all 6 are 'one'"):
        recurra.Classifier(hidden=4, epochs=1).fit(["a", "b"] * 3, ["one"] * 6)
    with pytest.raises(SettingError, match="no setting 'token' of text, expected one of tokens"):
        recurra.Classifier(reading={"token": "words"}).fit(["a", "b"] * 6, [0, 1] * 6)
    with pytest.raises(SettingError, match="tokens='lines'"):
        recurra.Classifier(reading={"tokens": "lines"}).fit(["a", "b"] * 6, [0, 1] * 6)


@pytest.mark.parametrize("tokens", ["characters", "subwords"])
def test_characters_and_subwords(tokens):
    X, y = sentences(60)
    model = recurra.Classifier(hidden=4, epochs=1, reading={"tokens": tokens, "most": 300}).fit(X, y, evaluate=False)
    live = model.live()
    for piece in pieces(TYPED, 0):
        answer = live.step(piece)
    assert list(answer["probabilities"].values()) == model.predict_proba([TYPED])[0].tolist()


def test_a_damaged_vocabulary_is_said(classifier, tmp_path):
    model = classifier.model_
    transform = dict(model.preprocessing["transform"], vocabularies=[{"symbols": ["a", "a"]}])
    other = recurra.runtime.Model(model.ops, preprocessing=dict(model.preprocessing, transform=transform))
    with pytest.raises((DataError, ModelFileError), match="vocabulary"):
        recurra.Classifier.of_model(other)


def test_the_command_line_takes_texts_and_tags(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from recurra.cli import app

    monkeypatch.chdir(tmp_path)
    X, y = sentences(40)
    (tmp_path / "a.csv").write_text("review,stars\n" + "".join(f"{x},{k}\n" for x, k in zip(X, y, strict=True)))
    words, tags = commands()
    lines = ["\n".join(f"{w} {t}" for w, t in zip(*pair, strict=True)) for pair in zip(words, tags, strict=True)]
    (tmp_path / "a.conll").write_text("\n\n".join(lines))
    few = ["--hidden", "4", "--epochs", "1", "--out", "m.recurra"]
    for command, said in (
        (["fit", "classify", "a.csv", "--text", "review", "--y", "stars", *few], "bag of words"),
        (["evaluate", "m.recurra", "a.csv"], "accuracy"),
        (["fit", "tag", "a.conll", *few], "F1 of spans"),
        (["predict", "m.recurra", "a.conll"], f"{sum(map(len, words))} rows"),
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert said in result.output
