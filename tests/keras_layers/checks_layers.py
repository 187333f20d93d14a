"""Our layers against Keras' own on random distinct numbers: run by test_keras_backends.py, once for each backend."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from common import BACKEND, assert_same, randomize, values_and_gradients
from keras import ops

import recurra.keras as ours
from helpers import generator
from recurra import engine
from recurra.keras import layers as modules

B, T, I, H = 5, 7, 3, 4
NAMES = ("SimpleRNN", "LSTM", "GRU")

engine.set_num_threads(1)


@pytest.fixture(autouse=True)
def _native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is left to Keras says so; here that is a failure unless a test expects it."""
    monkeypatch.setattr(modules, "_said", set())
    warnings.filterwarnings("error", message=".*own implementation")


def pair(name: str, weights: str, **options: object) -> tuple[object, object]:
    """Keras' layer and ours with the same weights and the same seed of dropout."""
    made = [getattr(place, name)(H, **options) for place in (keras.layers, ours)]
    for layer in made:
        layer.build((B, T, I))
        randomize(layer, generator(weights, name))
    return made[0], made[1]


def masks() -> np.ndarray:
    """Rows that are whole, empty, padded on the right and on the left, and with holes."""
    mask = generator("mask").random((B, T)) > 0.4
    mask[0], mask[1], mask[2], mask[3] = True, False, np.arange(T) < 4, np.arange(T) >= 3
    return mask


CASES = [
    {},
    {"return_sequences": True, "return_state": True},
    {"go_backwards": True, "return_state": True},
    {"go_backwards": True, "return_sequences": True},
    {"return_sequences": True, "zero_output_for_mask": True},
    {"zero_output_for_mask": True},
    {"use_bias": False, "activation": "relu", "return_sequences": True},
    {"unroll": True, "return_sequences": True},
    {"seed": 3, "dropout": 0.3, "return_sequences": True},
    {"seed": 3, "recurrent_dropout": 0.4, "return_sequences": True},
    {"seed": 3, "dropout": 0.3, "recurrent_dropout": 0.4},
]


