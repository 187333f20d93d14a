"""Those who read a model's code in place of running it: torch.fx, TorchScript, torch.onnx; and back from convert."""

from __future__ import annotations

import contextlib
import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import fill
from composed import numbers as doubles
from torch import Tensor, nn

import recurra.onnx
from recurra.errors import ExportError
from recurra.torch import GRU, LSTM, RNN, Pool, Recurrent, Stack, convert, kernels, to_torch
from recurra.torch.call import cell_of


def numbers(*shape: int, key: str = "x") -> Tensor:
    return doubles(*shape, key=key, dtype=torch.float32)


X = numbers(2, 5, 3)


class Net(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.rnn, self.out = layer, nn.Linear(4, 1)
        fill(self, "net")

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_a_layer_is_one_node_of_a_graph(kind: type[nn.Module]) -> None:
    net = Net(kind(3, 4, batch_first=True))
    traced = torch.fx.symbolic_trace(net)
    assert [n.target for n in traced.graph.nodes if n.op == "call_module"] == ["rnn", "out"]
    assert torch.equal(traced(X), net(X))


def test_any_cell_and_a_stack_are_traced() -> None:
    stack = Stack(LSTM(3, 4), Recurrent("mgu", 4, 4), Pool("mean"), nn.Linear(4, 2))
    fill(stack, "stack")
    traced = torch.fx.symbolic_trace(stack)
    assert torch.equal(traced(X), stack(X))


@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning", "ignore:.torch.jit.:FutureWarning")
def test_torchscript_has_torchs_own_layers() -> None:
    net = Net(LSTM(3, 4, batch_first=True))
    with pytest.warns(UserWarning, match=r"is torch.nn's from now on .* copy.deepcopy\(module\)"):
        scripted = torch.jit.script(copy.deepcopy(net))
    assert type(net.rnn) is LSTM
    with pytest.warns(UserWarning, match="is torch.nn's from now on"):
        torch.jit.script(net)
    torch.testing.assert_close(scripted(X), net(X))
    assert type(net.rnn) is nn.LSTM  # torch puts what it reads into the module itself; `convert` leads back
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    assert b"recurra" not in file.getvalue()
    for module, name in ((Net(Recurrent("mgu", 3, 4)), "the cell mgu"), (Stack(LSTM(3, 4)), "a Stack")):
        with pytest.raises(ExportError, match=f"cannot read {name}: use torch.jit.trace"):
            torch.jit.script(module)


@pytest.mark.filterwarnings("ignore")  # torch's words about its exporter
@pytest.mark.parametrize("kind", [LSTM, GRU, RNN])
def test_onnx_has_the_standards_nodes(kind: type[nn.Module]) -> None:
    net = Net(kind(3, 4, batch_first=True)).eval()
    file = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(net, (X,), file, dynamo=False)
    torch.testing.assert_close(torch.from_numpy(recurra.onnx.run(file.getvalue(), [X.numpy()])[0]), net(X))
    with pytest.raises(ExportError, match=r"no operator for the cell mgu: .* recurra\.onnx\.export"):
        torch.onnx.export(Net(Recurrent("mgu", 3, 4)), (X,), io.BytesIO(), dynamo=False)


@pytest.mark.filterwarnings("ignore")  # torch's words about its exporter
def test_the_newer_exporter_has_them_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    net = Net(GRU(3, 4, batch_first=True)).eval()
    torch.onnx.export(net, (X,), tmp_path / "net.onnx", dynamo=True)
    found = recurra.onnx.run((tmp_path / "net.onnx").read_bytes(), [X.numpy()])[0]
    torch.testing.assert_close(torch.from_numpy(found), net(X))


def test_the_way_back_from_convert() -> None:
    stock = nn.ModuleDict({"a": nn.GRU(3, 4), "b": nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 1))})
    ours = convert(stock)[0]
    back = to_torch(ours)
    assert [type(back["a"]), type(back["b"][0]), type(ours["a"])] == [nn.GRU, nn.LSTM, GRU]
    assert all(torch.equal(p, q) for p, q in zip(back.parameters(), stock.parameters(), strict=True))
    torch.testing.assert_close(back["a"](X)[0], ours["a"](X)[0])
    assert type(to_torch(LSTM(3, 4))) is nn.LSTM


@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning", "ignore:.torch.jit.:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_saved_trace_opens_again() -> None:
    net = Net(Recurrent("lstm_peephole", 3, 4, batch_first=True)).eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(net, (X,)), file)
    file.seek(0)
    other = numbers(3, 7, 3)
    assert torch.equal(torch.jit.load(file)(other), net(other))


def test_a_runtime_may_give_none_for_an_empty_list() -> None:
    """As AOTInductor's does."""
    W, U, b = numbers(12, 3), numbers(12, 4, key="U"), numbers(12, key="b")
    text = Recurrent("gru", 3, 4).cell.text
    assert cell_of(text).name == "gru"

    def run(empty: Any) -> Tensor:
        return kernels.scan_cpu(X, W, U, b, b, None, empty, empty, None, None, text, False, 0, False, False, False)[0]

    assert torch.equal(run(None), run([]))
