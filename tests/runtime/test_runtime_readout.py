"""What a decoder writes next: copying, coverage, feeding and waiting, by their definitions, in torch and in ONNX."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import recurra.torch as ours
from helpers import ISAS, generator, on_isa
from recurra import cells
from recurra.errors import ShapeError
from recurra.runtime import Attend, Embedding, Join, Model, Program, Readout, load, save_model
from recurra.torch import to_torch
from recurra.torch.bridge import layers_of
from runtime.networks import F, recurrent, same

E, V, M, H, K = 5, 7, 16, 6, 8  # a symbol's numbers, symbols, places, features of the decoder, numbers of a key
OPTIONS = [(copies, feeds) for copies in (0, M) for feeds in (False, True)]


def numbers(*shape: int, key: object = 0) -> np.ndarray:
    return generator("readout", *shape, key).normal(size=shape).astype(F)


def readout(copies: int = M, feeds: bool = True, features: int = H) -> Readout:
    gate = (numbers(1, E, key="w"), numbers(1, key="d")) if copies else (None, None)
    return Readout(numbers(E, features), numbers(E), numbers(V, E), numbers(V), *gate, copies, feeds)


def written(op: Readout, f: np.ndarray, a: np.ndarray, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The definition, in float64: probabilities, and e."""
    e = np.tanh(op.W.astype(np.float64) @ f + op.b)
    s = op.S @ e + op.c
    p = np.exp(s - s.max()) / np.exp(s - s.max()).sum()
    if not op.copies:
        return p, e
    g = 1 / (1 + np.exp(-(op.w @ e + op.d)[0]))
    y = np.concatenate([g * p, np.zeros(M)])
    for m, place in enumerate(places):
        y[place] += (1 - g) * a[m]
    return y, e


@pytest.mark.parametrize(("copies", "feeds"), OPTIONS)
def test_it_is_its_definition(copies, feeds) -> None:
    op, places = readout(copies, feeds), [3, V + 1, 3, V + 1, 0]
    session = Model([op]).session()
    session.state |= op.places(places, "layers.0.")
    for k in range(3):
        f, a = numbers(H, key=k), np.abs(numbers(M, key=("a", k))) * (np.arange(M) < 5)
        got = session.step(np.concatenate([f, a]).astype(F)[: op.input_size])
        p, e = written(op, f, a, places)
        np.testing.assert_allclose(got[: op.symbols], p, atol=1e-6)
        assert len(got) == op.symbols + op.fed
        if feeds:
            np.testing.assert_allclose(got[op.symbols :], e, atol=1e-6)


@pytest.mark.parametrize("fault", ["a place not added", "the gate turned", "another place", "no bias"])
def test_a_planted_fault_is_seen(fault) -> None:
    op, places, f, a = readout(), [3, V + 1, 3], numbers(H, key="f"), np.zeros(M)
    a[:3] = (0.2, 0.5, 0.3)
    session = Model([op]).session()
    session.state |= op.places(places, "layers.0.")
    got = session.step(np.concatenate([f, a]).astype(F))[: op.symbols]
    wrong = {
        "a place not added": lambda: written(op, f, a * [1, 1, 0, *[0] * 13], places),
        "the gate turned": lambda: written(replace(op, w=-op.w, d=-op.d), f, a, places),
        "another place": lambda: written(op, f, a, [3, V + 2, 3]),
        "no bias": lambda: written(replace(op, c=0 * op.c), f, a, places),
    }[fault]()[0]
    assert np.abs(got - wrong).max() > 1e-2


def decoder(additive: bool = True, wait: int = 0) -> Model:
    """All options at once: embedding, what is fed, a cell, attention with coverage, and what is written."""
    attend = Attend(
        numbers(K, H), numbers(K), numbers(K, key="v") if additive else None, 4, M, 2, numbers(K, key="u"), True, wait
    )
    return Model(
        [
            Embedding(numbers(V, 3), (V,)),
            Join("fed", E),
            recurrent(cells.gru, 3 + E, H),
            attend,
            readout(M, True, H + 4),
        ]
    )


