"""Sessions of a server: whatever happens to them, what they answer is what the model says of the whole, bit by bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from served_models import F, inputs, network

from helpers import generator
from recurra import cells, runtime
from recurra.errors import RecurraError
from recurra.serve.faults import Fault, ServeError
from recurra.serve.limits import Limits
from recurra.serve.observed import Observed
from recurra.serve.program import Program
from recurra.serve.sessions import Sessions
from recurra.serve.store import Store
from recurra.serve.window import Window
from recurra.weights import Weights


class Loop:
    """An event loop's next rounds, taken by hand."""

    def __init__(self):
        self.calls = []

    def soon(self, call):
        self.calls.append(call)

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        return bool(calls)

    def all(self):
        while self.turn():
            pass


class House:
    """Sessions with their store, made anew where the process would be."""

    def __init__(self, folder, model=None, **options):
        self.folder, self.model, self.loop = folder, model or network(), Loop()
        self.durable, self.limits = options.pop("durable", False), Limits(**options)
        self.begin()

    def begin(self):
        self.store, self.loop = Store(self.folder / "sessions"), Loop()
        self.served = Program("net", self.model)
        self.sessions = Sessions(
            {"net": self.served}, self.store, self.limits, self.loop.soon, Observed(), self.durable
        )

    def killed(self):
        """The process is gone: what was not committed is not there."""
        self.store.close()
        self.begin()

    def submit(self, name, x, first=None):
        """Steps, whose answers are in the list once they have been taken."""
        answers = []
        held = self.sessions.get("t", name)
        self.sessions.submit(held, first, np.ascontiguousarray(x).tobytes(), answers.append)
        return answers

    def steps(self, name, x, first=None):
        answers = self.submit(name, x, first)
        self.loop.all()
        return rows(answers[0])


def rows(work):
    if work.refused is not None:
        raise work.refused
    return np.frombuffer(work.answers, F).reshape(-1, work.held.served.program.output_size)


def fault(fault, call, *arguments, **options):
    with pytest.raises(ServeError) as caught:
        call(*arguments, **options)
    assert caught.value.fault is fault
    return caught.value


@pytest.mark.parametrize("durable", [False, True])
def test_whatever_happens_is_the_whole_run(tmp_path, durable):
    """Steps and runs of many sessions in random company, evictions, snapshots, and where it is durable kills."""
    house, rng = House(tmp_path, durable=durable, live=5, window=4), generator("company", durable)
    names = [f"s{i}" for i in range(9)]
    whole = {name: inputs(name, 60) for name in names}
    want = {name: house.model.run(x) for name, x in whole.items()}
    got = {name: [] for name in names}
    for name in names:
        house.sessions.create("t", "net", name)
    for _ in range(70):
        asked = []
        for name in rng.permutation(names)[: rng.integers(1, 10)]:
            done = sum(map(len, got[name]))
            n = min(int(rng.choice([1, 1, 1, 2, 9])), 60 - done)
            if n:
                asked.append((name, house.submit(name, whole[name][done : done + n], done + 1)))
        house.loop.all()
        for name, answers in asked:
            got[name].append(rows(answers[0]))
        happens = rng.integers(0, 8)
        if happens == 0:
            house.sessions.evict(int(rng.integers(1, 9)))
        elif happens == 1:
            held = house.sessions.get("t", str(rng.choice(names)))
            house.sessions.restore(held, house.sessions.snapshot(held))
        elif happens == 2 and durable:
            house.killed()
        elif happens == 3:
            house.sessions.drain()
            house.killed()
        assert len(house.sessions) == 9
        assert len(house.sessions.live) <= 9
    taken = sum(len(x) for parts in got.values() for x in parts)
    assert taken > 300
    for name in names:
        have = np.concatenate(got[name])
        np.testing.assert_array_equal(have.view(np.uint32), want[name][: len(have)].view(np.uint32))


def test_frames_of_any_length_are_taken_together(tmp_path):
    """Long and short frames of twelve sessions in one turn; several frames of a session in their order."""
    house = House(tmp_path)
    lengths = [1, 2, 700, 3, 3, 1100, 1, 5, 8, 13, 2, 1]
    asked = []
    for i, n in enumerate(lengths):
        house.sessions.create("t", "net", f"s{i}")
        x = inputs(i, n + 4)
        asked.append((x, house.submit(f"s{i}", x[:n]), house.submit(f"s{i}", x[n:], n + 1)))
    house.loop.all()
    for x, first, second in asked:
        got = np.concatenate([rows(first[0]), rows(second[0])])
        np.testing.assert_array_equal(got, house.model.run(x))


