"""Model files whose manifest says something else than it should, in a seeded thousand of ways: whoever opens one gets a
live session that steps, or an error of recurra's, and soon."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from recurra import Classifier, Forecaster, load
from recurra.errors import RecurraError
from recurra.tasks.estimator import open_live

COUNT, SOON = 2000, 5.0  # mutations of each file; seconds
ODD: list[Any] = [None, True, -1, 0, 1, 2**31, 2**63, 2**70, 10**400, 1.5, float("nan"), float("inf"), -1e308]
ODD += ["", "x", "\x1b[31m", "9" * 500, [], [[]], [1, 2], {}, {"x": 1}, ["a"] * 3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, Any]]:
    """A model file of each kind of transform, and a line for its live session."""
    folder, t = tmp_path_factory.mktemp("models"), np.arange(300)
    hours = np.datetime64("2025-01-01T00", "s") + t * np.timedelta64(3600, "s")
    forecaster = Forecaster(horizon=3, hidden=4, epochs=1, seasons=(24,))
    forecaster.fit({"time": hours, "y": np.sin(t / 4) + 5}, "y", time="time", evaluate=False).save(folder / "forecast")
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(int(n), 2)) for n in rng.integers(3, 9, 30)]
    classifier = Classifier(hidden=4, epochs=1).fit(sequences, [i % 2 for i in range(30)])
    classifier.save(folder / "classify")
    rows = {"forecast": {"time": "2026-01-01T00:00", "y": 5.0}, "classify": [1.0, 2.0]}
    return {name: ((folder / name).read_bytes(), row) for name, row in rows.items()}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in nested JSON."""
    if at:
        yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def mutate(said: Any, rng: np.random.Generator) -> tuple[Any, ...]:
    """Change one value, leave it out, or say it twice; returns where."""
    found = list(places(said))
    *way, last = place = found[rng.integers(len(found))]
    for key in way:
        said = said[key]
    kind = rng.integers(4)
    if kind == 0:
        del said[last]
    elif kind == 1 and isinstance(said[last], list) and said[last]:
        said[last] = said[last] * 2
    else:
        said[last] = ODD[rng.integers(len(ODD))]
    return place


@pytest.mark.parametrize("name", ["forecast", "classify"])
def test_a_manifest_that_is_wrong_is_refused_or_harmless(name, files, tmp_path) -> None:
    content, row = files[name]
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    right = header["__metadata__"]["recurra"]
    rng, path, refused = np.random.default_rng(5), tmp_path / "model", 0
    for _ in range(COUNT):
        said = json.loads(right)
        del said["checksum"]  # files of before are read without one
        place = mutate(said, rng)
        header["__metadata__"]["recurra"] = json.dumps(said)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
        began = time.perf_counter()
        try:
            live = open_live(load(path))
            live.step(row)
            live.restore(live.snapshot())
        except RecurraError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{'.'.join(map(str, place))}: {type(error).__name__}: {error}") from error
        assert time.perf_counter() - began < SOON, place
    assert refused > COUNT / 10  # or nothing was changed that matters
