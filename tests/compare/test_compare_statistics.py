"""Intervals and tests, against other ways to compute them."""

import itertools

import numpy as np
import pytest
from scipy import stats

from helpers import generator
from recurra.compare.statistics import holm, interval, paired


def test_the_interval_is_students():
    x = generator("interval").normal(3, 2, 5)
    low, high = stats.t.interval(0.95, 4, x.mean(), stats.sem(x))
    assert interval(x) == pytest.approx((low, high), rel=1e-12)
    assert interval([1.0]) is None


def test_the_paired_test_counts_all_ways_to_swap():
    rng = generator("paired")
    a, b = rng.normal(size=9), rng.normal(0.7, 1, 9)
    d = a - b
    extreme = [abs(np.dot(s, d)) >= abs(d.sum()) - 1e-12 for s in itertools.product((-1, 1), repeat=9)]
    assert paired(a, b) == pytest.approx(np.mean(extreme), abs=1e-12)
    assert paired(a, b) == paired(b, a)


def test_the_paired_test_agrees_with_students_on_many_units():
    rng = generator("many")
    a = rng.normal(size=400)
    b = a + rng.normal(0.05, 0.5, 400)
    assert paired(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)
    assert paired(a, a) == 1.0
    assert paired(a, a + 1) < 0.001


def test_chance_alone_is_significant_as_often_as_it_should_be():
    rng = generator("level")
    found = [paired(*rng.normal(size=(2, 12)), seed=k) < 0.05 for k in range(200)]
    assert 2 <= sum(found) <= 20


def test_holm_steps_down():
    p = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.005}
    assert holm(p) == pytest.approx({"d": 0.02, "a": 0.03, "b": 0.04, "c": 0.04})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
