"""What a detector watches, without a network: surprises, tails, signals, declared rates, an operator's word."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from helpers import generator
from recurra.tasks.detection.surprise import Errors
from recurra.tasks.detection.tails import HEIGHT, LEVEL, PEAKS, RATE, ROWS, TEN, Tails
from recurra.tasks.detection.watcher import HEAD, Watch, Watcher, learned_of


def outputs(size: int, length: int, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and what was said of them, whose errors go together and are as large as was said."""
    rng = generator(key)
    mixed = rng.normal(size=(length, size)) @ rng.normal(size=(size, size))
    said = rng.normal(size=(length, 2 * size))
    return said[:, :size] + mixed * np.exp(said[:, size:]), said


def test_surprise_is_the_distance_of_what_is_known() -> None:
    z, said = outputs(5, 300, "distance")
    usual = Errors.fit([(z[:200], said[:200])], [(z[200:], said[200:])])
    assert usual.predicted
    e = (z - said[:, :5]) / np.exp(said[:, 5:])
    assert usual.covariance == pytest.approx(ledoit_wolf(e, assume_centered=True)[0], rel=1e-6)
    d = e[7] @ np.linalg.solve(usual.covariance, e[7]) / 5
    found, where = usual.surprise(z[7].tolist(), said[7].tolist())
    assert found == pytest.approx(math.log1p(d))
    assert where == np.argmax(e[7] * np.linalg.solve(usual.covariance, e[7]))
    z[7, [0, 3]] = np.nan
    known = [1, 2, 4]
    d = e[7, known] @ np.linalg.solve(usual.covariance[np.ix_(known, known)], e[7, known]) / 3
    found, where = usual.surprise(z[7], said[7])
    assert found == pytest.approx(math.log1p(d))
    assert where in known
    assert math.isnan(usual.surprise([math.nan] * 5, said[7])[0])
    assert Errors.from_dict(usual.to_dict()).surprise(z[8], said[8]) == usual.surprise(z[8], said[8])


def test_deviations_that_say_nothing_are_left_out() -> None:
    z, said = outputs(3, 400, "nothing")
    z = said[:, :3] + generator("plain").normal(size=(400, 3))
    usual = Errors.fit([(z[:250], said[:250])], [(z[250:], said[250:])])
    assert not usual.predicted
    e = z - said[:, :3]
    assert usual.covariance == pytest.approx(ledoit_wolf(e, assume_centered=True)[0], rel=1e-6)


def test_tails_count_what_would_ring() -> None:
    """Against counting by hand, peak by peak."""
    rng, apart, most = generator("peaks"), 7, 2.5
    signals = rng.exponential(1.3, (400, 3))
    known = rng.random((400, 3)) < 0.9
    tails = Tails(np.zeros((ROWS, 3))).begin()
    for one, there in zip(signals, known, strict=True):
        tails.learn(one, there, most, apart)
    for k in range(3):
        peaks, heights, steps, height, free = PEAKS, PEAKS * HEIGHT, PEAKS / RATE, 0.0, 0
        for t in range(400):
            steps += known[t, k]
            scale = heights / peaks
            above = min(signals[t, k] - LEVEL, max(scale, scale * (most * TEN - math.log(steps / peaks))))
            if not known[t, k]:
                continue
            if t >= free and above > 0:
                peaks, heights, height, free = peaks + 1, heights + above, above, t + apart
            elif t < free and above > height:
                heights, height = heights + above - height, above
        assert tails.numbers[:3, k] == pytest.approx([peaks, heights, steps])
        want = (math.log(steps / peaks) + 2.0 * peaks / heights) / TEN
        assert tails.rarity(np.full(3, LEVEL + 2.0))[k] == pytest.approx(want)


