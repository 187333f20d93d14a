"""Cells compiled at run time: the bits of the built-in kernels, the values of the definition, and a cache that holds.

Run with `-s` to see the times.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pytest

from helpers import ZOO, generator, printed, random_state, random_weights, run_python
from recurra import engine, jit, reference
from recurra.cells import (
    Cell,
    cell,
    clip,
    elu,
    emit_llvm,
    erf,
    exp,
    hard_sigmoid,
    lstm,
    lstm_peephole,
    maximum,
    minimum,
    product,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
)
from recurra.errors import IsaError, MissingExtraError

ISAS = [name for name, available in engine._native.isas() if available]
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}  # of the largest number in an array


@cell(source="tests: every operation of the language, a second product, and parameters used in and beside gates")
def everything(x, h, s, *, p):
    f = hard_sigmoid(x.f + h.f) + 0.1 * softplus(s - p.f)
    v = elu(x.v + product(f * h).v) + relu(h.r + x.r)
    w = maximum(v, tanh(s)) - minimum(0.3, erf(h.w)) + clip(x.w, -0.6, 0.7)
    s = sigmoid(p.decay) * s + 0.1 * where(v > h, exp(-abs(w)), w / 3.7) * v
    return 0.5 * h + 0.4 * w / sqrt(1 + w * w), s


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of each test's own."""
    monkeypatch.setenv("RECURRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_loaded", WeakValueDictionary())
    monkeypatch.setattr(jit, "_warned", set())
    return tmp_path / "cache"


@contextmanager
def kernels(isa: str, zoo: bool) -> Iterator[list[str]]:
    """On this ISA, with built-in kernels or with none; gives the names of the cells that were compiled."""
    compiled: list[str] = []

    def spy(cell: Cell, isa: str, gradient: bool) -> jit.Code:
        if gradient:
            compiled.append(cell.name)
        return original(cell, isa, gradient)

    original = jit.routines_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "isa", lambda: isa)
        patch.setattr(jit, "routines_of", spy)
        if not zoo:
            patch.setattr(engine._native, "zoo", {})
        engine._kernel.cache_clear()
        yield compiled
    engine._kernel.cache_clear()


def run(cell: Cell, dtype: str, T: int, B: int, H: int) -> dict[str, np.ndarray]:
    """All that a cell gives: ragged, forward and backward, and step by step."""
    rng = generator(cell.name, dtype, T, B, H)
    weights = random_weights(cell, 3, H, max(1, H - 2), rng=rng, dtype=dtype)
    x = rng.normal(size=(T, B, 3)).astype(dtype)
    state = random_state(cell, weights, B, rng)
    lengths = rng.integers(0, T + 1, B)
    result = engine.forward(cell, weights, x, state, lengths=lengths, keep=True, return_states=True, return_gates=True)
    d_output = rng.normal(size=result.output.shape).astype(dtype)
    gradients = engine.backward(result.tape, d_output, random_state(cell, weights, B, rng))
    live = engine.Stepper(cell, weights, B)
    live.state = state
    steps = np.stack([live.step(x[t]) for t in range(T)])
    arrays = {"output": result.output, "steps": steps, "d x": gradients.x} | result.gates
    for name, group in (("state", result.state), ("states", result.states), ("d state", gradients.state)):
        arrays |= {f"{name} {i}": array for i, array in enumerate(group)}
    return arrays | {f"d {name}": array for name, array in gradients.weights.items()}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("built_in", ZOO, ids=lambda cell: cell.name)
def test_compiled_cells_have_the_bits_of_built_in_ones(built_in: Cell, isa: str) -> None:
    for dtype in DTYPES:
        for T, B, H in ((7, 5, 19), (3, 2, 1), (2, 3, 32)):
            with kernels(isa, zoo=True) as compiled:
                expected = run(built_in, dtype, T, B, H)
            assert not compiled
            with kernels(isa, zoo=False) as compiled:
                got = run(built_in, dtype, T, B, H)
            assert compiled == [built_in.name]
            for name, array in expected.items():
                assert np.isfinite(array).all()
                np.testing.assert_array_equal(got[name], array, err_msg=f"{name} {dtype} H={H}")