def begun(model: Model, n: int, key: object) -> dict[str, np.ndarray]:
    rows = numbers(n, K + 4, key=key)
    return model.ops[3].memory(rows, "layers.3.") | model.ops[4].places(
        [V + m if m % 2 else m % V for m in range(n)], "layers.4."
    )


@pytest.mark.parametrize("additive", [False, True])
def test_coverage_is_the_sum_of_what_was_looked_at(additive) -> None:
    """Each step by the definition, from the shares that the op itself has shown before."""
    model = decoder(additive)
    attend, session, covered = model.ops[3], Model([model.ops[3]]).session(), np.zeros((2, 5))
    rows = numbers(5, K + 4, key="rows")
    session.state |= attend.memory(rows, "layers.0.")
    for t in range(4):
        x = numbers(H, key=t)
        got = session.step(x)
        q, u = (attend.W.astype(np.float64) @ x + attend.b).reshape(2, -1), attend.u.reshape(2, -1)
        shares = []
        for j in range(2):
            keys = rows[:, j * 4 : j * 4 + 4] + covered[j][:, None] * u[j]
            s = np.tanh(q[j] + keys) @ attend.v.reshape(2, -1)[j] if additive else keys @ q[j]
            shares.append(np.exp(s - s.max()) / np.exp(s - s.max()).sum())
        np.testing.assert_allclose(got[H + 4 :][:5], np.mean(shares, 0), atol=1e-6)
        assert not got[H + 4 + 5 :].any()
        covered += shares
    np.testing.assert_allclose(session.state["layers.0.covered"].reshape(2, M)[:, :5], covered, atol=1e-5)


@pytest.mark.parametrize("wait", [1, 3])
def test_a_step_sees_so_many_rows_more(wait) -> None:
    op = Attend(numbers(K, H), numbers(K), None, 4, M, 1, wait=wait)
    rows, session = numbers(6, K + 4, key="rows"), Model([op]).session()
    session.state |= op.memory(rows, "layers.0.")
    for t in range(8):
        x = numbers(H, key=t)
        seen = min(6, wait + t)
        alone = Model([replace(op, wait=0)]).session()
        alone.state |= replace(op, wait=0).memory(rows[:seen], "layers.0.")
        assert same(session.step(x), alone.step(x))


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "x86-64-v2"])
@pytest.mark.parametrize("wait", [0, 2])
def test_bits_do_not_depend_on_the_company_nor_on_the_instructions(isa, wait) -> None:
    model = decoder(wait=wait)
    x = np.concatenate([generator("ids").integers(0, V, (7, 2, 1)).astype(F), numbers(7, 2, E)], 2)
    begins = [begun(model, n, n) for n in (3, 16)]
    want = []
    for r, begin in enumerate(begins):
        alone = model.session()
        alone.state |= begin
        want.append([alone.step(row) for row in np.ascontiguousarray(x[:, r])])
    with on_isa(isa), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.runtime.program.isa", lambda: isa)
        batch = Program(model.ops).session(2)
        batch.state |= {name: np.stack([begin[name] for begin in begins]) for name in begins[0]}
        whole = np.concatenate([batch.run(x[:3]), batch.run(x[3:])])
    for r in range(2):
        assert same(np.ascontiguousarray(whole[:, r]), np.array(want[r]))


def test_rows_of_a_session_change_places() -> None:
    """What one row had, another has; what stays is as it was."""
    model = decoder()
    session = model.session(3)
    session.state = {name: numbers(3, width, key=name) for name, width in model.program().state_widths().items()}
    before = session.state
    session.take([2, 2, 0], but=["layers.3.keys"])
    for name, array in session.state.items():
        assert same(array, before[name] if name == "layers.3.keys" else before[name][[2, 2, 0]])
        assert same(session.read(name), array)
    for call, said in ((lambda: session.take([0, 1]), "expected 3 rows"), (lambda: session.read("h"), "no state 'h'")):
        with pytest.raises(ShapeError, match=said):
            call()


