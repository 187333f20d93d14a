"""No file and no argument reads or writes memory that is not its own."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

from helpers import generator, random_weights
from recurra import _native, cells, engine
from recurra.cells import from_text
from recurra.cells.cell import Cell
from recurra.cells.layout import numbers
from recurra.errors import CellError, ModelFileError, ShapeError
from recurra.runtime import Linear, Model, Recurrent, load
from recurra.weights import Weights
from safety.files import manifest, packed, recurrent

F = np.float32


@pytest.mark.parametrize(
    "first_line",
    ["x, h, h", "h, h", "x, x", "x, h, c, h", "x, h, *, h", "x, h, *, p, p", "x, h, *, x", "y, h, y", "h, c, *, h"],
)
def test_a_name_of_a_cell_stands_for_one_thing(first_line) -> None:
    with pytest.raises(CellError, match="stands for two things"):
        from_text(f"def f({first_line}):\n    return tanh(x.n + h.n), h\n")


def test_a_cell_made_by_hand_is_checked_as_well() -> None:
    lstm = cells.lstm
    same = {"name": "f", "states": lstm.states, "gates": lstm.gates, "parameters": (), "source": "", "next": lstm.next}
    assert Cell(**same).states == ("h", "c")
    for wrong in (
        {"states": ("h", "h")},
        {"gates": (*lstm.gates, "i")},
        {"parameters": ("h",)},
        {"next": lstm.next[:1]},
    ):
        with pytest.raises(CellError):
            Cell(**same | wrong)
    with pytest.raises(CellError, match="none of its states, gates and parameters"):
        Cell(**same | {"states": ("a", "b")})


@pytest.mark.parametrize(("P", "H"), [(1, 2000), (2000, 1)])
def test_a_file_with_two_states_of_one_name_is_refused(P, H, tmp_path) -> None:
    cell = "def f(x, h, h):\n    return product(sigmoid(x.o + h.o)).h, tanh(x.o)\n"
    tensors, layers = recurrent(cell, H=H, P=P)
    path = tmp_path / "m.recurra"
    path.write_bytes(packed(tensors, manifest(layers)))
    with pytest.raises(ModelFileError, match="'h' stands for two things"):
        load(path)


def kernel(**changed: object) -> object:
    """Of the GRU, with something of its layout changed."""
    counts, slots, runs = numbers(cells.gru)
    layout = {"counts": counts, "slots": slots, "runs": runs} | changed
    routines = _native.zoo_routines(engine.isa(), _native.zoo[cells.gru.fingerprint])
    return _native.Kernel(engine.isa(), layout["counts"], layout["slots"], layout["runs"], *routines)


@pytest.mark.parametrize(
    "changed",
    [
        {"counts": [0, 0, 3, 0, 3, 3, 0]},
        {"counts": [-1, 0, 3, 0, 3, 3, 0]},
        {"counts": [1, 0, 3, 0, 2, 3, 0]},
        {"slots": [(0, 0), (1, 1), (2, -1), (7, 2)]},
        {"slots": [(0, 0), (1, 1), (2, -1), (-2, 2)]},
        {"runs": [[-1, 0, 5]]},
        {"runs": [[0, -1, 1]]},
        {"runs": [[0, 2**31 - 1, 2]]},
        {"runs": [[9, 0, 1]]},
    ],
)
def test_the_native_module_checks_a_layout(changed) -> None:
    assert kernel() is not None
    with pytest.raises(ValueError, match=r"."):
        kernel(**changed)


def test_beside_a_projection_only_the_first_state_is_multiplied() -> None:
    counts, slots, runs = numbers(cells.get("lstm_projected"))
    other = [[1 if operand == 0 else operand, first, count] for operand, first, count in runs]
    routines = _native.zoo_routines(engine.isa(), _native.zoo[cells.get("lstm_projected").fingerprint])
    with pytest.raises(ValueError, match="beside a projection"):
        _native.Kernel(engine.isa(), counts, slots, other, *routines)


def test_the_native_module_checks_every_array() -> None:
    good = {"W": (6, 2), "U": (6, 2), "b": (6,), "c": (6,)}
    x, out, final = np.ones((3, 2, 2), F), np.empty((3, 2, 2), F), np.empty((2, 2), F)

    def forward(weights=good, x=x, out=out, final=final, lengths=None, hidden=2, dtype=F):
        w = _native.Weights(*(np.zeros(s, dtype) for s in weights.values()), None, [])
        batch = _native.Batch(x, False, lengths, None, [])
        _native.forward(kernel(), w, batch, hidden, out, [final], [], None, 1, None, 0)

    forward()
    unaligned = np.frombuffer(b"\0" + np.array([3, 3], np.int64).tobytes(), np.uint8)[1:].view(np.int64)
    for wrong in (
        {"weights": good | {"U": (6, 1)}},
        {"weights": good | {"W": (4, 2)}},
        {"weights": good | {"b": (5,)}},
        {"hidden": 1},
        {"hidden": 2**62},
        {"x": np.ones((3, 2, 1), F)},
        {"x": np.ones((6, 2), F)},
        {"out": np.empty((3, 2, 1), F)},
        {"out": np.empty((3, 2, 2))},
        {"final": np.empty((1, 2), F)},
        {"dtype": np.float64},
        {"lengths": np.array([3])},
        {"lengths": np.array([3, 4])},
        {"lengths": np.array([3, -1])},
        {"lengths": unaligned},
    ):
        with pytest.raises((ValueError, MemoryError)):
            forward(**wrong)


def test_a_tape_belongs_to_its_batch() -> None:
    w = random_weights(cells.gru, 2, 3, rng=generator("tape"))
    tapes = [engine.forward(cells.gru, w, np.ones((5, B, 2)), keep=True).tape for B in (1, 4)]
    tapes[0].native, tapes[1].native = tapes[1].native, tapes[0].native
    for tape in tapes:
        with pytest.raises(ValueError, match="another batch"):
            engine.backward(tape)


def test_the_native_module_checks_networks_and_sessions() -> None:
    network = _native.Network(engine.isa(), 4, 3)
    for name, arrays, given, width in (
        ("linear", [np.ones((2, 4), F), None], [], 4),  # 3 come in
        ("linear", [np.ones(3, F), None], [], 3),
        ("linear", [np.ones((2, 3), F), np.ones(3, F)], [], 3),
        ("linear", [], [], 3),
        ("embedding", [np.ones((5, 2), F)], [], 3),
        ("convolution", [np.ones((2, 2, 3), F), None], [0, 1], 3),
        ("convolution", [np.ones((2, 2, 3), F), None], [1e300, 1], 3),
        ("convolution_2d", [np.ones((2, 3, 3, 1), F), None], [2, 2, 1, 0], 4),  # the kernel is larger than the picture
        ("convolution_2d", [np.ones((2, 1, 1, 1), F), None], [2, 3, 1, 0], 4),
        ("convolution_2d", [np.ones((2, 1, 1, 1), F), None], [2, 2, 0, 0], 4),
        ("convolution_2d", [np.ones((2, 1, 1, 1), F), None], [1e7, 1e7, 1, 1e7], 4),
        ("activation", [], [99, 0.0], 3),
        ("activation", [], [float("nan"), 0.0], 3),
        ("layer_norm", [np.ones(3, F), np.ones(2, F)], [1e-5], 3),
        ("pool_attention", [np.ones(2, F)], [], 3),
        ("pool_mean", [], [], 5),
        ("attend", [np.ones((4, 3), F), np.ones(4, F), None], [2, 1, 20], 3),  # the capacity is no multiple of 16
        ("attend", [np.ones((4, 3), F), np.ones(4, F), np.ones(3, F)], [2, 1, 16], 3),
        ("attend", [np.ones((4, 3), F), np.ones(4, F), None], [3, 2, 16], 3),
        ("attend", [np.ones((4, 3), F), np.ones(4, F), None], [1e300, 1, 16], 3),
    ):
        with pytest.raises((ValueError, IndexError, MemoryError)):
            network.add(name, arrays, given, width)
    network.add("linear", [np.ones((2, 3), F), None], [], 3)
    for rows, dimensions in ((0, 2), (-1, 2), (2, 1), (1, 3)):
        with pytest.raises((ValueError, MemoryError)):
            _native.Session(network, rows, dimensions)
    session = _native.Session(network, 1, 1)
    with pytest.raises(ValueError, match="no more ops"):
        network.add("linear", [np.ones((2, 2), F), None], [], 2)
    session._run(np.ones((5, 4), F), np.empty((5, 2), F))
    for x, out in ((np.ones((5, 3), F), np.empty((5, 2), F)), (np.ones((5, 4), F), np.empty((4, 2), F)), ([1], [2])):
        with pytest.raises(ValueError, match=r"."):
            session._run(x, out)
    with pytest.raises(ValueError, match="size"):
        network.step_many([session], np.ones((2, 4), F), np.empty((1, 2), F))
    for steps in ([2], [-1], [1, 0], [2**62], []):
        with pytest.raises(ValueError, match=r"."):
            network.run_many([session], steps, np.ones((1, 4), F), np.empty((1, 2), F))
    with pytest.raises(ValueError, match=r"."):
        network.run_many([session], [1], [1], [2])


def test_a_state_is_not_written_past_its_end() -> None:
    w = Weights.random(cells.lstm, 1, 4, rng=generator("states"))
    live, session = engine.Stepper(cells.lstm, w, 2), Model([Recurrent(cells.lstm, [w])]).session(batch=2)
    for sizes in ([(2, 4), (2, 5)], [(2, 4)], [(2, 3), (2, 4)]):
        for native in (live._live.read, live._live.write, session._read, session._write):
            with pytest.raises(ValueError, match=r"."):
                native([np.zeros(s, F) for s in sizes])


@pytest.mark.parametrize("power", [40, 47, 58, 60, 61, 62, 63, 200])
def test_sizes_that_overflow_allocate_nothing(power) -> None:
    w = Weights.random(cells.lstm, 1, 4, rng=generator("huge"))
    model, rows = Model([Recurrent(cells.lstm, [w])]), 2**power
    with pytest.raises((MemoryError, ShapeError)):
        model.session(batch=rows)
    with pytest.raises((MemoryError, ShapeError)):
        engine.Stepper(cells.lstm, w, rows)
    if power < 60:  # NumPy makes no larger array, empty as it is
        with pytest.raises((MemoryError, ShapeError)):
            model.run(np.empty((0, rows, 1), F))
        with pytest.raises((MemoryError, ShapeError)):
            engine.forward(cells.lstm, w, np.empty((0, rows, 1), F))


def frozen(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


def test_read_only_arrays_are_taken_wherever_nothing_is_written() -> None:
    rng = generator("frozen")
    w = random_weights(cells.lstm, 1, 4, rng=rng, dtype=F)
    x, state, d = (rng.normal(size=s).astype(F) for s in ((5, 2, 1), (2, 4), (5, 2, 4)))
    lengths, reset = np.array([3, 5]), np.zeros((5, 2), bool)
    results = []
    for f in (lambda a: a, frozen):
        ran = engine.forward(cells.lstm, w.map(f), f(x), [f(state)] * 2, lengths=f(lengths), reset=f(reset), keep=True)
        gradients = engine.backward(ran.tape, f(d), [f(state), None])
        live = engine.Stepper(cells.lstm, w.map(f), 2)
        live.state = [f(state)] * 2
        model = Model([Recurrent(cells.lstm, [w.map(f)], [[f(state[0])] * 2]), Linear(f(np.ones((1, 4), F)))])
        session = model.session()
        session.state = {name: f(state[0]) for name in session.state}
        results.append([ran.output, gradients.x, gradients.weights.U, live.step(f(x[0])), session.step(f(x[0, 0]))])
        results[-1] += [model.run(f(x)), model.step_many([session], f(x[0, :1]))]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ShapeError, match="read-only"):
        engine.forward(cells.lstm, w, x, output=frozen(np.empty((5, 2, 4), F)))


def test_lengths_that_are_not_aligned_are_read_as_they_are_meant() -> None:
    w = random_weights(cells.gru, 1, 4, rng=generator("lengths"), dtype=F)
    x = generator("x").normal(size=(5, 3, 1)).astype(F)
    records = np.zeros(3, np.dtype([("flag", "u1"), ("length", "<i8")]))
    records["length"] = [1, 5, 0]
    buffer = np.frombuffer(b"\0" + np.array([1, 5, 0]).tobytes(), np.uint8)[1:].view(np.int64)
    want = engine.forward(cells.gru, w, x, lengths=[1, 5, 0]).output
    for lengths in (records["length"], buffer):
        assert not lengths.flags.aligned
        np.testing.assert_array_equal(engine.forward(cells.gru, w, x, lengths=lengths).output, want)


def interrupted(call) -> float:
    """Seconds from the signal to the exception."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job does not have
    sent = []

    def interrupt() -> None:
        time.sleep(0.2)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        call()
        time.sleep(60)  # where the call was quicker than the signal
    except KeyboardInterrupt:
        pass
    ended = time.perf_counter()
    thread.join()
    return ended - sent[0]


