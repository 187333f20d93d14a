"""Checks that hold to the last bit, as functions, so that the mutants are held to the very same ones."""

from __future__ import annotations

import numpy as np

from helpers import generator, random_state, random_weights, threads
from recurra import engine
from recurra.cells import Cell
from recurra.weights import Array, Weights

T, B, I, H, P = 131, 37, 3, 21, 13
LENGTHS = generator("lengths").permutation([0, 1, 2, T, T, T - 1, 64, 65, *range(5, 5 + 4 * (B - 8), 4)])


class Run:
    """Weights, a batch of sequences and initial states of one cell, in float32."""

    def __init__(self, cell: Cell) -> None:
        rng = generator("bits", cell.name)
        self.cell = cell
        self.weights: Weights = random_weights(cell, I, H, P, rng=rng, dtype=np.float32)
        self.x: Array = rng.normal(size=(T, B, I)).astype(np.float32)
        self.state = random_state(cell, self.weights, B, rng)

    def forward(self, rows: slice = slice(None), steps: slice = slice(None), **options: object) -> engine.Forward:
        """Some rows and steps of the batch, from the initial states unless others are given."""
        options.setdefault("state", [np.ascontiguousarray(s[rows]) for s in self.state])
        return engine.forward(self.cell, self.weights, np.ascontiguousarray(self.x[steps, rows]), **options)


