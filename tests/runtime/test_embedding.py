"""Whole numbers of a row as rows of tables: the definition, what is refused, and the forms in torch, ONNX and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recurra
from helpers import generator
from recurra import cells
from recurra.errors import RecurraError, ShapeError
from recurra.runtime import Embedding, Model
from recurra.torch import Embedding as TorchEmbedding
from recurra.torch import Stack, export, to_torch
from runtime.networks import F, linear, recurrent, same, sample, tables, voices


def shared() -> Embedding:
    return Embedding(generator("shared").normal(size=(9, 4)).astype(F), (9, 9, 9))


KINDS = {"own": lambda: tables(11, 5, 7, width=4), "shared": shared, "one": lambda: tables(13, width=4)}


@pytest.mark.parametrize("kind", KINDS)
def test_each_number_is_a_row_of_its_table(kind) -> None:
    op = KINDS[kind]()
    model = Model([op])
    x = sample(model, 17, 3)
    own = np.split(op.W, np.cumsum(op.tables)[:-1]) if sum(op.tables) == len(op.W) else [op.W] * len(op.tables)
    want = np.concatenate([own[k][x[..., k].astype(int)] for k in range(len(op.tables))], -1)
    assert same(model.run(x), want)
    assert same(np.stack([model.session().step(np.ascontiguousarray(row)) for row in x[:, 0]]), want[:, 0].copy())


@pytest.mark.parametrize("value", [5.0, -1.0, 0.5, np.nan, np.inf])
def test_a_number_without_a_row_is_refused_and_nothing_moves(value) -> None:
    model = voices()
    x = sample(model, 6, 2)
    session = model.session()
    session.run(np.ascontiguousarray(x[:, 0]))
    before = session.snapshot()
    bad = x[:, 0].copy()
    bad[3, 1] = value
    message = "number 1 of a row of `x(s)?` is .*, expected a whole number from 0 to 4"
    for call in (lambda: session.run(bad), lambda: session.step(bad[3].copy()), lambda: model.run(bad)):
        with pytest.raises(ShapeError, match=message):
            call()
    with pytest.raises(ShapeError, match=message):
        model.step_many([session, model.session()], bad[2:4].copy())
    with pytest.raises(ValueError, match="x has an unknown number"):  # nor by the native module
        session._run(bad, np.empty((6, 4), F))
    assert session.snapshot() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((4, 4), "expected numbers whose sum is 9"),
        ((10,), "expected a number from 1 to 9"),
        ((0, 9), "expected a number from 1 to 9"),
        ("9", "expected the rows of each table"),
        (9, "expected the rows of each table"),
    ],
)
def test_tables_that_are_not_those_of_w_are_refused(given, message) -> None:
    with pytest.raises(ShapeError, match=message):
        Embedding(np.zeros((9, 2), F), given)


def test_only_the_first_layer_may_be_one() -> None:
    with pytest.raises(ShapeError, match="expected it only as the first layer"):
        Model([linear(1, 3), tables(4, width=2)])


@pytest.mark.parametrize("kind", KINDS)
def test_torch_onnx_and_files_have_the_same(kind, tmp_path) -> None:
    onnx = pytest.importorskip("recurra.onnx")
    op = KINDS[kind]()
    model = Model([op, recurrent(cells.gru, op.output_size, 5)])
    module = to_torch(model)
    assert isinstance(module[0], TorchEmbedding)
    again = export(module, tmp_path / "m.recurra")
    assert again.fingerprint == model.fingerprint == recurra.load(tmp_path / "m.recurra").fingerprint
    x = sample(model, 7, 2)
    assert onnx.export(model, tmp_path / "m.onnx")["difference"] < 1e-6
    found = onnx.run((tmp_path / "m.onnx").read_bytes(), {"x": x, "layers.1.h": np.zeros((2, 5), F)})[0]
    np.testing.assert_allclose(found, model.run(x), atol=1e-6)


def test_gradients_are_those_of_torchs_own() -> None:
    ours = TorchEmbedding([11, 5], 3)
    theirs = [torch.nn.Embedding(n, 3) for n in (11, 5)]
    with torch.no_grad():
        for layer, part in zip(theirs, ours.weight.split([11, 5]), strict=True):
            layer.weight.copy_(part)
    x = torch.stack([torch.arange(9.0) % 4, torch.arange(9.0) % 5], -1)
    weight = torch.randn(9, 6)
    want = torch.cat([layer(x[:, k].long()) for k, layer in enumerate(theirs)], -1)
    assert torch.equal(ours(x), want)
    (want * weight).sum().backward()
    (ours(x) * weight).sum().backward()
    assert torch.equal(ours.weight.grad, torch.cat([layer.weight.grad for layer in theirs]))


def test_what_torchs_layer_refuses() -> None:
    for given in (([], 3), ([0], 3), ([4], 0)):
        with pytest.raises(RecurraError, match="expected at least 1 of each"):
            TorchEmbedding(*given)
    assert len(Stack(TorchEmbedding([4], 2))) == 1
