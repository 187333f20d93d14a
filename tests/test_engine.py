"""The engine where it could go wrong: edge sizes, threads, processes, memory, and what must leave no trace."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.backends import ENGINE32, ENGINE64
from conformance.bits import assert_same_bits
from conformance.cases import RAGGED, Setting, make_case
from conformance.checks import check_conformance
from helpers import ZOO, threads
from recurra import Weights, cells, engine, reference

EDGES = (
    Setting(T=0, B=3),
    Setting(T=5, B=0),
    Setting(T=0, B=0, H=1, I=1),
    Setting(T=4, B=2, H=1, I=1),
    Setting(T=3, B=2, I=700, H=6),
    Setting(T=6, B=3, I=4, H=130, P=129),
    Setting(T=2, B=1, I=1, H=257, P=64),
    Setting(T=4, B=23, I=265, H=253, P=251, threads=2),
    Setting(T=5, B=17, I=150, H=264, P=40, lengths=(5, 0, 3, 4, 5, 5, 1, 2, 5, 4, 3, 3, 5, 5, 2, 5, 4), resets=True),
)


@pytest.mark.parametrize("setting", EDGES, ids=str)
@pytest.mark.parametrize(
    "cell", [cells.lstm_peephole, cells.gru_reset_before, cells.lstm_projected, cells.mingru], ids=lambda c: c.name
)
def test_edge_sizes(cell: cells.Cell, setting: Setting) -> None:
    for backend in (ENGINE64, ENGINE32):
        check_conformance(cell, setting, backend)


def run(setting: Setting, cell: cells.Cell = cells.lstm, **options: object) -> tuple[engine.Forward, engine.Gradients]:
    case = make_case(cell, setting, np.float32)
    forward = engine.forward(
        cell,
        case.weights[0],
        case.x,
        case.state[0],
        lengths=case.lengths,
        reverse=setting.reverse,
        reset=case.reset,
        keep=True,
        **options,
    )
    return forward, engine.backward(forward.tape, case.d_output, case.d_state[0])


def all_arrays(forward: engine.Forward, gradients: engine.Gradients) -> list[np.ndarray]:
    return [forward.output, *forward.state, gradients.x, *gradients.state, *(a for _, a in gradients.weights.items())]


def assert_equal_bits(some: list[np.ndarray], others: list[np.ndarray]) -> None:
    for i, (a, b) in enumerate(zip(some, others, strict=True)):
        assert_same_bits(a, b, f"array {i}")


@pytest.mark.parametrize("cell", ZOO, ids=lambda c: c.name)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [None, 4])
def test_what_stands_past_the_ends_changes_nothing(cell: cells.Cell, reverse: bool, every: int | None) -> None:
    case = make_case(cell, Setting(lengths=RAGGED, reverse=reverse), np.float32)
    past = np.isnan(case.x[..., 0])
    assert past.sum() == 7 * 11 - sum(RAGGED)
    results = []
    for garbage in (0.0, np.nan, -np.inf):
        x, d_output = case.x.copy(), case.d_output.copy()
        x[past] = d_output[past] = garbage
        forward = engine.forward(
            cell, case.weights[0], x, case.state[0], lengths=RAGGED, reverse=reverse, keep=True, checkpoint_every=every
        )
        results.append(all_arrays(forward, engine.backward(forward.tape, d_output, case.d_state[0])))
        assert not results[-1][0][past].any()
        assert not forward.output[past].any()
    for other in results[1:]:
        assert_equal_bits(other, results[0])
    assert all(np.isfinite(a).all() for a in results[0])


@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_backward_may_be_called_again(every: int | None, count: int) -> None:
    case = make_case(cells.gru, Setting(lengths=RAGGED, resets=True), np.float32)
    with threads(count):
        forward = engine.forward(
            cells.gru,
            case.weights[0],
            case.x,
            case.state[0],
            lengths=RAGGED,
            reset=case.reset,
            keep=True,
            checkpoint_every=every,
        )
        first = engine.backward(forward.tape, case.d_output, case.d_state[0])
        other = engine.backward(forward.tape, 2 * case.d_output, None)
        again = engine.backward(forward.tape, case.d_output, case.d_state[0])
    assert_equal_bits(all_arrays(forward, again), all_arrays(forward, first))
    assert not np.array_equal(other.weights.U, first.weights.U)
    without = engine.backward(forward.tape, case.d_output, case.d_state[0], want_x=False)
    assert without.x is None
    if count == 1:
        assert_same_bits(without.weights.W, first.weights.W, "W")


def test_gradients_of_nothing_are_zero() -> None:
    case = make_case(cells.lstm, Setting(), np.float32)
    forward = engine.forward(cells.lstm, case.weights[0], case.x, keep=True)
    for d_state in (None, [None, None]):
        gradients = engine.backward(forward.tape, None, d_state)
        assert not any(a.any() for a in all_arrays(forward, gradients)[3:])
    only_c = engine.backward(forward.tape, None, [None, case.d_state[0][1]])
    assert only_c.weights.U.any()


@pytest.mark.parametrize("count", [1, 2])
def test_every_run_is_the_same(count: int) -> None:
    setting = Setting(T=40, B=9, lengths=(40, 3, 0, 17, 40, 8, 25, 39, 1), resets=True)
    with threads(count):
        first = all_arrays(*run(setting))
        for _ in range(5):
            assert_equal_bits(all_arrays(*run(setting)), first)


def test_inputs_are_left_as_they_are() -> None:
    case = make_case(cells.lstm_peephole, Setting(resets=True, lengths=RAGGED), np.float32)
    given = [
        case.x,
        *case.state[0],
        case.reset,
        case.d_output,
        *case.d_state[0],
        *(a for _, a in case.weights[0].items()),
    ]
    copies = [a.copy() for a in given]
    forward = engine.forward(
        case.cell,
        case.weights[0],
        case.x,
        case.state[0],
        lengths=RAGGED,
        reset=case.reset,
        keep=True,
        checkpoint_every=2,
    )
    engine.backward(forward.tape, case.d_output, case.d_state[0])
    for a, b in zip(given, copies, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not any(np.shares_memory(s, i) for s in forward.state for i in case.state[0])


def test_lengths_of_any_whole_dtype() -> None:
    case = make_case(cells.gru, Setting(lengths=RAGGED), np.float32)
    want = engine.forward(cells.gru, case.weights[0], case.x, lengths=case.lengths).output
    for lengths in (list(RAGGED), RAGGED, np.array(RAGGED, np.uint8), np.repeat(np.array(RAGGED, np.int32), 2)[::2]):
        assert_same_bits(engine.forward(cells.gru, case.weights[0], case.x, lengths=lengths).output, want, "output")


def test_a_stepper_owns_its_weights_and_its_state() -> None:
    case = make_case(cells.lstm_peephole, Setting(), np.float32)
    live = engine.Stepper(case.cell, case.weights[0], 7)
    other = engine.Stepper(case.cell, case.weights[0].map(np.copy), 7)
    live.state = other.state = case.state[0]
    for _, array in case.weights[0].items():
        array[:] = np.nan
    assert_same_bits(live.step(case.x[0]), other.step(case.x[0]), "output")
    copy = live.state
    copy[0][:] = np.nan
    assert np.isfinite(live.state[0]).all()
    assert_equal_bits(live.state, other.state)
    live.state = None
    assert not any(s.any() for s in live.state)


def test_many_threads_of_python_share_the_engine() -> None:
    from concurrent.futures import ThreadPoolExecutor

    settings = [Setting(T=20, B=6, H=h) for h in (3, 8, 17, 31)]
    with threads(2):
        want = [all_arrays(*run(s)) for s in settings]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                for got, expected in zip(pool.map(lambda s: all_arrays(*run(s)), settings), want, strict=True):
                    assert_equal_bits(got, expected)


@cells.cell(source="tests: no product at all")
def fading(x, h, *, a):
    return cells.tanh(a) * h + 0.1


def test_a_cell_without_products() -> None:
    """Nothing is to be cut into tiles, x has no part, and there are no gates."""
    rng = np.random.default_rng(5)
    weights = Weights.random(fading, 3, 7, rng=rng, dtype=np.float64)
    x, d = rng.normal(size=(11, 5, 3)), rng.normal(size=(11, 5, 7))
    state = [rng.normal(size=(5, 7))]
    run = engine.forward(fading, weights, x, state, keep=True, return_gates=True)
    [np.full(x.shape, np.nan) for _ in range(8)]  # what the next arrays may find in their memory
    found = engine.backward(run.tape, d)
    wanted = reference.forward(fading, weights, x, state)
    gradients = reference.backward(fading, weights, x, wanted, d)
    np.testing.assert_allclose(run.output, wanted.output, atol=1e-13)
    np.testing.assert_allclose(found.weights.parameters["a"], gradients.weights.parameters["a"], atol=1e-13)
    np.testing.assert_allclose(found.state[0], gradients.state[0], atol=1e-13)
    assert run.gates == {}
    assert not found.x.any()
    live = engine.Stepper(fading, weights)
    live.state = [state[0][2]]
    for t in range(11):
        np.testing.assert_allclose(live.step(x[t, 2]), wanted.output[t, 2], atol=1e-13)
