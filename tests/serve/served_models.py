"""Models to be served, a server in a process of its own, and what every session must come to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from helpers import generator
from recurra import cells, runtime
from recurra.weights import Weights

F = np.float32


def network(seed="served", I=3, H=7, O=2):
    rng = generator(seed)
    recurrent = runtime.Recurrent(cells.lstm, [Weights.random(cells.lstm, I, H, rng=rng)])
    return runtime.Model([recurrent, runtime.Linear(rng.normal(size=(O, H)).astype(F))])


def inputs(key, T, I=3):
    return generator("inputs", key).normal(size=(T, I)).astype(F)


@contextmanager
def server(*arguments, before=""):
    """`recurra serve` at a port of its own: (process, url); `before`: a line of Python that its process runs first."""
    code = f"import recurra.serve.run as run; {before}; from recurra.cli import main; main()"
    command = [sys.executable, *(("-c", code) if before else ("-m", "recurra")), "serve", *map(str, arguments)]
    if "--port" not in arguments:
        command += ["--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert " at http" in line, line + process.communicate(timeout=10)[1]
        yield process, line.split(" at ")[1].strip()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        process.stdout.close()
        process.stderr.close()
        process.wait()


def saved(folder: Path, model=None):
    path = folder / "net.recurra"
    (model or network()).save(path)
    return path


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
