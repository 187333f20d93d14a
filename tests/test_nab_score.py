"""The score of NAB: against its formulas written independently, and against what was published of a detector."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from helpers import generator

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def nab(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.answers import nab, nab_score

    nab_score.read = nab.read
    return nab_score


def slow_score(stream: Any, detected: np.ndarray) -> float:
    """Section III of Lavin and Ahmad 2015 with the standard profile, detection by detection."""

    def scaled(y: float) -> float:
        return 2 / (1 + math.exp(5 * y)) - 1 if y <= 3 else -1.0

    begin = min(int(0.15 * len(stream.x)), 750)
    total, hits = 0.0, {}
    for t in np.flatnonzero(detected):
        if t < begin:
            continue
        window = [w for w in stream.windows if w[0] <= t <= w[1]]
        earlier = [w for w in stream.windows if w[1] < t]
        if window:
            first, last = window[0]
            y = (t - last - 1) / (last - first + 1)
            hits[window[0]] = max(hits.get(window[0], -9.0), scaled(y) / scaled(-1.0))
        elif earlier:
            first, last = earlier[-1]
            total += 0.11 * scaled((t - last) / (last - first))
        else:
            total -= 0.11
    counted = [w for w in stream.windows if w[1] >= begin]
    return total + sum(hits.get(w, -1.0) for w in counted)


def test_a_score_is_that_of_the_formulas(nab: ModuleType) -> None:
    rng = generator("nab")
    streams, found = [], []
    for n in (97, 313, 1201):
        cuts = np.sort(rng.choice(np.arange(5, n - 5), 6, replace=False))
        windows = tuple((int(a), int(b)) for a, b in cuts.reshape(3, 2))
        streams.append(nab.Stream(str(n), rng.normal(size=n), windows))
        found.append(rng.random(n) < 0.05)
        assert nab.raw(streams[-1], found[-1]) == pytest.approx(slow_score(streams[-1], found[-1]), abs=1e-9)
    nothing = [np.zeros(len(s.x), bool) for s in streams]
    perfect = [np.isin(np.arange(len(s.x)), [w[0] for w in s.windows]) for s in streams]
    assert nab.score(streams, nothing) == 0
    late = [s for s in streams if all(w[0] >= s.settling for w in s.windows)]
    assert nab.score(late, [p for s, p in zip(streams, perfect, strict=True) if s in late]) == pytest.approx(100)
    counted = sum(w[1] >= s.settling for s in streams for w in s.windows)
    total = sum(slow_score(s, f) for s, f in zip(streams, found, strict=True))
    assert nab.score(streams, found) == pytest.approx(100 * (total + counted) / (2 * counted))


def windowed_gaussian(x: np.ndarray) -> np.ndarray:
    """Anomaly scores of NAB's own detector of that name: the last 6400 values, moved on by 100 at a time."""
    size, by = 6400, 100
    t = np.arange(len(x))
    stop = np.where(t <= size, t, size + (t - size) // by * by)
    start = np.maximum(0, stop - size)
    sums = np.concatenate([[[0.0, 0.0]], np.cumsum(np.stack([x - x.mean(), (x - x.mean()) ** 2], 1), 0)])
    count = np.maximum(stop - start, 1)
    mean, square = ((sums[stop] - sums[start]) / count[:, None]).T
    std = np.sqrt(np.maximum(square - mean**2, 0))
    std[std < 1e-9] = 1e-6
    z = np.abs(x - x.mean() - mean) / std
    scores = 1 - 0.5 * np.array([math.erfc(v / 1.4142) for v in z])
    scores[0] = 0
    return scores


@pytest.mark.skipif(not (DATA / "nab").exists(), reason="NAB is not in ../shared/data")
def test_the_published_score_of_a_published_detector(nab: ModuleType) -> None:
    """39.65 in `results/final_results.json` of NAB 1.1, of the best threshold that its search of scores found."""
    streams = nab.read()
    scores = [windowed_gaussian(s.x) for s in streams]
    best = max(nab.score(streams, [s >= 1 - 10**-k for s in scores]) for k in (12.0, 12.5, 13.0))
    assert best == pytest.approx(39.65, abs=0.4)
