"""A model as an ONNX graph, run by our reader and by ONNX Runtime; states go in and come out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from conformance.cases import Case
from conformance.layers import by_place
from conformance.live import model_of
from recurra import onnx

Outcome = dict[str, np.ndarray]


def run_reader(case: Case) -> Outcome:
    """`recurra.onnx.run`."""
    content, inputs = _graph(case)
    return _named(case, onnx.run(content, inputs))


def run_runtime(case: Case) -> Outcome:
    """ONNX Runtime, on one thread."""
    content, inputs = _graph(case)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return _named(case, session.run(None, inputs))


def _graph(case: Case) -> tuple[bytes, dict[str, np.ndarray]]:
    """The exported file, and its inputs: the states that are given, or those that the export says to begin with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        begins = onnx.export(model_of(case), path)["state"]
        content = path.read_bytes()
    states = {name: np.stack([value] * case.setting.B) for name, value in begins.items()}
    for layer, place in enumerate(case.state or []):
        states |= {f"layers.{layer}.{s}": a for s, a in zip(case.cell.states, place, strict=True)}
    return content, {"x": case.x, **states}


def _named(case: Case, outputs: list[np.ndarray]) -> Outcome:
    """The output, and the states in the order of layers."""
    output, *last = outputs
    found = {"output": output}
    if case.setting.directions == 1:
        n = len(case.cell.states)
        found |= by_place(case, [last[k : k + n] for k in range(0, len(last), n)], "final")
    return found
