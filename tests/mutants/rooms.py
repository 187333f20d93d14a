"""Planted faults by room: each is data, in `faults/<room>.toml`, and must turn tests that it names red, and back.

    [[fault]]
    name = "what is wrong"
    file = "engine.py"        # under src/recurra
    old = '''the text'''      # which must be there once
    new = '''another'''
    tests = ["test_engine.py::test_this"]   # under tests; each must fail, where it has parameters at least one of them

`python -m mutants ROOM [WORD]`, in the folder of the tests, says which faults (with this word in their name) nobody
notices.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from mutants.planting import planted

HERE = Path(__file__).parent
TESTS = HERE.parent
ROOMS = tuple(sorted(path.stem for path in (HERE / "faults").glob("*.toml")))
# Rooms whose framework must be alone in its process.
PROCESSES = {"keras": {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}}
_SETTINGS = "_hypothesis_internal_use_settings"  # where Hypothesis keeps those of a test
# What a fault must not end in: it is to give a wrong answer, and not a crash that anybody would see.
CRASHES = (NameError, AttributeError, TypeError, ImportError, SyntaxError, LookupError)


@dataclass(frozen=True)
class Fault:
    """One line that is wrong, and the tests that see it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def faults_of(room: str) -> list[Fault]:
    """The faults of a room."""
    read = tomllib.loads((HERE / "faults" / f"{room}.toml").read_text())["fault"]
    return [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in read]


def unnoticed(room: str, word: str = "", tell: Callable[[str], object] = len) -> list[str]:
    """What is not as it should be, a line each: a test that is red without a fault, or green with it.

    `tell` is told the name of each fault before it is planted.
    """
    if room in PROCESSES and not all(os.environ.get(n) == v for n, v in PROCESSES[room].items()):
        environment = os.environ | PROCESSES[room] | {"PYTHONPATH": str(TESTS)}
        command = [sys.executable, "-m", "mutants", room, word]
        done = subprocess.run(command, env=environment, cwd=TESTS, capture_output=True, text=True, timeout=600)
        return [] if done.returncode == 0 else (done.stdout + done.stderr[-2000:]).splitlines()
    faults = [fault for fault in faults_of(room) if word in fault.name]
    named = dict.fromkeys(str(TESTS / test) for fault in faults for test in fault.tests)
    runner = Runner(faults, tell)
    options = ["-o", "addopts=", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:terminal", "-W", "ignore"]
    status = pytest.main([*options, f"--rootdir={TESTS.parent}", *named], plugins=[runner])
    return runner.lines if runner.ran else [f"pytest ended with {status!r}: a test has another name"]


class Runner:
    """A plugin that runs the tests of each fault with it, and then those that it turned red as they are."""

    def __init__(self, faults: list[Fault], tell: Callable[[str], object]) -> None:
        self.faults, self.tell, self.lines, self.ran = faults, tell, list[str](), False
        self.error: BaseException | None = None
        self.red: dict[pytest.Item, None] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own."""
        self.ran = True
        with _quick(session.items):
            self._run(session)
        return True

    def _run(self, session: pytest.Session) -> None:
        for fault in self.faults:
            self.tell(fault.name)
            with planted(fault.file, fault.old, fault.new):
                for test in fault.tests:
                    self._expect_red(fault, test, [i for i in session.items if _is(i, test)])
        self.lines += [
            f"{item.nodeid} is red without a fault: {self.error}" for item in self.red if not self._passes(item)
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> object:
        """Remember what a test ended with."""
        if call.excinfo is not None and self.error is None:
            self.error = call.excinfo.value
        return (yield)

    def _expect_red(self, fault: Fault, test: str, items: list[pytest.Item]) -> None:
        for item in items:
            if not self._passes(item):
                self.red[item] = None
                if isinstance(self.error, CRASHES):
                    self.lines.append(f"{fault.name}: {test} crashes: {type(self.error).__name__}: {self.error}")
                return
        self.lines.append(f"{fault.name}: {test} does not notice")

    def _passes(self, item: pytest.Item) -> bool:
        self.error = None
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return self.error is None


@contextmanager
def _quick(items: list[pytest.Item]) -> Iterator[None]:
    """Hypothesis looks for a failing example and for no simpler one."""
    tests = {item.obj for item in items if hasattr(getattr(item, "obj", None), _SETTINGS)}
    before = {test: getattr(test, _SETTINGS) for test in tests}
    try:
        for test, settings in before.items():
            quick = hypothesis.settings(settings, phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate))
            setattr(test, _SETTINGS, quick)
        yield
    finally:
        for test, settings in before.items():
            setattr(test, _SETTINGS, settings)


def _is(item: pytest.Item, test: str) -> bool:
    name = item.nodeid.removeprefix("tests/")
    return name == test or name.startswith((f"{test}[", f"{test}::"))
