"""Where trials run. An engine asks for trials until there are no more, and tells each outcome.

`Local` has processes on this machine; `recurra.compare.on_ray.OnRay` has Ray Tune. Outcomes are the same from both.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from recurra.compare.run_trial import run_trial
from recurra.compare.store import decode
from recurra.compare.trial import Outcome, Trial
from recurra.compare.worker import THREADS
from recurra.tasks.bench import Bench

TICK = 0.25  # seconds between looks at the clock


class Source(Protocol):
    """What gives trials; see `recurra.compare.schedule.Schedule`."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to run or to wait for."""

    @property
    def deadline(self) -> float:
        """When whatever still runs is given up, of `time.monotonic`."""

    def take(self) -> Trial | None:
        """The next trial, or None for now."""

    def give(self, outcome: Outcome) -> None:
        """A trial has ended."""


class Engine(Protocol):
    """What runs trials."""

    def run(self, source: Source, tick: Callable[[], None]) -> None:
        """Run all of a source's trials; `tick` is called now and then. Nothing is left running, whatever happens."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    trial: Trial | None = None
    received: bytes = b""


class InProcess:
    """Trials in this process, one after the other.

    Args:
        tune, final: the data, without and with the test part.
    """

    def __init__(self, tune: Bench, final: Bench) -> None:
        self.benches = {"tune": tune, "final": final}

    def run(self, source: Source, tick: Callable[[], None]) -> None:
        """As `Engine.run`."""
        while not source.finished:
            trial = source.take()
            if trial is not None:
                source.give(run_trial(trial, self.benches[trial.stage]))
            tick()


class Local:
    """Processes on this machine, each on one thread.

    Args:
        workers: how many.
        tune, final: the files of the data, without and with the test part.
    """

    def __init__(self, workers: int, tune: Path, final: Path) -> None:
        self.workers, self.files = workers, (tune, final)

    def run(self, source: Source, tick: Callable[[], None]) -> None:
        """As `Engine.run`."""
        crew: list[_Worker] = []
        selector = selectors.DefaultSelector()
        try:
            while not source.finished:
                self._hand_out(source, crew, selector)
                for key, _ in selector.select(TICK):
                    self._receive(key.data, source, crew, selector)
                tick()
        finally:
            selector.close()
            for worker in crew:
                worker.process.kill()
                worker.process.communicate()

    def _hand_out(self, source: Source, crew: list[_Worker], selector: selectors.BaseSelector) -> None:
        while True:
            idle = next((w for w in crew if w.trial is None), None)
            if idle is None and len(crew) >= self.workers:
                return
            trial = source.take()
            if trial is None:
                return
            if idle is None:
                idle = self._start()
                crew.append(idle)
                assert idle.process.stdout is not None
                selector.register(idle.process.stdout, selectors.EVENT_READ, idle)
            idle.trial = trial
            assert idle.process.stdin is not None
            try:
                idle.process.stdin.write(json.dumps(asdict(trial)).encode() + b"\n")
                idle.process.stdin.flush()
            except BrokenPipeError:
                pass  # it has died: its output ends, which `_receive` sees

    def _start(self) -> _Worker:
        # Without the working folder on its path: a file beside the data that is called torch.py is no library.
        command = [sys.executable, "-P", "-m", "recurra.compare.worker", *map(str, self.files)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | THREADS,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
        )
        return _Worker(process)

    def _receive(self, worker: _Worker, source: Source, crew: list[_Worker], selector: selectors.BaseSelector) -> None:
        stream = worker.process.stdout
        assert stream is not None
        chunk = os.read(stream.fileno(), 1 << 16)
        worker.received += chunk
        if not chunk:
            selector.unregister(stream)
            crew.remove(worker)
            worker.process.communicate()
            if worker.trial is not None:
                status = worker.process.returncode
                died = f"its process ended with status {status}{': out of memory?' if status == -9 else ''}"
                source.give(Outcome(worker.trial.key, float("nan"), ended="failed", error=died))
            return
        line, newline, rest = worker.received.partition(b"\n")
        if newline:
            worker.received, worker.trial = rest, None
            source.give(decode(json.loads(line)))