def test_signals_are_how_far_averages_are_from_what_they_usually_are() -> None:
    """Against the same written number by number; some are missing."""
    rng, smooth, adapt = generator("signals"), (1, 3), 150
    values = rng.normal(2.0, 1.5, (90, 3))
    values[rng.random(values.shape) < 0.1] = np.nan
    values[40] = np.nan
    usual = np.stack([np.full((2, 3), 1.7), rng.uniform(0.5, 2.0, (2, 3))])
    watcher = Watcher(Watch(smooth, adapt, 5, 3.0, usual))
    short, mean, variance, count = usual[0].copy(), usual[0].copy(), usual[1].copy(), np.zeros(3)
    check = Tails(np.zeros((ROWS, 4))).begin()
    for row in values:
        signals = []
        off = np.zeros((2, 3))
        for h in range(2):
            for k in range(3):
                if row[k] == row[k]:
                    short[h, k] += (row[k] - short[h, k]) / smooth[h]
                off[h, k] = short[h, k] - mean[h, k]
        distance = off**2 / variance
        surprise = [math.log1p(distance[h, 0]) if off[h, 0] > 0 and row[0] == row[0] else 0.0 for h in range(2)]
        known = [k for k in (1, 2) if row[k] == row[k]]
        level = [math.log1p(np.mean([distance[h, k] for k in known])) if known else 0.0 for h in range(2)]
        signals = np.array(surprise + level)
        want = max(0.0, check.rarity(signals).max() - math.log10(4))
        assert watcher.push(row).rarity == pytest.approx(want, abs=1e-9)
        check.learn(signals, np.repeat([row[0] == row[0], bool(known)], 2), 3.0 + math.log10(4), 5)
        for k in range(3):
            if row[k] == row[k]:
                count[k] += 1
                share = 1 / min(count[k] + min(HEAD, adapt), adapt)
                mean[:, k] += share * off[:, k]
                variance[:, k] += share * ((1 - share) * off[:, k] ** 2 - variance[:, k])


