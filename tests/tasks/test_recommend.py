"""The next item: rules and ranks by their definitions, sessions as they are read, a live session in the same bits."""

from __future__ import annotations

import io
import json
import math
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import recurra
from helpers import generator
from recurra.cli import app
from recurra.data.sessions import REMEMBERED, read_sessions
from recurra.errors import DataError, ModelFileError, SettingError
from recurra.models.items import ItemHead
from recurra.tasks.recommendation.metrics import HitRate, Ndcg, ranks_of
from recurra.tasks.recommendation.ranking import BACK, COMMON, NEAR, RECENT, SEEN, SPREAD, Ranking, follow, learn_rules

ITEMS = 23


def made(count=90, key="sessions", longest=11) -> list[list[str]]:
    """Sessions in which an item says much of the next, without repeats."""
    rng = generator(key)
    found = []
    for _ in range(count):
        session = [int(rng.integers(ITEMS))]
        while len(session) < 4 + int(rng.integers(longest - 3)):
            item = (session[-1] * 5 + 2) % ITEMS if rng.random() < 0.8 else int(rng.integers(ITEMS))
            if item in session:
                item = next(k for k in range(ITEMS) if k not in session)
            session.append(item)
        found.append([f"i{k}" for k in session])
    return found


@pytest.fixture(scope="module")
def fitted() -> recurra.Recommender:
    return recurra.Recommender(hidden=9, epochs=6, best=4, reading={"embedding": 7}, learning_rate=1e-2).fit(made())


