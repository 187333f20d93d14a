"""The machine: what it is, and the least time that it needs for a case."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.cases import Case
from recurra import _native, engine
from recurra.cells import Cell
from recurra.weights import Weights

LIBRARIES = ("numpy", "onnxruntime", "torch")
BYTES = 4  # of a float32


@cache
def fma_peak(isa: str, dtype_bytes: int = BYTES) -> float:
    """Multiply-adds per second of one core, from registers alone."""
    return _native.fma_peak(isa, dtype_bytes)


@cache
def bandwidth(size: int) -> float:
    """Bytes per second that one core loads from an array of this many bytes, over and over."""
    return _native.bandwidth(size)


def bound(case: Case) -> float:
    """Seconds below which no program stays: of its multiply-adds at the peak, and of loading its weights, the longer.

    Weights are loaded once in a step; those of the input once in a sequence, and in training all but the recurrent ones
    are left out. Latencies are left out, and so are activations.
    """
    of_input = len(case.cell.input_gates) * case.H * case.I * BYTES
    of_state = len(case.cell.recurrent_gates) * case.H * case.H * BYTES
    if case.kind == "step":
        loads = (of_input + of_state) / bandwidth(of_input + of_state)
    else:
        loads = case.T * of_state / bandwidth(of_state) * (2 if case.kind == "train" else 1)
    return max(case.macs / fma_peak(engine.isa()), loads)


def latency(case: Case) -> float | None:
    """Seconds that its steps take at H = 1, where nothing but waiting is left: each needs the one before.

    None where a batch or a backward run keeps the units busy meanwhile.
    """
    if case.B > 1 or case.kind == "train":
        return None
    return step_latency(case.cell) * (1 if case.kind == "step" else case.T)


@cache
def step_latency(cell: Cell) -> float:
    """Seconds of one step of our kernel with one input and one unit."""
    live = engine.Stepper(cell, Weights.random(cell, 1, 1, rng=np.random.default_rng(0)))._live
    x, output = np.ones(1, np.float32), np.empty(1, np.float32)
    steps, best = 1000, 1.0
    for _ in range(200):
        start = perf_counter()
        live.repeat(x, output, steps)
        best = min(best, perf_counter() - start)
    return best / steps


def describe() -> dict[str, object]:
    """What the numbers of a run depend on."""
    here = [name for name, available in _native.isas() if available]
    return {
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "isa": engine.isa(),
        "threads": 1,
        "gmac_per_second": {isa: {f"float{8 * n}": round(fma_peak(isa, n) / 1e9, 1) for n in (4, 8)} for isa in here},
        "gbyte_per_second": {f"{kb} KiB": round(bandwidth(kb << 10) / 1e9, 1) for kb in (16, 256, 4096)},
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in ("recurra", *LIBRARIES)},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")
