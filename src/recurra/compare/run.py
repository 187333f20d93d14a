"""A comparison from its problem to its results: trials, measurements, verdict, files."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from recurra.compare.candidates import Candidate, choose
from recurra.compare.engines import Engine, InProcess, Local
from recurra.compare.progress import Watch
from recurra.compare.results import Comparison, Row, add_tests, row_of, sort_rows
from recurra.compare.run_trial import fit_baseline, network_of, run_trial
from recurra.compare.schedule import REST, Schedule
from recurra.compare.settings import Settings
from recurra.compare.store import Store
from recurra.compare.trial import Outcome, Trial
from recurra.compare.verdict import verdict
from recurra.errors import RecurraError, need
from recurra.files import write_atomically
from recurra.tasks.bench import Bench
from recurra.tasks.learn import calibrate, to_runtime

MEASURING = 1.02  # of the budget, after which nothing more is measured
NAMES = {"model": "winner.recurra", "other": "best_live.recurra", "json": "compare.json", "page": "report.html"}


def run(bench: Bench, settings: Settings, suspicions: Sequence[str] = (), watch: Watch | None = None) -> Comparison:
    """Compare.

    Args:
        bench: the data with all their parts.
        settings: what to do.
        suspicions: what `recurra.compare.leakage` has found.
        watch: called several times a second.

    Raises:
        CompareError: the settings cannot be, or the folder holds another comparison.
        MissingExtraError: a package is not installed.
        OSError: the folder cannot be written.
    """
    started = time.monotonic()
    need("a comparison", "torch", "sklearn", "scipy", "optuna", extra="compare")
    if settings.out is not None:
        need("the report of a comparison", "matplotlib", "jinja2", extra="compare")
    settings.check_out()
    candidates, refused = choose(type(bench.task), settings.candidates)
    with _folder(settings) as folder, one_thread():
        store = Store(folder, _plan(bench, settings, candidates))
        schedule = Schedule(bench, candidates, settings, store, started - store.spent)
        ended = _run_trials(schedule, bench, settings, folder, watch)
        for trial in schedule.naive_left():
            schedule.running[trial.key] = trial
            schedule.give(run_trial(trial, bench))
        found = _gather(schedule, bench, settings, refused, list(suspicions))
        if not ended:
            found.cut.insert(0, "interrupted")
        _measure(found, schedule, bench)
        _finish(found, schedule, bench, folder if settings.out is not None else None)
        found.seconds = store.spent + time.monotonic() - started
        if settings.out is not None:
            _write(found, folder)
    return found


@contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    if settings.out is None:
        with tempfile.TemporaryDirectory(prefix="recurra-compare-") as folder:
            yield Path(folder)
    else:
        folder_ = Path(settings.out)
        folder_.mkdir(parents=True, exist_ok=True)
        yield folder_


@contextmanager
def one_thread() -> Iterator[None]:
    """Measure on one thread, as trials are run."""
    import torch

    from recurra import _native, engine

    before, ours = torch.get_num_threads(), _native.chosen_threads()
    torch.set_num_threads(1)
    engine.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _native.choose_threads(ours)


def _plan(bench: Bench, settings: Settings, candidates: Sequence[Candidate]) -> dict[str, Any]:
    return {
        "data": bench.fingerprint,
        "settings": settings.described(),
        "candidates": [[c.name, c.cell] for c in candidates],
    }


def _run_trials(schedule: Schedule, bench: Bench, settings: Settings, folder: Path, watch: Watch | None) -> bool:
    """Run them; False if they were interrupted. What has ended is kept."""
    engine: Engine
    with tempfile.TemporaryDirectory(prefix="recurra-bench-") as place:
        if not type(bench.task).__module__.startswith("recurra."):  # another process does not know the class
            engine = InProcess(bench.without_test(), bench)
        elif settings.engine == "ray":
            from recurra.compare.on_ray import OnRay

            engine = OnRay(settings.cores, bench.without_test().to_bytes(), bench.to_bytes())
        else:
            tune, final = bench.without_test().to_bytes(), bench.to_bytes()
            paths = [Path(place) / name for name in ("tune", "final")]
            for path, content in zip(paths, (tune, final), strict=True):
                write_atomically(path, content)
            engine = Local(settings.cores, *paths)
        schedule.replay()
        try:
            engine.run(schedule, lambda: watch(schedule) if watch else None)
        except KeyboardInterrupt:
            return False
    return True


def _gather(
    schedule: Schedule, bench: Bench, settings: Settings, refused: dict[str, str], suspicions: list[str]
) -> Comparison:
    rows: list[Row] = []
    units: dict[str, np.ndarray] = {}
    for c in schedule.candidates:
        finals = schedule.finals[c.name]
        rows.append(row_of(c, finals, schedule.tuned.get(c.name, {}), schedule.final_params.get(c.name)))
        tests = [o.test for o in finals.values() if o.test]
        if tests:
            units[c.name] = np.mean(tests, 0)
    base = add_tests(rows, units)
    sort_rows(rows)
    found = Comparison(
        bench.task.name, bench.task.error_name(bench), _data(bench), rows, refused, suspicions=suspicions
    )
    found.cut = schedule.cut()
    found.data["best_naive"] = base
    found.settings = settings.described() | {"budget_seconds": settings.seconds, "engine": settings.engine}
    found.settings |= {"workers": settings.cores}
    found.machine = _machine()
    return found


def _data(bench: Bench) -> dict[str, Any]:
    """What the comparison's page says of the data."""
    return bench.task.described(bench) | {
        "tested": sum(piece.stop - piece.start for piece in bench.pieces("test")),
        "longest_window": bench.task.windows(bench)[-1],
    }


