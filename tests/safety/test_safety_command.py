"""Command lines that ask for what cannot be: one line, status 2, and nothing was written over."""

from __future__ import annotations

import os
import sys

import pytest

from recurra import cli
from recurra.files import check_writable, write_atomically


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("cells lstm --hidden 100000000", "--hidden"),
        ("cells lstm --input 0", "--input"),
        ("draw lstm --unrolled -1", "unrolled is -1"),
        ("draw lstm --width 100000000 --out a.png", "--width"),
        ("fit forecast {table} --target y --horizon 3 --seed -1", "seed=-1"),
        ("fit forecast {table} --target y --horizon 0", "horizon=0"),
        ("fit forecast {table} --target y --horizon 3 --epochs 0", "epochs=0"),
        ("fit forecast {table} --target y --horizon 3 --layers -2", "layers=-2"),
        ("fit forecast {table} --target y --horizon 3 --out {empty}", "is a folder"),
        ("fit forecast {table} --target y --horizon 3 --out {pipe}", "is a device or a pipe"),
        ("fit forecast {table} --target y --horizon 3 --report {pipe}", "is a device or a pipe"),
        ("fit forecast {table} --target y --horizon 3", "no value at all"),
        ("doctor {table} --lag -5", "--lag"),
        ("doctor {table} --steps -1", "--steps"),
        ("compare {table} --target y --horizon 3 --workers 0", "workers: got 0"),
        ("compare {table} --target y --horizon 3 --trials 0", "trials"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(arguments, says, tmp_path, monkeypatch, capsys) -> None:
    table, pipe = tmp_path / "t.csv", tmp_path / "pipe"
    table.write_text("time,y\n" + "".join(f"2025-01-{d:02},\n" for d in range(1, 29)))
    os.mkfifo(pipe)
    monkeypatch.chdir(tmp_path)
    words = [w.format(table=table, pipe=pipe, empty="") for w in arguments.split()]
    monkeypatch.setattr(sys, "argv", ["recurra", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert says in capsys.readouterr().err
    assert pipe.is_fifo()


def test_memory_that_is_not_there_is_said_in_a_line(monkeypatch, capsys) -> None:
    def nothing_left(**_: object) -> None:
        raise MemoryError("Unable to allocate 284. PiB")

    monkeypatch.setattr(cli, "app", nothing_left)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "recurra: there is not enough memory for this: Unable to allocate 284. PiB; make it smaller\n"
    )


def test_a_pipe_stays_a_pipe(tmp_path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for write in (lambda: check_writable(pipe), lambda: write_atomically(pipe, "new")):
        with pytest.raises(OSError, match="expected the name of a file"):
            write()
    assert pipe.is_fifo()
