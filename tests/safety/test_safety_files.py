"""What a file says is checked: no flipped bit goes on in silence, and no small file costs minutes or gigabytes."""

from __future__ import annotations

import json
import struct
import time

import numpy as np
import pytest

from helpers import generator
from recurra import cells
from recurra.errors import CheckpointError, ModelFileError
from recurra.runtime import Linear, Model, Recurrent, load
from recurra.train import Settings, train
from recurra.weights import Weights
from safety.files import manifest, packed, recurrent

TRANSFORM = {"task": "forecast", "clock": {"kind": "time"}, "scale": 1.25, "quantiles": [0.1, 0.5]}


def test_every_flipped_bit_of_a_model_file_is_seen(tmp_path) -> None:
    path = tmp_path / "m.recurra"
    Model([Linear(np.ones((1, 2), np.float32))], preprocessing=TRANSFORM, card={"data": "a table"}).save(path)
    content, good = path.read_bytes(), load(path)
    for bit in generator("bits").choice(8 * len(content), 300, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            read = load(path)
        except ModelFileError:
            continue
        assert (read.preprocessing, read.card, read.fingerprint) == (good.preprocessing, good.card, good.fingerprint)


def test_a_file_without_a_checksum_is_read(tmp_path) -> None:
    path = tmp_path / "m.recurra"
    Model([Linear(np.ones((1, 2), np.float32))], preprocessing=TRANSFORM).save(path)
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    said = json.loads(header["__metadata__"]["recurra"])
    assert said.pop("checksum")
    header["__metadata__"]["recurra"] = json.dumps(said)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    assert load(path).preprocessing == TRANSFORM


def balanced(terms: list[str]) -> str:
    while len(terms) > 1:
        pairs = [f"({a}+{b})" for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) - len(terms) % 2 :]
    return terms[0]


def comparisons(count: int) -> str:
    lines = ["    e0 = x.n + h.n"]
    for i in range(1, count):
        lines += [f"    c{i} = e{i - 1} > {i}", f"    e{i} = where(c{i}, h, 1) + where(c{i}, 2, h)"]
    return "def f(x, h):\n" + "\n".join(lines) + f"\n    return e{count - 1}\n"


ONE = "def f(x, h):\n    return "
COSTLY = {
    "doubled tuples": recurrent("def f(x, h):\n    a = (h, h)\n" + "    a = a + a\n" * 40 + "    return x.n + h.n\n"),
    "shared comparisons": recurrent(comparisons(24), H=1),
    "thousands of gates": recurrent(ONE + balanced([f"x.a{i}" for i in range(3000)]), H=1, of_x=3000, of_h=0),
    "many functions": recurrent(ONE + balanced([f"tanh(h+{i})" for i in range(1000)]) + "+x.n", H=1, of_h=0),
    "many operations": recurrent(ONE + balanced([f"h*{i}" for i in range(3000)]) + "+x.n", H=1, of_h=0),
    "powers of powers": recurrent(
        "def f(x, h):\n    a = h\n" + "    a = a**64\n" * 60 + "    return a + x.n\n", H=1, of_h=0
    ),
}
NAMES = ("W", "U", "b", "c_")
COSTLY["many cells"] = (
    {f"layers.{i}.{n}": np.zeros((1,) * (2 if n in "WU" else 1)) for i in range(300) for n in NAMES},
    [{"kind": "recurrent", "cell": f"{ONE}tanh(x.n + h.n + {i}.25)\n"} for i in range(300)],
)
WRONG = {
    "x for a number": recurrent(ONE + "maximum(x.n, x)\n", of_h=0),
    "a tuple for a number": recurrent(ONE + "maximum(x.n, (h, h))\n", of_h=0),
    "a word for a number": recurrent(ONE + "maximum(x.n, tanh)\n", of_h=0),
    "a tuple as a power": recurrent(ONE + "(h, h) ** 2\n", of_h=0),
    "a negative tuple": recurrent(ONE + "-(h, h)\n", of_h=0),
    "a projected state as another": recurrent("def f(x, h, c):\n    return product(sigmoid(x.o + h.o)).h, h\n", 5, P=2),
    "a projection twice": recurrent(
        "def f(x, h, c):\n    p = product(sigmoid(x.o + h.o)).h\n    return p, p\n", 5, P=2
    ),
}


@pytest.mark.parametrize("name", [*COSTLY, *WRONG])
def test_a_file_that_costs_much_or_means_nothing_is_refused_at_once(name, tmp_path) -> None:
    tensors, layers = (COSTLY | WRONG)[name]
    path = tmp_path / "m.recurra"
    path.write_bytes(packed(tensors, manifest(layers)))
    began = time.process_time()
    with pytest.raises(ModelFileError):
        load(path)
    assert time.process_time() - began < 6


def test_wide_layers_need_little_scratch_memory() -> None:
    """Two million units would have needed gigabytes for 192 steps at once; the bits are those of single steps."""
    rng = generator("wide")
    wide = Linear(rng.normal(size=(400_000, 1)).astype(np.float32))
    model = Model([wide, Linear(rng.normal(size=(1, 400_000)).astype(np.float32) / 400)])
    w = Weights.random(cells.indrnn, 1, 50_000, rng=rng)
    for one in (model, Model([Recurrent(cells.indrnn, [w])])):
        x = rng.normal(size=(30, 1)).astype(np.float32)
        session = one.session()
        np.testing.assert_array_equal(one.run(x), [session.step(row) for row in x])


def trained(path, resume):
    import torch

    torch.manual_seed(0)
    layer, x = torch.nn.Linear(2, 1), torch.linspace(-1, 1, 20)[:, None].repeat(1, 2)
    error = lambda _=None: (layer(x) - 3 * x[:, :1]).square().mean()  # noqa: E731
    settings = Settings(epochs=4, warm_up=2)
    validate = lambda: {"valid_error": error().item()}  # noqa: E731
    train(layer, lambda _: range(3), error, validate, settings, updates=3, checkpoint=path, resume=resume)
    return layer.weight.tolist()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> tuple[bytes, list]:
    """After the second epoch of four, and the weights at the end."""
    import recurra.train as module

    path, kept, real = tmp_path_factory.mktemp("c") / "c", [], module.write_atomically
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "write_atomically", lambda p, c: (kept.append(c), real(p, c)))
        weights = trained(path, False)
    return kept[1], weights


def test_a_flipped_bit_of_a_checkpoint_is_seen(checkpoint, tmp_path) -> None:
    content, weights = checkpoint
    path = tmp_path / "c"
    for bit in [None, *generator("checkpoint").choice(8 * len(content), 150, replace=False)]:
        changed = bytearray(content)
        if bit is not None:
            changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert trained(path, True) == weights
        except CheckpointError:
            assert bit is not None


WRONG_HISTORIES = ({"epochs": 5}, {"epochs": [[]]}, {"best_epoch": "a"}, {"best_epoch": 99}, {"ended": "x"}, {"new": 1})


@pytest.mark.parametrize("change", [*WRONG_HISTORIES, {"best_error": None}])
def test_a_checkpoint_that_means_nothing_is_refused(change, checkpoint, tmp_path) -> None:
    content, _ = checkpoint
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    said = json.loads(header["__metadata__"]["recurra-training"])
    del said["checksum"]
    said["history"] |= change
    header["__metadata__"]["recurra-training"] = json.dumps(said)
    text = json.dumps(header).encode()
    (tmp_path / "c").write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    with pytest.raises(CheckpointError):
        trained(tmp_path / "c", True)
