"""The table of known answers: rows that fall short say so, missing data are a line, readers give the usual splits."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.answers import __main__

    return __main__


def made(answers: ModuleType, name: str, ours: float, reach: float | None = 0.9, less: bool = False, **changed: Any):
    metric = answers.Metric("accuracy", reach=reach, recurrent=0.88, less=less)
    numbers: dict[str, Callable[[Any], tuple[float, ...]]] = {
        "naive": lambda data: (0.1,), "simple": lambda data: (0.82,), "ours": lambda data: (data + ours,)
    }  # fmt: skip
    return answers.Row(name, f"{name} data", "a split", (metric,), **{"read": lambda: 0.0} | numbers | changed)


def shown(answers: ModuleType, *rows: Any) -> tuple[list[Any], str]:
    out = Console(file=io.StringIO(), width=200)
    return answers.run(rows, out), out.file.getvalue()


def test_a_row_says_whether_its_goal_is_reached(answers) -> None:
    rows = (
        made(answers, "good", 0.9, tried="this"),
        made(answers, "short", 0.8, tried="that"),
        made(answers, "open", 0.3, reach=None),
    )
    results, text = shown(answers, *rows)
    good, short, nothing = [next(s for s in text.splitlines() if f"{row.name} data" in s) for row in rows]
    assert [result.reached for result in results] == [True, False, True]
    assert "not reached" in short
    assert "short: tried that" in text
    assert "good: tried" not in text
    assert "not reached" not in good
    assert "reached" in good
    assert "reached" not in nothing
    for number in ("0.100", "0.820", "0.880", "0.800", "0.900"):
        assert number in short


def test_less_may_be_better_and_digits_decide_as_they_are_shown(answers) -> None:
    goal = answers.Metric("RMSE", reach=12.0)
    assert [goal.reached(v) for v in (11.0, 12.004, 12.01)] == [True, True, False]
    assert [answers.Metric("accuracy", reach=0.987, less=False).reached(v) for v in (0.98652, 0.9864)] == [True, False]


def test_missing_data_are_a_line_and_the_others_go_on(answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.answers import row

    monkeypatch.setattr(row, "SHARED", tmp_path)
    results, text = shown(answers, *(r for r in answers.ROWS if r.name == "indoor"), made(answers, "good", 0.95))
    assert [result.row.name for result in results] == ["good"]
    assert f"indoor: {tmp_path}/indoor_movement/IndoorMovement.zip is not there" in text.splitlines()[0]


@pytest.mark.parametrize(("ours", "code"), [(0.95, 0), (0.5, 1)])
def test_the_command_returns_whether_all_is_reached(answers, ours: float, code: int, monkeypatch) -> None:
    import typer

    monkeypatch.setattr(answers, "ROWS", (made(answers, "one", ours), made(answers, "other", 0.9)))
    app = typer.Typer()
    app.command()(answers.main)
    assert CliRunner().invoke(app, ["one"]).exit_code == code
    assert CliRunner().invoke(app, []).exit_code == code
    unknown = CliRunner().invoke(app, ["none"])
    assert unknown.exit_code == 2
    assert "one, other" in unknown.output


def test_the_archive_is_read_in_its_split(answers) -> None:
    found = {row.name: row.read() for row in answers.ROWS if row.name in ("vowels", "power")}
    assert [[len(part.X), len(part.y), part.X[0].shape[1]] for part in found["vowels"]] == [
        [270, 270, 12],
        [370, 370, 12],
    ]
    assert [[len(part.X), part.X[0].shape] for part in found["power"]] == [[67, (24, 1)], [1029, (24, 1)]]
    power = next(row for row in answers.ROWS if row.name == "power")
    assert power.naive(found["power"])[0] == pytest.approx(0.4985, abs=1e-4)
    assert power.simple(found["power"])[0] > 0.95


@pytest.mark.skipif(not DATA.exists(), reason="the data are beside the repository")
def test_shared_data_are_read_in_their_splits(answers) -> None:
    rows = {row.name: row for row in answers.ROWS}
    indoor, engines = rows["indoor"].read(), rows["engines"].read()
    assert [len(part.y) for part in indoor] == [210, 104]
    assert {len(x) for part in indoor for x in part.X} <= set(range(19, 130))
    assert (len(engines.X), sum(map(len, engines.X)), engines.X[0].shape[1]) == (100, 24720, 24)
    assert (len(engines.stopped), sum(map(len, engines.stopped))) == (100, 16596)
    assert [int(y.max()) for y in engines.y] == [125] * 100
    # The known errors of naive answers say that targets and test parts are the usual ones.
    assert rows["engines"].naive(engines) == pytest.approx((43.7, 45.1), abs=0.05)
    assert rows["weekly"].naive(rows["weekly"].read())[0] == pytest.approx(2.777, abs=1e-3)
    assert rows["load"].naive(rows["load"].read())[0] == pytest.approx(1.294, abs=1e-3)


def test_readers_take_the_files_as_they_are_packed(answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.answers import engines, row

    monkeypatch.setattr(row, "SHARED", tmp_path)
    (tmp_path / "cmapss").mkdir()
    for part, lengths in (("train", (3, 2)), ("test", (2, 1))):
        lines = [[unit, t + 1, *range(24)] for unit, T in enumerate(lengths, 1) for t in range(T)]
        with gzip.open(tmp_path / f"cmapss/{part}_FD003.txt.gz", "wt") as file:
            file.writelines(" ".join(map(str, line)) + " \n" for line in lines)
    (tmp_path / "cmapss/RUL_FD003.txt").write_text("7 \n130 \n")
    found = engines.read()
    assert [x.shape for x in (*found.X, *found.stopped)] == [(3, 24), (2, 24), (2, 24), (1, 24)]
    assert [y.tolist() for y in found.y] == [[2, 1, 0], [1, 0]]
    assert engines.errors(found, np.array([10.0, 200.0])) == pytest.approx((np.sqrt(9 / 2), np.sqrt((9 + 25) / 2)))