@pytest.mark.parametrize("fault", ["rounded twice", "swapped difference", "constants off by an ulp"])
def test_a_planted_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with kernels(ISAS[0], zoo=True):
        expected = run(lstm_peephole, "float32", 4, 3, 19)
    if fault == "rounded twice":
        isa = emit_llvm.ISAS[ISAS[0]]
        monkeypatch.setitem(emit_llvm.ISAS, ISAS[0], isa._replace(fma=not isa.fma))
    elif fault == "swapped difference":
        monkeypatch.setitem(emit_llvm._INSTRUCTIONS, "sub", "fsub {V} {1}, {0}")
    else:
        const = emit_llvm._Printer.const
        monkeypatch.setattr(emit_llvm._Printer, "const", lambda self, value: const(self, value * (1 + 2**-23)))
    with kernels(ISAS[0], zoo=False):
        got = run(lstm_peephole, "float32", 4, 3, 19)
    assert any(not np.array_equal(got[name], array) for name, array in expected.items())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_users_cell_has_the_values_of_the_definition(dtype: str, isa: str) -> None:
    rng = generator(dtype)
    T, B, H = 9, 5, 19
    weights = random_weights(everything, 3, H, rng=rng, dtype=dtype)
    x = rng.normal(size=(T, B, 3)).astype(dtype)
    state, d_state = random_state(everything, weights, B, rng), random_state(everything, weights, B, rng)
    lengths = np.array([9, 0, 4, 9, 1])
    d_output = rng.normal(size=(T, B, H)).astype(dtype)
    d_output[np.arange(T)[:, None] >= lengths] = 0
    with kernels(isa, zoo=True) as compiled:
        got = engine.forward(everything, weights, x, state, lengths=lengths, keep=True, return_gates=True)
        back = engine.backward(got.tape, d_output, d_state)
    assert compiled == ["everything"]
    expected = reference.forward(everything, weights, x, state, lengths)
    truth = reference.backward(everything, weights, x, expected, d_output, d_state)
    pairs = [(got.output, expected.output), (back.x, truth.x)]
    pairs += [*zip(got.state, expected.state, strict=True), *zip(back.state, truth.state, strict=True)]
    pairs += [(got.gates[name], gate) for name, gate in expected.gates.items()]
    pairs += [(a, b) for (_, a), (_, b) in zip(back.weights.items(), truth.weights.items(), strict=True)]
    for a, b in pairs:
        assert np.abs(b).max() > 0
        assert np.abs(a - b).max() <= TOLERANCE[dtype] * np.abs(b).max()


