"""The live runtime: `python -m benchmarks.runtime`. One thread; all entrants of a table take turns.

A step of LSTM(1, 64) + Linear(64, 1) from Python, against torch's LSTMCell and Linear in inference mode; 10,000
sessions of that network stepped together; and a fresh process that loads the model file and takes its first step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks import machine
from benchmarks.measure import FULL, QUICK, Effort, Spread, in_turns
from benchmarks.report import console, duration
from benchmarks.task import Task
from recurra.runtime import Model, load

HIDDEN, SESSIONS = 64, 10_000
STEP_SECONDS, TIMES_TORCH = 1.6e-6, 12.0
STEPS_PER_SECOND = 1.5e6
FIRST_SECONDS, FIRST_MIB = 0.3, 60.0
FRESH_RUNS = 9

FRESH = """
import sys, time
start = time.perf_counter()
import recurra
session = recurra.load(sys.argv[1]).session()
import numpy as np
session.step(np.zeros(1, np.float32))
took = time.perf_counter() - start
status = open("/proc/self/status").read() if sys.platform == "linux" else "VmHWM: 0"
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(took, peak, int("torch" in sys.modules))
"""


@dataclass(frozen=True)
class Line:
    """One measured number and its goal."""

    what: str
    got: str
    goal: str
    reached: bool


def exported(path: Path) -> tuple[Model, Callable[[], object]]:
    """The network as a model file and as torch's cell, with the same numbers, checked against each other."""
    import torch
    from torch import nn

    from recurra.torch import Stack, export

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rnn, head = nn.LSTM(1, HIDDEN), nn.Linear(HIDDEN, 1)
    export(Stack(rnn, head), path)
    cell = nn.LSTMCell(1, HIDDEN)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in rnn.state_dict().items()})
    x, state = torch.ones(1, 1), (torch.zeros(1, HIDDEN), torch.zeros(1, HIDDEN))

    def torch_step() -> object:
        nonlocal state
        with torch.inference_mode():
            state = cell(x, state)
            return head(state[0])

    model = load(path)
    session, one = model.session(), np.ones(1, np.float32)
    for _ in range(5):
        ours, theirs = session.step(one), torch_step().numpy()[0]
        if not np.allclose(ours, theirs, atol=1e-5):
            raise ValueError(f"a step gives {ours}, torch gives {theirs}")
    return model, torch_step


def task(run: Callable[[], object]) -> Task:
    """What `in_turns` takes; results are compared in `exported`, so they need no reading."""
    return Task(run, read=lambda result: {})


def step_lines(model: Model, torch_step: Callable[[], object], effort: Effort) -> list[Line]:
    x, out = np.ones(1, np.float32), np.empty(1, np.float32)
    step = model.session().step
    seconds = in_turns(
        {"step": task(lambda: step(x)), "into": task(lambda: step(x, out)), "torch": task(torch_step)}, effort
    )
    ours, into, torch = (Spread.of(seconds[name]) for name in ("step", "into", "torch"))
    ratio = Spread.of(seconds["torch"] / seconds["step"])
    return [
        Line("step(x)", duration(ours.median), f"<= {duration(STEP_SECONDS)}", ours.median <= STEP_SECONDS),
        Line("step(x, out)", duration(into.median), f"<= {duration(STEP_SECONDS)}", into.median <= STEP_SECONDS),
        Line("torch LSTMCell + Linear", duration(torch.median), "", True),
        Line(
            "torch / ours",
            f"{ratio.median:.1f} ({ratio.low:.1f}-{ratio.high:.1f})",
            f">= {TIMES_TORCH:.0f}",
            ratio.median >= TIMES_TORCH,
        ),
    ]


def many_lines(model: Model, effort: Effort) -> list[Line]:
    sessions = [model.session() for _ in range(SESSIONS)]
    X, out = np.ones((SESSIONS, 1), np.float32), np.empty((SESSIONS, 1), np.float32)
    seconds = in_turns({"many": task(lambda: model.step_many(sessions, X, out))}, effort)["many"]
    rate = Spread.of(SESSIONS / seconds)
    text = f"{rate.median / 1e6:.2f} ({rate.low / 1e6:.2f}-{rate.high / 1e6:.2f}) million/s"
    goal = f">= {STEPS_PER_SECOND / 1e6} million/s"
    return [Line(f"{SESSIONS:,} sessions together", text, goal, rate.median >= STEPS_PER_SECOND)]


def fresh_lines(path: Path) -> list[Line]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    runs = []
    for _ in range(FRESH_RUNS):
        done = subprocess.run([sys.executable, "-c", FRESH, path], env=env, capture_output=True, text=True, check=True)
        took, peak, torch = map(float, done.stdout.split())
        if torch:
            raise ValueError("loading a model imported torch")
        runs.append((took, peak))
    took, peak = (Spread.of(np.array(column)).median for column in zip(*runs, strict=True))
    return [
        Line("fresh process: load + first step", duration(took), f"<= {FIRST_SECONDS} s", took <= FIRST_SECONDS),
        Line("its peak memory", f"{peak:.1f} MiB", f"<= {FIRST_MIB:.0f} MiB", peak <= FIRST_MIB),
    ]


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds.")] = False,
    output: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Measure the live runtime against its goals."""
    effort = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.recurra")
        model, torch_step = exported(path)
        lines = [*step_lines(model, torch_step, effort), *many_lines(model, effort), *fresh_lines(path)]
    table = Table(title=f"LSTM(1, {HIDDEN}) + Linear({HIDDEN}, 1), one thread", title_justify="left")
    for column in ("what", "measured (quartiles)", "goal", "reached"):
        table.add_column(column)
    for line in lines:
        table.add_row(line.what, line.got, line.goal, "" if not line.goal else "yes" if line.reached else "[red]no[/]")
    console().print(table)
    if output is not None:
        content = {"machine": machine.describe(), "runtime": [vars(line) for line in lines]}
        output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
