"""N-grams beside a network: by their definition, in the same bits in any company, and refused where they are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import ISAS, generator, on_isa
from recurra import _native, cells
from recurra.engine import isa
from recurra.errors import ExportError, ShapeError
from recurra.runtime import Model, NGrams, Program, load
from recurra.torch import NGrams as Module
from recurra.torch import to_torch
from recurra.torch.bridge import layers_of
from runtime.networks import F, linear, recurrent, same, tables

V, H = 7, 9
# After the last symbols, the latest first: what is spared for shorter ones, and the shares of what follows.
TREE = {
    (): (0.1, {0: 0.2, 2: 0.3, 3: 0.25, 6: 0.15}),
    (1,): (0.4, {0: 0.35, 4: 0.25}),
    (3,): (1.0, {}),  # only on the way
    (6,): (0.25, {3: 0.75}),
    (1, 0): (0.5, {5: 0.5}),
    (1, 6): (0.2, {0: 0.1, 1: 0.3, 2: 0.4}),
    (3, 2): (0.3, {6: 0.7}),
    (6, 6): (0.6, {4: 0.4}),
    (1, 6, 3): (0.35, {3: 0.65}),
    (3, 2, 1): (0.05, {1: 0.95}),
}


def ngrams(tree=TREE, mix: float = 0.4) -> NGrams:
    nodes = list(tree)
    columns = {
        "symbol": [h[-1] if h else 0 for h in nodes],
        "children": [sum(len(g) == len(h) + 1 and g[: len(h)] == h for g in nodes) for h in nodes],
        "grams": [len(tree[h][1]) for h in nodes],
        "spare": [tree[h][0] for h in nodes],
        "next": [v for h in nodes for v in tree[h][1]],
        "share": [s for h in nodes for s in tree[h][1].values()],
    }
    return NGrams(**{name: np.array(column, F) for name, column in columns.items()}, mix=mix)


def said(last: list[int]) -> np.ndarray:
    """The definition: of all that come before, the longest known beginning and those within it."""
    p = np.full(V, 1 / V)
    for n in range(len(last) + 1):
        h = tuple(last[:n])
        if h not in TREE:
            break
        spare, shares = TREE[h]
        p = spare * p + np.array([shares.get(v, 0.0) for v in range(V)])
    return p


def network(*behind) -> Model:
    return Model([tables(V, width=3), recurrent(cells.gru, 3, H), linear(V, H), *behind])


def written(T: int, B: int = 1) -> np.ndarray:
    """Symbols among which the known beginnings come often."""
    rng = generator("written", T, B)
    some = [[0, 1], [3, 6, 1], [6, 6], [1, 2, 3], [6, 1], [4], [5]]
    rows = [np.concatenate([some[k] for k in rng.integers(len(some), size=T)])[:T] for _ in range(B)]
    return np.stack(rows, 1)[..., None].astype(F)


def test_it_is_its_definition() -> None:
    x, mix = written(300), 0.4
    scores = network().run(x)[:, 0].astype(np.float64)
    alone = np.exp(scores - scores.max(1, keepdims=True))
    alone /= alone.sum(1, keepdims=True)
    ids, seen = x[:, 0, 0].astype(int).tolist(), set()
    want = []
    for t in range(len(ids)):
        last = ids[t::-1][:3]
        seen.add(max((h for h in TREE if tuple(last[: len(h)]) == h), key=len))
        want.append((1 - mix) * alone[t] + mix * said(last))
    assert {(1, 6, 3), (3, 2, 1), (1, 0), (6, 6), ()} <= seen
    got = network(ngrams(mix=mix)).run(x)[:, 0]
    np.testing.assert_allclose(got, np.log(want), atol=2e-6)
    # A planted fault: the longest beginning of every node but its own.
    assert np.abs(got - np.log((1 - mix) * alone + mix * said([]))).max() > 0.1


@pytest.mark.parametrize("kind", [kind for kind in ISAS if kind != "x86-64-v2"])
def test_bits_do_not_depend_on_the_company_nor_on_the_instructions(kind) -> None:
    model, x = network(ngrams()), written(40, 3)
    want = []
    for r in range(3):
        alone = model.session()
        want.append([alone.step(row) for row in np.ascontiguousarray(x[:, r])])
    with on_isa(kind), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.runtime.program.isa", lambda: kind)
        batch = Program(model.ops).session(3)
        whole = np.concatenate([batch.run(x[:17]), batch.run(x[17:18]), batch.run(x[18:])])
    assert same(whole, np.array(want).transpose(1, 0, 2))


def test_a_state_is_the_last_symbols() -> None:
    model = network(ngrams())
    session = model.session()
    assert session.state["layers.3.last"].tolist() == [-1, -1, -1]
    for k in (4, 2, 6, 5):
        session.step(np.array([k], F))
    assert session.state["layers.3.last"].tolist() == [5, 6, 2]
    other = model.session()
    other.restore(session.snapshot())
    assert same(other.step(np.ones(1, F)), session.step(np.ones(1, F)))
    session.state |= {"layers.3.last": np.array([np.nan, 1e30, -7], F)}  # whatever a stranger put there
    assert np.isfinite(session.step(np.ones(1, F))).all()


def test_scores_that_are_no_numbers_stay_in_their_row() -> None:
    x = np.where(written(9, 2) == 4, 5, written(9, 2)).astype(F)
    embedding = tables(V, width=V)
    well = Model([embedding, ngrams()]).run(x)
    table, sick = embedding.W.copy(), x.copy()
    table[4], sick[:, 0] = np.nan, 4
    y = Model([replace(embedding, W=table), ngrams()]).run(sick)
    assert np.isnan(y[:, 0]).all()
    assert same(y[:, 1], well[:, 1])


def test_a_probability_of_zero_has_a_score() -> None:
    sure = ngrams({(): (0.0, {2: 1.0}), (1,): (0.0, {2: 1.0})}, mix=0.5)
    table = np.zeros((V, V), F)
    table[:, 3] = 1e4  # whose softmax is 0 but for one
    model = Model([replace(tables(V, width=V), W=table), sure])
    y = model.run(written(5)[:, 0])
    assert np.isfinite(y).all()
    np.testing.assert_allclose(np.exp(y[:, [2, 3]]), 0.5, rtol=1e-6)
    assert (y[:, [0, 1, 4, 5, 6]] < -60).all()


BAD = {
    "no share": (lambda op: {"mix": 1.0}, "mix"),
    "a child of itself": (lambda op: {"children": op.children[::-1].copy()}, "before its children"),
    "more nodes": (lambda op: {"children": op.children + 1}, "nodes"),
    "fewer n-grams": (lambda op: {"grams": op.grams * 0}, "n-grams"),
    "no whole symbol": (lambda op: {"symbol": op.symbol + F(0.5)}, "symbol"),
    "symbols out of order": (lambda op: {"symbol": op.symbol[::-1].copy()}, "in order"),
    "what follows out of order": (lambda op: {"next": op.next[::-1].copy()}, "in order"),
    "no probability": (lambda op: {"share": op.share * F(1.1)}, "no probability"),
    "negative": (lambda op: {"spare": op.spare - 1, "share": op.share}, "no probability"),
    "not a number": (lambda op: {"share": op.share * np.nan}, "no probability"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_tree_of_probabilities_is_refused(fault) -> None:
    change, message = BAD[fault]
    with pytest.raises(ShapeError, match=message):
        replace(ngrams(), **change(ngrams()))


def test_where_no_symbols_come_in_it_is_refused() -> None:
    with pytest.raises(ShapeError, match="goes by the symbols"):
        Model([recurrent(cells.gru, 3, H), linear(V, H), ngrams()])
    with pytest.raises(ShapeError, match="expected one of the 5"):
        Model([tables(5, width=3), linear(5, 3), ngrams()])


@pytest.mark.parametrize("place", range(6))
def test_the_native_op_checks_by_itself(place) -> None:
    """Any array that leads out of another is an error, and no read."""
    op, names = ngrams(), list(NGrams.shapes)
    for number in (-1.0, 3.5e9, np.nan, float(V + len(op.symbol))):
        arrays = [getattr(op, name).copy() for name in names]
        arrays[place][-1] = number
        native = _native.Network(isa(), V, V)
        if names[place] in ("spare", "share"):
            native.add("ngrams", arrays, [3, 0.5], V)  # only numbers, which lead nowhere
            continue
        with pytest.raises(ValueError, match="n-gram"):
            native.add("ngrams", arrays, [3, 0.5], V)


def test_in_torch() -> None:
    model, x = network(ngrams()), written(50, 3)
    module = to_torch(model)
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), model.run(x), atol=1e-5)
    assert isinstance(module[3], Module)
    (back,) = layers_of(module[3])
    assert back.describe() == model.ops[3].describe()
    module(torch.from_numpy(x)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_in_a_file(tmp_path) -> None:
    model, x = network(ngrams()), written(20)
    model.save(tmp_path / "m.recurra")
    assert same(load(tmp_path / "m.recurra").run(x), model.run(x))


def test_onnx_has_none_and_says_what_to_do(tmp_path) -> None:
    from recurra.onnx import export

    with pytest.raises(ExportError, match="ngrams=False"):
        export(network(ngrams()), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
