"""Keras models, in a process of their own, whose backend is chosen as for a user who has said nothing of it."""

from __future__ import annotations

import pytest

from helpers import printed

MODEL = """
import sys, warnings
warnings.simplefilter("ignore")
import recurra, numpy as np
folder, kind = sys.argv[1:]
if kind == "module":
    import os
    os.environ["KERAS_BACKEND"] = "torch"
import recurra.conversion.sources as sources
sources._choose_backend()
import keras
keras.utils.set_random_seed(3)
layers = keras.layers
model = keras.Sequential([
    keras.Input((6, 3) if kind == "fixed" else (None, 3)),
    layers.GRU(5, reset_after=kind != "before", return_sequences=True, bias_initializer="random_normal"),
    layers.LSTM(4, return_sequences=kind != "last", bias_initializer="random_normal"),
    layers.Dense(2, activation="softplus"),
])
model.save(f"{folder}/model.keras")
source = model if kind == "module" else f"{folder}/model.keras"
done = recurra.convert(source, f"{folder}/model.recurra")
ours = recurra.load(f"{folder}/model.recurra")
x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
wanted = keras.ops.convert_to_numpy(model(x))
y = ours.run(np.ascontiguousarray(x.swapaxes(0, 1)))
y = y[-1] if kind == "last" else y.swapaxes(0, 1)
cell = ours.layers[0].cell.name
print(np.abs(y - wanted).max() < 1e-6, done.difference < 1e-6, cell, *done.lengths)
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("before", "True True gru_reset_before 24 1 7 2 13"),
        ("last", "True True gru 24 1 7 2 13"),
        ("fixed", "True True gru 6"),
        ("module", "True True gru 24 1 7 2 13"),
    ],
)
def test_a_keras_model(kind, expected, tmp_path):
    assert printed(MODEL, tmp_path, kind).splitlines()[-1] == expected


def test_a_damaged_file(tmp_path):
    code = """
import sys, warnings
warnings.simplefilter("ignore")
import recurra
from recurra.errors import ConversionError
try:
    recurra.convert(sys.argv[1], "model.recurra")
except ConversionError as error:
    print(error)
"""
    path = tmp_path / "model.keras"
    path.write_bytes(b"no zip file")
    assert "Keras cannot load it" in printed(code, path)