def test_rules_are_what_they_are_defined_as() -> None:
    rng, V = generator("rules"), 17
    sessions = [rng.integers(0, V, size=n) for n in (1, 2, 5, 31, 8, 13)]
    count = np.maximum(np.bincount(np.concatenate(sessions), minlength=V), 1)
    weights: defaultdict[int, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    for session in sessions:
        for s, a in enumerate(session):
            for t in range(s + 1, min(len(session), s + SEEN)):
                b = session[t]
                if a and b and a != b:
                    weights[a][b] += NEAR ** (t - s - 1)
                    weights[b][a] += BACK * NEAR ** (t - s - 1)
    rules = learn_rules(sessions, V)
    K = rules.shape[1] // 2
    for i in range(V):
        total = sum(weights[i].values())
        want = {j: w / total**SPREAD / count[j] ** COMMON for j, w in weights[i].items()}
        got = {int(j): w for j, w in zip(rules[i, :K], rules[i, K:], strict=True) if w > 0}
        assert got == pytest.approx(want, rel=1e-5)
        assert (np.diff(rules[i, K:]) <= 0).all()
    history = np.array([3, 0, 5, 3, 8])
    want = np.zeros(V)
    for age, i in enumerate(history[::-1]):
        for j, w in zip(rules[i, :K].astype(int), rules[i, K:], strict=True):
            want[j] += w * RECENT**age
    want[0] = 0
    assert np.allclose(follow(rules, history), want, rtol=1e-6)


def test_ranks_are_those_of_sorting_and_ties_do_not_help() -> None:
    rng = generator("ranks")
    scores = rng.integers(0, 9, size=(40, 31)) / 8.0
    truth = rng.integers(0, 31, size=40).astype(float)
    truth[3] = np.nan
    ranks = ranks_of(truth, scores)
    for m, t in enumerate(truth):
        if t != t:
            assert math.isnan(ranks[m])
        elif t == 0 or scores[m, int(t)] == 0:
            assert ranks[m] == np.inf
        else:
            assert ranks[m] == 1 + sum(s >= scores[m, int(t)] for k, s in enumerate(scores[m]) if k not in (0, t))
    there = ranks[np.isfinite(truth)]
    assert HitRate(5).value(truth, scores) == pytest.approx(np.mean(there <= 5))
    gains = [1 / math.log2(1 + r) if r <= 5 else 0.0 for r in there]
    assert Ndcg(5).value(truth, scores) == pytest.approx(np.mean(gains))
    assert np.nanmean(Ndcg(5).units(truth, scores)) == pytest.approx(1 - np.mean(gains))


def test_a_mixture_of_a_network_and_rules_without_what_is_there() -> None:
    rng, V = generator("mixture"), 19
    rules = learn_rules([rng.integers(0, V, size=30)], V)
    output, history = rng.normal(size=V).astype(np.float32), np.array([4, 9])
    p = np.exp(output - output.max()) / np.exp(output - output.max()).sum()
    q = follow(rules, history)
    want = 0.7 * p + 0.3 * q / q.sum()
    want[0] = 0
    assert np.allclose(Ranking(V, rules, 0.3, again=True).scores(output, history), want, rtol=1e-5)
    want[history] = 0
    assert np.allclose(Ranking(V, rules, 0.3).scores(output, history), want, rtol=1e-5)
    assert (Ranking(V, rules, 0.3).scores(output, np.arange(V)) == 0).all()


def test_what_is_drawn_stands_for_all_items() -> None:
    torch.manual_seed(0)
    head = ItemHead(5, 6, 11, 0.0, negatives=6)
    head.tie(torch.nn.Parameter(torch.empty(11, 6)))
    h, targets = torch.randn(3, 7, 5), torch.randint(1, 11, (3, 7)).float()
    targets[0, 0], targets[1, 1] = torch.nan, 0.0
    there = targets.nan_to_num() > 0
    whole = head.items(head.query(h))[there]
    right = whole.gather(-1, targets[there].long()[:, None])
    others = whole[:, 1:].exp().sum(-1) - right[:, 0].exp()
    head.train()
    output = head(h)
    assert output.shape == (3, 7, 6)
    one = torch.full_like(targets, torch.nan)
    one[0, 1] = targets[0, 1]
    k = int(there.flatten()[:2].sum()) - 1
    with torch.no_grad():
        drawn = [float((head.loss(output, one).exp() - 1) * right[k, 0].exp()) for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(others[k].item(), rel=0.03)
    head.negatives = None
    full = torch.nn.functional.cross_entropy(whole, targets[there].long())
    assert head.loss(output, targets).item() == pytest.approx(full.item(), rel=1e-5)
    head.eval()
    assert head.loss(head(h), targets).item() == pytest.approx(full.item(), rel=1e-5)


def test_a_session_live_is_the_whole_one_to_the_last_bit(fitted, tmp_path) -> None:
    sessions = made(12, "others")
    fitted.save(tmp_path / "m.recurra")
    model = recurra.open_model(tmp_path / "m.recurra")
    assert (model.predict(sessions) == fitted.predict(sessions)).all()
    live, predictor = model.live(), model._predictor()
    for k, session in enumerate(sessions):
        for t, item in enumerate(session):
            answer = live.step(item, f"u{k}")
            found, _ = read_sessions([session[: t + 1]], open_end=True)
            (whole,) = found.with_targets(None)
            assert list(zip(answer["items"], answer["scores"], strict=True)) == predictor.best(whole, 4)
        assert answer["items"] == model.predict([session])[0].tolist()
        assert not set(answer["items"]) & set(session)
    kept = live.snapshot()
    other = model.live()
    other.restore(kept)
    assert other.best(3, series="u3") == live.best(3, series="u3")
    first = live.best(1, series="u3")[0][0]
    assert live.best(2, series="u3")[1:] == live.best(1, series="u3", without=[first])
    assert live.state_bytes("u3") == 4 * (9 + 7 + len(sessions[3]))


def test_new_items_are_unknown_and_said_once_and_memory_is_bounded(fitted) -> None:
    live = fitted.live()
    live.step("never seen")
    a = live.step("i3")["items"]
    assert live.notes == ["the item 'never seen' was not in training: like others that were not, it is unknown"]
    live.step("nor this", "b")
    assert live.step("i3", "b")["items"] == a
    assert len(live.notes) == 1
    for _ in range(2 * REMEMBERED):
        live.take("i4")
    assert live.state_bytes() == 4 * (9 + 7 + REMEMBERED)


def test_the_last_items_change_no_number_that_is_learned() -> None:
    sessions = made(40, "leak")
    how = {"hidden": 4, "epochs": 1, "reading": {"embedding": 3}, "refit": False}
    one = recurra.Recommender(**how).fit(sessions)
    swapped = [[*s[:-1], "i0" if s[-1] != "i0" and "i0" not in s else s[-1]] for s in sessions]
    assert swapped != sessions
    other = recurra.Recommender(**how).fit(swapped)
    assert one.model_.fingerprint == other.model_.fingerprint
    assert one.task_.share == other.task_.share
    assert one.report_["table"] != other.report_["table"]


def test_it_is_measured_among_all_items(fitted) -> None:
    table = {row["name"]: row for row in fitted.report_["table"]}
    assert table["GRU and rules"]["hr_10"] > table["popularity"]["hr_10"]
    assert {s["heading"] for s in fitted.report_["sections"]} == {
        "Rare and frequent items",
        "Sessions of the test part",
        "Live",
    }
    sessions = made(9, "measured")
    live, hits, count = fitted.live(), 0, 0
    for k, session in enumerate(sessions):
        for item, following in pairwise(session):
            live.take(item, str(k))
            hits += following in [name for name, _ in live.best(10, series=str(k))]
            count += 1
    assert fitted.evaluate(sessions)["hr_10"] == pytest.approx(hits / count)


def test_songs_come_again() -> None:
    sessions = [["a", "b", "a", "b", "a"], ["c", "d", "c", "d"]] * 6
    model = recurra.Recommender(hidden=4, epochs=1, best=9).fit(sessions, evaluate=False)
    assert set(model.predict([["a", "b"]])[0]) == {"a", "b", "c", "d", None}
    once = recurra.Recommender(hidden=4, epochs=1, best=9, again=False).fit(sessions, evaluate=False)
    assert set(once.predict([["a", "b"]])[0]) == {"c", "d", None}


def test_sessions_are_read_in_the_order_of_time_from_anything(tmp_path) -> None:
    events = [("u", "b", 3), ("v", 7, 1), ("u", "a", 1), ("v", 8, 1), ("u", "c", 3), ("w", "z", 9)]
    want = {"u": ["a", "b", "c"], "v": ["7", "8"]}
    table = dict(zip(("User", "item", "time"), (list(c) for c in zip(*events, strict=True)), strict=True))
    text = "User,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in events)
    (tmp_path / "e.csv").write_text(text)
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(dict(zip(table, e, strict=True))) + "\n" for e in events))
    (tmp_path / "l.jsonl").write_text("".join(json.dumps({"user": u, "items": i}) + "\n" for u, i in want.items()))
    for X in (table, tmp_path / "e.csv", str(tmp_path / "e.jsonl"), tmp_path / "l.jsonl", list(want.values())):
        found, _ = read_sessions(X)
        got = {n: [found.symbols[i] for i in x] for n, x in zip(found.names, found.x, strict=True)}
        assert list(got.values()) == list(want.values())
        assert list(got) in (["u", "v"], ["0", "1"])
    alone, _ = read_sessions(table, open_end=True)
    assert alone.names == ("u", "v", "w")


