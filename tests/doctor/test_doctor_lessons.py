"""The lessons run, and teach what they say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.mark.long
def test_adding_problem(capsys: pytest.CaptureFixture[str]) -> None:
    import lesson_adding_problem

    students = lesson_adding_problem.main(quick=True)
    assert students["RNN"].error > 0.15
    assert "vanishing" in students["RNN"].kinds
    assert students["RNN"].left_after < 1e-10
    assert students["GRU"].error < 0.02
    assert students["GRU"].left_before < 1e-10
    assert students["GRU"].left_after > 0.1
    assert students["GRU"].kinds == {"healthy"}
    assert "not solved" in capsys.readouterr().out


@pytest.mark.long
def test_exploding_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    import lesson_exploding_gradients

    courses = lesson_exploding_gradients.main(quick=True)
    assert not math.isfinite(courses["without clipping"].loss)
    assert "not finite" in courses["without clipping"].kinds
    clipped = courses["clipped at norm 1"]
    assert clipped.loss < 1e-3 * clipped.first
    assert "exploding" in capsys.readouterr().out


def test_activations(capsys: pytest.CaptureFixture[str]) -> None:
    import lesson_activations

    lines = lesson_activations.main(quick=True)
    for activation, weights in (("tanh", "orthogonal"), ("relu", "identity")):
        assert lines[activation, weights].left > 0.1
        assert lines[activation, weights].loss < 0.3
    for weights in ("uniform", "orthogonal", "identity"):
        assert lines["sigmoid", weights].rate < 0.25
        assert lines["sigmoid", weights].loss > 0.9
    assert "Lyapunov" in capsys.readouterr().out
