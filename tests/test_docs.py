"""Every code block of the documentation runs, page by page; every command that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+|\{code-cell\})[^\n]*\n(?::[^\n]*\n)*(.*?)^```$", re.MULTILINE | re.DOTALL)

PYTHON = ("python", "{code-cell}")  # shown, and run while the documentation is built


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text()) if language in languages]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons of a size that shows that they run, in this process: workers need seconds to start."""
    monkeypatch.syspath_prepend(ROOT)  # for `benchmarks`
    monkeypatch.syspath_prepend(ROOT / "tests" / "compare")
    from compare_benches import Here

    from recurra.tasks.bench import Bench

    def engine(workers: int, tune: Path, final: Path) -> Here:
        here = Here(Bench.from_bytes(final.read_bytes()))
        here.benches["tune"] = Bench.from_bytes(tune.read_bytes())
        return here

    monkeypatch.setenv("RECURRA_DOCS", "quick")
    monkeypatch.setattr("recurra.compare.run.Local", engine)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, *PYTHON)], ids=name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": name(page)}
    for k, code in enumerate(blocks(page, *PYTHON), 1):
        exec(compile(code, f"{name(page)}, block {k}", "exec"), space)


@pytest.mark.parametrize("page", [p for p in PAGES if "recurra " in "".join(blocks(p, "sh"))], ids=name)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    from recurra.cli import app

    commands = get_command(app).commands
    for line in re.findall(r"\brecurra [^|<>#\n]+", "".join(blocks(page, "sh")).replace("\\\n", "")):
        _, word, *rest = line.split()
        assert word in commands, line
        command = commands[word]
        while hasattr(command, "commands"):
            assert [*rest, ""][0] in command.commands, line
            command, rest = command.commands[rest[0]], rest[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, line


MADE = [p for p in PAGES if p.parent.name in ("docs", "guide") and p.stem not in ("architecture", "decisions")]


@pytest.mark.parametrize("page", MADE, ids=name)
def test_no_table_of_numbers_is_pasted(page: Path) -> None:
    """Numbers are made while the page is built."""
    prose = FENCE.sub("", page.read_text())
    assert not re.findall(r"^\|.*\|\s*[-+<>=]*\s*\d.*$", prose, re.MULTILINE)
