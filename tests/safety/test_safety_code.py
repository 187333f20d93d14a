"""Nothing of a file, a folder or a cache runs as code, and no text of theirs commands a terminal."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from recurra.cli import info, main
from recurra.compare import engines
from recurra.errors import RecurraError
from recurra.formatting import printable
from recurra.runtime import Linear, Model
from recurra.serve.stream import stream
from recurra.terminal import Terminal

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b]52;c;cm0gLXJmIH4=\x07\x9b2J‮"


def test_a_worker_does_not_look_for_libraries_beside_the_data(tmp_path, monkeypatch) -> None:
    started = []
    with monkeypatch.context() as patched:
        patched.setattr(engines.subprocess, "Popen", lambda command, **_: started.append(command))
        engines.Local(1, tmp_path / "a", tmp_path / "b")._start()
    (command,) = started
    (tmp_path / "json.py").write_text("raise SystemExit('run')")
    code = ["-c", "import json; print(json.__file__)"]
    done = subprocess.run([*command[: command.index("-m")], *code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert str(tmp_path) not in done.stdout


def test_the_replay_of_the_demo_does_not_either() -> None:
    import inspect

    from recurra.demos import forecast as demo

    assert '[sys.executable, "-P", "-m",' in inspect.getsource(demo._replay)


def test_printable_text_has_no_command_for_a_terminal() -> None:
    shown = printable(ESCAPES + "naïve\t日本\nnext")
    assert shown.endswith("naïve\t日本\nnext")
    assert all(c.isprintable() or c in "\t\n" for c in shown)
    assert printable("\ud800") == "\\ud800"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "[bold]\x1b[2J[" / "m.recurra"
    path.parent.mkdir()
    Model([Linear(np.ones((1, 1), np.float32))], card={"data": ESCAPES, ESCAPES: 1}).save(path)
    return path


def test_info_shows_control_characters_and_markup_as_they_are(model, capsys) -> None:
    info.info(model)
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "[bold]" in out
    assert "\\x1b]52" in out


def test_an_error_shows_them_as_well(model, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["recurra", "info", str(model.parent / "none.recurra")])
    with pytest.raises(SystemExit):
        main()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(c.isprintable() or c == "\n" for c in error)


def test_tables_and_panels_are_shown_so() -> None:
    from rich.table import Table

    out = io.StringIO()
    table = Table(ESCAPES, title=ESCAPES)
    table.add_row(ESCAPES)
    Terminal(file=out, width=200).print(table, ESCAPES)
    assert all(c.isprintable() or c == "\n" for c in out.getvalue())


def test_what_a_stream_reports_is_one_line(monkeypatch) -> None:
    from recurra import Classifier

    rng = np.random.default_rng(0)
    live = Classifier(hidden=2, epochs=1).fit(rng.normal(size=(20, 4, 1)), [0, 1] * 10, evaluate=False).live()
    errors = io.StringIO()
    name = live.names[0]
    stream(live, [f"{name}\n", f'"{ESCAPES}"\n'], io.StringIO(), errors)
    assert errors.getvalue().count("\n") == 1
    assert all(c.isprintable() or c == "\n" for c in errors.getvalue())


@pytest.mark.parametrize("text", ["1 / 0", "import sys; sys.exit(0)", "def f(:"])
def test_a_script_that_fails_or_exits_is_an_error_of_one_line(text, tmp_path) -> None:
    from recurra.cells.script import load_cell
    from recurra.draw.named import named

    script = tmp_path / "cells.py"
    script.write_text(text)
    for load in (load_cell, named):
        with pytest.raises(RecurraError, match="the script fails with"):
            load(f"{script}:f")


def test_json_in_another_encoding_is_an_error_of_one_line(tmp_path) -> None:
    from recurra import convert

    (tmp_path / "latin.json").write_bytes(b'{"gr\xf6\xdfe": 1}')
    with pytest.raises(RecurraError, match="no JSON"):
        convert(tmp_path / "latin.json", tmp_path / "o.recurra")
    (tmp_path / "big.json").write_text('{"a.weight": [[1' + "0" * 400 + "]]}")
    with pytest.raises(RecurraError, match="no array of numbers"):
        convert(tmp_path / "big.json", tmp_path / "o.recurra")


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    from recurra import draw, files

    (tmp_path / "p.svg").write_text("old")
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        draw.cell("gru").save(tmp_path / "p.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["p.svg"]
    assert (tmp_path / "p.svg").read_text() == "old"
