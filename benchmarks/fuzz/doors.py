"""The doors: what is let in, how it is mutated, and what is done with it there.

Whoever enters gets what he asked for or an error of recurra, within bounded time; anything else is a finding.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import recurra
from benchmarks.fuzz import mutate
from recurra.cells.text import parse
from recurra.runtime.sealed import seal, unseal

Mutate = Callable[[bytes, mutate.Rng], bytes]
NOBODY = bytes(32)


@dataclass(frozen=True)
class Door:
    """One way in.

    Attributes:
        name: of it.
        seeds: what is right.
        mutate: how it is made wrong.
        enter: take it; raises whatever is raised.
        share: of a thousand mutations; what is dear has less.
    """

    name: str
    seeds: list[bytes]
    mutate: Mutate
    enter: Callable[[bytes], object]
    share: int


def doors(folder: Path) -> list[Door]:
    """All of them; files are written in a folder."""
    trained = _trained(folder)
    return [
        *_model_files(folder, trained),
        *_states(folder, trained),
        *_onnx(folder),
        *_conversions(folder),
        *_texts(folder, trained),
        *_images(folder),
        *_keras(folder),
    ]


def _trained(folder: Path) -> dict[str, tuple[Path, list[Any]]]:
    """A model file of each kind of transform, and rows for its live session."""
    hours = np.datetime64("2025-01-01T00", "s") + np.arange(200) * np.timedelta64(3600, "s")
    table = {"time": hours, "y": np.sin(np.arange(200) / 4) + 5, "warm": np.cos(np.arange(200) / 9)}
    forecaster = recurra.Forecaster(horizon=3, hidden=4, epochs=1, seasons=(24,))
    forecaster.fit(table, "y", time="time", known_ahead="warm", evaluate=False).save(folder / "forecast")
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(int(n), 2)) for n in rng.integers(3, 9, 30)]
    how = {"hidden": 4, "epochs": 1, "refit": False}
    recurra.Classifier(**how).fit(sequences, [i % 2 for i in range(30)], evaluate=False).save(folder / "classify")
    recurra.Regressor(**how).fit(sequences, rng.normal(size=30), evaluate=False).save(folder / "regress")
    rows = [{"time": f"2026-01-01T0{h}:00", "y": 5.0 + h, "warm": 0.5} for h in range(3)]
    of = {"forecast": rows, "classify": [[1.0, 2.0], [0.5, None]], "regress": [[1.0, 2.0]]}
    return {name: (folder / name, rows) for name, rows in of.items()}


def _at(path: Path, call: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A call that takes the path of a file."""

    def enter(content: bytes) -> object:
        path.write_bytes(content)
        return call(path)

    return enter


def _model_files(folder: Path, trained: dict[str, tuple[Path, list[Any]]]) -> list[Door]:
    found = [
        Door("model file", [p.read_bytes() for p, _ in trained.values()], mutate.of_bytes, _at(folder / "m", _run), 120)
    ]
    for name, (path, rows) in trained.items():
        enter = _at(folder / f"{name}.m", lambda path, rows=rows: _live(path, rows))
        found.append(Door(f"manifest, {name}", [path.read_bytes()], mutate.of_manifest, enter, 3))
    return found


def _run(path: Path) -> None:
    model = recurra.load(path)
    model.session().step(np.zeros(model.input_size, np.float32))


def _live(path: Path, rows: list[Any]) -> None:
    estimator = recurra.open_model(path)
    live = estimator.live()
    for row in rows:
        answer = live.step(row)
        if answer is not None:
            json.dumps(live.to_dict(answer))
            live.cells(answer)
    live.restore(live.snapshot())
    if isinstance(rows[0], dict):
        estimator.predict({name: [row[name] for row in rows] for name in rows[0]})
    else:
        estimator.predict([np.array([[1.0, np.nan]] * 3)])