def assert_same_bits(a: Array, b: Array, what: str) -> None:
    """Raise AssertionError unless both are equal in every bit of every element."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    different = np.argwhere(a.view(np.int32) != b.view(np.int32))
    assert not len(different), f"{what}: {len(different)} of {a.size} elements differ, the first at {different[0]}"


def assert_same_run(a: engine.Forward, b: engine.Forward) -> None:
    """Raise AssertionError unless outputs and final states have the same bits."""
    assert_same_bits(a.output, b.output, "output")
    for s, t in zip(a.state, b.state, strict=True):
        assert_same_bits(s, t, "final state")


def check_batch(cell: Cell) -> None:
    """A row alone and the same row in a batch of 37, and in one of 5."""
    run = Run(cell)
    whole = run.forward()
    assert np.unique(whole.output).size > T * B
    for rows in (*(slice(b, b + 1) for b in (0, 1, 17, B - 1)), slice(30, 35)):
        part = run.forward(rows)
        assert_same_bits(part.output, np.ascontiguousarray(whole.output[:, rows]), f"output of rows {rows}")
        for s, t in zip(part.state, whole.state, strict=True):
            assert_same_bits(s, np.ascontiguousarray(t[rows]), f"final state of rows {rows}")


def check_sizes(cell: Cell, sizes: range) -> None:
    """Rows alone, by two and by three, and live, as in a batch of 13, whatever the number of units."""
    for size in sizes:
        rng = generator("sizes", cell.name, size)
        weights = random_weights(cell, 1 + size % 7, size, 1 + size % 11, rng=rng, dtype=np.float32)
        x = rng.normal(size=(3, 13, 1 + size % 7)).astype(np.float32)
        whole = engine.forward(cell, weights, x).output
        for rows in (slice(4, 5), slice(0, 2), slice(7, 10)):
            part = engine.forward(cell, weights, np.ascontiguousarray(x[:, rows])).output
            assert_same_bits(part, np.ascontiguousarray(whole[:, rows]), f"{size} units, rows {rows}")
        live = engine.Stepper(cell, weights)
        steps = np.stack([live.step(x[t, 4]) for t in range(3)])
        assert_same_bits(steps, np.ascontiguousarray(whole[:, 4]), f"{size} units, live")


def check_wide(cell: Cell, I: int, H: int, P: int) -> None:
    """Rows alone and live as in a batch of 37 on one thread and on three, where weights are larger than caches."""
    rng = generator("wide", cell.name)
    weights = random_weights(cell, I, H, P, rng=rng, dtype=np.float32)
    x = rng.normal(size=(3, 37, I)).astype(np.float32)
    with threads(1):
        whole = engine.forward(cell, weights, x).output
        kept = engine.forward(cell, weights, x, keep=True).output
        live = engine.Stepper(cell, weights)
        steps = np.stack([live.step(x[t, 4]) for t in range(3)])
    assert_same_bits(kept, whole, "kept for training")
    assert_same_bits(steps, np.ascontiguousarray(whole[:, 4]), "live")
    with threads(3):
        assert_same_bits(engine.forward(cell, weights, x).output, whole, "three threads")
    for rows in (slice(4, 5), slice(8, 10), slice(7, 15), slice(0, 25)):
        part = engine.forward(cell, weights, np.ascontiguousarray(x[:, rows])).output
        assert_same_bits(part, np.ascontiguousarray(whole[:, rows]), f"rows {rows}")


def check_chunks(cell: Cell, size: int) -> None:
    """A sequence at once, and in pieces with the state carried from one to the next."""
    run = Run(cell)
    rows = slice(0, 5)
    whole, state, outputs = run.forward(rows), [np.ascontiguousarray(s[rows]) for s in run.state], []
    for start in range(0, T, size):
        piece = run.forward(rows, slice(start, start + size), state=state)
        outputs.append(piece.output)
        state = piece.state
    assert_same_bits(np.concatenate(outputs), whole.output, f"output in chunks of {size}")
    for s, t in zip(state, whole.state, strict=True):
        assert_same_bits(s, t, f"final state after chunks of {size}")


def check_stepper(cell: Cell, rows: int | None) -> None:
    """A sequence at once, and live, one step a call."""
    run = Run(cell)
    count = rows or 1
    whole = run.forward(slice(0, count))
    live = engine.Stepper(cell, run.weights, rows)
    one = 0 if rows is None else slice(0, count)
    live.state = [np.ascontiguousarray(s[one]) for s in run.state]
    for t in range(T):
        assert_same_bits(
            live.step(np.ascontiguousarray(run.x[t, one])),
            np.ascontiguousarray(whole.output[t, one if rows is None else slice(None)]),
            f"step {t}",
        )
    for s, t in zip(live.state, whole.state, strict=True):
        assert_same_bits(s, t[0] if rows is None else t, "state")


def check_threads(cell: Cell) -> None:
    """One thread, two and three, ragged and not."""
    run = Run(cell)
    for lengths in (None, LENGTHS):
        with threads(1):
            one = run.forward(lengths=lengths)
        for count in (2, 3):
            with threads(count):
                assert_same_run(run.forward(lengths=lengths), one)


def check_padding(cell: Cell) -> None:
    """Each row of a padded batch is the row without padding, whatever stands in the padding."""
    run = Run(cell)
    for reverse in (False, True):
        clean = run.forward(lengths=LENGTHS, reverse=reverse)
        past = np.arange(T)[:, None] >= LENGTHS
        for garbage in (np.nan, np.inf, 1e30):
            before, run.x = run.x, np.where(past[..., None], np.float32(garbage), run.x)
            assert_same_run(run.forward(lengths=LENGTHS, reverse=reverse), clean)
            run.x = before
        for b in (0, *np.argsort(LENGTHS)[[0, 1, 2, 5, -1]]):
            alone = run.forward(slice(b, b + 1), slice(0, LENGTHS[b]), reverse=reverse)
            assert_same_bits(alone.output[:, 0], np.ascontiguousarray(clean.output[: LENGTHS[b], b]), f"row {b}")
            assert not clean.output[LENGTHS[b] :, b].any()
            for s, t in zip(alone.state, clean.state, strict=True):
                assert_same_bits(s[0], t[b], f"final state of row {b}")


def check_options(cell: Cell) -> None:
    """Whatever else is asked for, and whatever stood in the output before, the output is the same."""
    run = Run(cell)
    plain = run.forward()
    used = np.full_like(plain.output, np.nan)
    for options in (
        {"return_states": True},
        {"return_gates": True},
        {"keep": True},
        {"keep": True, "checkpoint_every": 7},
        {"keep": True, "return_gates": True, "return_states": True},
        {"keep": True, "checkpoint_every": 1, "return_gates": True, "output": used},
        {"reset": np.zeros((T, B), bool)},
        {"lengths": np.full(B, T)},
    ):
        got = run.forward(**options)
        assert_same_run(got, plain)
        for k, states in enumerate(got.states or []):
            assert_same_bits(states[-1], plain.state[k], "last of all states")
        if got.states:
            assert_same_bits(got.states[0], plain.output, "all first states")


def check_reverse(cell: Cell) -> None:
    """Reading backwards is reading the flipped sequence forwards."""
    run = Run(cell)
    backwards = run.forward(reverse=True)
    run.x = np.ascontiguousarray(run.x[::-1])
    forwards = run.forward()
    assert_same_bits(np.ascontiguousarray(backwards.output[::-1]), forwards.output, "output")
    for s, t in zip(backwards.state, forwards.state, strict=True):
        assert_same_bits(s, t, "final state")


def check_resets(cell: Cell) -> None:
    """A reset is a new beginning from zeros."""
    run = Run(cell)
    at = 57
    reset = np.zeros((T, B), bool)
    reset[at] = True
    whole = run.forward(reset=reset)
    assert_same_bits(whole.output[:at], run.forward(steps=slice(0, at)).output, "before the reset")
    again = run.forward(steps=slice(at, T), state=None)
    assert_same_bits(whole.output[at:], again.output, "after the reset")
    for s, t in zip(whole.state, again.state, strict=True):
        assert_same_bits(s, t, "final state")
