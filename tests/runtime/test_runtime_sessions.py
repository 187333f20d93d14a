"""Sessions: the laws of snapshot, restore, fork and step_many, and what a session refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DtypeError, SessionError, ShapeError
from runtime.networks import STREAMING, F, forecaster, row, same, sample

MODELS = {name: make() for name, make in STREAMING.items()}
MODEL = MODELS["forecaster"]
ANY = st.sampled_from(sorted(MODELS))


@given(ANY, st.integers(0, 12), st.integers(0, 12))
def test_restore_undoes_what_came_after_the_snapshot(name, before, after) -> None:
    model = MODELS[name]
    x, session = sample(model, 24, 1)[:, 0], model.session()
    session.run(x[:before])
    saved, state = session.snapshot(), session.state
    first = session.run(x[before : before + after])
    session.restore(saved)
    assert all(same(session.state[k], state[k]) for k in state)
    assert same(session.run(x[before : before + after]), first)
    other = STREAMING[name]().session()  # as in another process
    other.restore(saved)
    assert other.snapshot() == saved


@given(ANY, st.integers(0, 9), st.one_of(st.none(), st.integers(1, 4)))
def test_a_fork_goes_its_own_way(name, steps, batch) -> None:
    model = MODELS[name]
    x = sample(model, 20, batch or 1)
    x = x if batch else np.ascontiguousarray(x[:, 0])
    session = model.session(batch)
    session.run(x[:steps])
    fork, before = session.fork(), session.snapshot()
    first = fork.run(x[steps:])
    assert session.snapshot() == before
    assert same(session.run(x[steps:]), first)


@given(ANY, st.lists(st.lists(st.integers(0, 199), unique=True, max_size=200), min_size=1, max_size=4))
def test_stepping_many_is_stepping_each(name, turns) -> None:
    model = MODELS[name]
    together, alone = [model.session() for _ in range(200)], [model.session() for _ in range(200)]
    x = sample(model, len(turns), 200)
    for t, turn in enumerate(turns):
        out = model.step_many([together[i] for i in turn], np.ascontiguousarray(x[t, : len(turn)]))
        want = [alone[i].step(row(x, t, k)) for k, i in enumerate(turn)]
        assert same(out, np.array(want, F).reshape(out.shape))
    assert all(a.snapshot() == b.snapshot() for a, b in zip(together, alone, strict=True))


@given(ANY, st.lists(st.integers(0, 30), max_size=120), st.integers(0, 3))
def test_running_many_is_running_each(name, steps, before) -> None:
    """Some steps of each, sessions of other lengths beside them, some with none and some at other steps of a stride."""
    model = MODELS[name]
    together, alone = [model.session() for _ in steps], [model.session() for _ in steps]
    x = sample(model, 33, len(steps))
    for i, pair in enumerate(zip(together, alone, strict=True)):
        for session in pair:
            session.run(np.ascontiguousarray(x[: (before * i) % 3 + 1, i]))
    want = [alone[i].step(row(x, 3 + t, i)) for i, n in enumerate(steps) for t in range(n)]
    parts = [x[3 : 3 + n, i] for i, n in enumerate(steps)]
    out = model.run_many(together, steps, np.concatenate(parts) if parts else sample(model, 1, 1)[:0, 0])
    nothing = np.full(model.output_size, np.nan, F)
    assert same(out, np.array([nothing if y is None else y for y in want], F).reshape(out.shape))
    assert all(a.snapshot() == b.snapshot() for a, b in zip(together, alone, strict=True))


def test_reset_and_state() -> None:
    session = MODEL.session(batch=2)
    fresh = session.snapshot()
    session.run(sample(MODEL, 3, 2))
    state = session.state
    assert list(state) == ["layers.0.h", "layers.0.c"]
    assert [a.shape for a in state.values()] == [(2, 19), (2, 19)]
    session.reset()
    assert session.snapshot() == fresh
    assert not any(a.any() for a in session.state.values())
    session.state = state
    assert all(same(session.state[k], state[k]) for k in state)
    with pytest.raises(ShapeError, match=r"state: `layers.0.h` has shape \(19,\), expected \[2, 19\]"):
        session.state = {k: a[0] for k, a in state.items()}
    with pytest.raises(ShapeError, match=r"state: the names are layers.0.h, expected layers.0.h, layers.0.c"):
        session.state = {"layers.0.h": state["layers.0.h"]}


def test_out_is_written_and_returned() -> None:
    session, other = MODEL.session(), MODEL.session()
    x, out = np.ones(1, F), np.full(3, np.nan, F)
    assert session.step(x, out=out) is out
    assert same(out, other.step(x))
    assert session.step(x, out) is out


def test_out_may_be_the_input() -> None:
    x = sample(MODELS["deep"], 1, 1)[0, 0]
    want = MODELS["deep"].session().step(x)
    shared = x.copy()
    assert same(MODELS["deep"].session().step(shared, out=shared[:2]), want)


REFUSED = [
    (np.ones(2, F), ShapeError, r"step: `x` has shape \(2,\), expected \[1\]"),
    (np.ones((1, 1), F), ShapeError, r"step: `x` has shape \(1, 1\), expected \[1\]"),
    (np.ones(1), DtypeError, "step: `x` has dtype float64, expected float32"),
    ([1.0], DtypeError, r"step: `x` is a list, expected a NumPy array \[1\] of float32"),
    (None, DtypeError, "step: `x` is a NoneType"),
    (np.ones(1, ">f4"), DtypeError, "step: `x` has dtype >f4"),
]


@pytest.mark.parametrize(("x", "error", "message"), REFUSED)
def test_a_step_refuses_what_does_not_fit(x, error, message) -> None:
    session = MODEL.session()
    session.step(np.ones(1, F))
    before = session.snapshot()
    with pytest.raises(error, match=message):
        session.step(x)
    assert session.snapshot() == before


def test_a_step_refuses_a_bad_out() -> None:
    session, frozen = MODEL.session(), np.empty(3, F)
    frozen.flags.writeable = False
    for out, message in ((np.empty(2, F), r"`out` has shape \(2,\), expected \[3\]"), (frozen, "`out` is read-only")):
        with pytest.raises(ShapeError, match=message):
            session.step(np.ones(1, F), out=out)
    assert not session.state["layers.0.h"].any()


@pytest.mark.parametrize("bad", [-1, 11, 2**70, np.int64(11), np.array(11)])
def test_a_word_that_the_embedding_does_not_have(bad) -> None:
    with pytest.raises(ShapeError, match=r"step: `x` has the number -?\d+, expected 0 to 10: the embedding's rows"):
        MODELS["tagger"].session().step(bad)


def test_words_as_numbers_and_arrays() -> None:
    model = MODELS["tagger"]
    outs = [model.session().step(word) for word in (3, np.int64(3), np.array(3))]
    assert all(same(out, outs[0]) for out in outs)
    assert same(model.session(batch=2).step(np.array([3, 3]))[1], outs[0])
    with pytest.raises(DtypeError, match="step: `x` has dtype float64, expected int64"):
        model.session().step(np.array(3.0))
    with pytest.raises(ShapeError, match="run: `x` has the number 11"):
        model.run(np.array([3, 11]))


def test_what_step_many_refuses() -> None:
    a, b, x = MODEL.session(), MODEL.session(), np.ones((2, 1), F)
    bad = [
        ([a, a], r"sessions\[1\] is a session that comes twice"),
        ([a, forecaster().session()], r"sessions\[1\] is a session of another model"),
        ([MODEL.session(batch=1), a], r"sessions\[0\] is a session of a batch of 1"),
        ([a, 7], r"sessions\[1\] is a int"),
    ]
    for sessions, message in bad:
        with pytest.raises(SessionError, match=message + ", expected a session of one row of this model, each once"):
            MODEL.step_many(sessions, x)
    with pytest.raises(ShapeError, match=r"step_many: `x` has shape \(2, 1\), expected \[1, 1\]"):
        MODEL.step_many([a], x)
    with pytest.raises(ShapeError, match=r"step_many: `out` has shape \(2, 1\), expected \[2, 3\]"):
        MODEL.step_many([a, b], x, np.empty((2, 1), F))
    assert not a.state["layers.0.h"].any()
    assert same(MODEL.step_many((a, b), x)[0], MODEL.session().step(x[0]))
    assert MODEL.step_many([], x[:0]).shape == (0, 3)


def test_what_run_many_refuses() -> None:
    a, b, x = MODEL.session(), MODEL.session(), np.ones((3, 1), F)
    before = a.snapshot()
    for sessions, steps, error, message in [
        ([a, a], [1, 2], SessionError, r"run_many: sessions\[1\] is a session that comes twice"),
        ([a, b], [1, 1], ShapeError, r"run_many: `x` has shape \(3, 1\), expected \[2, 1\]"),
        ([a, b], [4, -1], ShapeError, r"run_many: `steps` is \[4, -1\], expected 2 counts from 0"),
        ([a, b], [3], ShapeError, r"expected 2 counts"),
    ]:
        with pytest.raises(error, match=message):
            MODEL.run_many(sessions, steps, x)
    with pytest.raises(ShapeError, match=r"run_many: `out` has shape \(3, 1\), expected \[3, 3\]"):
        MODEL.run_many([a, b], [1, 2], x, np.empty((3, 1), F))
    assert a.snapshot() == before
    assert MODEL.run_many([], [], x[:0]).shape == (0, 3)


def test_a_batch_needs_a_session_of_its_size() -> None:
    x = sample(MODEL, 4, 3)
    with pytest.raises(
        ShapeError, match=r"a batch, but this session is one row: use model.run\(xs\), or model.session"
    ):
        MODEL.session().run(x)
    with pytest.raises(ShapeError, match=r"run: `x` has shape \(4, 3, 1\), expected \[T, 2, 1\]"):
        MODEL.session(batch=2).run(x)
    with pytest.raises(ShapeError, match="a session: batch is 0, expected at least 1, or None for vectors"):
        MODEL.session(batch=0)
    assert MODEL.run(x[:0]).shape == (0, 3, 3)
    assert MODEL.run(x[:, :0]).shape == (4, 0, 3)


@given(st.data())
def test_a_damaged_snapshot_changes_nothing(data) -> None:
    session = MODEL.session()
    session.step(np.ones(1, F))
    good = session.snapshot()
    cut = data.draw(st.integers(0, len(good) - 1))
    flipped = bytearray(good)
    at = data.draw(st.integers(0, len(good) - 1))
    flipped[at] ^= data.draw(st.integers(1, 255))
    for bad in (good[:cut], bytes(flipped), good + b"\0"):
        with pytest.raises(SessionError, match="restore: "):
            session.restore(bad)
        assert session.snapshot() == good


def test_a_snapshot_belongs_to_its_model() -> None:
    saved = MODEL.session().snapshot()
    with pytest.raises(SessionError, match=r"restore: the snapshot is of another model, \w+, expected \w+: load the"):
        MODELS["deep"].session().restore(saved)
    with pytest.raises(SessionError, match=r"has batch None, expected 2: use model.session\(batch=None\)"):
        MODEL.session(batch=2).restore(saved)
    with pytest.raises(SessionError, match="a session cannot be pickled: use snapshot"):
        pickle.dumps(MODEL.session())


def test_a_session_keeps_its_model_alive() -> None:
    session = forecaster().session()
    assert np.isfinite(session.step(np.ones(1, F))).all()
