"""`run_days_demo`: demos of whole sequences, days of electricity demand: the kind of a day, the height of its peak."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.demos.forecast import SOURCE, load_data, need_packages

if TYPE_CHECKING:
    from rich.console import Console

DAY, NOON = 48, 24  # half-hours
DEMOS = {
    "classify": "which days are work days, from the demand of the day",
    "regress": "how high demand will be at its peak, from demand and temperature until noon",
}


def run_days_demo(
    task: str,
    folder: str | os.PathLike[str] = ".",
    *,
    seed: int = 0,
    epochs: int | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Learn from days of the year in the order of time, compare, write a model and a page, and replay a day live.

    Args:
        task: "classify" or "regress".
        folder: made if it is not there.
        seed: of the weights and of training.
        epochs: see `recurra.Classifier`.
        console: of Rich, to print to.

    Returns:
        The report.

    Raises:
        MissingExtraError: a package of the extras train, data and draw is not installed.
        OSError: a file cannot be written.
    """
    from recurra.report import write_report
    from recurra.report.terminal import tell
    from recurra.tasks.classification.classifier import Classifier
    from recurra.tasks.estimator import open_model
    from recurra.tasks.regression.regressor import Regressor
    from recurra.terminal import Terminal

    need_packages()
    console, place = console or Terminal(), Path(folder)
    data = load_data()
    days = {name: data[name].reshape(-1, DAY) for name in ("Demand", "Temperature", "WorkDay")}
    if task == "classify":
        X, y = days["Demand"][..., None], np.where(days["WorkDay"][:, 0] > 0, "work day", "free day")
        model: Any = Classifier(hidden=32, epochs=epochs, seed=seed)
    else:
        X = np.stack([days["Demand"], days["Temperature"]], -1)[:, :NOON]
        y, model = days["Demand"].max(1), Regressor(hidden=32, epochs=epochs, seed=seed)
    place.mkdir(parents=True, exist_ok=True)
    console.print(f"[bold]1[/]  {len(X)} days of {SOURCE}: {DEMOS[task]}.")
    console.print("   By time: the first 70 % to train, 15 % to stop and calibrate, the last 15 % to test.")
    model.fit(X, y, times=np.arange(len(X)))
    console.print(f"[bold]2[/]  Trained in {model.report_['seconds']['training']:.0f} s.")
    tell(console, model)
    file, page = place / f"{task}.recurra", place / "report.html"
    model.save(file)
    model.report_["model_file"], model.report_["data"]["source"] = file.name, SOURCE
    write_report(model.report_, page, model.model_)
    console.print(f"[bold]3[/]  Written: {file} ({file.stat().st_size / 1024:.0f} KiB) and {page}")
    console.print("[bold]4[/]  The last day, live, every four hours:")
    live = open_model(file).live()
    for t, step in enumerate(X[-1], 1):
        answer = live.step(step)
        if t % 8 == 0:
            console.print(f"   {t // 2:02d}:00  {_spoken(answer)}", highlight=False)
    whole = model.predict(X[-1:])[0]
    same = answer.get("label", answer.get("value")) == whole
    truth = f"{y[-1]:.3f} GW" if task == "regress" else str(y[-1])
    console.print(f"   in truth {truth}; the last answer is {'' if same else 'not '}that of predict, to the last bit")
    return dict(model.report_)


def _spoken(answer: dict[str, Any]) -> str:
    if "value" in answer:
        return f"{answer['value']:.3f} GW at its peak"
    return f"{answer['label']} ({answer['probabilities'][answer['label']]:.0%})"


run_classify = partial(run_days_demo, "classify")
run_regress = partial(run_days_demo, "regress")