def test_a_step_needs_no_gradient(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps alone are compiled without algebra, are no part of what training compiles, and use it where it is there."""
    with monkeypatch.context() as patch:
        patch.setattr(jit, "routines", None)
        steps = jit.routines_of(lstm, ISAS[0], gradient=False)
        for addresses in (steps.f32, steps.f64):
            assert [a != 0 for a in addresses] == [False, True, False, False, False, False]
    whole = jit.routines_of(lstm, ISAS[0])
    for addresses in (whole.f32, whole.f64):
        assert [a != 0 for a in addresses] == [False, True, True, False, True, True]
    assert len(list(folder.glob("*.o"))) == 2
    assert jit.routines_of(lstm, ISAS[0], gradient=False) is whole


USE = """
import json, sys, time
from helpers import generator, random_weights
from recurra import engine
from recurra.cells import cell, sigmoid, tanh

@cell
def fresh(x, h, *, a):
    z = sigmoid(x.z + h.z)
    return (1 - z) * h + z * tanh(x.n + a * h)

start, work = time.perf_counter(), time.process_time()
engine._kernel(fresh)
seconds, work = time.perf_counter() - start, time.process_time() - work
rng = generator(0)
weights = random_weights(fresh, 2, 5, rng=rng)
run = engine.forward(fresh, weights, rng.normal(size=(3, 2, 2)), keep=True)
back = engine.backward(run.tape, run.output)
heavy = sorted({"sympy", "networkx", "recurra.cells.adjoint"} & set(sys.modules))
print(json.dumps([seconds, work, heavy, run.output.sum(), back.x.sum()]))
"""


def test_first_use_and_later_uses_in_new_processes(folder: Path) -> None:
    """The later time is asserted in seconds of work, which other processes of a busy machine stretch little."""
    first, _, imported, *expected = json.loads(printed(USE, RECURRA_CACHE=str(folder)))
    assert imported
    later = []
    for _ in range(3):
        seconds, work, imported, *values = json.loads(printed(USE, RECURRA_CACHE=str(folder)))
        assert not imported
        assert values == expected
        later.append((work, seconds))
    work, seconds = min(later)
    print(f"\nfirst use {first:.2f} s, later {seconds:.3f} s, {work:.3f} s of work")
    assert first <= 3
    assert work <= 0.1


def test_processes_that_compile_at_once(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: json.loads(printed(USE, RECURRA_CACHE=str(folder))), range(4)))
    assert all(values == runs[0][3:] for _, _, _, *values in runs)
    assert sorted(entry.name[-2:] for entry in folder.iterdir()) == [".o", "ey"]  # the entry, and the key


def digest(folder: Path) -> str:
    (entry,) = folder.glob("*.o")
    return hashlib.sha256(entry.read_bytes()).hexdigest()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "checksum only", "another's"])
def test_a_damaged_entry_is_built_again(damage: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jit.routines_of(lstm, ISAS[0])
    whole = digest(folder)
    (entry,) = folder.glob("*.o")
    data = entry.read_bytes()
    if damage == "another's":
        entry.unlink()
        jit.routines_of(lstm_peephole, ISAS[0])
        (other,) = folder.glob("*.o")
        other.rename(entry)
    else:
        flipped = bytes([*data[:5000], data[5000] ^ 1, *data[5001:]])
        entry.write_bytes({"truncated": data[:-100], "flipped": flipped, "empty": b""}.get(damage, data[:32]))
    assert digest(folder) != whole
    monkeypatch.setattr(jit, "_loaded", {})
    loads = []
    monkeypatch.setattr(jit, "_load", lambda code, *_: loads.append(code) or jit.Code((), (), None))
    jit.routines_of(lstm, ISAS[0])
    assert loads == [data[32:]]  # the good code, and nothing else
    assert digest(folder) == whole


def test_an_entry_that_another_signed_is_built_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jit.routines_of(lstm, ISAS[0])
    (entry,) = folder.glob("*.o")
    code = entry.read_bytes()[32:]
    key = (folder / "key").read_bytes()
    for forged in (
        hashlib.sha256(entry.name.encode() + b"\0" + b"evil").digest() + b"evil",
        hmac.new(bytes(32), entry.name.encode() + b"\0" + b"evil", hashlib.sha256).digest() + b"evil",
    ):
        entry.write_bytes(forged)
        monkeypatch.setattr(jit, "_loaded", {})
        loads: list[bytes] = []
        monkeypatch.setattr(jit, "_load", lambda code, *_, loads=loads: loads.append(code) or jit.Code((), (), None))
        jit.routines_of(lstm, ISAS[0])
        assert loads == [code]
    assert (folder / "key").read_bytes() == key


@pytest.mark.skipif(os.name != "posix", reason="there are no owners and modes")
@pytest.mark.parametrize("open_to_others", ["folder", "key", "entry", "a link"])
def test_what_others_can_write_is_not_run(open_to_others: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jit.routines_of(lstm, ISAS[0])
    (entry,) = folder.glob("*.o")
    content = entry.read_bytes()
    if open_to_others == "a link":
        entry.rename(folder.parent / "elsewhere")
        entry.symlink_to(folder.parent / "elsewhere")
    else:
        {"folder": folder, "key": folder / "key", "entry": entry}[open_to_others].chmod(0o777)
    monkeypatch.setattr(jit, "_loaded", {})
    monkeypatch.setattr(jit, "_warned", set())
    assert jit._read(entry) is None
    if open_to_others in ("folder", "key"):
        with pytest.warns(RuntimeWarning, match="others can read or write it"):
            jit.routines_of(lstm, ISAS[0])
    else:
        jit.routines_of(lstm, ISAS[0])
        assert entry.read_bytes() == content  # compiled anew, and put in its place
        assert not entry.is_symlink()


def test_a_cell_is_loaded_once_in_a_process(folder: Path) -> None:
    code = jit.routines_of(lstm, ISAS[0])
    start = time.perf_counter()
    assert jit.routines_of(lstm, ISAS[0]) is code
    assert time.perf_counter() - start < 0.05
    assert [address != 0 for address in code.f32] == [False, True, True, False, True, True]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECURRA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="set RECURRA_CACHE to a folder that can be written"):
        assert all(jit.routines_of(lstm, ISAS[0]).f64[1:3])
    jit.routines_of(lstm_peephole, ISAS[0])  # warns no second time
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("package", ["llvmlite", "sympy", "networkx"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding" if package == "llvmlite" else package, None)
    with pytest.raises(MissingExtraError, match=rf"lstm needs {package}.*recurra\[cells\]"):
        jit.routines_of(lstm, ISAS[0])


def test_an_unknown_isa() -> None:
    with pytest.raises(IsaError, match="avx1024"):
        jit.routines_of(lstm, "avx1024")


MANY = """
import gc
import numpy as np
from helpers import generator, random_weights, resident_mib
from recurra import cells, engine, jit, runtime

text = "def c{0}(x, h):\\n    return 0.{0} * h + 0.5 * tanh(x.n + h.n) * sigmoid(x.f)\\n"
x, held = np.ones((3, 2), np.float32), []
for k in range(1, 241):
    cell = cells.from_text(text.format(k))
    weights = random_weights(cell, 2, 4, rng=generator(0), dtype="float32")
    if k > 230:  # in use beyond their turn
        model = runtime.Model([runtime.Recurrent(cell, [weights])])
        batch = np.ones((3, 1, 2), np.float32)
        call = engine.call(cell, weights, batch, None, None, None, False, 0)
        run = engine.forward(cell, weights, batch, keep=True)
        held.append((model.session(), model.run(x), run, engine.backward(run.tape, run.output).x, call))
        del model, run, call
    else:
        engine.Stepper(cell, weights).step(x[0])
    if k == 110:
        half = resident_mib()
    elif k == 230:
        print(resident_mib() - half)
for _ in range(2):  # kernels that are held because they were the last
    engine._kernel.cache_clear()
    gc.collect()
    print(len(jit._loaded))
    for session, out, run, dx, _ in held:
        assert all((session.step(row) == y).all() for row, y in zip(x, out))
        assert (engine.backward(run.tape, run.output).x == dx).all()
    session = run = None
    held.clear()
"""


def test_code_is_in_memory_while_somebody_has_it(folder: Path) -> None:
    """Sessions, calls and tapes have it; of 240 cells as many are loaded as are in use."""
    grown, used, unused = map(float, printed(MANY, RECURRA_CACHE=str(folder)).splitlines())
    assert used == 20
    assert unused == 0
    assert grown < 4  # of 120 cells: they would have taken 8 MiB


HOLES = """
import ctypes
from recurra import cells, engine, jit
text = "def c{0}(x, h):\\n    return 0.{0} * h + 0.5 * tanh(x.n + h.n) * sigmoid(x.f)\\n"
jit.routines_of(cells.from_text(text.format(9)), engine.isa())  # the libraries are in memory before it is cut up
memory = ctypes.CDLL(None)
memory.mmap.restype = ctypes.c_void_p
memory.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
memory.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PAGES, GIB = 3 * 4096, 2**30
taken = lambda size: memory.mmap(None, size, 0, 0x4022, -1, 0)  # private, anonymous, not backed; not to be touched
begin, end = (start := taken(64 * GIB)), start + 64 * GIB
for hole in range(begin + 3 * GIB, end - GIB, 3 * GIB):
    memory.munmap(hole, PAGES)
while not begin <= (place := taken(PAGES)) < end:  # fill what is free elsewhere
    pass
memory.munmap(place, PAGES)
for k in range(1, 5):
    jit.routines_of(cells.from_text(text.format(k)), engine.isa())
print("fine")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="cuts up its memory by Linux' calls")
def test_code_and_data_are_within_reach_in_a_memory_full_of_holes(tmp_path):
    done = run_python(HOLES, RECURRA_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr[-500:]
