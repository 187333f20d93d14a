"""Any cell in Keras, files, and models of the runtime: run by test_keras_backends.py, once for each backend."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from common import BACKEND, assert_same, randomize, values_and_gradients
from keras import layers as theirs
from keras import ops

import recurra
import recurra.keras as ours
from helpers import ALL_CELLS, generator, random_weights
from recurra import cells, reference, runtime
from recurra.cells import Cell
from recurra.errors import ConversionError, ExportError, ShapeError
from recurra.weights import Weights

B, T, I, H, P = 3, 6, 2, 5, 4


def projection(cell: Cell) -> int | None:
    return None if cell.projection is None else P


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_any_cell_is_a_layer(cell: Cell) -> None:
    layer = ours.Recurrent(cell, H, projection(cell), return_sequences=True, return_state=True)
    layer.build((B, T, I))
    randomize(layer, generator(cell.name))
    x = generator("x", cell.name).normal(size=(B, T, I)).astype("float32")
    arrays = {n: ops.convert_to_numpy(a) for n, a in layer.cell.arrays(ops.convert_to_tensor(x), I).items()}
    run = reference.forward(cell, Weights.of(cell, arrays), x.swapaxes(0, 1))
    got = [ops.convert_to_numpy(a) for a in layer(ops.convert_to_tensor(x))]
    assert_same(got, [run.output.swapaxes(0, 1), *run.state])


@pytest.mark.parametrize("name", ["lstm_peephole", "minlstm", "lstm_projected"])
def test_its_equations_in_keras_operations(name: str) -> None:
    cell = cells.get(name)
    layer = ours.Recurrent(cell, H, projection(cell), return_sequences=True)
    layer.build((B, T, I))
    randomize(layer, generator(name))
    x = generator("x", name).normal(size=(B, T, I)).astype("float32")
    mask = ops.convert_to_tensor(generator("mask", name).random((B, T)) > 0.3)
    stock = theirs.RNN(layer.cell, return_sequences=True)
    stock.build((B, T, I))
    assert_same(values_and_gradients(layer, x, mask=mask), values_and_gradients(stock, x, mask=mask))


def test_a_cell_of_your_own_comes_back_from_a_file(tmp_path: Path) -> None:
    @cells.cell(source="this test")
    def leaky(x: object, h: object, *, a: object) -> object:
        return cells.sigmoid(a) * h + (1 - cells.sigmoid(a)) * cells.tanh(x.n + h.n)  # type: ignore[attr-defined]

    model = keras.Sequential([keras.Input((None, I)), theirs.Bidirectional(ours.Recurrent(leaky, H)), theirs.Dense(1)])
    randomize(model, generator("leaky"))
    model.save(tmp_path / "leaky.keras")
    again = keras.saving.load_model(tmp_path / "leaky.keras")
    x = generator("x").normal(size=(B, T, I)).astype("float32")
    assert (model.predict(x, verbose=0) == again.predict(x, verbose=0)).all()
    assert again.layers[0].forward_layer.cell.cell == leaky


def test_what_recurrent_refuses() -> None:
    with pytest.raises(ShapeError, match=r"Recurrent\(gru\): `units` is missing"):
        ours.Recurrent("gru")
    with pytest.raises(ShapeError, match="projection_size just where the cell projects: it has no projection"):
        ours.Recurrent("gru", H, P)


# What is read are layers and weights, whatever computes them; JAX compiles each for long.
of_one_backend = pytest.mark.skipif(BACKEND == "jax", reason="read alike from every backend: torch has them all")


def network(place: object) -> keras.Sequential:
    model = keras.Sequential(
        [
            keras.Input((None, I)),
            place.LSTM(H, return_sequences=True),  # type: ignore[attr-defined]
            theirs.LayerNormalization(),
            theirs.Bidirectional(place.GRU(4, return_sequences=True, reset_after=False)),  # type: ignore[attr-defined]
            theirs.Dropout(0.3),
            theirs.TimeDistributed(theirs.Dense(3, activation="tanh")),
            place.SimpleRNN(4, activation="elu", use_bias=False),  # type: ignore[attr-defined]
            theirs.Dense(2, activation="softmax"),
        ]
    )
    return randomize(model, generator("network"))


def test_files_go_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = generator("files").normal(size=(B, T, I)).astype("float32")
    wanted = network(theirs).predict(x, verbose=0)
    network(theirs).save(tmp_path / "theirs.keras")
    network(ours).save(tmp_path / "ours.keras")
    mine = ours.load_model(tmp_path / "theirs.keras")
    assert [type(mine.layers[k]) for k in (0, 5)] == [ours.LSTM, ours.SimpleRNN]
    assert type(mine.layers[2].forward_layer) is type(mine.layers[2].backward_layer) is ours.GRU
    assert type(keras.saving.load_model(tmp_path / "ours.keras").layers[0]) is ours.LSTM
    from keras.src.saving.object_registration import GLOBAL_CUSTOM_OBJECTS

    for name in ("SimpleRNN", "LSTM", "GRU"):  # as in a process without Recurra
        monkeypatch.delitem(GLOBAL_CUSTOM_OBJECTS, name)
    plain = keras.saving.load_model(tmp_path / "ours.keras")
    assert type(plain.layers[0]) is theirs.LSTM
    assert_same([m.predict(x, verbose=0) for m in (mine, plain)], [wanted, wanted])


def test_layers_are_replaced_in_place() -> None:
    model = network(theirs)
    layer = model.layers[0]
    assert sorted(ours.convert(model).values()) == ["GRU", "GRU", "LSTM", "SimpleRNN"]
    assert model.layers[0] is layer
    assert type(layer) is ours.LSTM
    assert ours.convert(model) == {}

    class Mine(theirs.LSTM):  # type: ignore[misc]
        pass

    assert ours.convert(Mine(3)) == {}


@of_one_backend
@pytest.mark.parametrize("place", [theirs, ours], ids=["theirs", "ours"])
def test_to_the_runtime_and_back(place: object, tmp_path: Path) -> None:
    model = network(place)
    model.save(tmp_path / "model.keras")
    made = ours.from_keras(tmp_path / "model.keras")
    assert made.fingerprint == ours.from_keras(model).fingerprint
    assert made.parity["keras_difference"] < 1e-6
    assert made.parity["output"] == "last step"
    x = generator("runtime").normal(size=(B, T, I)).astype("float32")
    wanted = made.run(np.ascontiguousarray(x.swapaxes(0, 1)))
    assert_same([wanted[-1]], [model.predict(x, verbose=0)])
    for stock in (False, True):
        back = ours.to_keras(made, stock=stock)
        assert_same([back.predict(x, verbose=0).swapaxes(0, 1)], [wanted])
        assert type(back.layers[0]) is (theirs.LSTM if stock else ours.LSTM)


@of_one_backend
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_every_cell_goes_to_keras_and_back(cell: Cell) -> None:
    weights = random_weights(cell, I, H, projection(cell), rng=generator(cell.name), dtype=np.float32)
    model = runtime.Model([runtime.Recurrent(cell, [weights])])
    made = ours.to_keras(model)
    assert ours.from_keras(made).ops[0].cell.fingerprint == cell.fingerprint
    stock = {"rnn": "SimpleRNN", "rnn_relu": "SimpleRNN", "lstm": "LSTM", "gru": "GRU", "gru_reset_before": "GRU"}
    assert type(made.layers[0]).__name__ == stock.get(cell.name, "Recurrent")
    if cell.name not in stock:
        with pytest.raises(ExportError, match=f"layer 0 is a {cell.name}, which Keras does not have"):
            ours.to_keras(model, stock=True)


EVERYDAY = {
    "GaussianNoise": lambda: [theirs.GaussianNoise(0.1), theirs.GaussianDropout(0.1), theirs.LSTM(H)],
    "BatchNormalization": lambda: [theirs.LSTM(H, return_sequences=True), theirs.BatchNormalization()],
    "BatchNormalization alone": lambda: [theirs.BatchNormalization(scale=False, center=False), theirs.LSTM(H)],
    "Rescaling": lambda: [theirs.Rescaling([0.5, 2.0], offset=[1.0, -3.0]), theirs.LSTM(H)],
    "Normalization": lambda: [theirs.Normalization(mean=[1.0, 2], variance=[4.0, 9]), theirs.LSTM(H)],
    "Normalization back": lambda: [theirs.GRU(I), theirs.Normalization(mean=1.0, variance=4.0, invert=True)],
    "Conv1D": lambda: [theirs.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"), theirs.LSTM(H)],
    "Conv1D, strided": lambda: [theirs.Conv1D(6, 3, padding="causal", strides=2), theirs.LSTM(H)],
    "Bidirectional, last": lambda: [theirs.Bidirectional(theirs.LSTM(H))],
    "Bidirectional, sum": lambda: [theirs.Bidirectional(theirs.GRU(H, return_sequences=True), merge_mode="sum")],
    "Bidirectional, ave": lambda: [theirs.Bidirectional(theirs.GRU(H, reset_after=False), merge_mode="ave")],
    "RNN(LSTMCell)": lambda: [theirs.RNN(theirs.LSTMCell(H))],
    "RNN of cells": lambda: [theirs.RNN([theirs.GRUCell(H), theirs.SimpleRNNCell(4, activation="relu")])],
    "Bidirectional RNN": lambda: [theirs.Bidirectional(theirs.RNN(theirs.SimpleRNNCell(H)))],
    "GlobalAveragePooling1D": lambda: [theirs.LSTM(H, return_sequences=True), theirs.GlobalAveragePooling1D()],
    "GlobalMaxPooling1D": lambda: [theirs.LSTM(H, return_sequences=True), theirs.GlobalMaxPooling1D()],
    "Bidirectional, mul": lambda: [theirs.Bidirectional(theirs.GRU(H, return_sequences=True), merge_mode="mul")],
    "PReLU": lambda: [theirs.LSTM(H, return_sequences=True), theirs.PReLU(shared_axes=[1])],
    "selu": lambda: [theirs.LSTM(H), theirs.Dense(4, activation="selu")],
    "elu": lambda: [theirs.LSTM(H), theirs.ELU(0.5), theirs.ReLU(max_value=0.3, negative_slope=0.2, threshold=0.1)],
}


@of_one_backend
@pytest.mark.parametrize("kind", EVERYDAY)
def test_everyday_layers_go_to_the_runtime(kind: str) -> None:
    model = randomize(keras.Sequential([keras.Input((None, I)), *EVERYDAY[kind](), theirs.Dense(2)]), generator(kind))
    for layer in model.layers:
        if isinstance(layer, theirs.BatchNormalization):
            layer.moving_variance.assign(abs(ops.convert_to_numpy(layer.moving_variance)) + 0.2)
    made = ours.from_keras(model)
    x = generator("everyday", kind).normal(size=(B, 7, I)).astype("float32")
    wanted = model.predict(x, verbose=0)
    got = made.run(np.ascontiguousarray(x.swapaxes(0, 1)))
    assert_same([got[-1] if wanted.ndim == 2 else got.swapaxes(0, 1)], [wanted])


@of_one_backend
def test_what_the_runtime_has_goes_to_keras_and_back() -> None:
    rng = generator("rows")
    W, scale = rng.normal(size=(4, 3, I)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    for dilation, stride in ((1, 2), (2, 1)):
        model = runtime.Model([runtime.Convolution(W, scale, dilation, stride), runtime.Affine(scale, scale + 1)])
        assert ours.from_keras(ours.to_keras(model)).fingerprint == model.fingerprint
    with pytest.raises(ExportError, match="has stride 2 and dilation 2: Keras takes one"):
        ours.to_keras(runtime.Model([runtime.Convolution(W, scale, 2, 2)]))


@of_one_backend
@pytest.mark.parametrize("rows", [1, 4])
def test_a_stateful_model_of_a_fixed_batch(rows: int, tmp_path: Path) -> None:
    layers = [theirs.LSTM(H, stateful=True, return_sequences=True), theirs.GRU(4, stateful=True)]
    model = randomize(keras.Sequential([keras.Input(batch_shape=(rows, None, I)), *layers]), generator("stateful"))
    x = generator("x", rows).normal(size=(rows, 5, I)).astype("float32")
    first, then = (ops.convert_to_numpy(model(x)) for _ in range(2))
    for layer in layers:
        layer.reset_state()
    again = ops.convert_to_numpy(model(x))
    done = recurra.convert(model, tmp_path / "stateful.recurra")  # in the middle of its stream
    assert_same([again, ops.convert_to_numpy(model(x))], [first, then])
    session = done.model.session(batch=rows)
    steps = np.ascontiguousarray(x.swapaxes(0, 1))
    assert_same([session.run(steps)[-1], session.run(steps)[-1]], [first, then])


@of_one_backend
def test_mixed_precision_is_held_against_float32() -> None:
    policy = keras.mixed_precision.Policy("mixed_bfloat16")
    layers = [theirs.LSTM(H, dtype=policy), theirs.Dense(2, dtype=policy)]
    model = randomize(keras.Sequential([keras.Input((None, I)), *layers]), generator("mixed"))
    assert ours.from_keras(model).parity["keras_difference"] < 1e-6
    assert layers[0].dtype_policy.name == layers[0].cell.dtype_policy.name == "mixed_bfloat16"


@of_one_backend
@pytest.mark.parametrize("ids", [False, True])
def test_padding_is_not_fed_to_a_live_session(ids: bool) -> None:
    first = keras.Input((None,)) if ids else keras.Input((None, I))
    mask = theirs.Embedding(5, 3, mask_zero=True) if ids else theirs.Masking(-1.0)
    model = randomize(keras.Sequential([first, mask, theirs.GRU(H)]), generator("padded"))
    rng = generator("padding", ids)
    x = rng.integers(1, 5, (B, 6)) if ids else rng.normal(size=(B, 6, I)).astype("float32")
    x[:, 4:] = 0 if ids else -1
    got = ours.from_keras(model).run(np.ascontiguousarray(x[:, :4].swapaxes(0, 1)))
    assert_same([got[-1]], [model.predict(x, verbose=0)])


@of_one_backend
def test_files_of_keras_2(tmp_path: Path) -> None:
    import h5py

    model = network(theirs)
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:  # as TensorFlow's Keras 2 wrote it
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["time_major"] = False
        file.attrs["model_config"] = json.dumps(config)
    done = recurra.convert(tmp_path / "model.h5", tmp_path / "model.recurra")
    assert done.model.fingerprint == ours.from_keras(model).fingerprint


class Mine(theirs.GRU):  # type: ignore[misc]
    pass


@of_one_backend
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: theirs.Conv1D(3, 2), "has padding='valid', groups=1 and .* expected 'causal'"),
        (lambda: theirs.MaxPooling1D(), "is a MaxPooling1D, whose windows see later steps"),
        (lambda: theirs.PReLU(), r"slopes of the shape \(5, 3\), expected one for each feature: shared_axes"),
        (lambda: theirs.Dense(3, activation="glu"), "has the activation 'glu', expected softmax or one of elu"),
        (lambda: theirs.LSTM(3, activation="softmax"), "activation='softmax' has no word"),
        (lambda: theirs.GRU(3, go_backwards=True), "reads backwards, expected forwards"),
        (lambda: Mine(3), "is a Mine, which may change what it computes"),
        (lambda: theirs.BatchNormalization(axis=1), "normalizes axis 1, expected -1: the features"),
    ],
)
def test_what_the_runtime_lacks_is_named(layer: object, message: str) -> None:
    model = keras.Sequential([keras.Input((5, 3)), theirs.Dense(3), layer()])  # type: ignore[operator]
    with pytest.raises(ExportError, match=message):
        ours.from_keras(model)


def residual(x):
    y = theirs.LSTM(I, return_sequences=True)(x)
    return theirs.LayerNormalization()(theirs.Add()([x, theirs.Dropout(0.1)(y)]))


MERGING = {
    "Add": residual,
    "Add, twice": lambda x: residual(residual(x)),
    "Subtract": lambda x: theirs.Subtract()([theirs.GRU(4)(x), theirs.SimpleRNN(4)(x)]),
    "Multiply": lambda x: (lambda y: theirs.Multiply()([y, theirs.Dense(4, "sigmoid")(y)]))(theirs.GRU(4)(x)),
    "Concatenate": lambda x: theirs.Concatenate()([x, theirs.GRU(4, return_sequences=True)(x), x]),
    "a model within": lambda x: theirs.Add()([x, keras.Sequential([theirs.Dense(4), theirs.Dense(I)])(x)]),
}


@of_one_backend
@pytest.mark.parametrize("kind", MERGING)
def test_what_comes_of_one_input_is_put_together(kind: str) -> None:
    start = keras.Input((None, I))
    model = randomize(keras.Model(start, theirs.Dense(2)(MERGING[kind](start))), generator("merged", kind))
    made = ours.from_keras(model)
    assert made.parity["keras_difference"] < 1e-5
    assert any(op.kind == "branches" for op in made.ops)
    x = generator("x", kind).normal(size=(1, 9, I)).astype("float32")
    session = made.session()
    steps = np.stack([session.step(row) for row in x[0]])
    wanted = ops.convert_to_numpy(model(x))[0]
    assert_same([steps if wanted.ndim == 2 else steps[-1]], [wanted])


def test_what_cannot_be_put_together_is_refused() -> None:
    start, other = keras.Input((5, 3)), keras.Input((5, 3))
    with pytest.raises(ExportError, match="has 2 inputs, expected one"):
        ours.from_keras(keras.Model([start, other], theirs.Add()([start, other])))
    with pytest.raises(ExportError, match="takes 2 values, expected one, or one of the layers Add"):
        ours.from_keras(keras.Model(start, theirs.Dot(2)([start, theirs.Dense(3)(start)])))
    with pytest.raises(ExportError, match="joins axis 1, expected -1"):
        ours.from_keras(keras.Model(start, theirs.Concatenate(axis=1)([start, theirs.Dense(3)(start)])))


@of_one_backend
def test_what_computes_something_else_is_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(theirs)
    real = theirs.Dense.call
    monkeypatch.setattr(theirs.Dense, "call", lambda self, x, training=None: real(self, x) * 1.001)
    with pytest.raises(ConversionError, match=r"from Keras' own, expected at most 1e-05"):
        ours.from_keras(model)


def test_learned_states_are_refused() -> None:
    weights = random_weights(cells.gru, I, H, rng=generator("learned"), dtype=np.float32)
    model = runtime.Model([runtime.Recurrent(cells.gru, [weights], [[np.ones(H, np.float32)]])])
    with pytest.raises(ExportError, match="layer 0 begins with learned states, expected zeros, as"):
        ours.to_keras(model)


def test_the_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    import keras_regressor

    result = keras_regressor.main(batches=150)
    assert result.error < 0.3 * result.baseline
    assert result.reopened == 0
    assert result.backend.startswith("native")
    assert "always answering the mean" in capsys.readouterr().out


@of_one_backend
def test_tables_of_whole_numbers_become_keras_layers() -> None:
    rng = generator("tables")
    for tables in ((5, 4), (9, 9), (9,)):
        table = runtime.Embedding(rng.normal(size=(9, 3)).astype(np.float32), tables)
        model = runtime.Model([table, runtime.Linear(rng.normal(size=(2, 3 * len(tables))).astype(np.float32))])
        made = ours.to_keras(model)  # which compares the two
        assert "Embedding" in [type(layer).__name__ for layer in made.layers]


@of_one_backend
@pytest.mark.parametrize("how", ["add", "subtract", "multiply", "join"])
def test_branches_become_a_functional_model_and_come_back(how: str, tmp_path: Path) -> None:
    rng = generator("branches", how)

    def gru(inputs: int, units: int) -> runtime.Recurrent:
        return runtime.Recurrent(cells.gru, [random_weights(cells.gru, inputs, units, rng=rng, dtype=np.float32)])

    bent = runtime.Linear(rng.normal(size=(H, I)).astype(np.float32))
    inner = runtime.Branches([[], [gru(H, H), runtime.Activation("tanh")], []], how)
    width = inner.width(H)
    model = runtime.Model(
        [runtime.Branches([[gru(I, width)], [bent, inner]], how), gru(2 * width if how == "join" else width, 3)]
    )
    for stock in (False, True):
        made = ours.to_keras(model, stock=stock)  # which compares the two
        made.save(tmp_path / "m.keras")
        back = ours.from_keras(tmp_path / "m.keras")
        assert how == "subtract" or back.fingerprint == model.fingerprint  # three of them are two subtractions there
        x = rng.normal(size=(5, 2, I)).astype(np.float32)
        np.testing.assert_array_equal(back.run(x), model.run(x))
    foreign = runtime.Model([runtime.Branches([[], [runtime.Pool("mean")]]), bent])
    with pytest.raises(ExportError, match=r"layer 0\.1\.0 is a pool, which Keras does not have: recurra.onnx.export"):
        ours.to_keras(foreign)


@of_one_backend
def test_the_state_h_of_a_layer_is_its_last_output() -> None:
    start = keras.Input((None, I))
    steps, h, c = theirs.LSTM(H, return_sequences=True, return_state=True)(start)
    joined = theirs.Concatenate()([theirs.GlobalAveragePooling1D()(steps), h])
    made = ours.from_keras(randomize(keras.Model(start, theirs.Dense(2)(joined)), generator("h")))  # which compares
    assert made.parity["output"] == "last step"
    with pytest.raises(ExportError, match=r"a state of lstm.* goes on, expected its output or the state h alone"):
        ours.from_keras(keras.Model(start, theirs.Dense(2)(c)))


def test_a_model_that_keras_cannot_run_is_said() -> None:
    model = keras.Sequential([keras.Input((0, I)), theirs.GRU(3)])
    with pytest.raises(ConversionError, match=r"Keras cannot run sequential.* on 0 steps") as error:
        ours.from_keras(model)
    assert "\n" not in str(error.value)