def test_what_is_usual_is_the_mean_and_variance_of_averages() -> None:
    rng, smooth = generator("usual"), (1, 5)
    streams = [1e6 + rng.normal(size=(n, 2)) for n in (70, 4, 31)]
    streams[0][rng.random(70) < 0.3, 1] = np.nan
    for k in range(2):
        for h, steps in enumerate(smooth):
            averages = []
            for values in streams:
                average, count = math.nan, 0
                for t, v in enumerate(values[:, k].tolist()):
                    if v == v:
                        count += 1
                        average = v if count == 1 else average + (v - average) / min(count, steps)
                    if t >= min(steps, len(values) // 2) and count:
                        averages.append(average)
            usual = learned_of(Watch(smooth, 0, 5, 2.0), streams, [9, 9, 9]).usual
            assert usual is not None
            assert usual[:, h, k] == pytest.approx([np.mean(averages), np.var(averages)])


def noise(kind: str, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A stream without anomalies, and the surprises of one who knows its law."""
    rng = generator("noise", kind)
    e = rng.standard_t(3, length) if kind == "heavy" else rng.normal(size=length)
    if kind == "bursts":
        e *= np.exp(0.6 * np.convolve(rng.normal(size=length + 49), np.full(50, 0.15), "valid"))
    phi = {"heavy": 0.5, "bursts": 0.3, "season": 0.5}[kind]
    x = np.zeros(length)
    for t in range(1, length):
        x[t] = phi * x[t - 1] + e[t]
    return np.log1p((e / np.std(e[:500])) ** 2), x + (kind == "season") * 3 * np.sin(np.arange(length) / 40)


@pytest.mark.parametrize("kind", ["heavy", "bursts", "season"])
def test_a_declared_rate_is_kept(kind: str) -> None:
    """As often as was declared, or less where signals go together; not ten times as often, or never."""
    length, learned, per = 11_000, 3000, 250
    surprise, x = noise(kind, length)
    values = np.column_stack([surprise, x])
    watch = learned_of(Watch((1, 4, 16), 1000, 20, math.log10(per)), [values[:learned]], [learned // 2])
    watcher = Watcher(watch)
    rung = sum(watcher.push(row).alarm for row in values[learned:])
    assert 0.2 < rung / ((length - learned) / per) < 1.3


def plain(**changed: Any) -> Watcher:
    """Of one number that is always 0; the surprise has mean 0 and deviation 1 and nothing is learned."""
    usual = np.stack([np.zeros((1, 2)), np.ones((1, 2))])
    tails = Tails(np.zeros((ROWS, 2))).begin().numbers[:3]
    return Watcher(replace(Watch((1,), 0, 5, 2.0, usual, tails), **changed))


def of_rarity(*wanted: float) -> list[np.ndarray]:
    """Steps that are so rare to `plain`."""
    signals = [LEVEL + HEIGHT * ((k + math.log10(2)) * TEN + math.log(RATE)) for k in wanted]
    return [np.array([math.sqrt(math.expm1(max(0.0, f))), 0.0]) for f in signals]


def test_alarms_are_apart_and_an_operator_moves_their_level() -> None:
    one = plain()
    said = [one.push(v) for v in of_rarity(1, 3, 4, 1, 1, 1, 3, 1, 1, 1, 1, 1, 3)]
    assert [round(s.rarity, 6) for s in said[:3]] == [1, 3, 4]
    assert [t for t, s in enumerate(said) if s.alarm] == [1, 6, 12]
    assert [t for t, s in enumerate(said) if s.anomalous] == [1, 2, 6, 12]
    assert one.feedback("right") == 2
    one.push(*of_rarity(3.5))
    assert one.feedback("false") == pytest.approx(3.55)
    assert not one.push(*of_rarity(3.5)).anomalous
    assert one.push(*of_rarity(3.6)).anomalous
    one.feedback("right")
    one.push(*of_rarity(1.5))
    assert one.feedback("missed") == pytest.approx(1.45)
    assert one.push(*of_rarity(1.5)).anomalous


def test_what_is_usual_is_learned_anew() -> None:
    """After a lasting change of level a watcher that adapts is calm again, and one that does not rings on."""
    rng = generator("adapt")
    x = np.concatenate([rng.normal(size=600), 9 + rng.normal(size=1500)])
    values = np.column_stack([np.full(len(x), np.nan), x])
    calm, rings = plain(adapt=100, rarity=3.0), plain(rarity=3.0)
    ways = [[one.push(v) for v in values] for one in (calm, rings)]
    assert any(said.anomalous and said.number == 0 and said.signal == "level" for said in ways[0][600:640])
    share = [np.mean([said.anomalous for said in way[-500:]]) for way in ways]
    assert share[0] < 0.05 < 0.9 < share[1]


def test_the_surprise_alone_is_watched_where_there_are_no_levels() -> None:
    """As beside a level that is never known, but for the correction for two kinds of signals."""
    surprise = generator("alone").exponential(size=(300, 1))
    beside = np.column_stack([surprise, np.full(300, np.nan)])
    usual = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 0.5)])
    ways = []
    for values in (surprise, beside):
        width = values.shape[1]
        watcher = Watcher(Watch((1, 4), 0, 5, 2.0, usual[..., :width]))
        ways.append(np.array([watcher.push(row).rarity for row in values]))
    rare = ways[1] > 0
    assert rare.sum() > 10
    assert ways[0][rare] == pytest.approx(ways[1][rare] + math.log10(2))


def test_a_broken_reading_does_not_blind_it() -> None:
    """It rings for it once, is calm soon, and sees what comes after."""
    rng = generator("broken")
    x = rng.normal(50.0, 2.0, 1200)
    x[700], x[900:904] = 1e200, 70.0
    values = np.column_stack([np.abs(rng.normal(size=1200)), x])
    watcher = Watcher(learned_of(Watch((1, 4, 16), 1000, 20, 4.0), [values[:500]], [200]))
    said = [watcher.push(row) for row in values[500:]]
    assert [t + 500 for t, one in enumerate(said) if one.alarm] == [700, 900]
    assert not any(one.anomalous for one in said[260:400])


@pytest.mark.parametrize("broken", [{"usual": [[[0.0]]]}, {"tails": [[1.0, math.nan]] * 3}, {"rarity": math.inf}])
def test_a_broken_watch_is_refused(broken: dict[str, Any]) -> None:
    described = plain().watch.to_dict()
    assert Watch.from_dict(described).to_dict() == described
    with pytest.raises(ValueError, match="a watch with numbers"):
        Watch.from_dict(described | broken)
