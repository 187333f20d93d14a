"""Taggers that say a label of the whole text too: one field of both, against all paths; whole and typed the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

import recurra
from helpers import generator
from recurra.errors import DataError
from recurra.tasks.tagging.metrics import LabelAccuracy, MacroTagF1, TagAccuracy, WholeAccuracy
from recurra.tasks.tagging.tagger import Tag

HOW = {"hidden": 10, "epochs": 30, "learning_rate": 0.03, "dropout": 0.2, "reading": {"embedding": 8, "dropout": 0.2}}


def commands() -> tuple[list[list[str]], list[tuple[list[str], str]]]:
    """What is played has a name, and so has what is booked; the verb says which, wherever it stands."""
    rng = generator("commands")
    names = ["blue moon", "paris", "red sun", "rome"]
    X, y = [], []
    for k in range(90):
        name = str(rng.choice(names)).split()
        label, kind, verb = ("play", "song", "play") if k % 2 else ("book", "place", "reserve")
        tags = [f"B-{kind}", *[f"I-{kind}"] * (len(name) - 1)]
        after = bool(rng.integers(2))
        X.append([*name, "please", verb] if after else [verb, *name, "now"])
        y.append(([*tags, "O", "O"] if after else ["O", *tags, "O"], label))
    return X, y


@pytest.fixture(scope="module", params=[False, True], ids=["one way", "both ways"])
def tagger(request) -> recurra.Tagger:
    X, y = commands()
    return recurra.Tagger(**HOW, bidirectional=request.param).fit(X, y)


def field() -> tuple[Tag, np.ndarray]:
    """A task of two labels that have some tags in common, and the scores of its moves."""
    task = Tag()
    task._learn_labels(["B-a", "B-b", "I-a", "O"], ["s", "t"])
    task.states = np.array([0, 2, 3, 5, 7])  # of s: B-a, I-a, O; of t: B-b, O
    head = task.head(3, None, 0.0)  # type: ignore[arg-type]
    with torch.no_grad():
        head.steps.copy_(torch.from_numpy(generator("moves").normal(size=(6, 5)).astype(np.float32)))
    return task, head.moves.detach().numpy().astype(np.float64)


def every_path(scores: np.ndarray, moves: np.ndarray) -> dict[tuple[int, ...], float]:
    """The score of each label with each of its consistent tags, told by hand: [T, 5] of places among the states."""
    found = {}
    for states, after in (((0, 1, 2), {1: (0, 1)}), ((3, 4), {})):
        for path in itertools.product(states, repeat=len(scores)):
            steps = list(itertools.pairwise(path))
            if path[0] == 1 or any(to in after and before not in after[to] for before, to in steps):
                continue
            total = moves[-1, path[0]] + sum(moves[a, b] for a, b in steps)
            found[path] = float(total + scores[range(len(path)), path].sum())
    return found


def test_the_loss_and_the_answer_are_those_of_all_labels_with_all_their_tags() -> None:
    task, moves = field()
    scores = generator("scores").normal(size=(4, 3, 5)).astype(np.float32)
    numbers = np.array([[0, 5, 3], [2, 7, 0], [3, 7, 2], [np.nan, 5, np.nan]], np.float32)
    expected, task.moves = 0.0, moves.astype(np.float32)
    for b, T in enumerate((3, 4, 3)):
        paths = every_path(scores[:T, b].astype(np.float64), moves)
        right = tuple(int(np.flatnonzero(task.states == k)[0]) for k in numbers[:T, b])
        expected += np.logaddexp.reduce(list(paths.values())) - paths[right]
        best = max(paths, key=lambda path: paths[path])
        assert task.decode(scores[:T, b], None, "").tolist() == task.states[list(best)].tolist()  # type: ignore[arg-type]
    found = task.loss(torch.from_numpy(scores), torch.from_numpy(numbers))
    assert float(found.detach()) == pytest.approx(expected / 10, rel=1e-5)


def test_metrics_are_those_of_others() -> None:
    rng, K = generator("metrics"), 4
    lengths = rng.integers(1, 6, 40)
    begins = np.concatenate([[1, *[0] * (n - 1)] for n in lengths]).astype(float)
    tags, said = rng.integers(0, K, (2, len(begins)))
    said = np.where(rng.random(len(tags)) < 0.8, tags, said)
    labels, told = rng.integers(0, 3, (2, len(lengths)))
    told = np.where(rng.random(len(labels)) < 0.7, labels, told)
    truth = np.stack([tags + K * np.repeat(labels, lengths), begins], 1).astype(float)
    answers = (said + K * np.repeat(told, lengths)).astype(float)
    assert TagAccuracy(K).value(truth, answers) == pytest.approx(accuracy_score(tags, said))
    assert MacroTagF1(K).value(truth, answers) == pytest.approx(f1_score(tags, said, average="macro"))
    assert LabelAccuracy(K).value(truth, answers) == pytest.approx(accuracy_score(labels, told))
    cuts = np.cumsum(lengths)[:-1]
    whole = [(a == b).all() for a, b in zip(np.split(tags, cuts), np.split(said, cuts), strict=True)]
    assert WholeAccuracy().value(truth, answers) == pytest.approx(float((np.array(whole) & (labels == told)).mean()))


def test_it_learns_both_and_the_file_has_both(tagger, tmp_path) -> None:
    X, y = commands()
    values = tagger.evaluate(X, y)
    assert min(values[key] for key in ("span_f1", "label_accuracy", "whole")) > 0.95
    assert [row["name"] for row in tagger.report_["table"][1:]] == ["commonest tag of each word", "logistic regression"]
    assert tagger.report_["table"][2]["label_accuracy"] > 0.9
    assert tagger.report_["sections"][0]["rows"][0][0].split(":")[0] in ("play", "book")
    tagger.save(tmp_path / "t.recurra")
    again = recurra.open_model(tmp_path / "t.recurra")
    for text in ("reserve rome now", "blue moon please play"):
        (tags, label), (others, other) = tagger.predict([text])[0], again.predict([text])[0]
        assert (list(tags), label) == (list(others), other)
        kind = {"play": "song", "book": "place"}[label]
        assert {tag[2:] for tag in tags if tag != "O"} == {kind}  # a label has only its own tags
    sequences, answers = again._decoded(["reserve rome now"], None, None)
    assert len(sequences) == 1
    columns = again.task_.columns_of(answers[0])
    assert columns["label"].tolist() == ["book"] * 3
    assert columns["tag"].tolist() == ["O", "B-place", "O"]
    assert again.task_.answer(answers[0][1]) == {"tag": "B-place", "label": "book"}


def test_what_is_typed_is_what_is_predicted(tagger) -> None:
    live, words, said = tagger.live(), ["red", "sun", "please", "play"], list[str]()
    assert live.fields == ["certain", "open", "label"]
    for k, word in enumerate(words):
        answer = live.step({"token": word})
        snapshot, live = live.snapshot(), tagger.live()
        live.restore(snapshot)
        said += [one["tag"] for one in answer["certain"]]
        tags, label = tagger.predict([words[: k + 1]])[0]
        assert answer["label"] == label
        assert said + [one["tag"] for one in answer["open"]] == list(tags)
    assert label == "play"
    assert live.cells(answer)[2] == "play"


def test_tags_of_a_label_that_had_none_of_them_can_be_measured(tagger) -> None:
    values = tagger.evaluate([["reserve", "rome", "now"]], [(["O", "B-song", "O"], "book")])
    assert (values["label_accuracy"], values["whole"]) == (1.0, 0.0)
    assert values["accuracy"] == pytest.approx(2 / 3)


def test_what_is_no_pair_is_said(tagger) -> None:
    X, y = commands()
    for bad, message in (
        ([y[0][0], *y[1:]], r"number 0 is \[.*expected a pair of its tags and its label"),
        ([(y[0][0], None), *y[1:]], "number 0 is .*expected a pair"),
        ([(y[0][0], ""), *y[1:]], "number 0 is .*expected a pair"),
        ([(tags, "play") for tags, _ in y], "all labels of texts are 'play'"),
        ([(tags[1:], label) for tags, label in y], "number 0 has . tags for . tokens"),
    ):
        with pytest.raises(DataError, match=message):
            recurra.Tagger(hidden=4, epochs=1).fit(X, bad)
    with pytest.raises(DataError, match="the label 'sing' was not in training, expected one of book, play"):
        tagger.evaluate(X[:1], [(y[0][0], "sing")])
    with pytest.raises(DataError, match="expected tags and a label of each, as in training"):
        tagger.evaluate(X[:1], [y[0][0]])
    alone = recurra.Tagger(hidden=4, epochs=1).fit(X, [tags for tags, _ in y], evaluate=False)
    with pytest.raises(DataError, match="expected tags alone of each, as in training"):
        alone.evaluate(X[:1], y[:1])


def test_a_model_whose_states_contradict_its_labels_is_refused(tagger) -> None:
    described = tagger.task_.to_dict()
    assert Tag.from_dict(described).to_dict() == described
    for name, value in (
        ("states", described["states"][:-1]),
        ("states", [0, 0, *described["states"][2:]]),
        ("texts", []),
    ):
        with pytest.raises(ValueError, match=r"states|moves"):
            Tag.from_dict(described | {name: value})
