"""Attention over a memory: its definition, the bits of every way of running, and its forms in torch and ONNX."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recurra.torch as ours
from helpers import ISAS, generator, on_isa
from recurra import cells
from recurra.errors import DtypeError, ShapeError
from recurra.runtime import Attend, Model, Program, load, save_model
from recurra.torch import to_torch
from recurra.torch.bridge import layers_of
from runtime.networks import F, linear, recurrent, same

I, K, V, M = 7, 12, 6, 32
KINDS = {(heads, additive): None for heads in (1, 3) for additive in (False, True)}


def numbers(*shape: int, key: object = 0) -> np.ndarray:
    return generator("attend", *shape, key).normal(size=shape).astype(F)


def attend(heads: int = 1, additive: bool = False) -> Attend:
    return Attend(numbers(K, I), numbers(K, key="b"), numbers(K, key="v") if additive else None, V, M, heads)


def found(op: Attend, x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, in float64: what a query x [I] finds among rows [n, K + V], and the weights [heads, n]."""
    keys, values = rows[:, :K].astype(np.float64), rows[:, K:].astype(np.float64)
    q = op.W.astype(np.float64) @ x + op.b
    out, weights = [], []
    for j in range(op.heads):
        k, v = (slice(j * size // op.heads, (j + 1) * size // op.heads) for size in (K, V))
        score = keys[:, k] @ q[k] if op.v is None else np.tanh(q[k] + keys[:, k]) @ op.v[k].astype(np.float64)
        a = np.exp(score - score.max()) / np.exp(score - score.max()).sum()
        weights.append(a)
        out.append(a @ values[:, v])
    return np.concatenate(out), np.array(weights)


@pytest.mark.parametrize(("heads", "additive"), KINDS)
@pytest.mark.parametrize("n", [1, 5, 17, 32])
def test_it_is_its_definition(heads, additive, n) -> None:
    op, rows, xs = attend(heads, additive), numbers(n, K + V), numbers(4, I)
    session = Model([op]).session()
    session.state |= op.memory(rows, "layers.0.")
    for x in xs:
        got = session.step(x)
        want, weights = found(op, x, rows)
        assert same(got[:I], x)
        assert np.abs(got[I:] - want).max() < 1e-5
        a = session.state["layers.0.weights"].reshape(heads, M)
        assert np.abs(a[:, :n] - weights).max() < 1e-6
        assert not a[:, n:].any()


def test_without_a_memory_nothing_is_found() -> None:
    x = numbers(3, I)
    assert same(Model([attend(3)]).run(x), np.concatenate([x, np.zeros((3, V), F)], 1))


@pytest.mark.parametrize(
    "fault", ["values of the row before", "one head", "the last row left out", "a row too many", "no bias"]
)
def test_a_planted_fault_is_seen(fault) -> None:
    """The definition with each fault is far from the op."""
    op, rows, x = attend(3), numbers(5, K + V), numbers(I)
    session = Model([op]).session()
    session.state |= op.memory(rows, "layers.0.")
    got = session.step(x)[I:]
    wrong = {
        "values of the row before": lambda: found(op, x, np.concatenate([rows[:, :K], np.roll(rows[:, K:], 1, 0)], 1)),
        "one head": lambda: found(replace(op, heads=1), x, rows),
        "the last row left out": lambda: found(op, x, rows[:-1]),
        "a row too many": lambda: found(op, x, np.concatenate([rows, 0 * rows[:1]])),
        "no bias": lambda: found(replace(op, b=0 * op.b), x, rows),
    }[fault]()[0]
    assert np.abs(got - wrong).max() > 1e-2


def decoder() -> Model:
    """A memory between layers that have states of their own."""
    op = replace(attend(2, additive=True), W=numbers(K, 9), b=numbers(K))
    return Model([recurrent(cells.gru, I, 9), op, recurrent(cells.lstm, 9 + V, 5), linear(4, 5)])


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "x86-64-v2"])  # which has other bits: nothing is fused
def test_bits_do_not_depend_on_the_company_nor_on_the_instructions(isa) -> None:
    """A batch with memories of other lengths, one row alone, steps of strangers, and another instruction set."""
    model, lengths = decoder(), (1, 9, 32)
    xs, op = numbers(11, 3, I), model.ops[1]
    want = []
    for r, n in enumerate(lengths):
        alone = model.session()
        alone.state |= op.memory(numbers(n, K + V, key=r), "layers.1.")
        want.append(np.array([alone.step(x) for x in np.ascontiguousarray(xs[:, r])]))
    with on_isa(isa), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.runtime.program.isa", lambda: isa)
        program = Program(model.ops)
        memories = [op.memory(numbers(n, K + V, key=r), "layers.1.") for r, n in enumerate(lengths)]
        batch = program.session(3)
        batch.state |= {name: np.stack([m[name] for m in memories]) for name in memories[0]}
        whole = np.concatenate([batch.run(xs[:4]), batch.run(xs[4:])])
        sessions = [program.session() for _ in lengths]
        for session, memory in zip(sessions, memories, strict=True):
            session.state |= memory
        many = np.array([program.step_many(sessions, np.ascontiguousarray(x)) for x in xs])
    for r in range(3):
        assert same(np.ascontiguousarray(whole[:, r]), want[r])
        assert same(np.ascontiguousarray(many[:, r]), want[r])