def test_a_long_frame_lets_others_in(tmp_path):
    house = House(tmp_path)
    house.sessions.create("t", "net", "long")
    house.sessions.create("t", "net", "short")
    long = house.submit("long", inputs("long", 2000))
    house.loop.turn()
    short = house.submit("short", inputs("short", 1))
    house.loop.turn()
    assert short
    assert not long
    house.loop.all()
    np.testing.assert_array_equal(rows(long[0]), house.model.run(inputs("long", 2000)))


def test_nan_stays_where_it_is(tmp_path):
    house = House(tmp_path)
    for name in "ab":
        house.sessions.create("t", "net", name)
    x = inputs("nan", 3)
    a, b = house.submit("a", np.full((1, 3), np.nan, F)), house.submit("b", x[:1])
    house.loop.all()
    assert np.isnan(rows(a[0])).all()
    got = np.concatenate([rows(b[0]), house.steps("b", x[1:])])
    np.testing.assert_array_equal(got, house.model.run(x))


def test_a_step_asked_again_counts_once(tmp_path):
    house = House(tmp_path, window=4)
    house.sessions.create("t", "net", "a")
    x = inputs("again", 12)
    want = house.model.run(x)
    for t in range(6):
        np.testing.assert_array_equal(house.steps("a", x[t : t + 1], t + 1), want[t : t + 1])
    np.testing.assert_array_equal(house.steps("a", x[4:6], 5), want[4:6])  # all of it known
    np.testing.assert_array_equal(house.steps("a", x[4:9], 5), want[4:9])  # the rest is new
    waits = house.submit("a", x[9:10], 10), house.submit("a", x[9:10], 10)  # while it waits
    house.loop.all()
    for one in waits:
        np.testing.assert_array_equal(rows(one[0]), want[9:10])
    assert house.sessions.get("t", "a").steps == 10
    error = fault(Fault.GAP, house.submit, "a", x[:1], 12)
    assert error.about == {"expected": 11}
    fault(Fault.GONE, house.submit, "a", x[:1], 1)


def test_a_frame_longer_than_the_window_can_be_asked_again(tmp_path):
    house = House(tmp_path, window=4, durable=True)
    house.sessions.create("t", "net", "a")
    x = inputs("frame", 50)
    want = house.steps("a", x, 1)
    house.killed()
    np.testing.assert_array_equal(house.steps("a", x, 1), want)
    assert house.sessions.get("t", "a").steps == 50


def test_fork_reset_end_delete(tmp_path):
    house = House(tmp_path)
    sessions, x = house.sessions, inputs("fork", 9)
    held = sessions.create("t", "net", "a")
    first = house.steps("a", x[:4])
    sessions.fork("t", held, "b")
    np.testing.assert_array_equal(np.concatenate([first, house.steps("b", x[4:])]), house.model.run(x))
    other = inputs("other", 2)
    np.testing.assert_array_equal(
        np.concatenate([first, house.steps("a", other)]), house.model.run(np.concatenate([x[:4], other]))
    )
    sessions.reset(held)
    np.testing.assert_array_equal(house.steps("a", x, 1), house.model.run(x))
    sessions.end(held)
    sessions.evict(9)
    fault(Fault.ENDED, house.submit, "a", x)
    fault(Fault.TAKEN, sessions.create, "t", "net", "a")
    sessions.delete(sessions.get("t", "a"))
    fault(Fault.NOT_FOUND, sessions.get, "t", "a")
    fault(Fault.NOT_FOUND, sessions.get, "u", "b")  # another tenant's
    assert [one["id"] for one in sessions.list("t")] == ["b"]
    assert len(sessions) == 1


def test_limits(tmp_path):
    house = House(tmp_path, sessions=2, queue=5)
    house.sessions.create("t", "net", "a")
    house.sessions.create("t", "net", "b")
    fault(Fault.FULL, house.sessions.create, "t", "net", "c")
    house.submit("a", inputs("q", 5))
    fault(Fault.FULL, house.submit, "b", inputs("q", 1))
    house.loop.all()
    house.steps("b", inputs("q", 1))
    for name in ("", "a b", "../x", "x" * 129, "ü"):
        fault(Fault.INVALID, house.sessions.create, "t", "net", name)
    fault(Fault.NOT_FOUND, house.sessions.create, "t", "nothing")
    fault(Fault.INVALID, house.submit, "a", np.zeros(4, F))
    fault(Fault.NOT_FOUND, house.sessions.get, "t", "a/../b")


