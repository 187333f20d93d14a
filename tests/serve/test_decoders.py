"""A model of a task is served by its own decoding: what a session answers is what `predict` says of the whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_sessions import Loop

from helpers import generator
from recurra.errors import DataError, SessionError
from recurra.serve.decoder import Decoder
from recurra.serve.faults import Fault, ServeError
from recurra.serve.limits import Limits
from recurra.serve.observed import Observed
from recurra.serve.served import open_served
from recurra.serve.sessions import Sessions
from recurra.serve.store import Store

recurra = pytest.importorskip("recurra")
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    rng = generator("decoders")
    X, y = rng.normal(size=(40, 9, 2)), ["up", "down"] * 20
    fitted = recurra.Classifier(hidden=5, epochs=1).fit(X, y, evaluate=False)
    path = tmp_path_factory.mktemp("task") / "updown.recurra"
    fitted.save(path)
    return fitted, path


class House:
    def __init__(self, path, folder, **options):
        served, self.loop = open_served(path, "task"), Loop()
        assert isinstance(served, Decoder)
        self.store = Store(folder / "sessions")
        self.sessions = Sessions({"task": served}, self.store, Limits(), self.loop.soon, Observed(), **options)

    def steps(self, name, observations, first=None):
        works, held = [], self.sessions.get("t", name)
        self.sessions.submit(held, first, held.served.read(observations), works.append)
        self.loop.all()
        return works[0], [json.loads(line) for line in works[0].answers.splitlines()]


@pytest.mark.parametrize("durable", [False, True])
def test_a_session_says_what_predict_says(classifier, tmp_path, durable):
    fitted, path = classifier
    X = generator("decoded", durable).normal(size=(3, 7, 2))
    want = fitted.predict_proba(X)
    house = House(path, tmp_path, durable=durable)
    for i in range(3):
        house.sessions.create("t", "task", f"s{i}")
    for t in range(7):
        for i in range(3):
            work, answers = house.steps(f"s{i}", [X[i, t].tolist()], t + 1)
            assert work.refused is None
            if t == 6:
                found = answers[0]["answer"]["probabilities"]
                assert [found[name] for name in fitted.classes_] == want[i].tolist()
        if t % 2:
            house.sessions.evict(9)
        if t == 3 and durable:
            house.store.close()
            house = House(path, tmp_path, durable=True)
    states = house.sessions.get("t", "s0").served.states(house.sessions.get("t", "s0").state)
    assert any(np.any(values) for values in states.values())


def test_an_observation_that_cannot_be_taken_changes_nothing(classifier, tmp_path):
    _, path = classifier
    house = House(path, tmp_path)
    for name in "ab":
        house.sessions.create("t", "task", name)
    good = [[0.25, -1.0], [0.5, 2.0], [1.5, 0.125]]
    for bad in ([["no", 1]], [[1]], ["text"], [{"x0": "no", "x1": 1}], [[1, [2]]]):
        work, answers = house.steps("a", bad)
        assert work.refused.fault is Fault.INVALID
        assert not answers
    work, before = house.steps("a", [*good[:2], ["no", 1], good[2]])
    assert (work.refused.fault, len(before)) == (Fault.INVALID, 2)
    _, after = house.steps("a", good[2:], 3)
    assert [*before, *after] == house.steps("b", good)[1]


def test_another_training_takes_a_tasks_sessions_over(classifier, tmp_path):
    """Rows and states go over; what follows is of the new numbers, and of another task nothing is taken."""
    _, path = classifier
    X, y = generator("anew").normal(size=(40, 9, 2)), ["up", "down"] * 20
    recurra.Classifier(hidden=5, epochs=1, seed=7).fit(X, y, evaluate=False).save(tmp_path / "anew.recurra")
    recurra.Regressor(hidden=5, epochs=1).fit(X, generator("y").normal(size=40), evaluate=False).save(
        tmp_path / "other"
    )
    house, x = House(path, tmp_path), generator("over").normal(size=(6, 2))
    for name in "ab":
        house.sessions.create("t", "task", name)
        house.steps(name, x[:3].tolist())
    house.sessions.evict(1)
    old = house.sessions.model("task")
    before = old.restore(old.snapshot(house.sessions.get("t", "b").state))
    new = open_served(tmp_path / "anew.recurra", "task")
    want = new.restore(before.snapshot(), version=True)
    house.sessions.replace(new)
    said = [{"answer": want.to_dict(want.step(row))} for row in x[3:].tolist()]
    assert said != [{"answer": before.to_dict(before.step(row))} for row in x[3:].tolist()]
    for name in "ab":
        assert house.steps(name, x[3:].tolist(), 4)[1] == said
    with pytest.raises(ServeError, match="cannot take over the sessions"):
        house.sessions.replace(open_served(tmp_path / "other", "task"))
    with pytest.raises(SessionError, match="of another model"):
        new.restore(before.snapshot())


def test_a_session_has_so_many_series_at_most(tmp_path, monkeypatch):
    rng = generator("crowded")
    table = {"id": np.repeat(np.arange(20), 6), "v": rng.normal(size=120), "y": np.repeat(["up", "down"] * 10, 6)}
    fitted = recurra.Classifier(hidden=3, epochs=1).fit(table, "y", series="id", evaluate=False)
    path = tmp_path / "many.recurra"
    fitted.save(path)
    monkeypatch.setattr("recurra.serve.decoder.SERIES", 2)
    house = House(path, tmp_path)
    house.sessions.create("t", "task", "s")
    for name in ("a", "b", "a"):
        assert house.steps("s", [{"id": name, "v": 0.5}])[0].refused is None
    work, _ = house.steps("s", [{"id": "c", "v": 0.5}])
    assert (work.refused.fault, work.done) == (Fault.INVALID, 0)
    assert "2 series in this session, which is the limit, and 'c' is one more" in str(work.refused)
    live = fitted.live()
    live.limit(1)
    live.step({"id": "a", "v": 1.0})
    again = fitted.live()
    again.limit(1)
    again.restore(live.snapshot())
    with pytest.raises(DataError, match="end one"):
        again.step({"id": "b", "v": 1.0})
    again.end("a")
    again.step({"id": "b", "v": 1.0})
    assert again.series == ["b"]
    wide = fitted.live()
    for name in "abc":
        wide.step({"id": name, "v": 1.0})
    with pytest.raises(SessionError, match="which is the limit"):
        again.restore(wide.snapshot())
    assert again.series == ["b"]
