"""The kernels for a GPU, by Triton's interpreter, against the definition; and that Triton compiles them for GPUs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conformance.backends import ONE_RUN, Backend, Outcome, named
from conformance.cases import Case, Setting, make_case
from conformance.checks import assert_same_outcome, expected
from helpers import ALL_CELLS, printed
from recurra import cells
from recurra.cells import Cell
from recurra.errors import GpuError, MissingExtraError, ShapeError
from recurra.torch import Recurrent, kernels
from recurra.torch.call import Call, options_of
from recurra.torch.gpu import graph, plan, run, source
from recurra.weights import Weights
from user_cells import adaptive, branching, entangled

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
    pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning"),  # NumPy, of lanes outside the array
]

RAGGED = Setting(T=3, B=3, I=2, H=5, P=3, lengths=(3, 0, 2), reverse=True, resets=True)
CUT = Setting(T=3, B=2, I=2, H=5, P=3, checkpoint_every=2, resets=((2, 0), (1, 1)), state=False)
STEPS = (cells.gru_reset_before, cells.lstm_projected, adaptive, branching, entangled)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    source.loaded.cache_clear()
    yield
    source.loaded.cache_clear()


def call_of(case: Case, dtype: torch.dtype = torch.float32) -> Call:
    def tensor(array: np.ndarray | None) -> Tensor | None:
        given = None if array is None else torch.from_numpy(np.ascontiguousarray(array))
        return given.to(dtype) if given is not None and given.is_floating_point() else given

    cell, s, w = case.cell, case.setting, case.weights[0]
    state = case.state[0] if case.state else []
    parameters = [w.parameters[p] for p in cell.parameters]
    arrays = (case.x, w.W, w.U, w.b, w.c_, w.R, *parameters, *state, case.lengths, case.reset)
    options = options_of(cell.text, len(parameters), len(state), s.reverse, s.checkpoint_every or 0, False)
    return Call(options, [*map(tensor, arrays)])


def run_gpu(case: Case) -> Outcome:
    """As torch's operator does it on a GPU."""
    cell, n, call = case.cell, len(case.cell.states), call_of(case)
    *results, tape = run.forward(call, keep=True, all=True)
    d_state: list[Any] = [torch.from_numpy(d) for d in case.d_state[0]]  # type: ignore[index]
    found = run.backward(call, tape, torch.from_numpy(case.d_output), d_state, want_x=True)
    r, g = ([t.numpy() for t in group] for group in (results, found))
    last = 5 + (call.R is not None)
    parameters = dict(zip(cell.parameters, g[last:], strict=False))
    d_weights = Weights(*g[1:5], g[5] if call.R is not None else None, parameters)
    d_begin = g[last + len(parameters) :]
    gates = dict(zip(cell.gates, r[1 + 2 * n], strict=True))
    outcome = named(case, r[0], r[1 : 1 + n], r[1 + n : 1 + 2 * n], gates, g[0], d_begin or r[1 : 1 + n], d_weights)
    return outcome if d_begin else {k: v for k, v in outcome.items() if "gradient of initial" not in k}


GPU = Backend("gpu", np.float32, run_gpu, {"gradient of initial": "no state given"}, ONE_RUN)


def check(cell: Cell, setting: Setting) -> None:
    got = run_gpu(make_case(cell, setting, np.float32))
    assert_same_outcome(got, expected(cell, setting, "float32"), GPU, setting)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_a_sequence_in_one_launch(cell: Cell) -> None:
    check(cell, RAGGED)