def test_a_strangers_snapshot_is_data(tmp_path):
    house, other = House(tmp_path), Program("net", network("another"))
    held = house.sessions.create("t", "net", "a")
    house.steps("a", inputs("s", 3))
    good = house.sessions.snapshot(held)
    before = {name: list(v) for name, v in house.served.states(held.state).items()}
    rng = generator("strangers")
    for i in range(200):
        bad = bytearray(good)
        at = int(rng.integers(0, len(bad)))
        bad[at] ^= int(rng.integers(1, 256))
        cut = bytes(bad) if i % 2 else bytes(good[:at])
        with pytest.raises(ServeError) as caught:
            house.sessions.restore(held, cut)
        assert caught.value.fault in (Fault.INVALID, Fault.MISMATCH)
    assert house.served.states(held.state) == before
    foreign = Sessions({"net": other}, house.store, Limits(), house.loop.soon, Observed())
    fault(Fault.MISMATCH, foreign.create, "t", "net", "z", good)
    house.sessions.restore(held, good)


def test_where_there_is_no_answer(tmp_path):
    """A network with a stride answers at some steps only, also after an eviction."""
    rng = generator("stride")
    convolution = runtime.Convolution(rng.normal(size=(4, 3, 2)).astype(F), None, stride=2)
    model = runtime.Model([convolution, runtime.Recurrent(cells.gru, [Weights.random(cells.gru, 4, 5, rng=rng)])])
    house = House(tmp_path, model, live=1)
    x, want = inputs("stride", 11, 2), model.run(inputs("stride", 11, 2))
    for name in ("a", "b", *"cdefgh"):
        house.sessions.create("t", "net", name)
    got = []
    for t, n in ((0, 1), (1, 3), (4, 2), (6, 5)):
        asked = [house.submit(name, x[t : t + n]) for name in ("a", "b", *"cdefgh")]
        house.loop.all()
        assert all(one[0].answers == asked[0][0].answers for one in asked)
        got += house.served.json(asked[0][0].answers, t + 1)
    assert [answer is not None for answer in got] == [t % 2 == 0 for t in range(11)]
    np.testing.assert_array_equal(np.array([answer for answer in got if answer], F), want)


def test_one_process_has_a_store(tmp_path):
    store = Store(tmp_path / "sessions")
    with pytest.raises(RecurraError, match="in use by another"):
        Store(tmp_path / "sessions")
    store.close()
    Store(tmp_path / "sessions").close()
    (tmp_path / "text").write_text("a text that is no store of sessions, and long enough to be read as one" * 20)
    with pytest.raises(RecurraError, match="no store"):
        Store(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "nowhere" / "sessions")


def test_window():
    window = Window(3, 0)
    assert (window.since(1), window.to_bytes()) == (b"", b"")
    window.add(b"1\n\n333\n", 3)
    window.add(b"4\n", 1)
    assert (window.first, window.since(2), window.since(1)) == (2, b"\n333\n4\n", None)
    window.add(b"".join(b"%d\n" % i for i in range(5, 14)), 9, again=1)  # of a frame whose first step was taken before
    assert (window.first, window.count) == (4, 10)
    again = Window(3, 0, window.first, window.to_bytes())
    assert (again.count, again.since(12)) == (window.count, b"12\n13\n")
    with pytest.raises(ValueError, match="cut short"):
        Window(3, 0, 1, window.to_bytes()[:-1])


def test_window_of_rows():
    window, rows = Window(3, 4), [np.float32(i).tobytes() for i in range(20)]
    for i, row in enumerate(rows[:5]):
        window.add(row, 1)
        assert window.since(i + 1) == row
        assert window.since(max(1, i - 1)) == b"".join(rows[max(0, i - 2) : i + 1])
    assert window.since(2) is None
    window.add(b"".join(rows[5:]), 15)
    assert (window.first, window.count, window.since(6)) == (6, 15, b"".join(rows[5:]))
    assert Window(3, 4, 6, window.to_bytes()).since(20) == rows[19]
    with pytest.raises(ValueError, match="cut short"):
        Window(3, 4, 1, window.to_bytes()[:-1])


def test_json_of_a_program(tmp_path):
    served = Program("net", network())
    x = inputs("json", 4)
    assert served.read(json.loads(json.dumps(x.tolist()))) == x.tobytes()
    assert np.isnan(np.frombuffer(served.read([[None, 1, 2.5]]), F)).tolist() == [True, False, False]
    for bad in ([1], [[1, 2]], [[1, 2, "3"]], [["a"]], [{}], [[1, 2, [3]]], [[True, 1, 2]]):
        fault(Fault.INVALID, served.read, bad)


