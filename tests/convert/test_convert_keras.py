"""Keras models, in one process of their own, whose backend is chosen as for a user who has said nothing of it."""

from __future__ import annotations

from helpers import printed

PROGRAM = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, recurra
from recurra.errors import ConversionError
folder = sys.argv[1]
path, out = f"{folder}/model.keras", f"{folder}/model.recurra"
open(path, "wb").write(b"no zip file")
try:
    recurra.convert(path, out)
except ConversionError as error:
    print(str(error).replace(path, "model")[:28], os.environ["KERAS_BACKEND"], os.path.exists(out))
import keras
keras.utils.set_random_seed(3)
x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
for kind in ("before", "last", "fixed", "module"):
    model = keras.Sequential([
        keras.Input((6, 3) if kind == "fixed" else (None, 3)),
        keras.layers.GRU(5, reset_after=kind != "before", return_sequences=True, bias_initializer="random_normal"),
        keras.layers.LSTM(4, return_sequences=kind != "last", bias_initializer="random_normal"),
        keras.layers.Dense(2, activation="softplus"),
    ])
    model.save(path)
    done = recurra.convert(model if kind == "module" else path, out)
    y = recurra.load(out).run(np.ascontiguousarray(x.swapaxes(0, 1)))
    apart = np.abs((y[-1] if kind == "last" else y.swapaxes(0, 1)) - keras.ops.convert_to_numpy(model(x))).max()
    print(kind, apart < 1e-6, done.difference < 1e-6, done.model.ops[0].cell.name, *done.lengths)
"""


def test_keras_models(tmp_path):
    assert printed(PROGRAM, tmp_path, KERAS_BACKEND="").splitlines() == [
        "model: Keras cannot load it: torch False",
        "before True True gru_reset_before 24 1 7 2 13",
        "last True True gru 24 1 7 2 13",
        "fixed True True gru 6",
        "module True True gru 24 1 7 2 13",
    ]
