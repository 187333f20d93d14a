"""ONNX files of a hundred bytes that want minutes or gigabytes are refused before they have them; who gives much may
have much."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from onnx import helper, numpy_helper

from recurra import onnx
from recurra.errors import OnnxError
from recurra.onnx import budget

node = helper.make_node


def places(*names):
    return [helper.make_tensor_value_info(name, 1, None) for name in names]


def model(nodes, output, inputs=(), **arrays):
    given = [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", places(*inputs), places(output), given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def scan(body, depth=0):
    return node("Scan", ["h" if depth else "h0", "xs"], ["last", f"y{depth}"], body=body, num_scan_inputs=1)


def sums(more=()):
    nodes = [*more, node("Add", ["h", "x"], ["h2"]), node("Identity", ["h2"], ["y"])]
    return helper.make_graph(nodes, "b", places("h", "x"), places("h2", "y"))


F64 = numpy_helper.from_array(np.zeros(1), "v")
BIG = {"s": np.array([1 << 28])}
FILL = node("ConstantOfShape", ["s"], ["a"])
ONES = {"W": np.ones((1, 4, 1), "f4"), "R": np.ones((1, 4, 1), "f4")}
COSTLY = {
    "one array": model([node("ConstantOfShape", ["s"], ["a"], value=F64)], "a", **BIG),
    "ten arrays": model([FILL, *(node("Add", ["a", "a"], [f"a{k}"]) for k in range(10))], "a9", s=np.array([1 << 21])),
    "an error function": model([FILL, node("Erf", ["a"], ["b"])], "b", s=np.array([1 << 25])),
    "a product": model([FILL, node("MatMul", ["a", "a"], ["b"])], "b", s=np.array([8000, 8000])),
    "a product of whole numbers": model(
        [FILL, node("Cast", ["a"], ["i"], to=7), node("MatMul", ["i", "i"], ["b"])], "b", s=np.array([2000, 2000])
    ),
    "a convolution": model(
        [FILL, node("Conv", ["a", "a"], ["b"], pads=[255, 255, 255, 255])], "b", s=np.array([8, 8, 256, 256])
    ),
    "repetitions": model([node("Tile", ["a", "r"], ["b"])], "b", a=np.ones(128, "f4"), r=np.array([1 << 20])),
    "an LSTM": model(
        [node("ConstantOfShape", ["s"], ["x"]), node("LSTM", ["x", "W", "R"], ["y"], hidden_size=1)],
        "y",
        s=np.array([1 << 26, 4, 1]),
        **ONES,
    ),
    "kinds of cells": model(
        [
            node("LSTM", ["x", "W", "R"], ["", "h"], hidden_size=1),
            node("GRU", ["h", "W3", "R3"], ["y"], hidden_size=1, linear_before_reset=1),
        ],
        "y",
        x=np.ones((1, 1, 1), "f4"),
        W3=ONES["W"][:, :3],
        R3=ONES["R"][:, :3],
        **ONES,
    ),
}
LONG = {
    "a scan": model([FILL, node("Identity", ["a"], ["xs"]), scan(sums())], "y0", s=np.array([5000, 1]), h0=[0.0]),
    "scans in scans": model(
        [FILL, node("Identity", ["a"], ["xs"]), scan(sums([scan(sums([scan(sums(), 2)]), 1)]))],
        "y0",
        s=np.array([100, 1]),
        h0=[0.0],
    ),
}


@pytest.mark.parametrize("name", [*COSTLY, *LONG])
def test_a_small_file_that_wants_much_is_refused_before_it_has_it(name, monkeypatch) -> None:
    if name in LONG:  # a tenth of a second of Python's time, where a run has some seconds
        monkeypatch.setattr(budget, "WORK", 1 << 28)
    if name == "ten arrays":
        monkeypatch.setattr(budget, "MEMORY", 1 << 26)
    if name == "kinds of cells":
        monkeypatch.setattr(budget, "MOST_CELLS", 1)
    began = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(OnnxError, match=r"the graph (holds more|wants more work|has more than)|expected at most"):
            onnx.run((COSTLY | LONG)[name], {})
        assert tracemalloc.get_traced_memory()[1] < 700 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 4


def test_who_gives_much_may_have_much(monkeypatch) -> None:
    """The same steps, given, and not made by the file: the allowance is of what is given."""
    monkeypatch.setattr(budget, "WORK", 1 << 28)
    content = model([scan(sums())], "y0", ["xs"], h0=np.zeros(1, "f4"))
    x = np.arange(5000, dtype=np.float32)[:, None]
    (y,) = onnx.run(content, {"xs": x})
    np.testing.assert_array_equal(y, np.cumsum(x, 0, dtype=np.float32))


def test_a_run_within_a_run_is_a_part_of_it() -> None:
    with budget.budget((), ()):
        budget.check_work(budget.WORK - 1, "first")
        with budget.budget((), [np.zeros(1000)]), pytest.raises(OnnxError, match="second: the graph wants more work"):
            budget.check_work(2, "second")
    budget.check_work(budget.WORK, "a run of its own")