@pytest.mark.parametrize("again", [True, False])
def test_steps_that_could_not_be_kept_are_kept_before_they_are_answered(tmp_path, monkeypatch, again):
    """A full disk, say: the client asks again, or goes on; then the process is killed."""
    house, x = House(tmp_path, durable=True), inputs("kept", 9)
    want = house.model.run(x)
    house.sessions.create("t", "net", "a")
    house.steps("a", x[:3])
    with monkeypatch.context() as patch:
        patch.setattr(Store, "log", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        fault(Fault.INTERNAL, house.steps, "a", x[3:5], 4)
    if again:
        assert (house.steps("a", x[3:5], 4) == want[3:5]).all()
        house.killed()
    assert (house.steps("a", x[5:7], 6) == want[5:7]).all()
    house.killed()
    assert (house.steps("a", x[7:], 8) == want[7:]).all()


def test_the_order_of_use(tmp_path):
    """Whatever was created, used, evicted and deleted before: those that were used longest ago go first."""
    house, rng = House(tmp_path, live=10_000), generator("order")
    names = [f"s{i}" for i in range(40)]
    for name in names:
        house.sessions.create("t", "net", name)
    clock = 1e9
    for _ in range(60):
        for name in rng.permutation(names)[: rng.integers(1, 30)]:
            clock += 1
            house.sessions.get("t", str(name)).used = clock
        if rng.random() < 0.2:
            name = str(rng.choice(names))
            house.sessions.delete(house.sessions.get("t", name))
            house.sessions.create("t", "net", name).used = clock
        house.submit(str(rng.choice(names)), inputs("order", 1))  # which has a step that waits: it stays
        ages = {key: held.used for key, held in house.sessions.live.items() if held.last is None}
        want = set(sorted(ages, key=ages.get)[:5])
        before = set(house.sessions.live)
        taken = house.sessions._order.take(5, np.inf)
        assert {held.key for held in taken} == want
        house.sessions._order.put_back(taken)
        house.loop.all()
        assert set(house.sessions.live) == before
    for i in range(5000):
        house.sessions.delete(house.sessions.create("t", "net", f"short{i}"))
    assert len(house.sessions._order._helds) < 4000


@pytest.mark.parametrize("durable", [False, True])
def test_another_version_takes_the_sessions_over(tmp_path, durable):
    """Sessions in memory and in the store go on where they are, by the new numbers, also after a kill."""
    first, second = network(), network("second")
    house, x = House(tmp_path, first, durable=durable, live=3), inputs("versions", 40)
    names = ["a", "b", "c", "d", "e"]
    got = {name: [] for name in names}
    for name in names:
        house.sessions.create("t", "net", name)

    def steps(count):
        for name in names:
            done = sum(map(len, got[name]))
            got[name].append(house.steps(name, x[done : done + count], done + 1))

    steps(3)
    steps(2)
    held = house.sessions.get("t", "e")
    waits = house.submit("e", x[5:7], 6)  # which has not been taken: it is the old model's
    house.sessions.replace(Program("net", second))
    assert held.here
    got["e"].append(rows(waits[0]))
    assert house.sessions.get("t", "e").served.fingerprint.hex() == second.fingerprint
    steps(4)
    if durable:
        house.model = second
        house.killed()
    steps(5)
    house.sessions.drain()
    house.model = third = network("third")  # another process, with a newer file
    house.killed()
    steps(6)
    for name in names:
        have, old = np.concatenate(got[name]), 7 if name == "e" else 5
        state, want, at = first.session().state, [], 0
        for model, count in ((first, old), (second, 9), (third, 6)):
            session = model.session()
            session.state = state
            want.append(session.run(x[at : at + count]))
            state, at = session.state, at + count
        np.testing.assert_array_equal(have.view(np.uint32), np.concatenate(want).view(np.uint32))
    before = house.sessions.snapshot(house.sessions.get("t", "a"))
    fault(Fault.MISMATCH, house.sessions.replace, Program("net", network(H=8)))
    fault(Fault.NOT_FOUND, house.sessions.replace, Program("other", network()))
    assert house.sessions.snapshot(house.sessions.get("t", "a")) == before
    house.sessions.replace(Program("net", first))
    fault(Fault.MISMATCH, house.sessions.restore, house.sessions.get("t", "a"), before)  # a client's is of one version
