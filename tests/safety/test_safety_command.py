"""Command lines that ask for what cannot be: one line, status 2, and nothing was written over."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recurra import cli, files
from recurra.conversion.state_dict import read_state_dict
from recurra.errors import ConversionError, ShapeError
from recurra.files import check_writable, write_atomically
from recurra.runtime import Linear, Model


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
        ("fit forecast {table} --target y --horizon 3 --out {table}", "this is read here"),
        ("fit forecast {table} --target y --horizon 3 --out a --report ./a", "this is read here"),
        ("predict {table} {table} --out ../{folder}/t.csv", "this is read here"),
        ("fit {far} --target y --horizon 3", "is in the year"),
        ("fit classify {deep} --target y", "no JSON"),
        ("fit forecast {table} --target y --horizon 3 --cell {script}:c", "the script fails with Odd"),
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
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "odd.py").write_text("class Odd(BaseException):\n    pass\n\n\nraise Odd\n")
    far = pa.array([2**62 + i * 10**15 for i in range(30)], pa.timestamp("us"))
    pq.write_table(pa.table({"time": far, "y": pa.array(range(30))}), tmp_path / "far.parquet")
    monkeypatch.chdir(tmp_path)
    named = {"far": "far.parquet", "deep": "deep.json", "script": "odd.py", "folder": tmp_path.name}
    words = [w.format(table=table, pipe=pipe, empty="", **named) for w in arguments.split()]
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


KILLED = """
import os, sys
from recurra import files
files.os.fsync = lambda _: (print("writing", flush=True), sys.stdin.read())
files.write_atomically(sys.argv[1], "new")
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path, monkeypatch) -> None:
    target, other = tmp_path / "a", tmp_path / ".a.b.abcdefgh.partial"
    other.write_text("of the file a.b")
    with subprocess.Popen([sys.executable, "-c", KILLED, target], stdin=-1, stdout=-1) as writer:
        assert writer.stdout.readline() == b"writing\n"
        monkeypatch.setattr(files, "_YOUNG", -1)
        write_atomically(target, "old")  # leaves alone what is being written
        (left,) = tmp_path.glob(".a.????????.partial")
        writer.kill()
        writer.wait()
    monkeypatch.setattr(files, "_YOUNG", 60)
    write_atomically(target, "old")  # which may not be locked yet
    assert left.exists()
    os.utime(left, (0, 0))
    write_atomically(target, "newer")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "newer", other.name: "of the file a.b"}


def test_a_batch_for_which_no_memory_is_enough_is_refused_in_words() -> None:
    model = Model([Linear(np.ones((1, 2), np.float32))])
    for n in (1 << 35, 1 << 36, 1 << 40, 1 << 62):
        with pytest.raises(ShapeError, match=f"batch is {n}, expected at most"):
            model.session(batch=n)


@pytest.mark.parametrize("slope", [10**400, 1e308, float("nan")])
def test_a_setting_that_no_float_holds_is_refused_in_words(slope) -> None:
    layers = [{"kind": "linear", "name": "h"}, {"kind": "activation", "function": "leaky_relu", "slope": slope}]
    with pytest.raises(ConversionError, match=r"slope is .*, expected less than"):
        read_state_dict({"h.weight": np.ones((1, 2), np.float32)}, {"layers": layers})
