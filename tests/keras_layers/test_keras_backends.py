"""Keras layers on each backend, which is chosen when a process starts: one process each, both at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BACKENDS = ("torch", "jax")


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, subprocess.Popen[str]]]:
    started = {}
    for backend in BACKENDS:
        settings = {"KERAS_BACKEND": backend, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
        settings["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiles faster; nothing is timed
        started[backend] = subprocess.Popen(
            [sys.executable, HERE / "on_backend.py"],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    yield started
    for process in started.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("backend", BACKENDS)
def test_on(processes: dict[str, subprocess.Popen[str]], backend: str) -> None:
    printed, _ = processes[backend].communicate(timeout=600)
    assert processes[backend].returncode == 0, printed[-5000:]
    ours, theirs = (int(n) for n in re.findall(r"(\d+) passed", printed))
    assert ours >= 180
    assert theirs >= 30
    assert int(re.findall(r"kernels ran (\d+) times", printed)[0]) >= 100