def _machine() -> dict[str, Any]:
    from recurra import engine

    versions = {name: metadata.version(name) for name in ("torch", "scikit-learn", "optuna", "numpy")}
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "isa": engine.isa(),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _measure(found: Comparison, schedule: Schedule, bench: Bench) -> None:
    """Add the measured columns, the best candidates first: their live steps, and then the rest, while there is time."""
    from recurra.compare.measure import probed, timed

    end = schedule.started + MEASURING * schedule.budget
    if schedule.store.spent:  # gone on with: what was spent before was not spent on this
        end = max(end, time.monotonic() + REST * schedule.budget)
    done = [row for row in found.rows if row["test"] is not None]
    for what, measure in (("live steps", timed), ("lags and longer sequences", probed)):
        skipped = []
        for row in done:
            if time.monotonic() > end:
                skipped.append(row["name"])
                continue
            candidate, predictor = trained(row["name"], schedule, bench)
            try:
                row |= measure(bench, candidate, predictor)
            except RecurraError as error:
                row["live"], row["refusal"] = False, " ".join(str(error).split())
        if skipped:
            found.cut.append(f"{what}: not measured of {', '.join(skipped)}")


def trained(name: str, schedule: Schedule, bench: Bench) -> tuple[Candidate, Any]:
    """A candidate and what was trained of it, of the seed that is best on validation."""
    candidate = next(c for c in schedule.candidates if c.name == name)
    if not candidate.neural:
        return candidate, fit_baseline(candidate, bench, schedule.final_params.get(name, {}))
    outcome, trial = _best(name, schedule)
    network, _ = network_of(trial, candidate, bench, outcome.arrays)
    return candidate, network


def _best(name: str, schedule: Schedule) -> tuple[Outcome, Trial]:
    finals = schedule.finals[name]
    number = min((k for k in finals if finals[k].arrays), key=lambda k: finals[k].rank)
    return finals[number], schedule.trial(name, number)


def _finish(found: Comparison, schedule: Schedule, bench: Bench, folder: Path | None) -> None:
    """Save the best that runs in the runtime, and say what follows from the rows."""
    found.verdict = verdict(found, found.data["best_naive"])
    able = [r for r in found.rows if r.get("runs_in") == "native"]
    if folder is None or not able:
        return
    first, row = found.rows[0], able[0]
    _, network = trained(row["name"], schedule, bench)
    calibrate(bench, network)
    target = folder / NAMES["model" if row is first else "other"]
    columns = ("valid", "test", "interval", "seeds", "p", "gain", "parameters", "params")
    measured = {"metric": found.metric, "data": found.data, **{n: row[n] for n in columns}}
    model = to_runtime(bench, network)
    model.card = {"candidate": row["name"], "comparison": measured}
    model.save(target)
    found.model = target.name
    if row is not first:
        found.verdict.append(
            f"{first['name']} does not run in the runtime; {target.name} holds {row['name']}, the best that does."
        )


def _write(found: Comparison, folder: Path) -> None:
    from recurra.report.compare import comparison_page

    found.save(folder / NAMES["json"])
    write_atomically(folder / NAMES["page"], comparison_page(found).encode())