def _states(folder: Path, trained: dict[str, tuple[Path, list[Any]]]) -> list[Door]:
    """Snapshots of sessions and live estimators, and the journal of a stream: as bytes, and sealed anew."""
    from recurra.serve.stream import stream
    from recurra.tasks.opening import open_live

    found = []
    for name, (path, rows) in trained.items():
        model = recurra.load(path)
        live = open_live(model)
        live.step(rows[0])
        snapshot = live.snapshot()

        def enter(content: bytes, model: Any = model, rows: list[Any] = rows) -> None:
            live = open_live(model)
            live.restore(content)
            live.step(rows[-1])
            live.snapshot()

        kind, owner = snapshot[:4], snapshot[10:42]
        share = {"forecast": 20, "classify": 100, "regress": 150}[name]
        found.append(Door(f"snapshot, {name}", [snapshot], _sealed(kind, owner), enter, share))
    forecaster = recurra.load(trained["forecast"][0])
    lines = [f"2026-01-01 0{h}:00,{h}.5,1\n" for h in range(4)]
    path = folder / "journal"
    stream(open_live(forecaster), ["time,y,warm\n", *lines[:2]], io.StringIO(), io.StringIO(), snapshot=path)
    right = path.read_bytes()

    def go_on(path: Path) -> None:
        stream(open_live(forecaster), lines[2:], io.StringIO(), io.StringIO(), snapshot=path)

    found.append(Door("journal", [right], _sealed(b"RcrL", NOBODY), _at(path, go_on), 12))
    begun = {"forecast": ("time,y,warm\n" + "".join(lines), 10), "classify": ("[1, 2]\n[0.5, null]\n\n[3, 4]\n", 100)}
    begun |= {"regress": ('{"x0": 1, "x1": 2}\n', 230)}
    for name, (text, share) in begun.items():
        model = recurra.load(trained[name][0])

        def take(content: bytes, model: Any = model) -> None:
            stream(open_live(model), content.splitlines(True), io.StringIO(), io.StringIO())

        found.append(Door(f"lines, {name}", [text.encode()], mutate.of_text, take, share))
    return found


def _sealed(kind: bytes, owner: bytes) -> Mutate:
    """What is sealed, changed within and sealed again, as anyone can; or its bytes."""

    def change(content: bytes, rng: mutate.Rng) -> bytes:
        if rng.integers(4) == 0:
            return mutate.of_bytes(content, rng)
        about, payload = unseal(content, kind, owner)
        if about and rng.integers(2):
            mutate.of_json(about, rng)
            for key in {"kind", "owner", "payload"} & set(about):
                del about[key]
        else:
            payload = mutate.of_bytes(payload, rng)
        return seal(kind, owner, payload, **about)

    return change