def grid() -> Iterator[tuple[str, dict[str, object], bool]]:
    """Every layer with every case, masked and not; on JAX, which compiles each for long, with half of the cases."""
    for i, name in enumerate([*NAMES, "GRU before"]):
        for k, case in enumerate(CASES):
            if BACKEND == "torch":
                yield from ((name, case, masked) for masked in (False, True))
            elif (i + k) % 2:
                yield name, case, bool(k // 2 % 2)


@pytest.mark.parametrize(("name", "case", "masked"), grid(), ids=str)
def test_values_and_gradients_are_those_of_keras(name: str, case: dict[str, object], masked: bool) -> None:
    name, _, before = name.partition(" ")
    rng = generator(name, str(case), masked)
    theirs, mine = pair(name, "weights", **case, **({"reset_after": False} if before else {}))
    x = rng.normal(size=(B, T, I)).astype("float32")
    options: dict[str, object] = {"training": True, "mask": ops.convert_to_tensor(masks()) if masked else None}
    if "return_state" in case:
        states = 2 if name == "LSTM" else 1
        options["initial_state"] = [
            ops.convert_to_tensor(rng.normal(size=(B, H)).astype("float32")) for _ in range(states)
        ]
    assert_same(values_and_gradients(mine, x, **options), values_and_gradients(theirs, x, **options))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_masked_is_never_read(name: str) -> None:
    _, layer = pair(name, "nan", return_sequences=True)
    x, mask = generator("nan", name).normal(size=(B, T, I)).astype("float32"), masks()
    clean = values_and_gradients(
        layer, np.where(mask[:, :, None], x, 0).astype("float32"), mask=ops.convert_to_tensor(mask)
    )
    x[~mask] = np.nan
    assert_same(values_and_gradients(layer, x, mask=ops.convert_to_tensor(mask)), clean)


@pytest.mark.parametrize("name", NAMES)
def test_a_stateful_layer_goes_on(name: str) -> None:
    cure = {} if name == "SimpleRNN" else {"use_cudnn": False}  # else Keras' own cannot be trained on torch
    theirs, mine = pair(name, "stateful", stateful=True, return_sequences=True, **cure)
    for step in range(3):
        x = generator("stateful", name, step).normal(size=(B, T, I)).astype("float32")
        assert_same(values_and_gradients(mine, x), values_and_gradients(theirs, x))
    for layer in (theirs, mine):
        layer.reset_state()
    assert_same(values_and_gradients(mine, x), values_and_gradients(theirs, x))
    with pytest.raises(ValueError, match="batch size"):
        mine(ops.convert_to_tensor(x[:2]))


@pytest.mark.parametrize("mode", ["concat", "sum"])
def test_in_both_directions(mode: str) -> None:
    made = []
    for place in (keras.layers, ours):
        layer = keras.layers.Bidirectional(place.LSTM(H, return_sequences=True), merge_mode=mode)
        layer.build((B, T, I))
        made.append(randomize(layer, generator("both")))
    assert type(made[1].forward_layer) is type(made[1].backward_layer) is ours.LSTM
    x, mask = generator("both", mode).normal(size=(B, T, I)).astype("float32"), ops.convert_to_tensor(masks())
    assert_same(values_and_gradients(made[1], x, mask=mask), values_and_gradients(made[0], x, mask=mask))


def test_over_time_in_parts() -> None:
    made = []
    for place in (keras.layers, ours):
        model = keras.Sequential([keras.Input((2, T, I)), keras.layers.TimeDistributed(place.GRU(H))])
        made.append(randomize(model, generator("parts")))
    x = generator("parts of x").normal(size=(B, 2, T, I)).astype("float32")
    assert_same(values_and_gradients(made[1], x), values_and_gradients(made[0], x))


def test_what_has_no_word_is_left_to_keras_and_said_once() -> None:
    theirs, mine = pair("LSTM", "softmax", activation="softmax")
    x = generator("softmax").normal(size=(B, T, I)).astype("float32")
    assert ours.backend_for(mine) == f"keras {BACKEND}: activation='softmax' has no word in the language of cells"
    with pytest.warns(UserWarning, match="Keras' own implementation of LSTM runs, because activation='softmax'"):
        got = values_and_gradients(mine, x)
    assert_same(got, values_and_gradients(theirs, x))
    values_and_gradients(mine, x)  # a second warning would be an error here


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": "mixed_bfloat16"}, "it computes in bfloat16, not float32 or float64"),
        ({"use_cudnn": True}, "use_cudnn=True asks for another kernel"),
        ({"dropout": 1.0}, "a dropout of 1 drops everything"),
    ],
)
def test_every_reason_is_named(options: dict[str, object], reason: str) -> None:
    assert ours.backend_for(ours.GRU(3, **options)) == f"keras {BACKEND}: {reason}"
    assert ours.backend_for(ours.GRU(3)) == f"native {engine.isa()}"


@pytest.mark.parametrize("word", ["elu", "hard_sigmoid", "leaky_relu", "mish", "selu", "softplus", "gelu", "hard_silu"])
def test_activations_mean_what_keras_means(word: str) -> None:
    theirs, mine = pair("SimpleRNN", "activation", activation=word)
    x = generator(word).normal(size=(B, T, I)).astype("float32")
    assert_same(values_and_gradients(mine, x), values_and_gradients(theirs, x))


def test_training_in_a_compiled_step() -> None:
    models = []
    x = generator("fit").normal(size=(64, T, I)).astype("float32")
    for place in (keras.layers, ours):
        model = keras.Sequential(
            [keras.Input((T, I)), place.GRU(H, return_sequences=True), place.LSTM(H), keras.layers.Dense(1)]
        )
        randomize(model, generator("fit weights"))
        model.compile(keras.optimizers.SGD(0.05), "mse")
        model.fit(x, x.sum((1, 2))[:, None], batch_size=16, epochs=2, verbose=0, shuffle=False)
        models.append(model)
    assert_same(models[1].get_weights(), models[0].get_weights())
