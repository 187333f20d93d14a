"""What the documentation shows of a comparison: nothing is lost, and what stands out does so rightly."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.compare import CANDIDATES, Comparison

ROOT = Path(__file__).parents[2]
KINDS = {"majority": "naive", "logistic": "linear", "gru": "recurrent", "lstm": "recurrent", "cnn": "cnn"}
FACTS = {"seeds": 3, "trials": 2, "epochs": 7, "workers": 2}


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import compare_kinds

    return compare_kinds


def row(name: str, test: float, p_best: float | None) -> dict:
    measured = {"train_seconds": 2.5, "step_seconds": 4e-6, "state_bytes": 128, "lag": 9, "lag_looked_at": 9}
    plain = {"error": "", "refusal": "", "gain": None, "p": None, "interval": None, "parameters": 1234}
    return {"name": name, "kind": KINDS[name], "valid": test, "test": test, "p_best": p_best} | measured | plain


def comparison() -> Comparison:
    rows = [row("gru", 0.21, None), row("lstm", 0.2, 0.4), row("cnn", 0.22, 0.3), row("logistic", 0.31, 0.001)]
    found = Comparison("classify", "error", {}, [*rows, row("majority", 0.5, 0.0001)], settings=FACTS, seconds=12.3)
    found.machine, found.cut, found.verdict = {"processor": "a processor"}, ["final runs: cnn 2 of 3"], ["Use gru."]
    return found


def test_all_is_shown(kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECURRA_DOCS", raising=False)
    text = kinds.shown(comparison())._repr_markdown_()
    lines = text.splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:7]] == ["gru", "lstm", "cnn", "logistic", "majority"]
    assert len({line.count("|") for line in lines[:7]}) == 1
    assert "2.5\N{NO-BREAK SPACE}s" in lines[2]
    assert ">=\N{NO-BREAK SPACE}9" in lines[2]
    for words in ("> Use gru.", "- Cut: final runs: cnn 2 of 3.", "at most 7", "12 s", "a processor"):
        assert words in text
    assert "quick build" not in text
    monkeypatch.setenv("RECURRA_DOCS", "quick")
    assert "quick build" in kinds.shown(comparison())


def test_side_by_side(kinds) -> None:
    """The best of each kind by validation, not by what its test says."""
    line = kinds.overview({"one": comparison()}).splitlines()[-1]
    assert line == "| one | majority 0.5 | logistic 0.31 | - | cnn 0.22* | - | **gru 0.21** |"


def test_every_plan_can_be(kinds) -> None:
    assert set(kinds.PLANS) == set(kinds.TASKS)
    for plan in kinds.PLANS.values():
        assert set(plan.get("candidates", ())) <= set(CANDIDATES)
