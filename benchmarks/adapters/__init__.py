"""The libraries that take part: for each kind of case and each name in it, what makes the task."""

from benchmarks.adapters import numpy_plain, onnx_runtime, recurra_engine, torch_loop, torch_nn
from benchmarks.task import Make

ENTRANTS: dict[tuple[str, str], Make] = {
    ("step", "recurra"): recurra_engine.step,
    ("step", "kernel"): recurra_engine.kernel,
    ("step", "torch LSTMCell"): torch_nn.cell_step,
    ("step", "torch nn"): torch_nn.layer_step,
    ("step", "onnxruntime"): onnx_runtime.step,
    ("step", "numpy"): numpy_plain.step,
    ("forward", "recurra"): recurra_engine.forward,
    ("forward", "torch nn"): torch_nn.forward,
    ("forward", "onnxruntime"): onnx_runtime.forward,
    ("forward", "numpy"): numpy_plain.forward,
    ("train", "recurra"): recurra_engine.train,
    ("train", "built-in"): recurra_engine.built_in,
    ("train", "torch nn"): torch_nn.train,
    ("train", "torch loop"): torch_loop.written,
    ("train", "careful loop"): torch_loop.careful,
}
