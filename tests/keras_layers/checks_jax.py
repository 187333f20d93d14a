"""The engine as a target of XLA: run by test_keras_backends.py on the JAX backend."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import ALL_CELLS, generator, random_state, random_weights, threads
from recurra import _native, cells, engine, reference
from recurra.cells import Cell
from recurra.errors import DtypeError, ShapeError
from recurra.keras import ffi, jax_scan

T, B, I, H, P = 7, 5, 3, 4, 2
MOST = 1 << 28  # bytes of tapes that wait, unless a test says otherwise
TOLERANCE = {"float32": 5e-6, "float64": 1e-13}


class Problem:
    """Random distinct weights, x [T, B, I], initial states and gradients of all results, as JAX's arrays too."""

    def __init__(self, cell: Cell, dtype: str = "float32") -> None:
        rng = generator(cell.name, dtype)
        self.cell = cell
        self.weights = random_weights(cell, I, H, None if cell.projection is None else P, rng=rng, dtype=dtype)
        self.x = rng.normal(size=(T, B, I)).astype(dtype)
        self.state = random_state(cell, self.weights, B, rng)
        self.seeds = [rng.normal(size=(T, B, self.state[0].shape[1])).astype(dtype)]
        self.seeds += random_state(cell, self.weights, B, rng)
        self.arrays = [jnp.asarray(a) for a in (self.x, *self.state, *(a for _, a in self.weights.items()))]

    def run(self, *arrays: Any, **options: Any) -> list[jax.Array]:
        """The scan from x, the states and the weights."""
        states = 1 + len(self.cell.states)
        x, state, (W, U, b, c, *rest) = arrays[0], arrays[1:states], arrays[states:]
        R, rest = (rest[0], rest[1:]) if self.weights.R is not None else (None, rest)
        return jax_scan.scan(self.cell.text, x, [W, U, b, c, R], rest, state, **options)

    def truth(self, lengths: list[int], reverse: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Results and gradients by the definition."""
        run = reference.forward(self.cell, self.weights, self.x, self.state, lengths, reverse)
        found = reference.backward(self.cell, self.weights, self.x, run, self.seeds[0], self.seeds[1:])
        return [run.output, *run.state], [found.x, *found.state, *(a for _, a in found.weights.items())]


def assert_close(found: Any, truth: list[np.ndarray]) -> None:
    assert [a.shape for a in found] == [a.shape for a in truth]
    for a, b in zip(found, truth, strict=True):
        largest = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[str(a.dtype)] * largest)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_every_cell_is_its_definition(cell: Cell, reverse: bool) -> None:
    problem, lengths = Problem(cell), [T, 0, 3, T - 1, 1]

    @jax.jit
    def both(*arrays: Any) -> Any:
        found, back = jax.vjp(lambda *a: problem.run(*a, lengths=jnp.array(lengths), reverse=reverse), *arrays)
        return found, back([jnp.asarray(s) for s in problem.seeds])

    found, gradients = both(*problem.arrays)
    results, wanted = problem.truth(lengths, reverse)
    assert_close(found, results)
    assert_close(gradients, wanted)


def test_double_precision_with_lengths_of_64_bits() -> None:
    with jax.enable_x64(True):
        problem, lengths = Problem(cells.lstm, "float64"), [2, T, 0, 1, T]
        ends = jnp.asarray(lengths)
        assert ends.dtype == "int64"
        found, back = jax.vjp(lambda *a: problem.run(*a, lengths=ends), *problem.arrays)
        results, wanted = problem.truth(lengths, reverse=False)
        assert_close(found, results)
        assert_close(back([jnp.asarray(s) for s in problem.seeds]), wanted)


def test_lengths_of_few_bits() -> None:
    problem, lengths = Problem(cells.lstm), [2, T, 0, 1, T]
    found = problem.run(*problem.arrays, lengths=jnp.array(lengths, "uint8"))
    assert_close(found, problem.truth(lengths, reverse=False)[0])
    with pytest.raises(ShapeError, match="`lengths` is an array of float32"):
        problem.run(*problem.arrays, lengths=jnp.array(lengths, "float32"))


def test_it_has_the_bits_of_the_engine_on_any_number_of_threads() -> None:
    problem = Problem(cells.gru)
    run = jax.jit(problem.run)
    wanted = engine.forward(cells.gru, problem.weights, problem.x, problem.state)
    for count in (1, 2):
        with threads(count):
            found = run(*problem.arrays)
            jax.block_until_ready(found)
        assert all((a == b).all() for a, b in zip(found, [wanted.output, *wanted.state], strict=True))
    assert _native.helpers() >= 1  # the count was heeded by a program that had been compiled before


def test_a_batch_of_calls() -> None:
    problem = Problem(cells.lstm)
    x = jnp.stack([problem.arrays[0], -problem.arrays[0]])
    seeds = [jnp.asarray(s) for s in problem.seeds]

    def both(x: Any) -> Any:
        found, back = jax.vjp(problem.run, x, *problem.arrays[1:])
        return found, back(seeds)

    mapped = jax.tree.leaves(jax.jit(jax.vmap(both))(x))
    for i in range(2):
        for a, b in zip(mapped, jax.tree.leaves(both(x[i])), strict=True):
            assert (a[i] == b).all()


@pytest.mark.parametrize("shape", [(T, 0, I), (0, B, I)], ids=["no rows", "no steps"])
def test_nothing_at_all(shape: tuple[int, int, int]) -> None:
    problem = Problem(cells.gru)
    x, state = jnp.zeros(shape), problem.arrays[1][: shape[1]]
    (output, last), back = jax.vjp(problem.run, x, state, *problem.arrays[2:])
    assert output.shape == (*shape[:2], H)
    assert (last == state).all()
    dx, d_state, *dw = back([jnp.ones_like(output), jnp.ones_like(last)])
    assert dx.shape == shape
    assert (d_state == 1).all()
    assert not any(a.any() for a in dw)


@pytest.fixture
def no_room() -> Iterator[None]:
    """Only the youngest tape waits."""
    _native.xla_bound_tapes(1)
    yield
    _native.xla_bound_tapes(MOST)


def test_a_tape_waits_until_it_is_used() -> None:
    problem, before = Problem(cells.gru), _native.xla_waiting_bytes()
    found, back = jax.block_until_ready(jax.vjp(problem.run, *problem.arrays))
    assert _native.xla_waiting_bytes() > before
    first = jax.block_until_ready(back(found))
    assert _native.xla_waiting_bytes() == before
    assert all((a == b).all() for a, b in zip(first, back(found), strict=True))  # forward has run again


@pytest.mark.usefixtures("no_room")
def test_a_tape_that_made_way_is_computed_again() -> None:
    problem = Problem(cells.lstm)
    found, early = jax.vjp(problem.run, *problem.arrays)
    jax.block_until_ready(found)
    one = _native.xla_waiting_bytes()
    late = jax.vjp(problem.run, *problem.arrays)[1]
    first = jax.block_until_ready(late(found))
    assert one > 0
    assert _native.xla_waiting_bytes() == 0
    assert all((a == b).all() for a, b in zip(first, early(found), strict=True))


@pytest.mark.usefixtures("no_room")
def test_programs_on_two_threads() -> None:
    problem = Problem(cells.gru)

    @jax.jit
    def both(x: Any) -> Any:
        found, back = jax.vjp(lambda x: problem.run(x, *problem.arrays[1:]), x)
        return *found, *back(found)

    inputs = [problem.arrays[0] * (1 + i) for i in range(40)]
    alone = [jax.block_until_ready(both(x)) for x in inputs]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda x: jax.block_until_ready(both(x)), inputs))
    for a, b in zip(alone, together, strict=True):
        assert all((p == q).all() for p, q in zip(a, b, strict=True))


def test_arrays_that_do_not_fit_are_refused_when_the_program_is_traced() -> None:
    problem = Problem(cells.gru)
    x, *rest = problem.arrays
    with pytest.raises(ShapeError, match=r"forward of gru: `x` has shape \(7, 5, 2\), expected \[T, B, 3\]"):
        jax.eval_shape(problem.run, x[..., :2], *rest)
    with pytest.raises(ShapeError, match=r"state h` has shape \(3, 4\), expected \[5, 4\]"):
        jax.eval_shape(problem.run, x, rest[0][:3], *rest[1:])
    with pytest.raises(DtypeError, match="`x` has dtype float16"):
        jax.eval_shape(problem.run, x.astype("float16"), *rest)
    with pytest.raises(ShapeError, match="`lengths` is an array of int32 with shape"):
        problem.run(x, *rest, lengths=jnp.zeros(B + 1, "int32"))


@pytest.mark.parametrize(("lengths", "span"), [([0, 1, 8, 2, 3], "0 to 8"), ([0, 1, -1, 2, 3], "-1 to 3")])
def test_lengths_beyond_the_steps_are_refused_when_the_program_runs(lengths: list[int], span: str) -> None:
    problem = Problem(cells.gru)
    run = jax.jit(lambda ends: problem.run(*problem.arrays, lengths=ends))
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"forward of gru: `lengths` go from {span}, expected 0 to 7"):
        jax.block_until_ready(run(jnp.array(lengths)))
    jax.block_until_ready(run(jnp.array([0, 1, 7, 2, 3])))


def test_a_program_that_is_not_ours_is_refused() -> None:
    problem = Problem(cells.gru)
    like = jax.ShapeDtypeStruct((1,), "float32")
    jax.block_until_ready(problem.run(*problem.arrays))

    def call(number: int, count: int) -> Any:
        return jax.ffi.ffi_call(ffi._TARGET, [like] * count)(*problem.arrays[:count], site=np.int64(number))

    with pytest.raises(jax.errors.JaxRuntimeError, match="Recurra's site 7, which this process does not know"):
        jax.block_until_ready(call(7, 1))
    forward = engine.call(cells.gru, problem.weights, problem.x, None, None, None, False, 0)
    rows = {"tensors": [0, 1, 2, 3, 4, -1, -1, -1], "incoming": [], "results": [0, 1]}
    _native.xla_add(7, "forward of gru", forward, False, False, **rows, threads=1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="has 3 arguments and 3 results, expected 5 and 2: trace it"):
        jax.block_until_ready(call(7, 3))


PROGRAM = """
import jax, jax.numpy as jnp
from recurra import cells
from recurra.keras import jax_scan

def loss(W):
    U, b = jnp.eye(4) / 3, jnp.linspace(-1, 1, 4)
    return jax_scan.scan(cells.rnn.text, jnp.ones((5, 2, 3)), [W, U, b, b, None])[0].sum()

print(*jax.jit(jax.grad(loss))(jnp.linspace(-1, 1, 12).reshape(4, 3)).ravel())
"""


def test_a_compiled_program_on_disk_serves_another_process(tmp_path: Path) -> None:
    settings = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    settings["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

    def printed() -> tuple[str, set[str]]:
        made = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=os.environ | settings, capture_output=True, text=True, check=True
        )
        return made.stdout, {file.name for file in tmp_path.iterdir() if file.name.endswith("-cache")}

    first, again = printed(), printed()
    assert any(name.startswith("jit_loss") for name in first[1])
    assert first == again