@pytest.mark.parametrize("cell", STEPS, ids=lambda c: c.name)
def test_a_launch_for_each_step(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WIDEST", 0)
    check(cell, RAGGED)


@pytest.mark.parametrize("widest", [32, 0])
def test_checkpoints(widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WIDEST", widest)
    check(cells.gru_reset_before, CUT)


def test_weights_that_do_not_stay_on_the_chip_and_units_of_several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "RESIDENT", 0)
    check(cells.rnn, Setting(T=2, B=18, I=2, H=17))
    check(cells.mingru, Setting(T=2, B=5, I=2, H=67))


def test_states_and_sums_are_float32_where_weights_are_bfloat16() -> None:
    case = make_case(cells.indrnn, Setting(T=3, B=2, I=2, H=5), np.float32)
    call = call_of(case, torch.bfloat16)
    output, state, tape = run.forward(call, keep=True, all=False)
    want = expected(cells.indrnn, case.setting, "float32")
    assert (output.dtype, state.dtype, tape.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    np.testing.assert_allclose(output.float().numpy(), want["output"], rtol=0, atol=0.05)
    d_state = [torch.from_numpy(d) for d in case.d_state[0]]  # type: ignore[index]
    found = run.backward(call, tape, torch.from_numpy(case.d_output), d_state, want_x=False)
    assert found[0].numel() == 0
    np.testing.assert_allclose(found[1].float().numpy(), want["gradient of W"], rtol=0.05, atol=0.05)


def test_a_tape_that_is_gone_is_made_again() -> None:
    case = make_case(cells.mingru, Setting(T=2, B=2, I=2, H=3), np.float32)
    call = call_of(case)
    first = run.backward(call, run.forward(call, True, False)[-1], torch.ones(2, 2, 3), [None], want_x=True)
    again = run.backward(call, torch.empty(0), torch.ones(2, 2, 3), [None], want_x=True)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_sizes_that_come_again_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []

    class Recorded:
        @classmethod
        def of(cls, run: Any, tensors: Any) -> Any:
            recorded.append(tensors[0].shape)
            return type("R", (), {"replay": staticmethod(lambda given: run(*given))})

    monkeypatch.setattr(graph, "Recorded", Recorded)
    monkeypatch.setattr(graph, "_recorded", type(graph._recorded)())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    for size in (3, 4, 3, 3, 5, 4):
        assert graph.replayed("key", lambda t: [t + 1], [torch.zeros(size)])[0].sum() == size
    assert recorded == [(3,), (4,)]
    for size in range(20, 30):
        graph.replayed("key", lambda t: [t], [torch.zeros(size)])
    assert len(graph._recorded) == graph.MOST


def test_equations_stay_a_choice() -> None:
    torch.manual_seed(0)
    layers = [Recurrent("gru", 3, 4, backend=b, dtype=torch.float64) for b in ("kernels", "equations")]  # type: ignore[arg-type]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    a, b = (layer(x)[0] for layer in layers)
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
    with pytest.raises(ShapeError, match=r"backend='cuda', expected 'kernels' or 'equations'"):
        Recurrent("gru", 3, 4, backend="cuda")  # type: ignore[arg-type]


def test_what_cannot_run_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    call = call_of(make_case(cells.mingru, Setting(T=2, B=2, I=2, H=3), np.float32))
    with monkeypatch.context() as there:

        def full(*_: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")

        there.setattr(plan.Plan, "launch", full)
        with pytest.raises(
            GpuError, match=r"forward of mingru: the GPU has no memory.*2\.00 GiB\): use checkpoint_every="
        ):
            run.forward(call, True, False)
    with monkeypatch.context() as there:
        source.loaded.cache_clear()
        there.setitem(sys.modules, "triton", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'recurra\[gpu\]'"):
            run.forward(call, True, False)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(GpuError, match=r"got device cpu, expected a CUDA device.*backend='equations'"):
        run.forward(call, True, False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    with pytest.raises(GpuError, match=r"Tesla V100 has compute capability 7\.0, expected at least 8\.0: .*equations"):
        source.check_device(torch.device("cuda"))


def test_an_operation_that_triton_lacks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.errors import InterpreterError

    def fails(*_: Any, **__: Any) -> None:
        raise InterpreterError("no such operation\nand more")

    monkeypatch.setitem(source.loaded(cells.mingru).functions, "sequence", {(1, 1): fails})
    with pytest.raises(
        GpuError, match=r"sequence of mingru: Triton could not run it \(no such operation\): .*equations"
    ):
        run.forward(call_of(make_case(cells.mingru, Setting(T=2, B=2, I=2, H=3), np.float32)), False, False)


def test_the_operator_is_there_for_cuda() -> None:
    """By shapes alone, as torch.compile sees it."""
    for name in ("recurra::scan", "recurra::scan_backward"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA")
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        for dtype, tape in ((torch.float32, 5 * 2 * (4 + 4 * 4)), (torch.float64, 1)):
            shapes = ((5, 2, 3), (12, 3), (12, 4), (12,), (12,))
            tensors = [torch.empty(shape, device="cuda", dtype=dtype) for shape in shapes]
            call = Call(options_of(cells.gru.text, 0, 0, False, 0, True), (*tensors, None, None, None))
            output, state, kept = kernels.scan_fake(*call.arguments, True, False)
            assert (output.shape, state.shape, kept.shape) == ((5, 2, 4), (1, 2, 4), (tape,))


COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from recurra import cells
from recurra.cells.triton_tile import CONSTANTS, SIZES
from recurra.torch.gpu.source import OPTIONS, WARPS, loaded

for what in sys.argv[1:]:
    name, kernel, capability, half = what.split()
    of = loaded(cells.get(name))
    arrays = of.printed.arrays[kernel]
    types = {"lengths": "*i64", "reset": "*i8"}
    narrow = ("weights", "biases", "projection", "d_slots") if half == "half" else ()
    signature = {a: types.get(a, "*bf16" if a in narrow else "*fp32") for a in arrays}
    signature |= dict.fromkeys(SIZES, "i32") | dict.fromkeys(CONSTANTS, "constexpr")
    values = dict(zip(CONSTANTS, (16, 16, 16, True, True, True, "tf32x3")))
    code = ASTSource(of.functions[kernel], signature, values)
    target = GPUTarget("cuda", int(capability), 32)
    built = triton.compile(code, target=target, options={"num_warps": WARPS, **OPTIONS})
    print(built.asm["cubin"][:4] == b"\\x7fELF", f".target sm_{capability}" in built.asm["ptx"])
"""


def test_triton_compiles_them_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    compiled = (
        "rnn sequence_saving 80 float32",
        "rnn sequence_backward 90 half",
        "lstm_projected step_backward 80 half",
        "mgu step_inner 90 float32",
    )
    assert printed(COMPILE, *compiled).split() == ["True"] * 2 * len(compiled)
