"""Pools, convolutions and affine ops: their definitions, the bits of every way of running, and their forms in torch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import recurra.torch as ours
from helpers import ISAS, generator, on_isa
from recurra import cells
from recurra.errors import DtypeError, ExportError, ShapeError
from recurra.runtime import Affine, Convolution, Linear, Model, Pool, Softmax, check_parity
from recurra.torch import Stack, export, to_torch
from runtime.networks import F, forecast_head, linear, recurrent, same


def numbers(*shape: int, scale: float = 1.0, key: object = 0) -> np.ndarray:
    return (scale * generator("ops", *shape, key).normal(size=shape)).astype(F)


def pool(how: str, width: int, directions: int = 1, scale: float = 1.0) -> Pool:
    return Pool(how, numbers(width, scale=scale, key="v") if how == "attention" else None, directions)


def convolution(O, K, I, dilation=1, stride=1, bias=True) -> Convolution:
    return Convolution(numbers(O, K, I, key="W"), numbers(O, key="b") if bias else None, dilation, stride)


def pooled(op: Pool, x: np.ndarray) -> np.ndarray:
    """The definition, in float64: x [T, I], each step by itself over all steps before it."""
    x, half = x.astype(np.float64), x.shape[-1] // 2
    out = []
    for t in range(len(x)):
        so_far = x[: t + 1]
        if op.how == "last":
            out.append(np.concatenate([x[t, :half], x[0, half:]]) if op.directions == 2 else x[t])
        elif op.how == "mean":
            out.append(so_far.sum(0) / (t + 1))
        elif op.how == "max":
            out.append(so_far.max(0))
        elif op.how == "all":
            last = np.concatenate([x[t, :half], x[0, half:]]) if op.directions == 2 else x[t]
            out.append(np.concatenate([last, so_far.sum(0) / (t + 1), so_far.max(0)]))
        else:
            score = so_far @ op.v.astype(np.float64)
            share = np.exp(score - score.max())
            out.append(share / share.sum() @ so_far)
    return np.array(out)


def convolved(op: Convolution, x: np.ndarray) -> np.ndarray:
    """The definition, in float64: x [T, I], one tap after the other."""
    O, K, _ = op.W.shape
    out = []
    for t in range(0, len(x), op.stride):
        y = np.zeros(O) if op.b is None else op.b.astype(np.float64)
        for k in range(K):
            back = t - (K - 1 - k) * op.dilation
            y = y + (op.W[:, k].astype(np.float64) @ x[back].astype(np.float64) if back >= 0 else 0)
        out.append(y)
    return np.array(out)


def identity(width: int) -> Linear:
    return Linear(np.eye(width, dtype=F))


POOLS = [(how, d) for how in ("last", "mean", "max", "all", "attention") for d in (1, 2)]


@pytest.mark.parametrize(("how", "directions"), POOLS)
@pytest.mark.parametrize("width", [2, 18, 34])
def test_a_pool_is_its_definition(how, directions, width) -> None:
    op, x = pool(how, width, directions), numbers(23, width)
    got = Model([identity(width), op]).run(x)
    want = pooled(op, x)
    assert np.abs(got - want).max() < 2e-6
    plain = pooled(Pool("last"), x) if how != "all" else np.zeros_like(want)
    assert (np.abs(want - plain).max() > 0.1) == ((how, directions) != ("last", 1))


@pytest.mark.parametrize(
    "sizes", [(5, 4, 3, 2, 3), (1, 1, 1), (17, 3, 9, 1, 2), (4, 2, 5, 7), (3, 5, 2, 1, 4), (2, 1, 3, 5, 3)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_is_its_definition(sizes, bias) -> None:
    op = convolution(*sizes, bias=bias)
    for T in (1, 2, 3, 11, 29):
        x = numbers(T, sizes[2])
        want = convolved(op, x)
        assert len(want) == math.ceil(T / op.stride)
        assert np.abs(Model([op]).run(x) - want).max() < 1e-5


def test_an_affine_op_is_its_definition() -> None:
    op, x = Affine(numbers(19), numbers(19, key=1)), numbers(7, 19, key=2)
    want = x.astype(np.float64) * op.scale + op.shift
    assert np.abs(Model([op]).run(x) - want).max() < 1e-6


@pytest.mark.parametrize(
    "fault",
    [
        "one step late",
        "dilation ignored",
        "taps reversed",
        "bias dropped",
        "stride begins late",
        "not a ring but zeros",
    ],
)
def test_a_planted_fault_is_seen(fault) -> None:
    """The definition with each fault is far from the op."""
    op, x = convolution(5, 4, 3, 2, 3), numbers(29, 3)
    right = Model([op]).run(x)
    chunked = np.concatenate([Model([op]).session().run(x[:12]), Model([op]).session().run(x[12:])])
    wrong = {
        "one step late": lambda: convolved(op, np.concatenate([0 * x[:1], x[:-1]])),
        "dilation ignored": lambda: convolved(replace(op, dilation=1), x),
        "taps reversed": lambda: convolved(replace(op, W=np.ascontiguousarray(op.W[:, ::-1])), x),
        "bias dropped": lambda: convolved(replace(op, b=None), x),
        "stride begins late": lambda: convolved(replace(op, stride=1), x)[2::3],
        "not a ring but zeros": lambda: chunked,
    }[fault]()
    n = min(len(wrong), len(right))
    assert np.abs(wrong[:n] - right[:n]).max() > 0.1


def strided() -> Model:
    """Two strides, with all that has states between them and after them."""
    return Model(
        [
            convolution(5, 4, 3, 2, 3),
            recurrent(cells.lstm, 5, 9),
            pool("attention", 9),
            convolution(4, 3, 9, 1, 2),
            pool("mean", 4),
            recurrent(cells.gru, 4, 7),
            pool("max", 7),
            linear(2, 7),
        ]
    )


def front_end() -> Model:
    """A convolution before a forecast head, which reads its other input at the steps that have an answer."""
    return Model([convolution(5, 3, 2, 1, 3), recurrent(cells.gru, 5, 6), forecast_head(6)])


WHOLE = ("last 2", "all 2")  # what reads a sequence from its end
WAYS = {
    **{f"{how} {d}": lambda how=how, d=d: Model([linear(6, 3), pool(how, 6, d)]) for how, d in POOLS},
    "convolution": lambda: Model([convolution(5, 4, 3, 2)]),
    "a tap alone": lambda: Model([convolution(5, 1, 3, 1, 2)]),
    "strided": strided,
    "front end": front_end,
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_running_gives_the_same_bits(name, isa) -> None:
    with on_isa(isa), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.runtime.program.isa", lambda: isa)
        model = WAYS[name]()
        report = check_parity(model, numbers(31, 5, model.input_size))
    assert ("stepped" in report["differing"]) == (name not in WHOLE)
    assert not any(report["differing"].values())


MODELS = {name: make() for name, make in WAYS.items() if name not in WHOLE}


@given(st.sampled_from(sorted(MODELS)), st.integers(1, 4), st.lists(st.integers(0, 9), max_size=8), st.data())
def test_chunks_of_any_size_in_any_batch(name, B, chunks, data) -> None:
    model = MODELS[name]
    x = numbers(sum(chunks), B, model.input_size, key=tuple(chunks))
    whole, session = model.run(x), model.session(batch=B)
    parts = [session.run(x[sum(chunks[:i]) :][:n]) for i, n in enumerate(chunks)]
    assert same(np.concatenate([whole[:0], *parts]), whole)
    row = data.draw(st.integers(0, B - 1))
    alone = model.session()
    answers = [alone.step(step) for step in np.ascontiguousarray(x[:, row])]
    kept = [a for a in answers if a is not None]
    assert [a is not None for a in answers] == [t % model.stride == 0 for t in range(len(x))]
    assert same(np.array(kept, F).reshape(-1, model.output_size), np.ascontiguousarray(whole[:, row]))
    restored = model.session()
    restored.restore(alone.snapshot())
    more = numbers(7, model.input_size)
    assert same(restored.run(more), alone.run(more))


@given(st.lists(st.lists(st.integers(0, 120), unique=True, max_size=121), min_size=1, max_size=9))
def test_sessions_at_other_steps_of_a_stride_go_together(turns) -> None:
    model = MODELS["strided"]
    together, alone = [model.session() for _ in range(121)], [model.session() for _ in range(121)]
    x = numbers(len(turns), 121, 3)
    for t, turn in enumerate(turns):
        out = model.step_many([together[i] for i in turn], np.ascontiguousarray(x[t, : len(turn)]))
        for k, i in enumerate(turn):
            want = alone[i].step(np.ascontiguousarray(x[t, k]))
            assert np.isnan(out[k]).all() if want is None else same(out[k], want)
    assert all(a.snapshot() == b.snapshot() for a, b in zip(together, alone, strict=True))


def test_a_step_without_an_answer_leaves_out_as_it_is() -> None:
    session, out = Model([convolution(2, 2, 3, 1, 2)]).session(), np.full(2, 7, F)
    assert session.step(np.ones(3, F), out) is out
    before = out.copy()
    assert session.step(np.ones(3, F), out) is None
    assert same(out, before)


def test_states_have_names_and_a_bounded_size() -> None:
    widths = strided().state_widths()
    assert list(widths)[:3] == ["layers.0.past", "layers.0.place", "layers.0.wait"]
    assert widths["layers.0.past"] == 3 * 2 * 3
    assert {n: w for n, w in widths.items() if n.startswith("layers.2")} == {
        "layers.2.largest": 1,
        "layers.2.sum": 9,
        "layers.2.weight": 1,
    }
    session = MODELS["strided"].session(batch=2)
    state = session.state
    state["layers.0.wait"][1] = 2
    with pytest.raises(ShapeError, match=r"`layers\.0\.wait` differs from row to row"):
        session.state = state


@pytest.mark.parametrize("value", [np.nan, -1, 1e9, np.inf, 2.5])
def test_places_that_are_none_are_harmless(value) -> None:
    session = MODELS["strided"].session()
    state = session.state
    for name in state:
        if name.endswith((".place", ".wait")):
            state[name][...] = value
    session.state = state
    session.run(numbers(20, 3))


def test_a_pool_of_very_unequal_scores_stays_finite() -> None:
    op = Pool("attention", np.array([1e4, 0], F))
    x = np.array([[-3, 1], [0, 2], [3, 4], [-9, 5], [3, 6]], F)
    got = Model([op]).run(x)
    assert np.abs(got - pooled(op, x)).max() < 1e-6
    for scale in (1e-3, 30.0):
        op = pool("attention", 8, scale=scale)
        x = numbers(300, 8, scale=3)
        assert np.abs(Model([op]).run(x) - pooled(op, x)).max() < 2e-5


def test_a_nan_stays() -> None:
    for how in ("mean", "max", "attention"):
        model, x = MODELS[f"{how} 1"], numbers(6, 2, 3)
        clean = model.run(x)
        x[2, 1] = np.nan
        out = model.run(x)
        assert np.isnan(out[2:, 1]).all()
        assert same(np.ascontiguousarray(out[:, 0]), np.ascontiguousarray(clean[:, 0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pool("median"), "`how` is 'median', expected one of: last, mean, max, attention"),
        (lambda: Pool(["mean"]), "`how` is"),
        (lambda: Pool("attention"), "`v` is missing for 'attention'"),
        (lambda: Pool("mean", numbers(3)), "`v` is given for 'mean'"),
        (lambda: Pool("last", None, 3), "`directions` is 3, expected 1 or 2"),
        (lambda: Pool("last", None, True), "`directions` is True"),
        (lambda: convolution(2, 3, 4, 0), "`dilation` is 0, expected a number from 1"),
        (lambda: convolution(2, 3, 4, 1, 1.5), "`stride` is 1.5, expected a number from 1"),
        (lambda: convolution(2, 3, 4, 1 << 23), "it looks back 16777216 steps of 4 features, expected at most"),
        (lambda: Convolution(numbers(2, 3)), r"`W` has shape \(2, 3\), expected \[O, K, I\]"),
        (lambda: Convolution(numbers(2, 3, 4), numbers(3)), r"`b` has shape \(3,\), expected \[2\]"),
        (lambda: Affine(numbers(3), numbers(4)), r"`shift` has shape \(4,\), expected \[3\]"),
        (lambda: Model([linear(5, 3), pool("attention", 4)]), r"layer 1 \(pool\) takes 4 features, expected 5"),
        (lambda: Model([pool("mean", 4), Softmax()]), "a network has no layer with weights"),
    ],
)
def test_what_is_no_op_is_refused(make, message) -> None:
    with pytest.raises(ShapeError, match=message):
        make()
    with pytest.raises(DtypeError):
        Affine(np.ones(3), np.ones(3))


# -- torch ------------------------------------------------------------------------------------------------------------


def seeded(module: nn.Module) -> nn.Module:
    torch.manual_seed(5)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.3 if "var" in name else 0.6 * torch.randn(tensor.shape))
    return module.eval()


def pooling(how: str, both: bool) -> nn.Module:
    layer, width = nn.LSTM(3, 5, bidirectional=both), 5 + 5 * both
    return Stack(layer, ours.Pool(how, width, bidirectional=both), nn.Linear(width * (3 if how == "all" else 1), 2))


def batch_first() -> nn.Module:
    first = ours.CausalConv1d(3, 6, 5, batch_first=True, bias=False)
    return Stack(first, nn.GRU(6, 4, batch_first=True), ours.Pool("max", batch_first=True))


def normalized() -> nn.Module:
    last = (nn.Linear(6, 4, bias=False), ours.BatchNorm1d(4, affine=False))
    return Stack(nn.GRU(3, 6), ours.BatchNorm1d(6), *last)


HOWS = ("last", "mean", "max", "all", "attention")
MODULES = {
    **{how: lambda how=how: pooling(how, False) for how in HOWS},
    **{f"{how} of both": lambda how=how: pooling(how, True) for how in HOWS},
    "convolution": lambda: Stack(ours.CausalConv1d(3, 6, 4, 2, 3), ours.BatchNorm1d(6), nn.ReLU(), nn.LSTM(6, 5)),
    "batch first": batch_first,
    "normalized": normalized,
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_models_lead_to_each_other(name, tmp_path) -> None:
    module = seeded(MODULES[name]())
    model = export(module, tmp_path / "m.recurra")
    assert not any(model.parity["differing"].values())
    assert ("stepped" in model.parity["differing"]) == ("both" not in name)
    again = to_torch(model)
    x = torch.from_numpy(numbers(17, 4, 3))
    with torch.no_grad():
        y = again(x)
        want = module(x.transpose(0, 1)).transpose(0, 1) if name == "batch first" else module(x)
    assert (y - (want[0] if isinstance(want, tuple) else want)).abs().max() < 1e-5
    assert export(again, tmp_path / "again.recurra").fingerprint == model.fingerprint


def test_a_batch_normalization_is_folded() -> None:
    def kinds(name):
        return [op.kind for op in recurra_ops(MODULES[name]())]

    assert kinds("convolution") == ["convolution", "activation", "recurrent"]
    assert kinds("normalized") == ["recurrent", "affine", "linear"]


def recurra_ops(module):
    from recurra.torch.export import to_model

    return to_model(seeded(module)).ops


def test_a_convolution_is_torchs() -> None:
    mine = seeded(ours.CausalConv1d(3, 6, 4, 2, 3))
    x = torch.from_numpy(numbers(17, 4, 3))
    padded = nn.functional.pad(x.permute(1, 2, 0), (9, 0))
    want = nn.functional.conv1d(padded, mine.weight, mine.bias, stride=2, dilation=3).permute(2, 0, 1)
    assert torch.equal(mine(x), want)
    assert mine.lengths(torch.tensor([0, 1, 2, 17])).tolist() == [0, 1, 1, 9]
    assert torch.equal(mine(x[:, 0]), mine(x)[:, 0]) or (mine(x[:, 0]) - mine(x)[:, 0]).abs().max() < 1e-6


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("how", HOWS)
def test_the_ends_of_a_pool_are_those_of_its_steps(how, both) -> None:
    """With ragged rows, whose padding is NaN, in value and gradient."""
    layer = seeded(ours.Pool(how, 6, bidirectional=both)).double()
    lengths, T = [7, 1, 0, 13, 12], 13
    h = torch.from_numpy(numbers(T, len(lengths), 6)).double()
    for b, n in enumerate(lengths):
        h[n:, b] = torch.nan
    h.requires_grad_()
    ends = layer.ends(h, torch.tensor(lengths))
    for b, n in enumerate(lengths):
        alone = layer(h[:n, b : b + 1])[-1, 0] if n else torch.zeros(ends.shape[-1])
        assert (ends[b] - alone).abs().max() < 1e-12
        if n:
            weight = torch.arange(1.0, 1 + ends.shape[-1])
            ours_, theirs = (torch.autograd.grad((y * weight).sum(), h, retain_graph=True)[0] for y in (ends[b], alone))
            assert (ours_[:n, b] - theirs[:n, b]).abs().max() < 1e-12
    op = Pool(how, None if layer.v is None else layer.v.detach().numpy().astype(F), 1 + both)
    whole = layer(h[:7, :1])[:, 0].detach().numpy()
    assert np.abs(whole - pooled(op, h[:7, 0].detach().numpy())).max() < 1e-6
    assert torch.equal(layer.ends(h[:7, :1]), layer.ends(h[:7, :1], torch.tensor([7])))


def test_what_torch_modules_refuse() -> None:
    with pytest.raises(ShapeError, match="Pool: `how` is 'median', expected one of: last, mean"):
        ours.Pool("median")
    with pytest.raises(ShapeError, match="Pool: `size` is 0, expected the features that attention scores"):
        ours.Pool("attention")
    with pytest.raises(ShapeError, match="CausalConv1d: sizes 3, 2, kernel 0"):
        ours.CausalConv1d(3, 2, 0)
    with pytest.raises(ExportError, match="1: a BatchNorm1d without running statistics"):
        recurra_ops(Stack(nn.Linear(3, 3), ours.BatchNorm1d(3, track_running_stats=False)))
