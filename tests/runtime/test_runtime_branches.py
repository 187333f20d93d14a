"""Branches: chains of ops on the same row, added, subtracted, multiplied or side by side; live, to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers import generator
from recurra import _native, cells, engine
from recurra.errors import ModelFileError, SessionError, ShapeError
from recurra.runtime import (
    Activation,
    Branches,
    Convolution,
    Dropout,
    Embedding,
    Model,
    Pool,
    Program,
    check_parity,
    load,
)
from runtime.networks import F, embedding, forecast_head, layer_norm, linear, recurrent, same, sample, tables


def deep(how: str) -> Model:
    """Branches within branches, with states in several, behind whole numbers and before more layers."""
    inner = Branches([[linear(5, 7), recurrent(cells.gru, 5, 7)], [], [recurrent(cells.lstm, 7, 7), Dropout(0.1)]], how)
    ops = [embedding(11, 7), Branches([[], [inner, Activation("tanh")]], how)]
    width = Program(ops).output_size
    return Model([*ops, recurrent(cells.gru, width, 6, key="behind"), layer_norm(6)])


@pytest.mark.parametrize("how", ["add", "subtract", "multiply", "join"])
def test_branches_are_their_parts_put_together(how) -> None:
    model = deep(how)
    first, outer = model.ops[:2]
    inner = outer.branches[1][0]
    x = sample(model, 23, 3)
    e = Model([first]).run(x)
    parts = [Model(list(inner.branches[0])).run(e), e, Model(list(inner.branches[2])).run(e)]

    def together(arrays):
        if how == "join":
            return np.concatenate(arrays, -1)
        total = arrays[0].copy()
        for a in arrays[1:]:
            {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}[how](total, a, out=total)
        return total

    within = together(parts)
    bent = Program([Activation("tanh")], {"x": within.shape[-1]}).run(within)
    assert same(Program(model.ops[:2]).run(x), together([e, bent]))
    report = check_parity(model, x)
    assert set(report["differing"]) >= {"stepped", "reloaded"}
    assert not any(report["differing"].values())
    names = list(model.state_widths())
    assert names[:2] == ["layers.1.1.0.0.1.h", "layers.1.1.0.2.0.h"]


def test_a_session_goes_on_from_a_snapshot(tmp_path) -> None:
    model = deep("add")
    model.save(tmp_path / "m.recurra")
    again = load(tmp_path / "m.recurra")
    assert again.fingerprint == model.fingerprint
    x = sample(model, 40, 1)[:, 0]
    session, other = model.session(), again.session()
    session.run(x[:17])
    other.restore(session.snapshot())
    assert same(other.run(x[17:]), session.run(x[17:]))


def test_a_branch_reads_what_stands_beside_the_flow() -> None:
    head = forecast_head(5)
    front = [recurrent(cells.gru, 4, 5)]
    twice = Model([*front, Branches([[head], [linear(5, 5), head]], "join")])
    assert list(twice.inputs) == ["x", "future"]
    x = sample(twice, 9, 2)
    flow = Model(front).run(np.ascontiguousarray(x[..., :4]))
    one, two = (Model([head]).run(np.concatenate([f, x[..., 4:]], -1)) for f in (flow, Model([linear(5, 5)]).run(flow)))
    assert same(twice.run(x), np.concatenate([one, two], -1))


def readers(how: str, directions: int) -> Model:
    """Chains that begin with whole numbers, one within another, with as many directions."""
    first = [tables(11, 5, width=3), recurrent(cells.gru, 6, 9, directions=directions, key="first")]
    second = [tables(7, 6, width=2), recurrent(cells.lstm, 4, 5, directions=directions), Pool("all", None, directions)]
    narrow = [linear(8, 15 * directions)]
    inner = Branches([[], [recurrent(cells.gru, 8, 4, directions=2), linear(8, 8)]][: directions + 1], "add")
    within = (
        [Branches([[*second, *narrow], [tables(5, 9, width=4)]], how)] if directions == 1 else [*second, *narrow, inner]
    )
    return Model([Branches([[*first, linear(8, 9 * directions)], within], "add")])


@pytest.mark.parametrize("directions", [1, 2])
def test_branches_of_whole_numbers_and_of_both_directions_are_their_parts(directions, tmp_path) -> None:
    model = readers("multiply", directions)
    assert model.streams == (directions == 1)
    assert model.id_counts == ((5, 5) if directions == 1 else (7, 5))
    for T, B in ((37, 3), (1, 1), (700, 2), (6, 1)):  # the longest is more than a chunk; then a shorter one again
        x = np.stack([generator("ids", T, k).integers(0, 5, (T, B)) for k in range(2)], -1).astype(F)
        outer = model.ops[0]
        flows = []
        for chain in outer.branches:
            flow = x
            for op in chain:
                if isinstance(op, Branches):
                    parts = [Program(c, {"x": flow.shape[-1]}).run(flow) if c else flow for c in op.branches]
                    flow = parts[0] * parts[1] if op.how == "multiply" else parts[0] + parts[1]
                else:
                    flow = Program([op], {"x": flow.shape[-1]}).run(flow)
            flows.append(flow)
        assert same(model.run(x), flows[0] + flows[1])
        assert same(model.run(x)[:, :1], model.run(np.ascontiguousarray(x[:, :1])))
    model.save(tmp_path / "m.recurra")
    again = load(tmp_path / "m.recurra")
    assert again.fingerprint == model.fingerprint
    if directions == 1:
        assert not any(check_parity(model, x)["differing"].values())
    else:
        with pytest.raises(SessionError, match="layer 0 reads the sequence in both directions"):
            model.session().step(x[0, 0])
    with pytest.raises(ShapeError, match="number 1 of a row of `x` is 5, expected a whole number from 0 to 4"):
        model.run(np.array([[4, 5]], F))
    with pytest.raises(ShapeError, match="layer 1 is a branches, expected it only as the first layer"):
        Model([linear(2, 2), *model.ops])


@pytest.mark.parametrize("directions", [1, 2])
def test_such_branches_go_to_torch_and_to_onnx(directions, tmp_path) -> None:
    import torch

    from recurra import onnx
    from recurra import torch as ours

    model = readers("multiply", directions)
    x = generator("ids").integers(0, 5, (9, 2, 2)).astype(F)
    with torch.no_grad():
        np.testing.assert_allclose(ours.to_torch(model)(torch.from_numpy(x)), model.run(x), atol=2e-6)
    report = onnx.export(model, tmp_path / "m.onnx")
    states = {name: np.stack([begin] * 2) for name, begin in report["state"].items()}
    y, *_ = onnx.run((tmp_path / "m.onnx").read_bytes(), {"x": x, **states})
    np.testing.assert_allclose(y, model.run(x), atol=2e-6)


@pytest.mark.parametrize(
    ("branches", "how", "message"),
    [
        ([[]], "add", "1 of them"),
        ([[], []], "divide", "one of add, subtract, multiply, join"),
        ([[]] * 17, "add", "expected 2 to 16"),
        ([[], [linear(4, 5)]], "add", "they give .* features, expected the same of each to add them"),
        ([[linear(5, 5), linear(4, 6)], []], "join", "takes 6 features, expected 5"),
        ([[], [linear(2, 5), tables(3, 4, width=2)]], "join", "takes whole numbers, expected it first in its branch"),
        ([[], [Convolution(np.ones((5, 2, 5), F), stride=2)]], "add", "convolution layer does not answer"),
        ([[], [Embedding(np.ones((4, 5), F))]], "add", "embedding layer does not answer"),
    ],
)
def test_what_cannot_be_put_together_is_refused(branches, how, message) -> None:
    with pytest.raises(ShapeError, match=message):
        Model([Branches(branches, how), linear(2, 5)])


def test_a_file_with_other_branches_is_refused(tmp_path) -> None:
    path = tmp_path / "m.recurra"
    deep("add").save(path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    for change in (
        lambda op: op.update(branches=3),
        lambda op: op.update(branches=[[], [[]]]),
        lambda op: op.update(how=["add"]),
        lambda op: op["branches"][1].pop(),
        lambda op: op["branches"][1][0].update(kind="branch"),
        lambda op: op["branches"].reverse(),
    ):
        header = json.loads(content[8 : 8 + size])
        said = json.loads(header["__metadata__"]["recurra"])
        said.pop("checksum")
        change(said["programs"]["main"]["ops"][1])
        header["__metadata__"]["recurra"] = json.dumps(said)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
        with pytest.raises(ModelFileError) as error:
            load(path)
        assert "\n" not in str(error.value)


def test_the_native_module_checks_branches() -> None:
    network = _native.Network(engine.isa(), 3, 3)
    with pytest.raises(ValueError, match="takes no features"):
        network.branch(0)
    with pytest.raises(ValueError, match="fewer than two branches"):
        network.add_branches([network.branch(3)], 0, 3)
    wide = network.branch(4)
    wide.add("linear", [np.ones((2, 4), F), None], [], 4)
    for chains, how in (([wide, network.branch(3)], 3), ([network.branch(3)] * 2, 4), ([network.branch(3)] * 2, -1)):
        with pytest.raises(ValueError, match="branch"):
            network.add_branches(chains, how, 3)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("how", ["add", "subtract", "multiply", "join"])
def test_torchs_branches_go_to_the_runtime_and_back(how, first, tmp_path) -> None:
    import torch
    from torch import nn

    from recurra import torch as ours

    inner = [ours.GRU(3, 4, batch_first=first), ours.Branches([[], [nn.Linear(4, 4), nn.Tanh()]])]
    module = ours.Stack(ours.Branches([[nn.Linear(3, 4)], inner, ours.Stack(nn.Linear(3, 4))], how), nn.LazyLinear(2))
    x = torch.randn(6, 2, 3)
    module(x)
    model = ours.export(module, tmp_path / "m.recurra")
    assert not any(model.parity["differing"].values())
    back = ours.to_torch(load(tmp_path / "m.recurra"))
    time = (lambda a: a.swapaxes(0, 1)) if first else (lambda a: a)
    with torch.no_grad():
        np.testing.assert_allclose(back(time(x).contiguous()), time(module(x)), atol=1e-6)
    assert ours.export(back, tmp_path / "n.recurra").fingerprint == model.fingerprint
    with pytest.raises(ShapeError, match="how='divide', expected one of add"):
        ours.Branches([[], []], "divide")


@pytest.mark.parametrize("how", ["add", "subtract", "multiply", "join"])
def test_branches_in_onnx_have_states_of_the_same_names(how, tmp_path) -> None:
    onnx = pytest.importorskip("recurra.onnx")
    model = deep(how)
    report = onnx.export(model, tmp_path / "m.onnx")  # which compares whole and stepped
    assert report["nodes"] == ["GRU", "LSTM", "GRU"]
    assert set(report["state"]) == set(model.state_widths())
    x = sample(model, 7, 3)
    states = {name: np.stack([begin] * 3) for name, begin in report["state"].items()}
    y, *lasts = onnx.run((tmp_path / "m.onnx").read_bytes(), {"x": x, **states})
    np.testing.assert_allclose(y, model.run(x), atol=2e-6)
    np.testing.assert_allclose(onnx.from_onnx(tmp_path / "m.onnx").run(x), model.run(x), atol=2e-6)
    session = model.session(batch=3)
    session.run(x)
    for (name, last), ours in zip(session.state.items(), lasts, strict=True):
        np.testing.assert_allclose(ours, last, atol=2e-6, err_msg=name)
