"""What several tests need: seeded numbers, weights, threads, and Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import user_cells
from recurra import _native, cells, engine
from recurra.cells import Cell
from recurra.weights import Weights

ZOO = cells.zoo_cells()
ALL_CELLS = (*ZOO, *user_cells.CELLS)
ISAS = tuple(name for name, available in engine._native.isas() if available)
TESTS = Path(__file__).parent


def generator(*key: object) -> np.random.Generator:
    """Random numbers that are the same for the same key on every machine."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def random_weights(
    cell: Cell,
    I: int,
    H: int,
    P: int | None = None,
    *,
    rng: np.random.Generator,
    dtype: object = np.float64,
) -> Weights:
    """Distinct weights of a size at which every gate works away from zero and from saturation."""
    P = P if cell.projection is not None else None
    scales = {"W": I**-0.5, "U": (P or H) ** -0.5, "R": H**-0.5, "b": 0.5, "c_": 0.4}
    shapes = Weights.shapes(cell, I, H, P)
    return Weights.of(cell, {n: (scales.get(n, 0.7) * rng.normal(size=s)).astype(dtype) for n, s in shapes.items()})


def state_widths(cell: Cell, weights: Weights) -> list[int]:
    """The width of each state."""
    return [weights.U.shape[1], *([weights.hidden_size] * (len(cell.states) - 1))]


def random_state(cell: Cell, weights: Weights, B: int, rng: np.random.Generator) -> list[np.ndarray]:
    """A state of B rows in the dtype of the weights."""
    return [rng.normal(size=(B, w)).astype(weights.W.dtype) for w in state_widths(cell, weights)]


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """With this many threads; None: as if never set."""
    before = _native.chosen_threads()
    _native.choose_threads(count or 0)
    try:
        yield
    finally:
        _native.choose_threads(before)


@contextmanager
def on_isa(name: str) -> Iterator[None]:
    """With the kernels of this ISA."""
    before, engine.isa = engine.isa, lambda: name
    engine._kernel.cache_clear()
    try:
        yield
    finally:
        engine.isa = before
        engine._kernel.cache_clear()


def peak_mib() -> float:
    """The most memory that this process has held. Not from `getrusage`, which on Linux counts the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def resident_mib() -> float:
    """The memory that this process holds, on Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter that can import these helpers."""
    env = {k: v for k, v in os.environ.items() if k != "RECURRA_ISA"} | environment
    env["PYTHONPATH"] = str(TESTS)
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)  # a hang, not a busy machine


def printed(code: str, *arguments: object, **environment: str) -> str:
    """What such code prints; a failure shows its error output."""
    done = run_python(code, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
