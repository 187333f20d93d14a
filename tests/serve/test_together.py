"""Tasks' sessions that arrive together take one step of many: whoever is beside them, what each answers is its own."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decoders import House
from test_sessions import Loop  # noqa: F401  (of House)

from helpers import generator
from recurra.runtime.program import Program
from recurra.serve.faults import Fault

recurra = pytest.importorskip("recurra")
pytest.importorskip("torch")

WORDS = ["one", "two", "five"]
TEXTS = [" ".join(generator("text", i).choice(WORDS, 5)) for i in range(40)]
SMALL = {"hidden": 4, "epochs": 1}


def forecaster():
    y = generator("y").normal(size=80)
    return recurra.Forecaster(horizon=2, seasons=(), refit="train", **SMALL).fit(y, evaluate=False)


def rows(rng):
    return {"y": float(rng.normal())} if rng.random() < 0.8 else {"y": "no number"}


def classifier():
    X = generator("X").normal(size=(40, 6, 2))
    return recurra.Classifier(**SMALL).fit(X, ["up", "down"] * 20, evaluate=False)


def detector():
    return recurra.Detector(**SMALL).fit(generator("stream").normal(size=(600, 2)), evaluate=False)


def numbers(rng):
    return rng.normal(size=2 if rng.random() < 0.9 else 3).tolist()


def texts(rng):
    return {"text": str(rng.choice([*WORDS, " ", "fi", "ve two o", ""]))}


def sound():
    from recurra.data.audio.recordings import Recording

    made = [
        Recording(f"{i}", generator("sound", i).normal(size=3000).astype(np.float32) / 9, label="ab"[i % 2])
        for i in range(12)
    ]
    return recurra.Classifier(reading={"bins": 8, "copies": 1}, refit=False, **SMALL).fit(made, evaluate=False)


TASKS = {
    "forecast": (forecaster, rows),
    "classify": (classifier, numbers),
    "detect": (detector, numbers),
    "tag": (
        lambda: recurra.Tagger(bidirectional=False, **SMALL).fit(
            [t.split() for t in TEXTS], [["a", "b", "a", "c", "b"]] * 40
        ),
        texts,
    ),
    "generate": (lambda: recurra.Generator(chunk=8, batch=2, **SMALL).fit(" ".join(TEXTS), evaluate=False), texts),
    "recommend": (
        lambda: recurra.Recommender(**SMALL).fit([t.split() for t in TEXTS], evaluate=False),
        lambda rng: str(rng.choice([*WORDS, "what", ""])),
    ),
    "translate": (
        lambda: recurra.Translator(wait=1, **SMALL).fit(TEXTS, [t.upper() for t in TEXTS], evaluate=False),
        lambda rng: {"text": str(rng.choice([*WORDS, " "])), "end": bool(rng.random() < 0.2)},
    ),
    "listen": (sound, lambda rng: {"samples": (rng.normal(size=int(rng.integers(0, 900))) / 9).tolist()}),
}


@pytest.fixture(scope="module", params=TASKS)
def task(request, tmp_path_factory):
    if request.param == "listen":
        pytest.importorskip("kaldi_native_fbank")
    make, observation = TASKS[request.param]
    path = tmp_path_factory.mktemp("task") / "m.recurra"
    make().save(path)
    return path, observation


def test_nobodys_answers_depend_on_the_others(task, tmp_path_factory, monkeypatch):
    path, observation = task
    sizes, step_many = Counter(), Program.step_many

    def counted(self, sessions, X, out=None):
        sizes[len(sessions)] += 1
        return step_many(self, sessions, X, out)

    monkeypatch.setattr(Program, "step_many", counted)

    @settings(max_examples=4, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=5), st.integers(0, 99))
    def check(turns, key):
        """In each turn so many observations of each of four sessions, some of which cannot be taken."""
        rng = generator("together", key)
        house = House(path, tmp_path_factory.mktemp("h"))
        alone = [house.sessions.model("task").begin() for _ in range(4)]
        for i in range(4):
            house.sessions.create("t", "task", f"s{i}")
        for turn in turns:
            asked = []
            for i, count in enumerate(turn):
                given_ = [observation(rng) for _ in range(count)]
                if given_:
                    works, held = [], house.sessions.get("t", f"s{i}")
                    house.sessions.submit(held, None, held.served.read(given_), works.append)
                    asked.append((alone[i], given_, works))
            house.loop.all()
            for live, given_, works in asked:
                said, bad = by_itself(live, given_)
                work = works[0]
                assert [json.loads(line)["answer"] for line in work.answers.splitlines()] == said
                assert (work.refused is not None) == bad
                assert not bad or work.refused.fault is Fault.INVALID
        for i, live in enumerate(alone):
            assert house.sessions.get("t", f"s{i}").state.snapshot() == live.snapshot()

    check()
    assert max(sizes) > 1  # they did go together


def by_itself(live, observations):
    said = []
    for one in observations:
        live.notes.clear()
        try:
            answer = live.step(one)
        except Exception:
            return said, True
        said.append(None if answer is None else json.loads(json.dumps(live.to_dict(answer))))
    return said, False