@pytest.mark.parametrize(("copies", "feeds"), OPTIONS)
def test_in_torch(copies, feeds) -> None:
    op = readout(copies, feeds)
    module = to_torch(Model([op]))[0]
    assert isinstance(module, ours.Readout)
    x, places = np.abs(numbers(4, 2, op.input_size)), [[1, V + 1, 1], [V, 2, 0]]
    session = Model([op]).session(2)
    if copies:
        session.state |= {"layers.0.places": np.stack([op.places(p)["places"] for p in places])}
    given = torch.from_numpy(session.state["layers.0.places"]) if copies else None
    np.testing.assert_allclose(module(torch.from_numpy(x), given).detach().numpy(), session.run(x), atol=1e-5)
    (back,) = layers_of(module)
    assert back.describe() == op.describe()
    assert all(same(a, op.arrays()[n]) for n, a in back.arrays().items())


@pytest.mark.parametrize(("additive", "wait"), [(True, 0), (False, 3)])
def test_in_onnx(additive, wait) -> None:
    import onnxruntime

    from recurra.onnx import exporter

    model = decoder(additive, wait)
    proto, _ = exporter.build(model)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    live = model.session(2)
    begins = [begun(model, n, n) for n in (5, 16)]
    live.state |= {name: np.stack([begin[name] for begin in begins]) for name in begins[0]}
    x = np.concatenate([generator("ids").integers(0, V, (6, 2, 1)).astype(F), numbers(6, 2, E)], 2)
    state, names = live.state, [o.name for o in session.get_outputs()]
    for part in (x[:1], x[1:4], x[4:]):
        y, *states = session.run(names, {"x": part, **state})
        np.testing.assert_allclose(y, live.run(part), atol=1e-5)
        state = {n.removesuffix(".next"): a for n, a in zip(names[1:], states, strict=True)}
    for name, array in live.state.items():
        np.testing.assert_allclose(state[name], array, atol=1e-5)


def test_in_a_file(tmp_path) -> None:
    model = decoder(wait=2)
    save_model(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.fingerprint == model.fingerprint
    assert again.ops[3].settings() == {"values": 4, "capacity": M, "heads": 2, "shows": True, "wait": 2}
    assert again.ops[4].settings() == {"copies": M, "feeds": True}
    assert Attend(numbers(K, H), numbers(K), None, 4, M).settings() == {"values": 4, "capacity": M, "heads": 1}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: replace(readout(), w=None), "expected `w`"),
        (lambda: replace(readout(), copies=0), "copies=0, expected `w`"),
        (lambda: replace(readout(), copies=-1), "`copies` is -1"),
        (lambda: replace(readout(), feeds=1), "`feeds` is 1"),
        (lambda: replace(readout(), w=numbers(2, E), d=numbers(2)), "expected `w`"),
        (lambda: readout().places([V + M]), "expected at most 16 numbers from 0 to 22"),
        (lambda: readout().places([0] * 17), "expected at most 16"),
        (lambda: Join("fed", 0), "`features` is 0"),
        (lambda: Model([Join("fed", 2), Join("fed", 3)]), "expected 2: what a layer before it takes"),
        (lambda: Attend(numbers(K, H), numbers(K), None, 4, M, wait=-1), "`wait` is -1"),
        (lambda: Attend(numbers(K, H), numbers(K), None, 4, M, shows=1), "`shows` is 1"),
        (lambda: ours.Readout(0, 1, 1), "expected at least 1 of each"),
    ],
)
def test_what_does_not_fit_is_refused(make, said) -> None:
    with pytest.raises(ShapeError, match=said):
        make()
