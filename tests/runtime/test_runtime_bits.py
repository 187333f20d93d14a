"""However a network is run, it gives the same bits; and they are the bits of the engine and the values of NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import ALL_CELLS, ISAS, generator, on_isa, printed
from recurra import _native, cells, engine, errors, runtime
from recurra.cells.functions import FUNCTIONS
from recurra.runtime import Activation, LayerNorm, Model, Softmax, check_parity
from runtime.networks import STREAMING, F, both_ways, deep, forecaster, quantiles, recurrent, row, same, sample, tagger


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", STREAMING)
def test_every_way_of_running_gives_the_same_bits(name, isa) -> None:
    with on_isa(isa), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.runtime.program.isa", lambda: isa)
        model = STREAMING[name]()
        report = check_parity(model, sample(model, 14, 5))
    assert set(report["differing"]) == {"batched", "chunked", "stepped", "sessions", "reloaded"}
    assert not any(report["differing"].values())


@given(st.integers(1, 230), st.integers(1, 7), st.sampled_from(sorted(STREAMING)))
def test_chunks_of_any_size_in_any_batch(chunk, B, name) -> None:
    model = MODELS[name]
    x = sample(model, 240, B)
    whole, session = model.run(x), model.session(batch=B)
    parts = [session.run(x[t : t + chunk]) for t in range(0, 240, chunk)]
    assert same(np.concatenate(parts), whole)
    alone = model.run(np.ascontiguousarray(x[:, 0]))
    assert same(alone, np.ascontiguousarray(whole[:, 0]))


MODELS = {name: make() for name, make in STREAMING.items()}
BOTH = both_ways()


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_a_recurrent_layer_has_the_bits_of_the_engine(cell) -> None:
    layer = recurrent(cell, 3, 11, 4)
    model, x = Model([layer]), generator(cell.name).normal(size=(20, 3, 3)).astype(F)
    run = engine.forward(cell, layer.weights[0], x)
    assert same(model.run(x), run.output)
    session = model.session(batch=3)
    session.run(x)
    for ours, theirs in zip(session.state.values(), run.state, strict=True):
        assert same(ours, theirs)


def test_two_directions_have_the_bits_of_the_engine() -> None:
    layer = recurrent(cells.lstm, 3, 11, directions=2)
    x = sample(Model([layer]), 230, 4)
    halves = [engine.forward(cells.lstm, w, x, reverse=bool(d)).output for d, w in enumerate(layer.weights)]
    assert same(Model([layer]).run(x), np.concatenate(halves, -1))


@pytest.mark.parametrize("make", [forecaster, tagger, deep, quantiles, both_ways])
def test_isas_with_fused_multiply_add_agree(make) -> None:
    code = """
import hashlib, sys
from runtime import networks
model = getattr(networks, sys.argv[1])()
print(hashlib.sha256(model.run(networks.sample(model, 40, 3)).tobytes()).hexdigest())
"""
    fused = [isa for isa in ISAS if isa != "x86-64-v2"]
    assert len({printed(code, make.__name__, RECURRA_ISA=isa) for isa in fused}) <= 1  # none on an old machine


def test_two_directions_run_but_do_not_step() -> None:
    x = sample(BOTH, 12, 3)
    whole = BOTH.run(x)
    assert same(BOTH.run(np.ascontiguousarray(x[:, 1])), np.ascontiguousarray(whole[:, 1]))
    assert not BOTH.streams
    message = "layer 0 reads the sequence in both directions, so its output at a step needs the steps to come: use run"
    with pytest.raises(errors.SessionError, match=f"step: {message}"):
        BOTH.session().step(row(x, 0, 0))
    with pytest.raises(errors.SessionError, match=f"step_many: {message}"):
        BOTH.step_many([BOTH.session()], x[0, :1])


@pytest.mark.parametrize("name", _native.activations)
def test_activations_are_those_of_the_language(name) -> None:
    x = np.linspace(-9, 9, 1001).astype(F)[:, None]
    model = Model([runtime.Linear(np.eye(1, dtype=F)), Activation(name, 0.3)])
    a = x.astype(np.float64)
    composed = {
        "identity": a,
        "softsign": a / (1 + abs(a)),
        "leaky_relu": np.where(a > 0, a, 0.3 * a),
        "silu": a / (1 + np.exp(-a)),
        "gelu": 0.5 * a * (1 + np.vectorize(math.erf)(a * math.sqrt(0.5))),
    }
    want = composed[name] if name in composed else FUNCTIONS[name].value(a)
    assert np.abs(model.run(x) - want).max() < 3e-6


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 33, 100])
def test_normalization_and_softmax(width) -> None:
    rng = generator(width)
    x = rng.normal(3, 2, (6, width)).astype(F)
    scale, shift = rng.normal(size=(2, width)).astype(F)
    eye = runtime.Linear(np.eye(width, dtype=F))
    a = x.astype(np.float64)
    normal = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-3) * scale + shift
    assert np.abs(Model([LayerNorm(scale, shift, 1e-3)]).run(x) - normal).max() < 2e-5
    got = Model([eye, Softmax()]).run(10 * x)
    e = np.exp(10 * (a - a.max(-1, keepdims=True)))
    assert np.abs(got - e / e.sum(-1, keepdims=True)).max() < 2e-6
    bad = x.copy()
    bad[2, -1] = np.nan
    out = Model([eye, Softmax()]).run(bad)
    assert np.isnan(out[2]).all()
    assert np.isfinite(np.delete(out, 2, 0)).all()


def test_a_nan_stays_in_its_row() -> None:
    model = MODELS["forecaster"]
    x = sample(model, 5, 4)
    clean = model.run(x)
    x[2, 1] = np.nan
    out = model.run(x)
    assert np.isnan(out[2:, 1]).all()
    assert same(np.delete(out, 1, 1), np.delete(clean, 1, 1))
