"""Several networks averaged into one model: what it says, how it is trained, broken off, resumed and run live."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from helpers import generator
from recurra import Classifier, Forecaster, Regressor, Tagger, open_model
from recurra.cli import app
from recurra.data.text.paths import best_path
from recurra.errors import SettingError
from recurra.tasks.bench import Bench
from recurra.tasks.classification.classifier import TEMPERATURES, Classify
from recurra.tasks.learn import learn
from recurra.tasks.members import check_members

PARTS = ["train"] * 30 + ["valid"] * 11  # the same whatever the seed
SMALL = {"hidden": 5, "epochs": 3, "learning_rate": 0.02, "seed": 7, "refit": False, "parts": PARTS}


def walks(count: int = 41) -> list[np.ndarray]:
    rng = generator("members")
    return [rng.normal(size=(int(n), 3)) for n in rng.integers(3, 10, count)]


X = walks()
UP = np.array(["up" if x[:, 0].sum() > x[:, 1].sum() else "down" for x in X])
SUMS = np.array([x[:, 0].sum() for x in X])


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(**SMALL, members=3, cell="lstm").fit(X, UP, evaluate=False)


def test_it_says_the_mean_of_what_networks_of_those_seeds_say() -> None:
    together = Regressor(**SMALL, members=3).fit(X, SUMS, evaluate=False)
    alone = [Regressor(**SMALL | {"seed": seed}).fit(X, SUMS, evaluate=False) for seed in (7, 8, 9)]
    said = np.stack([one.predict(X) for one in alone])
    assert said.std(0).min() > 1e-3
    np.testing.assert_allclose(together.predict(X), said.mean(0), atol=1e-5)
    for name in ("train_loss", "valid_error"):
        rows = [[row[name] for row in one.history_.epochs] for one in alone]
        assert [row[name] for row in together.history_.epochs] == pytest.approx(np.mean(rows, 0).tolist())


def test_of_labels_it_is_what_the_softmax_sees(monkeypatch) -> None:
    monkeypatch.setattr(Classify, "calibrate", lambda *_: None)
    together = Classifier(**SMALL, members=2).fit(X, UP, evaluate=False)
    alone = [Classifier(**SMALL | {"seed": seed}).fit(X, UP, evaluate=False) for seed in (7, 8)]

    def odds(one: Classifier) -> np.ndarray:
        shares = one.predict_proba(X)
        return np.log(shares[:, 1] / shares[:, 0])

    np.testing.assert_allclose(odds(together), np.mean([odds(one) for one in alone], 0), atol=1e-4)


def test_of_forecasts_it_is_each_quantile_and_refitting_trains_each_again() -> None:
    y = np.sin(np.arange(300) / 4) + generator("series").normal(0, 0.3, 300)
    how = {"horizon": 3, "hidden": 4, "epochs": 2, "seasons": (25,)}
    kept = [Forecaster(**how, seed=seed, refit="all").fit({"y": y}, "y", evaluate=False) for seed in (0, 1)]
    together = Forecaster(**how, members=2, refit="all").fit({"y": y}, "y", evaluate=False)
    assert together.report_["refit"] is True
    middle = np.mean([one.predict()["q0.5"] for one in kept], 0)
    np.testing.assert_allclose(together.predict()["q0.5"], middle, atol=1e-5)
    with pytest.raises(SettingError, match="the mean of several networks, expected one"):
        Forecaster(**how).fit({"y": y}, "y", init_model=together)


def test_the_mean_is_calibrated_and_not_its_members() -> None:
    task = Classifier().make_task()
    sequences = task.examples(X, y=UP)
    splits = task.split(sequences, (0.6, 0.4, 0.0), 0)
    bench = Bench(task, sequences, splits, task.transform(sequences, splits))
    recipe = Classifier(**SMALL | {"epochs": 15}, members=2).recipe()
    network, histories, (output, targets) = learn(bench, recipe)
    assert len(histories) == 2
    losses = [float(functional.cross_entropy(output / t, targets.long())) for t in TEMPERATURES]
    assert min(losses) < float(functional.cross_entropy(output, targets.long())) - 1e-3  # there was something to do
    t = float(TEMPERATURES[int(np.argmin(losses))])
    piece = bench.pieces("valid")[0]
    rows = torch.from_numpy(bench.transform.rows(piece.sequence, 0, len(piece.sequence)))[:, None]
    with torch.no_grad():
        found = network(rows, lengths=torch.tensor([len(rows)]))[0]
        before = torch.stack([one(rows, lengths=torch.tensor([len(rows)]))[0] for one in network.members]).mean(0)
    torch.testing.assert_close(found, before)
    torch.testing.assert_close(found[0], output[0] / t, atol=1e-5, rtol=1e-5)


def test_live_is_whole_to_the_bit_from_one_file(classifier, tmp_path) -> None:
    classifier.save(tmp_path / "m.recurra")
    again = open_model(tmp_path / "m.recurra")
    assert again.members == 3
    said = classifier.predict_proba(X[:5], steps="all")
    for x, shares in zip(X, said, strict=False):
        live, at = again.live(), len(x) // 2
        for step in x[:at]:
            live.step(step)
        kept = live.snapshot()
        other = again.live()
        other.restore(kept)
        for one in (live, other):
            answers = [list(one.step(step)["probabilities"].values()) for step in x[at:]]
            assert (np.array(answers, np.float32) == shares[at:]).all()
    assert set(classifier.model_.parity["differing"].values()) == {0}


class KilledError(Exception):
    pass


def test_what_is_killed_is_resumed_from_the_files_of_the_members(tmp_path, classifier) -> None:
    seen = []

    def killed(p) -> None:
        seen.append(p)
        if p.epoch == 6:  # the last of the second member
            raise KilledError

    path = tmp_path / "run"
    with pytest.raises(KilledError):
        Classifier(**SMALL, members=3, cell="lstm").fit(X, UP, evaluate=False, checkpoint=path, progress=killed)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run", "run.2"]
    assert {p.epochs for p in seen} == {9}
    done = [(p.epoch, p.update) for p in seen]
    assert done == sorted(done)
    assert seen[0].seconds_left > 6 * seen[-1].seconds_left / 4 > 0
    seen.clear()
    resumed = Classifier(**SMALL, members=3, cell="lstm")
    resumed.fit(X, UP, evaluate=False, checkpoint=path, resume=True, progress=seen.append)
    assert seen[0].epoch == 6
    assert resumed.model_.fingerprint == classifier.model_.fingerprint


@pytest.mark.parametrize("way", ["stop", "interrupt"])
def test_a_member_that_is_broken_off_does_not_count(way) -> None:
    def told(p) -> bool:
        if p.epoch == 5 and way == "interrupt":
            raise KeyboardInterrupt
        return p.epoch == 5

    broken = Classifier(**SMALL | {"refit": True}, members=3).fit(X, UP, evaluate=False, stop=told)
    assert broken.history_.ended == {"stop": "stopped", "interrupt": "interrupted"}[way]
    assert broken.report_["refit"] is False
    first = Classifier(**SMALL).fit(X, UP, evaluate=False)
    assert (broken.predict_proba(X) == first.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("given", "sequences", "words"),
    [
        ({"members": 0}, X, "members=0, expected a whole number from 1 to 16"),
        ({"members": 17}, X, "members=17, expected"),
        ({"members": 2.0}, X, "members=2.0, expected"),
    ],
)
def test_what_cannot_be_averaged(given, sequences, words) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        Classifier(**{**SMALL, **given}).fit(sequences, UP)
    assert "\n" not in str(caught.value)


def test_networks_that_cannot_run_side_by_side_are_refused() -> None:
    with pytest.raises(SettingError, match=r"members=2, but such a network .* a Linear has no encoder and head"):
        check_members(torch.nn.Linear(1, 1), 2)


FLIGHTS = ["fly to new york on monday", "fly to paris on friday", "i see paris", "new york to see"] * 10 + [
    "fly to paris"
]
LABELS = np.array(["fly" if text.startswith("fly") else "see" for text in FLIGHTS])
SLOTS = [
    ["O" if w in ("fly", "to", "on", "i", "see") else "I-x" if w == "york" else "B-x" for w in t.split()]
    for t in FLIGHTS
]


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_of_texts_it_is_the_mean_too(both, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Classify, "calibrate", lambda *_: None)
    how = {**SMALL, "bidirectional": both, "reading": {"features": ("small", "pair"), "embedding": 4}}
    together = Classifier(**how, members=2).fit(FLIGHTS, LABELS, evaluate=False)
    alone = [Classifier(**how | {"seed": seed}).fit(FLIGHTS, LABELS, evaluate=False) for seed in (7, 8)]
    asked = ["fly to york", "see paris on monday", "i"]

    def odds(one: Classifier) -> np.ndarray:
        shares = one.predict_proba(asked)
        return np.log(shares[:, 1] / shares[:, 0])

    assert np.abs(odds(alone[0]) - odds(alone[1])).min() > 1e-3
    np.testing.assert_allclose(odds(together), np.mean([odds(one) for one in alone], 0), atol=1e-4)
    together.save(tmp_path / "m.recurra")
    live = open_model(tmp_path / "m.recurra").live()
    for k, word in enumerate(words := ["fly", "to", "paris"]):
        answer = live.step({"token": word})
        assert list(answer["probabilities"].values()) == together.predict_proba([words[: k + 1]])[0].tolist()


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_of_tags_it_is_the_path_by_the_mean_of_scores_and_of_moves(both, tmp_path) -> None:
    how = SMALL | {"bidirectional": both, "reading": {"embedding": 4}}
    how.pop("learning_rate")
    together = Tagger(**how, members=3).fit(FLIGHTS, SLOTS, evaluate=False)
    alone = [Tagger(**how | {"seed": seed}).fit(FLIGHTS, SLOTS, evaluate=False) for seed in (7, 8, 9)]
    for one in alone:
        assert np.abs(one.task_.moves - together.task_.moves).max() > 1e-3
    np.testing.assert_allclose(
        together.task_.moves, np.mean([one.task_.moves for one in alone], 0), atol=1e-5, rtol=1e-5
    )
    text = "i fly to new york on friday"
    rows = [one.transform_.rows(one.task_.read([text], one.transform_)[0], 0, 7) for one in (together, *alone)]
    scores = [one.model_.run(x) for one, x in zip((together, *alone), rows, strict=True)]
    np.testing.assert_allclose(scores[0], np.mean(scores[1:], 0), atol=1e-5)
    best = [together.task_.labels[k] for k in best_path(together.task_.moves, scores[0])]
    assert list(together.predict([text])[0]) == best
    together.save(tmp_path / "t.recurra")
    live, said = open_model(tmp_path / "t.recurra").live(), []
    for word in text.split():
        answer = live.step({"token": word})
        said += answer["certain"]
    assert [one["tag"] for one in [*said, *answer["open"]]] == best


def test_on_the_command_line(tmp_path) -> None:
    lines = ["walk,a,b,way"]
    lines += [f"{i},{row[0]:.3f},{row[1]:.3f},{way}" for i, (x, way) in enumerate(zip(X, UP, strict=True)) for row in x]
    (tmp_path / "walks.csv").write_text("\n".join(lines))
    names = ["--series", "walk", "--target", "way", "--members", "2", "--hidden", "4", "--epochs", "1"]
    out = ["--out", str(tmp_path / "m.recurra")]
    done = CliRunner().invoke(app, ["fit", "classify", str(tmp_path / "walks.csv"), *names, *out])
    assert done.exit_code == 0, done.output
    assert "GRU" in done.output  # what it is called in tables
    assert "def gru(x, h):" in CliRunner().invoke(app, ["info", str(tmp_path / "m.recurra")]).output
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.recurra", "walks.csv"]
    assert open_model(tmp_path / "m.recurra").members == 2


def test_of_tags_on_the_command_line(tmp_path) -> None:
    pairs = [zip(t.split(), tags, strict=True) for t, tags in zip(FLIGHTS, SLOTS, strict=True)]
    (tmp_path / "flights.conll").write_text("\n\n".join("\n".join("\t".join(pair) for pair in one) for one in pairs))
    asked = ["fit", "tag", str(tmp_path / "flights.conll"), "--members", "2", "--hidden", "4", "--epochs", "1"]
    done = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "m.recurra")])
    assert done.exit_code == 0, done.output
    assert open_model(tmp_path / "m.recurra").members == 2
