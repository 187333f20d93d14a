"""ONNX Runtime: a graph of one recurrent operator, through bindings, which spare it a copy in each call."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.task import Problem, Task, regroup

Arrays = dict[str, np.ndarray]
ORDER = {"lstm": "iofg", "gru": "zrn", "rnn": "n"}


def _session(problem: Problem, steps: int, carried: bool) -> ort.InferenceSession:
    """A graph from x [T, B, I] to the output [T, 1, B, H]; if `carried`, also from and to the states [1, B, H]."""
    cell, case, w = problem.cell, problem.case, problem.weights
    order = ORDER[cell.name]

    def grouped(array: np.ndarray) -> np.ndarray:
        return regroup(array, cell.input_gates, order)[None]

    constants = {"W": grouped(w.W), "R": grouped(w.U), "B": np.concatenate([grouped(w.b), grouped(w.c_)], axis=1)}
    state = [1, case.B, case.H]
    states = cell.states if carried else ()
    before, after = [f"{s}_before" for s in states], [f"{s}_after" for s in states]
    attributes = {"hidden_size": case.H} | ({"linear_before_reset": 1} if cell.name == "gru" else {})
    node = helper.make_node(cell.name.upper(), ["x", "W", "R", "B", "", *before], ["output", *after], **attributes)
    graph = helper.make_graph(
        [node],
        cell.name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, case.B, case.I])]
        + [helper.make_tensor_value_info(name, TensorProto.FLOAT, state) for name in before],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [steps, 1, case.B, case.H])]
        + [helper.make_tensor_value_info(name, TensorProto.FLOAT, state) for name in after],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _binding(session: ort.InferenceSession, inputs: Arrays, outputs: Arrays) -> ort.IOBinding:
    """Reads and writes these arrays themselves; they have to outlive it."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return binding


def step(problem: Problem) -> Task:
    """One step a call; two bindings take turns, the new states of one being the old ones of the other."""
    session, x = _session(problem, 1, carried=True), problem.x[:1]
    sides = [{s: np.zeros((1, problem.case.B, problem.case.H), np.float32) for s in problem.cell.states} for _ in "ab"]

    def turn(old: Arrays, new: Arrays) -> ort.IOBinding:
        before, after = {f"{s}_before": a for s, a in old.items()}, {f"{s}_after": a for s, a in new.items()}
        return _binding(session, {"x": x} | before, after)

    bindings, now = (turn(*sides), turn(*sides[::-1])), 0

    def run() -> np.ndarray:
        nonlocal now
        session.run_with_iobinding(bindings[now])
        now = 1 - now
        return sides[now][problem.cell.states[0]][0]

    return Task(run, lambda h: {"output": h})


def forward(problem: Problem) -> Task:
    case = problem.case
    session, output = _session(problem, case.T, carried=False), np.empty((case.T, 1, case.B, case.H), np.float32)
    binding = _binding(session, {"x": problem.x}, {"output": output})
    return Task(lambda: session.run_with_iobinding(binding), lambda _: {"output": output[:, 0]})
