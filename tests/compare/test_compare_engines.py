"""Processes here and Ray Tune: the same results; a worker that dies; an end in time."""

import ast
import json
import os
import signal
import time
from pathlib import Path

import pytest
from compare_benches import Here, scheduled, small_forecast, small_labelled

from helpers import run_python
from recurra.compare import engines
from recurra.compare.engines import Local
from recurra.tasks.bench import Bench

NAMES = ["feedforward"]


def results(schedule):
    return {
        (name, k): (o.valid, o.test, [h[:3] for h in o.history], {n: a.tolist() for n, a in o.arrays.items()})
        for name, finals in schedule.finals.items()
        for k, o in finals.items()
    }


def local(bench, folder, workers=2):
    for name, part in (("tune", bench.without_test()), ("final", bench)):
        (folder / name).write_bytes(part.to_bytes())
    return Local(workers, folder / "tune", folder / "final")


@pytest.mark.parametrize("make", [small_labelled, small_forecast])
def test_data_survive_the_way_to_a_worker(make):
    bench = make()
    again = Bench.from_bytes(bench.to_bytes())
    assert type(again.task) is type(bench.task)
    assert again.fingerprint == bench.fingerprint
    assert again.described() == bench.described()
    assert again.task.windows(again) == bench.task.windows(bench)


def run_on(kind, folder):
    """What an engine finds; also run as a process of its own, below."""
    bench = small_labelled()
    folder.mkdir()
    schedule = scheduled(bench, folder, NAMES, trials=1, seeds=1, workers=2)
    if kind == "here":
        engine = Here(bench)
    elif kind == "local":
        engine = local(bench, folder)
    else:
        from recurra.compare.on_ray import OnRay

        engine = OnRay(2, bench.without_test().to_bytes(), bench.to_bytes())
    engine.run(schedule, lambda: None)
    assert schedule.cut() == []
    assert len(schedule.finals["feedforward"]) == 1
    return results(schedule)


RAY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_compare_engines import run_on
Path(sys.argv[3]).write_text(repr(run_on("ray", Path(sys.argv[2]))))
"""


@pytest.mark.long
def test_processes_and_ray_give_the_same_results(tmp_path):
    """Ray in a process of its own, which ends with all that Ray leaves behind in it."""
    pytest.importorskip("ray.tune")
    done = run_python(RAY, Path(__file__).parent, tmp_path / "ray", tmp_path / "found")
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval((tmp_path / "found").read_text())
    assert run_on("local", tmp_path / "local") == found
    assert run_on("here", tmp_path / "here") == found


def test_a_worker_that_dies_fails_its_trial_alone(tmp_path, monkeypatch):
    bench, killed = small_labelled(), []
    schedule = scheduled(bench, tmp_path, ["logistic"], trials=2, seeds=1, workers=1)
    hand_out = Local._hand_out

    def kill_first(self, source, crew, selector):
        hand_out(self, source, crew, selector)
        if crew and not killed:
            killed.append(crew[0].process.pid)
            os.kill(crew[0].process.pid, signal.SIGKILL)

    monkeypatch.setattr(Local, "_hand_out", kill_first)
    local(bench, tmp_path, 1).run(schedule, lambda: None)
    errors = [o.error for o in schedule.tuned["logistic"].values()]
    assert "its process ended with status -9" in errors[0]
    assert errors[1] == ""
    assert len(schedule.finals["logistic"]) == 1


def test_workers_end_at_the_deadline_and_on_ctrl_c(tmp_path):
    bench = small_labelled()

    class Stuck:
        finished, deadline = False, time.monotonic() + 600
        given = 0

        def take(self):
            self.given += 1
            return schedule.take() if self.given == 1 else None

        def give(self, outcome):
            raise AssertionError

    started = []
    start = Local._start

    def remember(self):
        worker = start(self)
        started.append(worker.process)
        return worker

    schedule = scheduled(bench, tmp_path, ["logistic"], workers=1)
    engine = local(bench, tmp_path, 1)
    engine._start = lambda: remember(engine)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(Stuck(), interrupt)
    assert len(started) == 1
    assert started[0].returncode is not None


def test_a_worker_ends_with_its_parent(tmp_path):
    code = """
import subprocess, sys
from recurra.compare.engines import Local
from recurra.tasks.bench import Bench
worker = Local(1, sys.argv[1], sys.argv[1])._start()
print(worker.process.pid, flush=True)
import os
os._exit(0)
"""
    done = run_python(code, tmp_path / "none")
    pid = int(done.stdout)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().split()[2] == "Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.1)
    raise AssertionError("the worker is still there")


def test_workers_have_one_thread(tmp_path):
    code = """
import json, os, sys
from recurra.compare.worker import one_thread
one_thread()
import torch
from recurra import engine
print(json.dumps([torch.get_num_threads(), engine.get_num_threads()]))
"""
    assert json.loads(run_python(code).stdout) == [1, 1]
    assert engines.THREADS["OMP_NUM_THREADS"] == "1"
