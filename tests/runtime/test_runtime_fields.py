"""Equations on the fields of a row, and GRU-D made of them: against its paper's formulas, in every form."""

from __future__ import annotations

import pickle

import numpy as np
import onnxruntime
import pytest
import torch

from helpers import ISAS, generator, on_isa
from recurra import cell, cells, onnx
from recurra.cells import maximum, tanh
from recurra.errors import CellError, DtypeError, ShapeError
from recurra.runtime import Fields, Linear, Model, Recurrent, check_parity, load
from recurra.torch import Fields as TorchFields
from recurra.torch import Recurrent as TorchRecurrent
from recurra.torch import Stack, export, to_torch
from recurra.weights import Weights

F = np.float32
V, REST, H = 7, 2, 11
WIDTH = 3 * V + REST


@cell
def between(x, low, high, *, share):
    return share.a * low + (1 - share.a) * maximum(low, high), tanh(high)


def numbers(*shape: int, key: object = 0) -> np.ndarray:
    return generator("fields", *shape, key).normal(size=shape).astype(F)


def rows(T: int, B: int) -> np.ndarray:
    """Values, masks and times since, and the rest."""
    x = numbers(T, B, WIDTH)
    x[..., V : 2 * V] = x[..., V : 2 * V] > 0
    x[..., 2 * V : 3 * V] = np.abs(x[..., 2 * V : 3 * V])
    return x


def decay() -> Fields:
    return Fields(cells.input_decay, {"w": numbers(V, key="w"), "v": numbers(V, key="v")}, V, REST)


def gru_d() -> Model:
    weights = Weights.random(cells.gru_d, WIDTH, H, rng=generator("gru_d"))
    return Model([decay(), Recurrent(cells.gru_d, [weights]), Linear(numbers(2, H), numbers(2))])


def published(model: Model, x: np.ndarray) -> np.ndarray:
    """Che et al. 2018 in float64, one row at a time; the mean of a value is 0 as it is scaled."""
    first, recurrent, last = model.ops
    w, v = (first.parameters[n].astype(float) for n in "wv")
    arrays = {n: a.astype(float) for n, a in recurrent.weights[0].items()}
    W, b = arrays["W"].reshape(4, H, WIDTH), arrays["b"].reshape(4, H)
    U, c = arrays["U"].reshape(3, H, H), arrays["c_"].reshape(3, H)

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-a))

    out = np.zeros((*x.shape[:2], 2))
    for k in range(x.shape[1]):
        h = np.zeros(H)
        for t, row in enumerate(x[:, k].astype(float)):
            value, mask, since, rest = np.split(row, [V, 2 * V, 3 * V])
            decayed = np.exp(-np.maximum(0, w * since + v)) * value
            u = np.concatenate([mask * value + (1 - mask) * decayed, mask, since, rest])
            h = np.exp(-np.maximum(0, W[0] @ u + b[0])) * h
            r = sigmoid(W[1] @ u + b[1] + U[0] @ h + c[0])
            z = sigmoid(W[2] @ u + b[2] + U[1] @ h + c[1])
            n = np.tanh(W[3] @ u + b[3] + r * (U[2] @ h + c[2]))
            h = (1 - z) * n + z * h
            out[t, k] = last.W.astype(float) @ h + last.b
    return out


def test_gru_d_is_its_paper() -> None:
    x = rows(19, 5)
    np.testing.assert_allclose(gru_d().run(x), published(gru_d(), x), atol=3e-6)


@pytest.mark.parametrize("isa", ISAS)
def test_every_way_of_running_gives_the_same_bits(isa: str) -> None:
    with on_isa(isa), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.runtime.program.isa", lambda: isa)
        report = check_parity(gru_d(), rows(31, 5))
    assert "stepped" in report["differing"]
    assert not any(report["differing"].values())