def _onnx(folder: Path) -> list[Door]:
    from onnx import helper, numpy_helper

    from recurra import cells, onnx, runtime
    from recurra.onnx.graph import read
    from recurra.weights import Weights

    rng, seeds = np.random.default_rng(1), []
    for cell in (cells.gru, cells.lstm):
        weights = [Weights.random(cell, 2, 3, rng=rng)]
        layers = [runtime.Recurrent(cell, weights), runtime.Linear(rng.normal(size=(2, 3)).astype("f4"))]
        onnx.export(runtime.Model(layers), folder / "seed.onnx")
        seeds.append((folder / "seed.onnx").read_bytes())
    node = helper.make_node
    arrays = {"W": rng.normal(size=(2, 12, 2)), "R": rng.normal(size=(2, 12, 3)), "K": rng.normal(size=(4, 6, 3))}
    given = [numpy_helper.from_array(a.astype("f4"), n) for n, a in arrays.items()]
    given += [numpy_helper.from_array(np.array(v), n) for n, v in {"shape": [0, 0, -1], "r": [1, 2, 1]}.items()]
    nodes = [
        node("LSTM", ["x", "W", "R"], ["y", "h"], hidden_size=3, direction="bidirectional"),
        node("Transpose", ["y"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "shape"], ["f"]),
        node("Transpose", ["f"], ["n"], perm=[1, 2, 0]),
        node("Conv", ["n", "K"], ["c"], pads=[2, 0], dilations=[1]),
        node("Softmax", ["c"], ["s"], axis=1),
        node("Tile", ["s", "r"], ["z"]),
        node("Slice", ["z", "b", "e"], ["o"]),
    ]
    given += [numpy_helper.from_array(np.array(v), n) for n, v in {"b": [0], "e": [9]}.items()]
    places = [helper.make_tensor_value_info("x", 1, ["T", 1, 2]), helper.make_tensor_value_info("o", 1, None)]
    graph = helper.make_graph(nodes, "g", places[:1], places[1:], given)
    opset = [helper.make_opsetid("", 17)]
    seeds.append(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    outputs = [helper.make_tensor_value_info("f", 1, None)]
    graph = helper.make_graph(nodes[:3], "g", places[:1], outputs, given)
    chain = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    x = rng.normal(size=(4, 1, 2)).astype("f4")

    states = {n: np.zeros((1, 3), "f4") for n in ("layers.0.h", "layers.0.c")}

    def run(content: bytes) -> None:
        named = {place.name for place in read(content).inputs}
        onnx.run(content, {"x": x} | {n: a for n, a in states.items() if n in named})

    def live(content: bytes) -> None:
        session = onnx.LiveGraph(content)
        session.step(x[:1])
        session.restore(session.snapshot())

    return [
        Door("onnx.run", seeds, mutate.of_graph, run, 15),
        Door("from_onnx", [*seeds[:2], chain], mutate.of_graph, onnx.from_onnx, 12),
        Door("LiveGraph", seeds[:2], mutate.of_graph, live, 8),
    ]


def _conversions(folder: Path) -> list[Door]:
    """Weights with a description, as safetensors and as JSON, and networks in Keras' JSON."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(2)
    shapes = {"e.weight_ih_l0": (9, 2), "e.weight_hh_l0": (9, 3), "e.bias_ih_l0": (9,), "e.bias_hh_l0": (9,)}
    shapes |= {"c.weight": (3, 3, 2), "c.bias": (3,), "n.weight": (3,), "n.bias": (3,), "h.weight": (1, 3)}
    tensors = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    layers = [{"kind": "gru", "name": "e"}, {"kind": "activation", "function": "leaky_relu", "slope": 0.1}]
    layers += [{"kind": "conv1d", "name": "c"}, {"kind": "layer_norm", "name": "n"}, {"kind": "linear", "name": "h"}]
    description = json.dumps({"layers": layers})
    save_file(tensors, folder / "seed.safetensors", metadata={"description": description})
    safetensors = (folder / "seed.safetensors").read_bytes()
    state = json.dumps({name: a.tolist() for name, a in tensors.items()}).encode()
    dense = {"type": "dense", "activation": "tanh", "shape": [None, 1], "weights": [[[1.0], [2.0]], [0.5]]}
    network = json.dumps({"in_shape": [None, 2], "layers": [dense, dense | {"weights": [[[1.0]], [0.0]]}]}).encode()
    (folder / "w.json").write_bytes(state)
    (folder / "state.description.json").write_text(description)

    def describe(path: Path) -> None:
        recurra.convert(folder / "w.json", folder / "out", description=path)

    def convert(path: Path) -> None:
        recurra.convert(path, folder / "out")

    def both(content: bytes, rng: mutate.Rng) -> bytes:
        return (mutate.of_bytes if rng.integers(2) else _of_description)(content, rng)

    return [
        Door("convert, safetensors", [safetensors], both, _at(folder / "w.safetensors", convert), 3),
        Door("convert, JSON", [state], mutate.of_json_text, _at(folder / "state.json", convert), 3),
        Door("convert, network", [network], mutate.of_json_text, _at(folder / "network.json", convert), 3),
        Door("convert, description", [description.encode()], mutate.of_json_text, _at(folder / "d.json", describe), 3),
    ]


def _of_description(content: bytes, rng: mutate.Rng) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    told = header["__metadata__"]["description"].encode()
    if rng.integers(2):
        mutate.of_json(header, rng)
    else:
        header["__metadata__"]["description"] = mutate.of_json_text(told, rng).decode(errors="replace")
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


CELLS = [
    b"def f(x, h):\n    z = sigmoid(x.z + h.z)\n    return z * h + (1 - z) * tanh(x.n + h.n)\n",
    b"def f(x, h, c, *, p):\n    a = x.a + p * c\n    b = maximum(c, 0.5) ** 2\n    n = where(a > b, a, -b)\n"
    b"    return product(sigmoid(n + h.b)).h, n\n",
]
TABLES = [
    b"time,y,kind\n" + b"".join(b"2025-01-%02d 00:00,%d.5,a\n" % (d, d) for d in range(1, 20)),
    b"date;y\n" + b"".join(b"%d/1/2025 5:00 PM;%d,5\n" % (d, d) for d in range(1, 20)),
    b"# a comment\nwhen\ty\n" + b"".join(b"%d\t%d\n" % (1735689600 + 3600 * d, d) for d in range(12)) + b"-\t?\n",
]
TIMES = ["2025-01-01 05:00|2025-01-01 06:00|2025-01-01 08:00", "20/1/2023 05:00|20/1/2023 06:00|20/1/2023 07:00"]
TIMES += [
    "Jan-20|Feb-20|Mar-20",
    "2023W07|2023W08|2023W09",
    "2023Q1|2023Q2|2023Q3",
    "1 March 2024 3 PM|2 March 2024 3 PM",
]
TIMES += ["2023-01-01T00:00:00.123+02:00|2023-01-01T01:00:00.123+02:00", "20230101T10|20230101T11", "1|2|4"]
TIMES += ["2023-060|2023-061", "Mon 03 Feb 2025 23:00|Mon 03 Feb 2025 24:00", "01.01.2023 00:00|01.01.2023 01:00"]


def _texts(folder: Path, trained: dict[str, tuple[Path, list[Any]]]) -> list[Door]:
    """Tables, times and the text of cells."""
    from recurra.data.forecasting.series import series_of
    from recurra.data.readers import read_table
    from recurra.data.table import as_table

    def table(path: Path) -> None:
        found = read_table(path)
        series_of(found, [*found.columns, "y"][1])

    def cell(content: bytes) -> None:
        text = content.decode(errors="surrogateescape")
        parse(text)
        found = recurra.cells.from_text(text)
        recurra.cells.from_text(found.text)

    def times(content: bytes) -> None:
        texts = content.decode(errors="replace").split("|")
        columns = {"time": np.array(texts, object), "y": np.arange(float(len(texts)))}
        series_of(as_table(columns), "y", time="time")

    seeds = [t.encode() for t in TIMES]
    found = [
        Door("table, CSV", TABLES, mutate.of_text, _at(folder / "t.csv", table), 15),
        Door("times", seeds, mutate.of_text, times, 130),
        Door("cell text", CELLS, mutate.of_text, cell, 80),
    ]
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"time": pa.array(np.arange(20) * 3_600_000_000, pa.timestamp("us")), "y": np.arange(20.0)}
    pq.write_table(pa.table(columns), folder / "seed.parquet")
    parquet = (folder / "seed.parquet").read_bytes()
    return [*found, Door("table, Parquet", [parquet], mutate.of_bytes, _at(folder / "t.parquet", table), 5)]


def _images(folder: Path) -> list[Door]:
    from PIL import Image

    from recurra.data.images import read_captioned, read_picture
    from recurra.data.images.frames import frames

    seeds = []
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        content = io.BytesIO()
        Image.fromarray(picture).save(content, kind)
        seeds.append(content.getvalue())
    (folder / "a.png").write_bytes(seeds[0])
    captions = [b"a.png#0\ta dog\na.png#1\tit runs\n", b'image,caption\na.png,"a dog"\na.png,it runs\n']

    def of_stream(content: bytes) -> None:
        for frame in frames(io.BytesIO(content)):
            read_picture(frame, 8)

    return [
        Door("image", seeds, mutate.of_bytes, lambda content: read_picture(content, 8), 60),
        Door("frames", [2 * seeds[1]], mutate.of_bytes, of_stream, 10),
        Door("captions", captions, mutate.of_text, _at(folder / "captions.txt", read_captioned), 15),
    ]


def _keras(folder: Path) -> list[Door]:
    """The archive of a Keras model, whose configuration says something else."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((None, 2)), layers.GRU(3, return_sequences=True), layers.LSTM(2), layers.Dense(1, "tanh")]
    )
    model.save(folder / "seed.keras")

    def change(content: bytes, rng: mutate.Rng) -> bytes:
        if rng.integers(4) == 0:
            return mutate.of_bytes(content, rng)
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                new.writestr(name, mutate.of_json_text(data, rng) if name == "config.json" else data)
        return out.getvalue()

    def convert(path: Path) -> None:
        recurra.convert(path, folder / "out")

    return [Door("Keras", [(folder / "seed.keras").read_bytes()], change, _at(folder / "k.keras", convert), 3)]
