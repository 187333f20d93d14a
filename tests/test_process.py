"""The engine as a citizen of its process: threads, forks, instruction sets, imports and memory."""

from __future__ import annotations

import inspect
import os

import pytest

from helpers import ISAS, peak_mib, printed, run_python, threads
from recurra import engine
from recurra.errors import IsaError, ShapeError


def test_threads_follow_torch_until_they_are_set() -> None:
    code = """
from recurra import engine
print(engine.get_num_threads())
import torch
torch.set_num_threads(3)
print(engine.get_num_threads())
engine.set_num_threads(5)
print(engine.get_num_threads())
"""
    assert printed(code).split() == ["1", "3", "5"]


def test_a_script_that_ends_with_a_graph_in_hand_ends_in_silence() -> None:
    code = """
import torch
from recurra.torch import LSTM
output, state = LSTM(2, 3)(torch.ones(4, 1, 2))
"""
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("count", [0, -1])
def test_no_threads_at_all(count: int) -> None:
    with threads(2):
        with pytest.raises(ShapeError, match=f"set_num_threads: got {count}, expected at least 1"):
            engine.set_num_threads(count)
        assert engine.get_num_threads() == 2


def test_threads_are_made_once() -> None:
    code = """
import numpy as np
from conformance.cases import Setting, make_case
from helpers import threads
from recurra import cells, engine
case = make_case(cells.gru, Setting(B=12), np.float32)  # a part has four rows at least
counts = [engine._native.helpers()]
for wanted in (1, 2, 2, 3, 1):
    for _ in range(20):
        with threads(wanted):
            tape = engine.forward(cells.gru, case.weights[0], case.x, keep=True).tape
            engine.backward(tape, case.d_output)
    counts.append(engine._native.helpers())
print(*counts)
"""
    assert printed(code).split() == ["0", "0", "1", "1", "2", "2"]


def test_a_forked_child_computes_the_same() -> None:
    code = """
import os
import numpy as np
from conformance.cases import Setting, make_case
from helpers import threads
from recurra import cells, engine
case = make_case(cells.gru, Setting(T=60), np.float32)
def results():
    with threads(2):
        run = engine.forward(cells.gru, case.weights[0], case.x, keep=True)
        back = engine.backward(run.tape, case.d_output)
    return [run.output, back.x, back.weights.U]
want = results()
assert engine._native.helpers() == 1
for _ in range(3):
    child = os.fork()
    if child == 0:
        same = engine._native.helpers() == 0 and all(np.array_equal(a, b) for a, b in zip(results(), want))
        os._exit(0 if same and engine._native.helpers() == 1 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
assert all(np.array_equal(a, b) for a, b in zip(results(), want))
print("same")
"""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    assert printed(code) == "same"


FORCED = """
import numpy as np
from conformance.cases import Setting, make_case
from recurra import cells, engine
case = make_case(cells.lstm, Setting(), np.float32)
engine.forward(cells.lstm, case.weights[0], case.x)
print(engine.isa(), *(name for name, there in engine._native.isas() if there and engine._native.ran(name)))
"""


@pytest.mark.parametrize("isa", ISAS)
def test_a_forced_isa_runs_and_no_other(isa: str) -> None:
    assert printed(FORCED, RECURRA_ISA=isa).split() == [isa, isa]


def test_the_best_isa_runs_unless_one_is_forced() -> None:
    best = ISAS[0]
    assert printed(FORCED).split() == printed(FORCED, RECURRA_ISA="").split() == [best, best]


def test_an_unknown_isa_is_an_error() -> None:
    done = run_python(FORCED, RECURRA_ISA="avx1024")
    assert done.returncode != 0
    assert "IsaError: RECURRA_ISA=avx1024, which is unknown; expected one of: " in done.stderr
    assert "or unset it" in done.stderr


def test_an_isa_that_the_machine_lacks_is_an_error(monkeypatch) -> None:
    monkeypatch.setenv("RECURRA_ISA", "avx512")
    monkeypatch.setattr(engine._native, "isas", lambda: [("avx512", False), ("avx2", True)])
    engine.isa.cache_clear()
    with pytest.raises(
        IsaError, match="RECURRA_ISA=avx512, which this machine lacks; expected one of: avx2; or unset it"
    ):
        engine.isa()
    monkeypatch.undo()
    assert engine.isa() in dict(engine._native.isas())


def test_import_is_light() -> None:
    code = """
import sys, time
import numpy
start = time.perf_counter()
import recurra
from recurra import engine
took = time.perf_counter() - start
heavy = {"torch", "sympy", "pandas", "keras", "networkx", "llvmlite", "matplotlib"} & set(sys.modules)
print(took, *heavy)
"""
    runs = [printed(code).split() for _ in range(3)]
    assert all(len(r) == 1 for r in runs), runs
    assert min(float(r[0]) for r in runs) <= 0.1


def test_running_a_zoo_cell_imports_nothing_heavy() -> None:
    code = """
import sys
import numpy as np
from recurra import cells, engine
weights = engine.Weights.random(cells.lstm, 3, 4, rng=np.random.default_rng(0))
run = engine.forward(cells.lstm, weights, np.ones((5, 2, 3), np.float32), keep=True, return_gates=True)
engine.backward(run.tape, np.ones_like(run.output))
engine.Stepper(cells.lstm, weights).step(np.ones(3, np.float32))
print(*({"torch", "sympy", "pandas", "keras", "networkx", "llvmlite"} & set(sys.modules)))
"""
    assert printed(code) == ""


# Not by importing the helpers, which hold more than the engine.
PEAK = f"import sys\nfrom pathlib import Path\n{inspect.getsource(peak_mib)}"


def test_a_hundred_thousand_steps_train_in_200_mib() -> None:
    code = f"""{PEAK}
import numpy as np
from recurra import cells, engine
rng = np.random.default_rng(0)
weights = engine.Weights.random(cells.lstm, 64, 64, rng=rng)
x = rng.standard_normal((100_000, 1, 64), dtype=np.float32)
run = engine.forward(cells.lstm, weights, x, keep=True, checkpoint_every=300)
run.output *= 1e-3
gradients = engine.backward(run.tape, run.output)
assert all(np.isfinite(a).all() and a.any() for _, a in gradients.weights.items())
print(peak_mib())
"""
    assert 77 < float(printed(code)) <= 200  # x, the output and the gradient of x take 73 MiB of it


def test_kept_runs_are_freed() -> None:
    code = f"""{PEAK}
import numpy as np
from recurra import cells, engine
weights = engine.Weights.random(cells.lstm, 16, 64, rng=np.random.default_rng(0))
x = np.ones((2000, 8, 16), np.float32)
def peak():
    for _ in range(4):
        run = engine.forward(cells.lstm, weights, x, keep=True)
        engine.backward(run.tape, run.output)
    return peak_mib()
first = peak()
for _ in range(5):
    last = peak()
print(last - first)
"""
    assert float(printed(code)) < 8  # one kept run takes 23 MiB
