"""What the tests of ONNX share: models of one node, vectors from the shared folder, ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import helper

from recurra.onnx.exporter import IR_VERSION, OPSET

VECTORS = Path(__file__).parents[3] / "shared" / "conformance" / "vectors"
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}  # activations of one direction


def model(nodes: Sequence, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], opset: int = OPSET) -> bytes:
    """A model whose inputs have the dtypes of these arrays and shapes of any kind."""
    places = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), None) for n, a in inputs.items()
    ]
    results = [helper.make_empty_tensor_value_info(n) for n in outputs]
    graph = helper.make_graph(list(nodes), "test", places, results)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()


def one(
    op: str, arrays: Sequence[np.ndarray | None], outputs: int = 1, opset: int = OPSET, **attributes: object
) -> tuple:
    """A model of one node, and its inputs by name; None is an input that is left out."""
    names = ["" if a is None else f"in{i}" for i, a in enumerate(arrays)]
    inputs = {n: a for n, a in zip(names, arrays, strict=True) if a is not None}
    results = [f"out{i}" for i in range(outputs)]
    return model([helper.make_node(op, names, results, **attributes)], inputs, results, opset), inputs


def onnx_runtime(content: bytes) -> onnxruntime.InferenceSession:
    """ONNX Runtime on one thread, without its warnings."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Distinct numbers of ordinary size."""
    return (0.5 * rng.normal(size=shape)).astype(np.float32)


def recurrent_inputs(
    op: str, rng: np.random.Generator, T: int, B: int, I: int, H: int, D: int
) -> dict[str, np.ndarray]:
    """Every input that a node has, by its name in the standard, with rows of zero steps."""
    G = GATES[op]
    inputs = {"X": normal(rng, T, B, I), "W": normal(rng, D, G * H, I), "R": normal(rng, D, G * H, H)}
    inputs["B"] = normal(rng, D, 2 * G * H)
    inputs["sequence_lens"] = rng.permutation(np.r_[0, T, rng.integers(1, T + 1, max(B - 2, 0))][:B]).astype(np.int32)
    inputs["initial_h"] = normal(rng, D, B, H)
    if op == "LSTM":
        inputs |= {"initial_c": normal(rng, D, B, H), "P": normal(rng, D, 3 * H)}
    return inputs
