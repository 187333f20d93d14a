"""Faults in the C++ that the native tests must notice: `python -m benchmarks.native_mutants [WORD]`.

Each fault of `native_mutants.toml` is planted in a copy of the sources, built without Python and without optimization
to speak of, and `native_tests` is run; it must fail, or never end. To build costs a minute or two of one core, each of
the faults ten to thirty seconds of it, and those in headers more, all of them together about ten minutes: so
`make test` leaves them out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.report import console

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "native_mutants"
SECONDS = 300  # of the tests; they take less than ten


def main(word: Annotated[str, typer.Argument(help="only faults with this word in their name")] = "") -> None:
    """Plant each fault, build, and run the native tests."""
    faults = tomllib.loads((ROOT / "benchmarks" / "native_mutants.toml").read_text())["fault"]
    sources = _configure()
    began = time.perf_counter()
    if not _passes():
        raise SystemExit("the native tests fail without any fault")
    console().print(f"built and green without a fault: {time.perf_counter() - began:.0f} s")
    missed = []
    for fault in (f for f in faults if word in f["name"]):
        path, began = sources / "native" / fault["file"], time.perf_counter()
        text = path.read_text()
        if text.count(fault["old"]) != 1:
            raise SystemExit(
                f"{fault['name']}: {fault['old']!r} is there {text.count(fault['old'])} times, expected once"
            )
        path.write_text(text.replace(fault["old"], fault["new"]))
        noticed = not _passes()
        path.write_text(text)
        missed += [] if noticed else [fault["name"]]
        console().print(f"{'noticed' if noticed else 'MISSED '}  {time.perf_counter() - began:4.0f} s  {fault['name']}")
    if not _passes():
        raise SystemExit("the native tests fail after the faults")
    raise SystemExit(f"not noticed: {', '.join(missed)}" if missed else 0)


def _configure() -> Path:
    """A copy of all that is built, configured."""
    sources = FOLDER / "source"
    for name in ("native", "src/recurra"):
        shutil.copytree(ROOT / name, sources / name, dirs_exist_ok=True)
    shutil.copy2(ROOT / "CMakeLists.txt", sources)
    tools = Path(sys.executable).parent
    options = ["-DRECURRA_PYTHON=OFF", "-DRECURRA_TESTS=ON", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1"]
    options += [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}"]
    _run(tools / "cmake", "-S", sources, "-B", FOLDER / "build", "-G", "Ninja", *options)
    return sources


def _passes() -> bool:
    """Whether the native tests pass, once they are built."""
    _run(Path(sys.executable).parent / "cmake", "--build", FOLDER / "build", "--target", "native_tests")
    try:
        return subprocess.run([FOLDER / "build" / "native_tests"], capture_output=True, timeout=SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])


if __name__ == "__main__":
    typer.run(main)