@pytest.mark.parametrize("rest", [0, 1])
def test_equations_of_a_users_own(rest: int) -> None:
    share, x = numbers(9, key="share"), numbers(13, 4, 18 + rest)
    low, high = x[..., :9].astype(float), x[..., 9:18].astype(float)
    y = Model([Fields(between, {"share.a": share}, 9, rest)]).run(x)
    want = share * low + (1 - share) * np.maximum(low, high)
    np.testing.assert_allclose(y[..., :9], want, atol=1e-6)
    np.testing.assert_allclose(y[..., 9:18], np.tanh(high), atol=1e-6)
    assert (y[..., 18:] == x[..., 18:]).all()


def network() -> Stack:
    torch.manual_seed(3)
    return Stack(
        TorchFields(cells.input_decay, V, REST),
        TorchRecurrent("gru_d", WIDTH, H),
        torch.nn.Linear(H, 2),
    )


def test_a_module_and_its_file_have_the_same_bits_and_lead_to_each_other(tmp_path) -> None:
    module, x = network(), rows(17, 3)
    model = export(module, tmp_path / "m.recurra")
    assert not any(model.parity["differing"].values())
    with torch.no_grad():
        prepared = module[0](torch.from_numpy(x)).numpy()
    assert (prepared == Model(load(tmp_path / "m.recurra").ops[:1]).run(x)).all()
    assert export(to_torch(model), tmp_path / "again.recurra").fingerprint == model.fingerprint


def test_gradients_are_those_of_finite_differences() -> None:
    layer = TorchFields(cells.input_decay, 3, 1).double()
    x = torch.from_numpy(np.abs(numbers(4, 2, 10)).astype(float) + 0.7).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def of(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        x = torch.cat([x[..., :3], torch.zeros_like(x[..., 3:6]), x[..., 6:]], -1)
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert names == ["step.w_l0", "step.v_l0"]
    assert torch.autograd.gradcheck(of, (x, *layer.parameters()), nondet_tol=0)


def test_onnx_runtime_computes_the_same(tmp_path) -> None:
    path, model, x = tmp_path / "g.onnx", gru_d(), rows(8, 3)
    onnx.export(model, path)
    session = onnxruntime.InferenceSession(path.read_bytes())
    given = {i.name: x if i.name == "x" else np.zeros((3, H), F) for i in session.get_inputs()}
    np.testing.assert_allclose(session.run(None, given)[0], model.run(x), atol=2e-6)


def test_a_cell_keeps_what_prepares_its_inputs() -> None:
    assert pickle.loads(pickle.dumps(cells.gru_d)).inputs == cells.input_decay
    assert cells.gru_d(activation="softsign").inputs == cells.input_decay
    assert pickle.loads(pickle.dumps(cells.gru)).inputs is None
    with pytest.raises(CellError, match=r"own: its inputs are prepared by mgu, which has the gates f, n, expected"):

        @cell(inputs=cells.mgu)
        def own(x, h):
            return tanh(x.n + h.n)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Fields(cells.gru, {}, 3), CellError, r"gru, have the gates r, z, n, expected a cell without"),
        (lambda: TorchFields(cells.gru, 3), CellError, r"Fields: gru has the gates r, z, n, expected a cell without"),
        (lambda: Fields(between, {}, 3), ShapeError, r"its arrays are none, expected share\.a"),
        (
            lambda: Fields(between, {"share.a": numbers(4)}, 3),
            ShapeError,
            r"`share\.a` has shape \(4,\), expected",
        ),
        (lambda: Fields(between, {"share.a": np.zeros(3)}, 3), DtypeError, r"share\.a.*float64"),
        (lambda: Fields(between, {"share.a": numbers(3)}, 0), ShapeError, r"`size` is 0, expected a number from 1"),
        (
            lambda: Fields(between, {"share.a": numbers(3)}, 3, -1),
            ShapeError,
            r"`rest` is -1, expected a number",
        ),
        (lambda: Model([decay()]).run(numbers(2, 3, 4)), ShapeError, r"4.*expected.*23|23"),
        (lambda: Fields.read({"size": 3}, {}), CellError, r"`equations` is no text"),
        (lambda: Fields.read({"equations": cells.gru.text, "size": 3}, {}), CellError, r"have the gates"),
    ],
)
def test_what_is_no_op_is_refused(make, error, words) -> None:
    with pytest.raises(error, match=words):
        make()
