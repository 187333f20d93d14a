"""Convolutions over pictures: their definition, the bits of every way of running, and their forms in torch and ONNX."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import recurra.torch as ours
from helpers import ISAS, generator, on_isa
from recurra.errors import ExportError, ShapeError
from recurra.runtime import Activation, Convolution2d, Linear, Model, check_parity, load
from recurra.torch import Stack, export, to_torch
from runtime.networks import F, same

#        N  K  L  C  rows columns hop padding
SIZES = [(5, 3, 2, 3, 7, 6, 2, 1), (1, 1, 1, 1, 1, 1, 1, 0), (17, 3, 3, 4, 2, 9, 1, 3), (2, 5, 4, 1, 6, 11, 3, 0)]


def numbers(*shape: int, key: object = 0) -> np.ndarray:
    return generator("pictures", *shape, key).normal(size=shape).astype(F)


def convolution(N, K, L, C, *settings, bias=True) -> Convolution2d:
    return Convolution2d(numbers(N, K, L, C), numbers(N, key="b") if bias else None, *settings)


def convolved(op: Convolution2d, x: np.ndarray) -> np.ndarray:
    """The definition, in float64: x [T, rows * columns * C], one tap after the other."""
    N, K, L, C = op.W.shape
    p, s = op.padding, op.hop
    around = np.pad(x.astype(np.float64).reshape(len(x), op.rows, op.columns, C), [(0, 0), (p, p), (p, p), (0, 0)])
    down, across = -(-(op.rows + 2 * p - K + 1) // s), -(-(op.columns + 2 * p - L + 1) // s)
    y = np.zeros((len(x), down, across, N)) + (0 if op.b is None else op.b)
    for k in range(K):
        for l in range(L):
            taken = around[:, k : k + down * s : s, l : l + across * s : s]
            y += taken[:, :down, :across] @ op.W[:, k, l].T.astype(np.float64)
    return y.reshape(len(x), -1)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_its_definition(sizes, bias) -> None:
    op = convolution(*sizes, bias=bias)
    x = numbers(4, op.input_size)
    want = convolved(op, x)
    assert want.shape[1] == op.output_size
    assert np.abs(Model([op]).run(x) - want).max() < 1e-5


@pytest.mark.parametrize("fault", ["turned", "no zeros", "bias dropped", "taps reversed", "channels first"])
def test_a_planted_fault_is_seen(fault) -> None:
    op = convolution(5, 3, 3, 2, 6, 6, 1, 1)
    x = numbers(2, op.input_size)
    square = x.reshape(2, 6, 6, 2)
    wrong = {
        "turned": lambda: convolved(replace(op, W=np.ascontiguousarray(op.W.transpose(0, 2, 1, 3))), x),
        "no zeros": lambda: convolved(op, np.pad(square[:, :-1], [(0, 0), (1, 0), (0, 0), (0, 0)]).reshape(2, -1)),
        "bias dropped": lambda: convolved(replace(op, b=None), x),
        "taps reversed": lambda: convolved(replace(op, W=np.ascontiguousarray(op.W[:, ::-1])), x),
        "channels first": lambda: convolved(op, np.ascontiguousarray(square.transpose(0, 3, 1, 2)).reshape(2, -1)),
    }[fault]()
    assert np.abs(wrong - Model([op]).run(x)).max() > 0.1


def network() -> Model:
    first = convolution(7, 3, 3, 2, 9, 7, 2, 1)
    second = convolution(3, 3, 2, 7, *first.places, 2, 1)
    return Model([first, Activation("relu"), second, Linear(numbers(5, second.output_size))])


@pytest.mark.parametrize("isa", ISAS)
def test_every_way_of_running_gives_the_same_bits(isa) -> None:
    with on_isa(isa), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.runtime.program.isa", lambda: isa)
        model = network()
        report = check_parity(model, numbers(5, 3, model.input_size))
    assert not any(report["differing"].values())


def picture_encoder() -> nn.Module:
    torch.manual_seed(0)
    first = ours.FlatConv2d((9, 7), (2, 6), 3, 2, 1, normalized=True)
    made = Stack(first, nn.ReLU(), ours.FlatConv2d(first.places, (6, 4), (3, 2), bias=False), nn.GRU(36, 5))
    with torch.no_grad():
        made(torch.randn(11, 3, 126))  # for the statistics of the normalization
    return made.eval()


def test_modules_and_models_lead_to_each_other(tmp_path) -> None:
    module = picture_encoder()
    model = export(module, tmp_path / "m.recurra")
    assert [op.kind for op in model.ops] == ["convolution_2d", "activation", "convolution_2d", "recurrent"]
    again, x = to_torch(load(tmp_path / "m.recurra")), torch.from_numpy(numbers(6, 2, 126))
    with torch.no_grad():
        assert (again(x) - module(x)).abs().max() < 1e-5
    assert export(again, tmp_path / "again.recurra").fingerprint == model.fingerprint


def test_a_layer_is_torchs() -> None:
    layer = ours.FlatConv2d((6, 5), (3, 4), 3, 2, 1)
    x = torch.from_numpy(numbers(2, 3, 90))
    pictures = x.reshape(6, 6, 5, 3).permute(0, 3, 1, 2)
    want = nn.functional.conv2d(pictures, layer.weight, layer.bias, stride=2, padding=1).permute(0, 2, 3, 1)
    assert (layer(x) - want.reshape(2, 3, -1)).abs().max() < 1e-6
    assert layer.places == tuple(want.shape[1:3])


def test_onnx_runtime_agrees(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from recurra.onnx import export as to_onnx

    model = network()
    to_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    x = numbers(4, 3, model.input_size)
    assert np.abs(session.run(None, {"x": x})[0] - model.run(x)).max() < 1e-4


def test_what_it_refuses() -> None:
    for settings, said in (
        ((2, 2, 1, 0), "its kernel is 3 x 2 and what it goes over 2 x 2 with 0 around it, expected a kernel that fits"),
        ((7, 0, 1, 0), "`columns` is 0, expected a number from 1"),
        ((7, 6, 0, 0), "`hop` is 0, expected a number from 1"),
        ((7, 6, 1, -1), "`padding` is -1, expected a number from 1"),
        ((1 << 13, 1 << 13, 1, 0), "numbers come in and .* make the picture smaller"),
    ):
        with pytest.raises(ShapeError, match=said):
            convolution(5, 3, 2, 3, *settings)
    with pytest.raises(ShapeError, match=r"FlatConv2d: pictures of \(2, 9\), channels \(3, 4\), kernel \(3, 3\)"):
        ours.FlatConv2d((2, 9), (3, 4), 3)
    odd = ours.FlatConv2d((6, 5), (3, 4), 3)
    odd.dilation = (2, 2)
    with pytest.raises(ExportError, match="expected dilation to be"):
        export(Stack(odd), "never.recurra")


def test_bits_do_not_depend_on_the_other_pictures() -> None:
    model = network()
    x = numbers(6, model.input_size)
    whole = model.run(x)
    assert all(same(model.run(x[i : i + 1]), whole[i : i + 1]) for i in range(6))
