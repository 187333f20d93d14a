"""The demos of what writes, on a part of their data."""

from __future__ import annotations

import datetime
import re

import pytest

from recurra import open_model
from recurra.demos import DEMOS
from recurra.demos.sequences import dates, documentation, run_summarize_demo, run_translate_demo


def test_dates_are_those_of_their_digits() -> None:
    said, digits = dates(300, 3)
    assert len(set(said)) > 280
    for text, iso in zip(said, digits, strict=True):
        day = datetime.date.fromisoformat(iso)
        numbers = [int(n) for n in re.findall(r"\d+", text)]
        assert day.day in numbers
        assert {day.year, day.year % 100} & set(numbers)


@pytest.mark.parametrize("name", ["translate", "summarize"])
def test_the_whole_way(name, tmp_path, capsys) -> None:
    run, how = {
        "translate": (run_translate_demo, {"count": 60}),
        "summarize": (run_summarize_demo, {"most": 60}),
    }[name]
    report = run(tmp_path / "new", epochs=1, **how)
    said = capsys.readouterr().out
    assert name in DEMOS
    assert {p.name for p in (tmp_path / "new").iterdir()} == {f"{name}.recurra", "report.html"}
    assert "By chance:" in said
    assert said.count(" -> ") == {"translate": 8, "summarize": 5}[name]
    assert "the same, to the last bit" in said
    assert report["sections"][0]["examples"][0]["wanted"]
    assert open_model(tmp_path / "new" / f"{name}.recurra").report_["table"] == report["table"]


def test_documentation_comes_with_python() -> None:
    texts, lines, modules = documentation(200)
    assert len(texts) == len(lines) == len(modules) == 200
    assert {"_collections_abc", "abc", "ast"} & set(modules)
    assert all(3 <= len(line.split()) <= 14 for line in lines)
