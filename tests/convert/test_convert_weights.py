"""Weights with a description, and networks in JSON: against torch.nn, Keras, and the series of another library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import recurra
from helpers import generator
from recurra.errors import ConversionError
from recurra.torch import Recurrent

RTNEURAL = Path(__file__).parents[3] / "shared" / "conformance" / "vectors" / "rtneural"
HERE = pytest.mark.skipif(not RTNEURAL.exists(), reason=f"the shared vectors are not here: {RTNEURAL}")
DESCRIPTIONS = {
    f"{kind}_torch": {
        "layers": [
            {"kind": kind, "name": kind},
            {"kind": kind, "name": f"{kind}2"},
            {"kind": "linear", "name": "dense"},
        ]
    }
    for kind in ("gru", "lstm")
}


def saved(module, folder, description=None, dtype=torch.float32):
    path = folder / "weights.safetensors"
    save_file({n: t.to(dtype) if t.is_floating_point() else t for n, t in module.state_dict().items()}, path)
    if description is not None:
        (folder / "weights.description.json").write_text(json.dumps({"layers": description}))
    return path


class Part(nn.Module):
    """Layers by name, run one after the other, recurrent ones for their outputs."""

    def __init__(self, order, **parts):
        super().__init__()
        torch.manual_seed(len(order))
        for name, part in parts.items():
            self.add_module(name, part)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.6, 0.6)
        self.order = order

    def forward(self, x):
        for step in self.order:
            y = (getattr(self, step) if isinstance(step, str) else step)(x)
            x = y[0] if isinstance(y, tuple) else y
        return x


def check(module, model, x):
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.run(x), wanted, atol=2e-6, rtol=2e-6)


@HERE
@pytest.mark.parametrize("name", ["gru", "gru_1d", "gru_torch", "lstm", "lstm_1d", "lstm_torch"])
def test_the_small_trained_models_of_another_library(name, tmp_path):
    path = tmp_path / "model.recurra"
    done = recurra.convert(RTNEURAL / f"{name}.json", path, DESCRIPTIONS.get(name))
    assert done.difference < 1e-6
    model = recurra.load(path)
    x = np.loadtxt(RTNEURAL / f"{name}_x.csv").astype(np.float32)[:, None]
    y = np.loadtxt(RTNEURAL / f"{name}_y.csv")[:, None]
    assert len(x) >= 100
    np.testing.assert_allclose(model.run(x), y, atol=1e-6, rtol=0)
    session = model.session()
    np.testing.assert_allclose(np.stack([session.step(row) for row in x]), y, atol=1e-6, rtol=0)


@HERE
def test_a_network_with_a_dilated_convolution(tmp_path):
    done = recurra.convert(RTNEURAL / "full_model.json", tmp_path / "model.recurra")
    assert [op.kind for op in done.model.ops if op.kind != "activation"] == [
        "linear",
        "convolution",
        "recurrent",
        "linear",
    ]
    assert done.difference < 1e-6


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_layers(kind, bidirectional, tmp_path):
    D = 1 + bidirectional
    make = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]
    layer = make(3, 5, num_layers=2, bidirectional=bidirectional, bias=kind != "gru")
    module = Part(["net", "norm", torch.relu, "head"], net=layer, norm=nn.LayerNorm(5 * D), head=nn.Linear(5 * D, 2))
    description = [
        {"kind": kind, "name": "net"},
        {"kind": "dropout", "p": 0.5},
        {"kind": "layer_norm", "name": "norm"},
        {"kind": "activation", "function": "relu"},
        {"kind": "linear", "name": "head"},
    ]
    done = recurra.convert(saved(module, tmp_path, description), tmp_path / "model.recurra")
    assert done.model.parity["source_difference"] == done.difference < 1e-6
    check(module, recurra.load(tmp_path / "model.recurra"), generator(kind).normal(size=(9, 4, 3)).astype(np.float32))


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's word about its own speed
def test_other_torch_layers(tmp_path):
    projected = nn.LSTM(4, 6, proj_size=3)
    convolution = nn.Conv1d(3, 5, 3, dilation=2, stride=3)
    parts = {"words": nn.Embedding(7, 4), "net": projected, "conv": convolution, "mine": Recurrent("mgu", 5, 4)}

    def causal(x):
        padded = nn.functional.pad(x.permute(1, 2, 0), (4, 0))
        return convolution(padded).permute(2, 0, 1)

    module = Part(["words", "net", causal, "mine", nn.Softmax(-1)], **parts)
    description = [
        {"kind": "embedding", "name": "words"},
        {"kind": "lstm", "name": "net"},
        {"kind": "conv1d", "name": "conv", "dilation": 2, "stride": 3},
        {"kind": "recurrent", "name": "mine", "cell": "mgu"},
        {"kind": "softmax"},
    ]
    recurra.convert(saved(module, tmp_path), tmp_path / "model.recurra", {"layers": description})
    check(module, recurra.load(tmp_path / "model.recurra"), generator("ids").integers(0, 7, (9, 4)))


def test_a_learned_beginning(tmp_path):
    module = Part(["net"], net=Recurrent("ugrnn", 3, 4, num_layers=2, initial_state="learned"))
    path = saved(module, tmp_path, [{"kind": "recurrent", "name": "net", "cell": "ugrnn"}])
    model = recurra.convert(path, tmp_path / "model.recurra").model
    check(module, model, generator("learned").normal(size=(6, 2, 3)).astype(np.float32))


def test_another_order_of_gates(tmp_path):
    """A GRU stacked as z, n, r is the same GRU where the description says so, and another where it does not."""
    module = Part(["net"], net=nn.GRU(3, 4))
    x = generator("order").normal(size=(6, 2, 3)).astype(np.float32)
    wanted = recurra.convert(saved(module, tmp_path, [{"kind": "gru", "name": "net"}]), tmp_path / "a").model.run(x)
    with torch.no_grad():
        for parameter in module.parameters():
            r, z, n = parameter.clone().chunk(3)
            parameter.copy_(torch.cat([z, n, r]))
    told = [{"kind": "gru", "name": "net", "gates": "znr"}]
    np.testing.assert_array_equal(recurra.convert(saved(module, tmp_path, told), tmp_path / "b").model.run(x), wanted)
    untold = recurra.convert(saved(module, tmp_path, [{"kind": "gru", "name": "net"}]), tmp_path / "c").model.run(x)
    assert np.abs(untold - wanted).max() > 0.1


def test_the_reset_gate_before_the_product(tmp_path):
    module = Part(["net"], net=nn.GRU(3, 4))
    path = saved(module, tmp_path)
    models = {
        reset: recurra.convert(
            path, tmp_path / reset, {"layers": [{"kind": "gru", "name": "net", "reset": reset}]}
        ).model
        for reset in ("before", "after")
    }
    assert [m.ops[0].cell.name for m in models.values()] == ["gru_reset_before", "gru"]
    x = generator("reset").normal(size=(6, 2, 3)).astype(np.float32)
    check(module, models["after"], x)
    assert np.abs(models["before"].run(x) - models["after"].run(x)).max() > 1e-3


@pytest.mark.parametrize(
    ("message", "layers"),
    [
        ("kind that is not known, expected one of: lstm, gru", [{"kind": "transformer", "name": "net"}]),
        ("needs the tensor 'other.weight_ih_l0', expected one of: head", [{"kind": "gru", "name": "other"}]),
        ("has the setting 'size', expected one of: name", [{"kind": "gru", "name": "net", "size": 3}]),
        ("gates are 'rzz', expected the letters rzn", [{"kind": "gru", "name": "net", "gates": "rzz"}]),
        ("reset is 'never', expected one of: after, before", [{"kind": "gru", "name": "net", "reset": "never"}]),
        ("activation is 'mish', expected one of: identity", [{"kind": "gru", "name": "net", "activation": "mish"}]),
        ("no layer of the description takes the tensors head.bias, head.weight", [{"kind": "gru", "name": "net"}]),
        ("multiple of 4 rows", [{"kind": "lstm", "name": "net"}]),
        ("no list of layers", []),
        ("cannot|no cell is called", [{"kind": "recurrent", "name": "net", "cell": "nothing"}]),
    ],
)
def test_descriptions_that_do_not_fit(message, layers, tmp_path):
    module = Part(["net", "head"], net=nn.GRU(3, 5), head=nn.Linear(5, 2))
    with pytest.raises(ConversionError, match=message):
        recurra.convert(saved(module, tmp_path), tmp_path / "model.recurra", {"layers": layers})
    assert not (tmp_path / "model.recurra").exists()


def test_layers_in_the_wrong_order_are_refused(tmp_path):
    module = Part(["net", "head"], net=nn.GRU(3, 5), head=nn.Linear(5, 2))
    layers = [{"kind": "linear", "name": "head"}, {"kind": "gru", "name": "net"}]
    with pytest.raises(ConversionError, match=r"do not make a model: layer 1 .* takes 3 features, expected 2"):
        recurra.convert(saved(module, tmp_path), tmp_path / "model.recurra", {"layers": layers})


def refused(module, folder):
    """What is said of weights without a description."""
    with pytest.raises(ConversionError, match=r"write weights\.description\.json beside it") as error:
        recurra.convert(saved(module, folder), folder / "model.recurra")
    return str(error.value)


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_an_order_that_alone_fits_is_proposed(suffix, tmp_path):
    """Names that sort against the order of running: what is proposed is the network itself."""
    parts = {"z": nn.Embedding(7, 4), "y": nn.GRU(4, 5, bidirectional=True), "norm": nn.BatchNorm1d(10)}
    module = Part(["z", "y", "a"], **parts, a=nn.Linear(10, 2)).eval()
    with torch.no_grad():
        module.norm.running_mean.fill_(0.3)
    message = refused(module, tmp_path)
    proposed = json.loads(message.partition("it would be this: ")[2])
    assert [tuple(layer.values()) for layer in proposed["layers"]] == [
        ("embedding", "z"),
        ("gru", "y"),
        ("batch_norm", "norm"),
        ("linear", "a"),
    ]
    x = generator("proposed").integers(0, 7, (9, 2))
    path = tmp_path / f"weights.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps({n: t.tolist() for n, t in module.state_dict().items()}))
    done = recurra.convert(path, tmp_path / "model.recurra", proposed)
    normed = lambda t: module.norm(t.reshape(-1, 10)).reshape(t.shape)  # noqa: E731
    module.order = ["z", "y", normed, "a"]
    check(module, done.model, x)
    assert done.described
    assert "held against the layers as described" in str(done)


@pytest.mark.parametrize(
    ("parts", "listed"),
    [
        ({"lstm": nn.LSTM(8, 8), "fc": nn.Linear(8, 8)}, '{"kind": "linear", "name": "fc"} (8 to 8)'),
        ({"encoder": nn.GRU(4, 4), "decoder": nn.GRU(4, 4)}, '{"kind": "gru", "name": "encoder"} (4 to 4)'),
        ({"rnn": nn.RNN(4, 4), "norm": nn.LayerNorm(4)}, '{"kind": "layer_norm", "name": "norm"} (4 to 4)'),
        ({"one": nn.Linear(3, 4), "other": nn.Linear(5, 4)}, '{"kind": "linear", "name": "other"} (5 to 4)'),
        ({"net": nn.GRU(3, 4), "mine": Recurrent("mgu", 4, 4)}, '{"kind": "gru", "name": "net"} (3 to 4)'),
        ({"own": Recurrent("lstm_peephole", 3, 4), "out": nn.Linear(4, 1)}, '"name": "out"} (4 to 1)'),
        ({str(i): nn.Linear(3, 3) for i in range(20)}, "and 12 more"),
    ],
)
def test_no_order_is_claimed_where_several_fit(parts, listed, tmp_path):
    message = refused(Part([], **parts), tmp_path)
    assert "Which order is right cannot be told" in message
    assert listed in message
    assert '{"layers"' not in message
    assert len(message) < 1000


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.bin", "m.pkl", "m.ckpt"])
def test_no_pickle_is_read(name, tmp_path):
    path = tmp_path / name
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(ConversionError, match="a pickle runs whatever code is in it"):
        recurra.convert(path, tmp_path / "model.recurra")


def test_numbers_that_are_none(tmp_path):
    module = Part(["head"], head=nn.Linear(3, 2))
    nn.init.constant_(module.head.weight, float("nan"))
    with pytest.raises(ConversionError, match=r"'head\.weight' has numbers that are not finite"):
        recurra.convert(saved(module, tmp_path, [{"kind": "linear", "name": "head"}]), tmp_path / "model.recurra")


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ("no JSON", "{"),
        ("neither a network", "[1, 2]"),
        ("is no array of numbers", '{"a": [[1], [2, 3]]}'),
        ("kind that is not known, expected one of: dense", '{"in_shape": [1], "layers": [{"type": "batchnorm"}]}'),
        ("its weights do not fit", '{"in_shape": [1], "layers": [{"type": "gru", "weights": [[1]]}]}'),
        ("activation 'mish'", '{"in_shape": [1], "layers": [{"type": "activation", "activation": "mish"}]}'),
        ("no layer with weights", '{"in_shape": [1], "layers": []}'),
    ],
)
def test_json_that_is_no_network(message, content, tmp_path):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(ConversionError, match=message):
        recurra.convert(tmp_path / "model.json", tmp_path / "model.recurra")