@pytest.mark.parametrize(
    ("X", "how", "said"),
    [
        ([], {}, "there are none"),
        ([["a"], ["b"]], {}, "none has two items"),
        ([["a", "b"], "cd"], {}, "number 1 is 'cd', expected a list of items"),
        ([["a", None]], {}, "number 0 has an item that is missing"),
        ([["a", "a", "a", "a"]], {}, "expected at least 2 different"),
        ([["a", "b", "c"]], {}, "none has four items"),
        (7, {}, "got a int"),
        ({"user": ["u", "u"], "item": ["a", ""]}, {}, "row 1: the item 'item' is missing"),
        ({"user": ["u", None], "item": ["a", "b"]}, {}, "the series 'user' is missing"),
        ({"who": ["u", "u"], "item": ["a", "b"]}, {}, "no column of users"),
        ({"user": ["u", "u"], "what": ["a", "b"]}, {}, "no column of items"),
        ({"user": ["u", "u"], "item": ["a", "b"]}, {"time": "when"}, "'when'"),
        ({"user": ["u"] * 4, "item": list("abcd"), "time": [1, 2, "x", 4]}, {}, "is no time"),
    ],
)
def test_what_is_wrong_with_sessions_is_said(X, how, said) -> None:
    with pytest.raises(DataError, match=said):
        recurra.Recommender(hidden=2, epochs=1).fit(X, **how)


def test_an_empty_file_is_said(tmp_path) -> None:
    for name in ("e.csv", "e.jsonl"):
        (tmp_path / name).write_text("")
        with pytest.raises(DataError, match=name):
            recurra.Recommender().fit(tmp_path / name)


def test_what_is_wrong_with_settings_is_said(fitted) -> None:
    for how in ({"best": 0}, {"negatives": 2.5}, {"again": "no"}, {"reading": {"forgotten": 1.0}}):
        with pytest.raises(SettingError, match=next(iter(how if "reading" not in how else {"forgotten": 0}))):
            recurra.Recommender(**how).fit(made(8))
    live = fitted.live()
    for call in (lambda: live.step({"user": "x"}), lambda: live.step(""), lambda: live.best(series="nobody")):
        with pytest.raises(DataError):
            call()
    assert live.series == []
    with pytest.raises(SettingError, match="n=0"):
        live.best(0)


def test_a_file_whose_rules_are_of_other_items_is_refused(fitted, tmp_path) -> None:
    from recurra.runtime import Model
    from recurra.runtime.ops.embedding import Embedding
    from recurra.tasks.opening import opened

    model = fitted.model_
    rules = np.array(model.program("rules").ops[0].W)
    rules[1, 0] = len(rules)
    programs = {**model.programs, "rules": [Embedding(rules, (len(rules),))]}
    with pytest.raises(ModelFileError, match="rules of other items"):
        opened(Model(programs=programs, preprocessing=model.preprocessing))


def test_the_commands_fit_predict_and_stream_alike(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{k}", item, t) for k, s in enumerate(made(30)) for t, item in enumerate(s)]
    lines = ["user,item,time", *(f"{u},{i},{t}" for u, i, t in rows)]
    (tmp_path / "e.csv").write_text("\n".join(lines) + "\n")
    run = CliRunner()
    done = run.invoke(app, ["fit", "recommend", "e.csv", "--best", "3", "--hidden", "4", "--epochs", "1"])
    assert done.exit_code == 0, done.output
    assert "What is in a session is not recommended again" in done.output
    assert run.invoke(app, ["predict", "model.recurra", "e.csv", "--out", "p.csv"]).exit_code == 0
    said = defaultdict(list)
    for line in (tmp_path / "p.csv").read_text().splitlines()[1:]:
        said[line.split(",")[0]].append(line.split(",")[2])
    from recurra.serve.stream import stream
    from recurra.tasks.opening import open_live

    out = io.StringIO()
    live = open_live(recurra.load("model.recurra"))
    stream(live, iter(lines), out, io.StringIO())
    last = {line.split(",")[0]: line.split(",")[1:] for line in out.getvalue().splitlines()[1:]}
    assert last == said
