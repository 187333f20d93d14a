"""Keras layers on each backend, which is chosen when a process starts: one process each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.long
@pytest.mark.parametrize(("backend", "least"), [("torch", 240), ("jax", 130)])
def test_on(backend: str, least: int) -> None:
    settings = {"KERAS_BACKEND": backend, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    settings["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"  # compiles faster
    command = [sys.executable, HERE / "on_backend.py"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    ours, theirs = (int(n) for n in re.findall(r"(\d+) passed", done.stdout))
    assert ours >= least
    assert theirs >= 30
    assert int(re.findall(r"kernels ran (\d+) times", done.stdout)[0]) >= 100
