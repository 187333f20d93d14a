"""Files of the first version are read for ever, and keep their fingerprints."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from recurra.errors import ModelFileError, SessionError
from recurra.runtime import load
from recurra.runtime.sealed import seal
from runtime import version_1
from runtime.networks import F, both_ways, deep, forecaster, quantiles, row, same, sample, tagger

# Fingerprints and outputs (the first 12 digits of their SHA-256, sample(model, 9, 2)) of the last program that wrote
# version 1, for the networks of tests/runtime/networks.py.
WRITTEN_THEN = {
    forecaster: ("1b3b0d940ce20b949c1aeaec9b77cd996aeebcc739fc9e5a4cc70b7362910115", "aee11f9e7c32"),
    tagger: ("5b181e7b29f8d39591925d97f33b6e9a189f1d15045ffda160d2ee35ed542f75", "b57755a0a3d6"),
    deep: ("8be37e94049b90219de8d47f635f67a30ac4ad9a0614e958faace628dc592c8b", "fcc7ff8b8d7a"),
    quantiles: ("64c7dc96405d0cc51da17b1bb43cabc303b0a632cd289bb0f8c5466fc9f355ed", "fb09c572599a"),
    both_ways: ("98290fa6b454075fae7c493cecbad1a4c7f7d8c052231861a305edee5df1f8fd", "78d17c1b3f9c"),
}


@pytest.mark.parametrize("make", WRITTEN_THEN, ids=lambda f: f.__name__)
def test_a_file_of_the_first_version(make, tmp_path, fused) -> None:
    model, (fingerprint, output) = make(), WRITTEN_THEN[make]
    layers = version_1.layers_of(model)
    assert version_1.fingerprint(layers) == fingerprint
    version_1.write(tmp_path / "old.recurra", layers, {"card": {"loss": 0.5}, "preprocessing": {"mean": [1.0]}})
    old = load(tmp_path / "old.recurra")
    assert old.fingerprint == fingerprint == model.fingerprint
    assert (old.card, old.preprocessing) == ({"loss": 0.5}, {"mean": [1.0]})
    x = sample(model, 9, 2)
    assert same(old.run(x), model.run(x))
    if fused:
        assert hashlib.sha256(old.run(x).tobytes()).hexdigest().startswith(output)
    old.save(tmp_path / "new.recurra")
    assert load(tmp_path / "new.recurra").fingerprint == fingerprint


@pytest.fixture
def fused() -> bool:
    from recurra.engine import isa

    return isa() in ("avx2", "avx512")


def test_a_snapshot_of_a_session_on_such_a_file() -> None:
    """Its owner is the fingerprint of then."""
    model = quantiles()
    session, x = model.session(), sample(model, 9, 1)[:, 0]
    session.run(x)
    states = b"".join(a.astype("<f4").tobytes() for a in session.state.values())
    owner = bytes.fromhex(WRITTEN_THEN[quantiles][0])
    other = model.session()
    other.restore(seal(b"RcrS", owner, states, batch=None))
    assert same(other.step(row(x, 0)), session.step(row(x, 0)))
    with pytest.raises(SessionError, match="restore: the snapshot is of another model"):
        other.restore(seal(b"RcrS", owner[::-1], states, batch=None))


def refused(tmp_path, made, *words, **manifest) -> None:
    version_1.write(tmp_path / "bad.recurra", made, manifest)
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "bad.recurra")
    for word in (str(tmp_path / "bad.recurra"), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("size", [0, -1, 1 << 50, True, 2.5, "3", None])
def test_a_split_of_hostile_size(size, tmp_path) -> None:
    split, *others = version_1.layers_of(quantiles())
    for name in ("first", "beside"):
        changed = split[0] | {name: size}
        refused(
            tmp_path, [(changed, {}), *others], f"layer 0 (split): split: `{name}` is ", "expected a number from 1 to"
        )


def test_what_the_first_version_refused(tmp_path) -> None:
    layers = version_1.layers_of(quantiles())
    split, *others = layers
    refused(tmp_path, [(split[0] | {"beside": 36}, {}), *others], "takes 35 numbers of the input 'future', expected 36")
    refused(tmp_path, [split, *others[:-1]], "no layer reads the input 'future'")
    refused(tmp_path, [others[0], split, *others[1:]], "layer 1 is of the kind 'split'")
    refused(tmp_path, [(split[0], {"W": np.ones((1, 1), F)}), *others], "the tensor 'layers.0.W' belongs to no layer")
    refused(tmp_path, layers, "the fingerprint", "the file is damaged", fingerprint="0" * 64)
    refused(tmp_path, layers, "'layers' is a int, expected a list", layers=7)
    refused(tmp_path, [({"kind": "softmax"}, {})] * 1001, "there are 1001 layers, expected at most 1000")
    refused(tmp_path, [], "a network has no layer with weights")