def test_ctrl_c_is_seen_between_chunks() -> None:
    w = Weights.random(cells.lstm, 8, 128, rng=generator("interrupt"))
    x = np.zeros((400_000, 1, 8), F)
    assert interrupted(lambda: engine.forward(cells.lstm, w, x)) < 1.5
    session = Model([Recurrent(cells.lstm, [w])]).session()
    session.run(x[:3, 0])
    before = session.snapshot()
    assert interrupted(lambda: session.run(x[:, 0])) < 1.5
    assert session.snapshot() == before
    both = Model([Recurrent(cells.lstm, [w, w])])
    assert interrupted(lambda: both.run(x[:, 0])) < 1.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_amid_other_threads_work_can_go_on() -> None:
    w = Weights.random(cells.gru, 3, 8, rng=generator("fork"))
    x = np.ones((3, 2, 3), F)
    want = engine.forward(cells.gru, w, x).output
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            engine.forward(cells.gru, w, x, keep=True)

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            child = os.fork()
            if child == 0:
                os._exit(0 if (engine.forward(cells.gru, w, x).output == want).all() else 3)
            deadline = time.monotonic() + 10
            while not (ended := os.waitpid(child, os.WNOHANG))[0]:
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    pytest.fail("a child waits for a lock that nobody holds")
                time.sleep(0.001)
            assert ended[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
