"""Model files: what is written is read, what is damaged or hostile is refused, and loading is light."""

from __future__ import annotations

import json
import math
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

import recurra
from helpers import generator, peak_mib, printed, random_weights
from recurra import cells
from recurra.errors import ModelFileError
from recurra.runtime import Model, Recurrent, load, save_model
from runtime.networks import F, both_ways, deep, forecaster, quantiles, same, sample, tagger

MODEL = forecaster()


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "model.recurra"
    save_model(MODEL, path)
    return path.read_bytes()


def parts(content: bytes) -> tuple[dict, bytes]:
    """The header and the tensors' bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def refused(tmp_path, content: bytes, *words: str) -> str:
    """The message with which a file is refused; it names the file."""
    path = tmp_path / "bad.recurra"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("make", [forecaster, tagger, deep, quantiles, both_ways])
def test_what_is_saved_is_loaded(make, tmp_path) -> None:
    model = make()
    model.preprocessing, model.card = {"mean": [0.5, 2.0]}, {"data": "tests", "größe": 3}
    model.save(tmp_path / "m.recurra")
    again = recurra.load(str(tmp_path / "m.recurra"))
    assert again.fingerprint == model.fingerprint
    assert (again.preprocessing, again.card) == (model.preprocessing, model.card)
    assert again.program().describe() == model.program().describe()
    x = sample(model, 9, 2)
    assert same(again.run(x), model.run(x))


def test_a_file_is_a_safetensors_file_with_a_manifest(content) -> None:
    header, _ = parts(content)
    manifest = json.loads(header["__metadata__"]["recurra"])
    assert manifest["format"] == 2
    main = manifest["programs"]["main"]
    assert main["inputs"] == {"x": 1}
    assert [op["kind"] for op in main["ops"]] == ["recurrent", "linear"]
    assert main["ops"][0]["cell"] == cells.lstm.text
    assert {n for n in header if n != "__metadata__"} == set(MODEL.arrays())


def test_truncated_anywhere(content, tmp_path) -> None:
    header, body = parts(content)
    start = len(content) - len(body)
    ends = [start + t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"]
    cuts = {0, 1, 7, 8, 9, start - 1, start, start + 1, *ends, *(e - 1 for e in ends), *(e + 1 for e in ends)}
    for cut in sorted(cuts - {len(content), len(content) + 1}):
        refused(tmp_path, content[:cut], "expected a whole .safetensors file", "export it again")
    refused(tmp_path, content + b"\0", "expected a whole .safetensors file")


@given(st.data())
def test_any_changed_byte_is_noticed_or_harmless(content, tmp_path_factory, data) -> None:
    """Each byte of the header or the tensors: refused in one way, or a text that nothing depends on has changed."""
    at = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(0, len(content) - len(parts(content)[1]))))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flip") / "m.recurra"
    path.write_bytes(bytes(changed))
    try:
        model, message = load(path), None
    except ModelFileError as error:
        model, message = None, str(error)
    if model is None:
        assert message.startswith(f"{path}: ")
    else:
        assert model.fingerprint == MODEL.fingerprint


FOREIGN = {
    "nothing": b"",
    "text": b"This is a recipe for a cake: flour, eggs, sugar." * 4,
    "a zip file": b"PK\3\4" + bytes(200),
    "a pickle": b"\x80\x04\x95" + bytes(200),
    "a header beyond the file": struct.pack("<Q", 2**63) + bytes(64),
    "a header as large as memory": struct.pack("<Q", 2**40) + bytes(64),
    "no JSON": struct.pack("<Q", 16) + b"{" * 16,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file(name, tmp_path) -> None:
    refused(tmp_path, FOREIGN[name], ".safetensors file", "export it again")


def test_a_safetensors_file_of_someone_else(tmp_path) -> None:
    refused(tmp_path, save({"w": np.ones(3, F)}), "without a manifest of recurra", "recurra.torch.export")


def test_a_missing_file_is_an_os_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.recurra")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def changed(
    content: bytes, manifest: dict | None = None, layer: dict | None = None, tensor: dict | None = None
) -> bytes:
    """The file with some of its manifest, of its last layer, or of the tensor headers replaced."""
    header, body = parts(content)
    said = json.loads(header["__metadata__"]["recurra"])
    said |= manifest or {}
    if layer is not None:
        said["programs"]["main"]["ops"][-1] = layer
    header["__metadata__"]["recurra"] = json.dumps(said)
    for name, entry in (tensor or {}).items():
        header[name] |= entry
    return joined(header, body)


def test_a_file_of_the_future(content, tmp_path) -> None:
    refused(
        tmp_path, changed(content, {"format": 3, "made_by": "recurra 9"}), "format 3", "recurra 9", "update recurra"
    )


@pytest.mark.parametrize("version", [None, "1", 0, -1, True, 1.5, [1]])
def test_a_format_that_is_none(version, content, tmp_path) -> None:
    refused(tmp_path, changed(content, {"format": version}), "expected a number")


@pytest.mark.parametrize("key", ["programs", "fingerprint", "preprocessing", "card", "parity"])
def test_a_manifest_with_the_wrong_things(key, content, tmp_path) -> None:
    refused(tmp_path, changed(content, {key: 7}), f"{key!r} is a int, expected a ")


HUGE = 2**40
SIZES = {
    "beyond the file": {"layers.0.W": {"shape": [HUGE, 1], "data_offsets": [0, 4 * HUGE]}},
    "that overflow": {"layers.0.W": {"shape": [2**63, 2**63]}},
    "of nothing by much": {"layers.0.W": {"shape": [0, HUGE]}},
    "of another dtype": {"layers.0.W": {"dtype": "I32"}},
    "of a smaller dtype": {"layers.0.W": {"dtype": "F64", "shape": [38, 1]}},
    "transposed": {"layers.0.W": {"shape": [1, 76]}},
    "flat": {"layers.0.W": {"shape": [76]}},
    "negative": {"layers.0.W": {"shape": [-76, -1]}},
}


@pytest.mark.parametrize("name", SIZES)
def test_tensors_of_hostile_sizes(name, content, tmp_path) -> None:
    before = peak_mib()
    refused(tmp_path, changed(content, tensor=SIZES[name]))
    assert peak_mib() < before + 20


NO_INPUT = {"kind": "recurrent", "cell": "def f(x, h):\n    return h.a + h.b\n"}
NO_PRODUCT = {"kind": "recurrent", "cell": "def f(x, h):\n    return x.a + h\n"}
EMPTY = {
    "linear": ({"W": [HUGE, 0]}, {"kind": "linear"}),
    "embedding": ({"W": [0, HUGE]}, {"kind": "embedding"}),
    "input": ({"W": [0, HUGE], "U": [2, 1], "b": [0], "c_": [2]}, NO_INPUT),
    "hidden": ({"W": [4, 1], "U": [0, HUGE], "b": [4], "c_": [0]}, NO_PRODUCT),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_tensors_of_hostile_sizes(name, tmp_path) -> None:
    """Numbers that do not exist take no room, so their sizes are not bounded by the file."""
    shapes, layer = EMPTY[name]
    manifest = {"format": 1, "fingerprint": "", "preprocessing": {}, "card": {}, "parity": {}, "layers": [layer]}
    header, at = {"__metadata__": {"recurra": json.dumps(manifest)}}, 0
    for tensor, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[f"layers.0.{tensor}"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    refused(tmp_path, joined(header, bytes(at)), "layer 0")


LAYERS = {
    "of an unknown kind": ({"kind": "attention"}, "'attention', expected one of: activation, affine"),
    "without a kind": ({}, "kind 'None'"),
    "that is no dict": (7, "kind 'None'"),
    "whose kind is a list": ({"kind": ["linear"]}, "expected one of"),
    "without its arrays": ({"kind": "layer_norm"}, "its arrays are W, b, expected scale, shift"),
    "with too many arrays": ({"kind": "softmax"}, "its arrays are W, b, expected none"),
    "that cannot come here": (
        {"kind": "recurrent", "cell": cells.gru.text},
        "its arrays are W, b, expected U, W, b, c_",
    ),
    "whose cell runs code": ({"kind": "recurrent", "cell": "__import__('os').system('true')"}, "is not one function"),
    "whose cell does not parse": ({"kind": "recurrent", "cell": "def f(x, h:"}, "does not parse"),
    "whose cell has a null byte": ({"kind": "recurrent", "cell": "def f(x, h):\0"}, "cell"),
    "whose cell is nested": (
        {"kind": "recurrent", "cell": f"def f(x, h):\n    return {'(' * 9000}h{')' * 9000}"},
        "cell",
    ),
    "whose cell is long": ({"kind": "recurrent", "cell": "x" * 10**6}, "no text of at most 65536 characters"),
    "without a cell": ({"kind": "recurrent"}, "no text of at most"),
    "of many directions": ({"kind": "recurrent", "cell": cells.gru.text, "directions": 10**9}, "expected 1 or 2"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name, content, tmp_path) -> None:
    layer, words = LAYERS[name]
    refused(tmp_path, changed(content, layer=layer), "layer 1", words)


def test_a_cell_of_very_many_steps(content, tmp_path) -> None:
    lines = "".join(f"    v{i} = v{i - 1} + h\n" for i in range(1, 3000))
    text = f"def f(x, h):\n    v0 = x.n\n{lines}    return v2999\n"
    header, body = parts(content)
    said = json.loads(header["__metadata__"]["recurra"])
    said["programs"]["main"]["ops"][0]["cell"] = text
    header["__metadata__"]["recurra"] = json.dumps(said)
    refused(tmp_path, joined(header, body), "layer 0")


@pytest.mark.parametrize("slope", [10**400, "0.1", None, True, [0.1], 1e39])
def test_a_slope_that_is_no_number(slope, content, tmp_path) -> None:
    main = {"inputs": {"x": 1}, "ops": [{"kind": "activation", "name": "leaky_relu", "slope": slope}]}
    manifest = json.loads(parts(content)[0]["__metadata__"]["recurra"]) | {"programs": {"main": main}}
    header = {"__metadata__": {"recurra": json.dumps(manifest)}}
    refused(tmp_path, joined(header, b""), "layer 0 (activation)", "`slope` is ", "expected a finite number")


def test_layers_without_end(content, tmp_path) -> None:
    def of(ops):
        return changed(content, {"programs": {"main": {"inputs": {"x": 1}, "ops": ops}}})

    refused(tmp_path, of([{"kind": "softmax"}] * 1001), "there are 1001 layers, expected at most 1000")
    refused(tmp_path, of([]), "belongs to no layer")
    many = {f"p{i}": {"inputs": {"x": 1}, "ops": []} for i in range(101)}
    refused(tmp_path, changed(content, {"programs": many}), "there are more than 100 programs")


PROGRAMS = {
    "that is no dict": (7, "is a int without a list `ops` and a dict `inputs`"),
    "without ops": ({"inputs": {"x": 1}}, "without a list `ops`"),
    "without inputs": ({"ops": []}, "a dict `inputs`"),
    "with inputs that are none": ({"inputs": {}, "ops": []}, "belongs to no layer"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(name, content, tmp_path) -> None:
    program, words = PROGRAMS[name]
    refused(tmp_path, changed(content, {"programs": {"main": program}}), words)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "its inputs are {}, expected 1 to"),
        ({"x": 0}, "`inputs['x']` is 0, expected a number from 1 to"),
        ({"x": True}, "is True, expected a number"),
        ({"x": 1 << 60}, "expected a number from 1 to"),
        ({"x": 2}, "layer 0 (recurrent) takes 1 features, expected 2"),
        ({"x": 1, "more": 3}, "no layer reads the input 'more'"),
        ({"X": 1}, "an input is called 'X', expected small letters"),
        ({"x" * 65: 1}, "expected small letters"),
    ],
)
def test_inputs_of_a_program(inputs, words, content, tmp_path) -> None:
    main = json.loads(parts(content)[0]["__metadata__"]["recurra"])["programs"]["main"]
    refused(tmp_path, changed(content, {"programs": {"main": main | {"inputs": inputs}}}), words)


@pytest.mark.parametrize("name", ["Main", "a.b", "", "layers.0", "x" * 65])
def test_a_program_with_another_name(name, tmp_path) -> None:
    main = {"inputs": {"x": 2}, "ops": [{"kind": "softmax"}]}
    manifest = {"format": 2, "fingerprint": "", "preprocessing": {}, "card": {}, "parity": {}, "programs": {name: main}}
    refused(tmp_path, save({}, {"recurra": json.dumps(manifest)}), "a program is called", "small letters")


def test_layers_that_do_not_fit_one_another(tmp_path) -> None:
    tensors = {"layers.0.W": np.ones((2, 3), F), "layers.1.W": np.ones((2, 3), F)}
    manifest = {"format": 1, "fingerprint": "", "preprocessing": {}, "card": {}, "parity": {}}
    manifest["layers"] = [{"kind": "linear"}, {"kind": "linear"}]
    content = save(tensors, {"recurra": json.dumps(manifest)})
    refused(tmp_path, content, "layer 1 (linear) takes 3 features, expected 2")
    manifest["layers"][1]["kind"] = "embedding"
    refused(tmp_path, save(tensors, {"recurra": json.dumps(manifest)}), "layer 1 is an embedding, expected it only as")


def test_one_changed_number_is_noticed(content, tmp_path) -> None:
    refused(tmp_path, content[:-4] + struct.pack("<f", 0.5), "fingerprint", "the file is damaged")


def test_deep_json(content, tmp_path) -> None:
    header, body = parts(content)
    header["__metadata__"]["recurra"] = "[" * 200_000
    refused(tmp_path, joined(header, body), "the manifest is no JSON")


def test_saving_is_all_or_nothing(tmp_path, monkeypatch) -> None:
    path = tmp_path / "m.recurra"
    save_model(MODEL, path)
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match="the manifest cannot be written as JSON"):
        save_model(Model(MODEL.ops, card={"loss": float("nan")}), path)

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        save_model(deep(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.recurra"]


LIGHT = """
import sys, time
start = time.process_time()  # which other processes do not lengthen
import recurra
model = recurra.load(sys.argv[1])
import numpy as np
model.session().step(np.zeros(model.input_size, np.float32))
took = time.process_time() - start
heavy = {"torch", "sympy", "pandas", "keras", "networkx", "llvmlite", "matplotlib"} & set(sys.modules)
from helpers import peak_mib
print(took, peak_mib(), *heavy)
"""


def test_loading_is_light(tmp_path) -> None:
    save_model(MODEL, tmp_path / "m.recurra")
    runs = [printed(LIGHT, tmp_path / "m.recurra").split() for _ in range(3)]
    assert all(len(run) == 2 for run in runs), runs
    assert min(float(took) for took, _ in runs) < 0.6  # seconds of CPU; measured 0.15
    assert min(float(peak) for _, peak in runs) < 60


def test_a_cell_of_ones_own_needs_no_sympy(tmp_path) -> None:
    """Neither when it is compiled first nor from the cache."""
    own = cells.from_text("def own(x, h):\n    'tests'\n    return tanh(x.n + 0.5 * h.n)\n")
    weights = random_weights(own, 2, 5, rng=generator("own"), dtype=F)
    save_model(Model([Recurrent(own, [weights])]), tmp_path / "m.recurra")
    for _ in range(2):
        heavy = printed(LIGHT, tmp_path / "m.recurra", RECURRA_CACHE=str(tmp_path / "cache")).split()[2:]
        assert set(heavy) <= {"llvmlite"}
    assert len(list((tmp_path / "cache").glob("*.o"))) == 1