@given(st.integers(1, M), st.integers(0, 5))
def test_a_fork_and_a_snapshot_have_the_memory(n, steps) -> None:
    model = decoder()
    session = model.session()
    session.state |= model.ops[1].memory(numbers(n, K + V), "layers.1.")
    session.run(numbers(steps, I))
    restored, fork = model.session(), session.fork()
    restored.restore(session.snapshot())
    more = numbers(3, I, key="more")
    want = session.run(more)
    assert same(restored.run(more), want)
    assert same(fork.run(more), want)


def test_a_batch_of_memories_is_each_alone() -> None:
    op, rows = attend(3), numbers(5, 2, K + V)
    both = op.memory(rows)
    for r in range(2):
        assert all(same(both[n][r], a) for n, a in op.memory(np.ascontiguousarray(rows[:, r])).items())


@pytest.mark.parametrize(("heads", "additive"), KINDS)
def test_in_torch(heads, additive) -> None:
    """Its numbers, those of torch's own attention, and of a padded batch those of each row alone."""
    op, rows, xs, lengths = attend(heads, additive), numbers(9, 2, K + V), numbers(4, 2, I), [9, 5]
    module = to_torch(Model([op]))[0]
    assert isinstance(module, ours.Attend)
    memory, x = torch.from_numpy(rows), torch.from_numpy(xs)
    got = module(x, memory, torch.tensor(lengths)).detach().numpy()
    session = Model([op]).session()
    for r, n in enumerate(lengths):
        session.reset()
        session.state |= op.memory(np.ascontiguousarray(rows[:n, r]), "layers.0.")
        assert np.abs(session.run(np.ascontiguousarray(xs[:, r])) - got[:, r]).max() < 1e-5
    if not additive:
        q = torch.nn.functional.linear(x, module.weight, module.bias)
        by_head = (a.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for a in (q, memory[..., :K], memory[..., K:]))
        theirs = torch.nn.functional.scaled_dot_product_attention(*by_head, scale=1.0)[0]
        np.testing.assert_allclose(got[:, 0, I:], theirs.transpose(0, 1).flatten(1).detach().numpy(), atol=1e-5)
    back = layers_of(module)
    assert back[0].describe() == op.describe()
    assert all(same(a, op.arrays()[n]) for n, a in back[0].arrays().items())


@pytest.mark.parametrize(("heads", "additive"), KINDS)
def test_in_onnx(heads, additive) -> None:
    import onnxruntime

    from recurra.onnx import exporter

    model = Model([attend(heads, additive), linear(3, I + V)])
    proto, _ = exporter.build(model)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    live = model.session(batch=2)
    live.state |= model.ops[0].memory(numbers(9, 2, K + V), "layers.0.")
    live.state |= {"layers.0.count": np.array([[9], [0]], F)}  # of which the second has none
    state, x = live.state, numbers(5, 2, I)
    names = [o.name for o in session.get_outputs()]
    for part in (x[:2], x[2:]):
        y, *states = session.run(names, {"x": part, **state})
        np.testing.assert_allclose(y, live.run(part), atol=1e-5)
        state = {n.removesuffix(".next"): a for n, a in zip(names[1:], states, strict=True)}
    for name, array in live.state.items():
        np.testing.assert_allclose(state[name], array, atol=1e-6)


def test_in_a_file(tmp_path) -> None:
    model = decoder()
    save_model(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.fingerprint == model.fingerprint
    assert again.ops[1].settings() == {"values": V, "capacity": M, "heads": 2}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Attend(numbers(K, I), numbers(K), None, V, 20), "`capacity` is 20, expected a multiple of 16"),
        (lambda: Attend(numbers(K, I), numbers(K), None, V, 1 << 23), "at most 16777216 numbers in all"),
        (lambda: Attend(numbers(K, I), numbers(K), None, V, M, 5), "expected multiples of heads=5"),
        (lambda: Attend(numbers(K, I), numbers(K), None, 0, M), "`values` is 0, expected a number from 1"),
        (lambda: Attend(numbers(K, I), numbers(K + 1), None, V, M), r"`b` has shape \(13,\), expected \[12\]"),
        (lambda: attend().memory(numbers(M + 1, K + V)), "the memory gets 33 rows, expected at most 32, its capacity"),
        (lambda: attend().memory(numbers(3, K)), r"`rows` has shape \(3, 12\)"),
        (lambda: ours.Attend(I, K, V, score="cosine"), "`score` is 'cosine', expected one of: product, additive"),
        (lambda: ours.Attend(I, K, V, heads=5), "expected multiples of heads=5"),
    ],
)
def test_what_does_not_fit_is_refused(make, said) -> None:
    with pytest.raises(ShapeError, match=said):
        make()


def test_a_memory_of_other_numbers_is_refused() -> None:
    with pytest.raises(DtypeError, match="float32"):
        attend().memory(numbers(3, K + V).astype(np.float64))
