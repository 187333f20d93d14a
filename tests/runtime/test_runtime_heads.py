"""The forecast head and the input that it reads: its definition, and what is refused, in Python and in files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from helpers import generator
from recurra.errors import DtypeError, ModelFileError, ShapeError
from recurra.runtime import Forecast, Linear, Model, Program, load
from runtime.networks import F, forecast_head, linear, quantiles, same


def by_definition(head: Forecast, h: np.ndarray, future: np.ndarray) -> np.ndarray:
    """In float64, one horizon after the other: [N, Q]."""
    w = {name: array.astype(np.float64) for name, array in head.arrays().items()}
    S, x = len(head.W), future.astype(np.float64).reshape(head.horizon, -1)
    out = np.empty((head.horizon, len(head.levels)))
    for n in range(head.horizon):
        u = np.tanh(w["A"] @ h + w["e"][n] + w["B"] @ x[n])
        e = np.exp(w["W"] @ u + w["w"][n])
        v = w["C"] @ u + w["c"][n]
        step = w["k"][n] * np.log1p(np.exp(v))
        m = head.middle
        out[n, m] = e / e.sum() @ x[n, len(x[n]) - S :] + w["D"][n] @ h + v[m]
        for q in range(m + 1, len(v)):
            out[n, q] = out[n, q - 1] + step[q]
        for q in range(m - 1, -1, -1):
            out[n, q] = out[n, q + 1] - step[q]
    return out


@pytest.mark.parametrize("sizes", [{}, {"F": 0, "S": 1, "U": 1, "levels": (0.5,)}, {"N": 49, "U": 33, "S": 17}])
def test_the_head_is_its_definition(sizes) -> None:
    head = forecast_head(6, **sizes)
    model = Model([head])
    x = generator("head", str(sizes)).normal(size=(4, model.input_size)).astype(F)
    want = np.stack([by_definition(head, row[:6], row[6:]) for row in x])
    assert np.abs(model.run(x) - want.reshape(4, -1)).max() < 1e-5
    assert np.ptp(want) > 1


def test_quantiles_do_not_cross() -> None:
    model = quantiles()
    x = 30 * generator("cross").normal(size=(50, model.input_size)).astype(F)
    out = model.run(x).reshape(50, 7, 4)
    assert (np.diff(out, axis=-1) >= 0).all()


def test_the_future_does_not_reach_the_encoder() -> None:
    model = quantiles()
    x = generator("future").normal(size=(20, model.input_size)).astype(F)
    session, other = model.session(), model.session()
    session.run(x)
    x[:, 4:] += 1
    other.run(x)
    assert all(same(a, b) for a, b in zip(session.state.values(), other.state.values(), strict=True))


HEAD = forecast_head(5)


@pytest.mark.parametrize("name", HEAD.shapes)
def test_an_array_of_another_size_is_refused(name) -> None:
    array = getattr(HEAD, name)
    wrong = np.concatenate([array, array[:1]])
    with pytest.raises(ShapeError):
        replace(HEAD, **{name: wrong})
    with pytest.raises(DtypeError):
        replace(HEAD, **{name: array.astype(np.float64)})


@pytest.mark.parametrize(
    "levels", [(0.1, 0.5, 0.9), (0.9, 0.5, 0.3, 0.1), (0, 0.2, 0.3, 0.5), (0.1, 0.2, 0.3, True), ("a", 0.1, 0.2, 0.3)]
)
def test_levels_that_cannot_be_are_refused(levels) -> None:
    with pytest.raises(ShapeError, match="expected 4 numbers between 0 and 1, rising"):
        replace(HEAD, levels=levels)


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_a_k_that_makes_quantiles_cross_is_refused(bad) -> None:
    k = HEAD.k.copy()
    k[2, 1] = bad
    with pytest.raises(ShapeError, match="`k` has a number below zero"):
        replace(HEAD, k=k)


@pytest.mark.parametrize(
    ("ops", "inputs", "message"),
    [
        ([linear(5, 4), HEAD], {"x": 4}, r"layer 1 \(forecast\) takes 35 numbers of the input 'future', expected 0"),
        ([linear(5, 4), HEAD], {"x": 4, "future": 34}, r"takes 35 numbers of the input 'future', expected 34"),
        ([linear(5, 4)], {"x": 4, "future": 35}, "no layer reads the input 'future', expected a layer that takes it"),
        ([HEAD], {"future": 35}, r"takes 35 numbers of the input 'future', expected 0"),
        ([linear(6, 4), HEAD], None, r"layer 1 \(forecast\) takes 5 features, expected 6"),
        ([linear(5, 4), HEAD, linear(5, 28), forecast_head(5, N=8)], None, r"layer 3 \(forecast\) takes 40 numbers"),
    ],
)
def test_a_chain_that_does_not_fit_is_refused(ops, inputs, message) -> None:
    with pytest.raises(ShapeError, match=message):
        Program(ops, inputs)


def written(path, described, arrays) -> None:
    manifest = {"format": 2, "fingerprint": "", "preprocessing": {}, "card": {}, "parity": {}}
    manifest["programs"] = {"main": described}
    path.write_bytes(save(arrays, {"recurra": json.dumps(manifest)}))


def test_hostile_sizes_in_a_file_are_refused_before_memory_is_taken(tmp_path) -> None:
    path = tmp_path / "bad.recurra"
    model = quantiles()
    arrays, described = model.arrays(), model.program().describe()
    written(path, described | {"inputs": {"x": 4, "future": 1 << 50}}, arrays)
    with pytest.raises(ModelFileError, match=r"`inputs\['future'\]` is 1125899906842624, expected a number from 1 to"):
        load(path)
    written(path, described | {"inputs": {"x": 4, "future": 36}}, arrays)
    with pytest.raises(ModelFileError, match="takes 35 numbers of the input 'future', expected 36"):
        load(path)
    # Thin arrays whose product would be large: N horizons times F + S numbers of each.
    N = A = 1 << 13
    thin = {
        "A": (1, 1),
        "B": (1, A),
        "e": (N, 1),
        "W": (1, 1),
        "w": (N, 1),
        "C": (1, 1),
        "c": (N, 1),
        "D": (N, 1),
        "k": (N, 1),
    }
    written(
        path,
        {"inputs": {"x": 1, "future": N * A}, "ops": [{"kind": "forecast", "levels": [0.5]}]},
        {f"layers.0.{n}": np.zeros(s, F) for n, s in thin.items()},
    )
    with pytest.raises(ModelFileError, match="`B` takes 8192 numbers of each of 8192 horizons, expected"):
        load(path)


@pytest.mark.parametrize("change", [{"levels": None}, {"levels": [0.5]}, {"levels": ["a"] * 4}, {"levels": {"a": 1}}])
def test_settings_that_cannot_be_are_refused(tmp_path, change) -> None:
    model = quantiles()
    described = model.program().describe()
    described["ops"][-1] |= change
    written(tmp_path / "bad.recurra", described, model.arrays())
    with pytest.raises(ModelFileError, match="`levels` is"):
        load(tmp_path / "bad.recurra")


def test_missing_and_foreign_arrays_are_refused(tmp_path) -> None:
    model = quantiles()
    for arrays in (
        {n: a for n, a in model.arrays().items() if n != "layers.2.k"},
        model.arrays() | {"layers.2.x": np.ones((1, 1), F)},
        model.arrays() | {"layers.0.V": np.ones((1, 1), F)},
    ):
        written(tmp_path / "bad.recurra", model.program().describe(), arrays)
        with pytest.raises(ModelFileError, match="its arrays are"):
            load(tmp_path / "bad.recurra")


def test_the_first_numbers_of_a_row_flow_into_the_first_layer() -> None:
    eye = Linear(np.eye(5, dtype=F))
    head = replace(HEAD, A=0 * HEAD.A, B=0 * HEAD.B, C=0 * HEAD.C, c=0 * HEAD.c, D=np.zeros_like(HEAD.D), k=0 * HEAD.k)
    head.D[:, 3] = 1
    model = Model([eye, head])
    x = np.zeros((2, model.input_size), F)
    x[:, :5] = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert model.run(x)[:, 2].tolist() == [4, 9]
