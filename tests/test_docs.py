"""Every code block of the documentation runs, page by page; every command that it names exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md"))]
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


@pytest.mark.long
@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, *PYTHON)], ids=name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": name(page)}
    for k, code in enumerate(blocks(page, *PYTHON), 1):
        exec(compile(code, f"{name(page)}, block {k}", "exec"), space)


@pytest.mark.parametrize(
    "page", [p for p in (ROOT / "README.md", *PAGES) if "recurra " in "".join(blocks(p, "sh"))], ids=name
)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    from recurra.cli import app

    commands = get_command(app).commands
    for line in re.findall(r"\brecurra [^|<>#\n]+", "".join(blocks(page, "sh")).replace("\\\n", "")):
        _, word, *rest = line.split()
        if word == "--version":
            continue
        assert word in commands, line
        command = commands[word]
        while hasattr(command, "commands"):
            assert [*rest, ""][0] in command.commands, line
            command, rest = command.commands[rest[0]], rest[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, line


def test_the_readme_runs_from_its_first_line_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snippet as it stands, in order; only training is of one epoch."""
    from typer.testing import CliRunner

    from recurra.cli import app
    from recurra.tasks import learn

    monkeypatch.setattr(learn, "EPOCHS", (1, 1))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    space: dict[str, object] = {"__name__": "README"}
    commands = 0
    for language, code in FENCE.findall((ROOT / "README.md").read_text()):
        if language == "python":
            exec(compile(code, "README.md", "exec"), space)
        for line in code.splitlines() if language == "sh" else ():
            source, _, command = line.rpartition("| ")
            if command.startswith("recurra "):
                given = subprocess.run(source, shell=True, capture_output=True, text=True, check=True).stdout
                said = CliRunner().invoke(app, shlex.split(command)[1:], input=given)
                assert said.exit_code == 0, (line, said.output, said.exception)
                assert said.stdout.strip(), line
                commands += 1
    assert commands >= 5
    assert {"demand.recurra", "report.html", "forecasts.csv", "state.bin", "lstm.svg"} <= {
        p.name for p in tmp_path.iterdir()
    }
    for image in re.findall(r'src="([^"]+)"', (ROOT / "README.md").read_text()):
        assert (ROOT / image).is_file()


def test_the_table_of_the_readme_is_what_its_program_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    import make_demand

    made, kept = make_demand.table(), (ROOT / "examples" / "demand.csv").read_text().splitlines()
    assert [line.split(",")[::3] for line in made] == [line.split(",")[::3] for line in kept]
    numbers = [np.array([line.split(",")[1:3] for line in lines[1:]], float) for lines in (made, kept)]
    np.testing.assert_allclose(*numbers, atol=0.11)  # the last digit that is written


def test_the_page_of_the_command_line_has_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from docs.commands import page

    from recurra.cli import app

    text = page()
    left = [("recurra", get_command(app))]
    while left:
        name, command = left.pop()
        inside = getattr(command, "commands", None)
        left += [(f"{name} {word}", part) for word, part in (inside or {}).items()]
        if inside is None:
            section = text.partition(f"# `{name}`\n")[2].partition("\n## ")[0].partition("\n### ")[0]
            assert f"$ {name} " in section
            shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
            options = [parameter.opts[0] for parameter in shown if parameter.opts[0].startswith("--")]
            assert all(f"`{option}" in section for option in options), name
    copied = "".join(code for _, code in FENCE.findall(text))
    for line in re.findall(r"^(?:tail .*)?recurra \w.*--.*$", text, re.MULTILINE):
        assert line in copied  # an example stands in a block


def test_the_page_of_the_installation_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    assert set(named) == set(extras) - {"docs", "dev", "fuzz"}


MADE = [p for p in PAGES if p.parent.name in ("docs", "guide") and p.stem not in ("architecture", "decisions")]


@pytest.mark.parametrize("page", MADE, ids=name)
def test_no_table_of_numbers_is_pasted(page: Path) -> None:
    """Numbers are made while the page is built."""
    prose = FENCE.sub("", page.read_text())
    assert not re.findall(r"^\|.*\|\s*[-+<>=]*\s*\d.*$", prose, re.MULTILINE)
