"""The report of any fitted task: one HTML page, from the plain data that an estimator's `report_` is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from recurra.draw import network
from recurra.formatting import duration, number, share
from recurra.report.charts import DASHED, Line, lines, numbers
from recurra.report.page import Beside, Chart, Code, Part, Section, Table, Text

Report = Mapping[str, Any]

# What a metric is called in a table's head, and how its numbers are written; others are as they are.
METRICS: dict[str, tuple[str, Callable[..., str]]] = {
    "mae": ("MAE", number),
    "mase": ("MASE", number),
    "smape": ("sMAPE", partial(share, digits=1)),
    "coverage": ("in the interval", partial(share, digits=1)),
    "pinball": ("pinball", number),
}


def against_baselines(report: Report, columns: Sequence[str], note: str) -> Section:
    """The model beside what it is compared with, by all metrics; the least of the first stands out."""
    unit = _unit(report)
    headings = ["", *(METRICS[c][0] + (unit if c == "mae" else "") for c in columns)]
    rows = [[row["name"], *(METRICS[c][1](row[c], missing="") for c in columns)] for row in report["table"]]
    measured = [row for row in report["table"] if row[columns[0]] is not None]
    best = min(measured, key=lambda row: float(row[columns[0]]))["name"] if measured else None
    return Section("Against the baselines", [Table(headings, rows, best), Text(note, muted=True)])


def training(report: Report, error: str, loss: str) -> Section:
    """The validation error and the loss of every epoch.

    Args:
        report: with `history`, `baseline_mae` and `seconds`.
        error: the key of the validation error in the history.
        loss: what was made smaller, in words.
    """
    history, naive = report["history"], report["baseline_mae"]
    epochs, errors = [h["epoch"] for h in history], numbers([h[error] for h in history])
    curves = [Line("network", epochs, errors, marker="o")]
    best = int(np.nanargmin(errors)) if np.isfinite(errors).any() else -1
    text = f"Least at epoch {epochs[best]} of {epochs[-1]}: {number(errors[best])}"
    if naive:
        ends = [epochs[0], epochs[-1]]
        curves.append(Line("best naive forecast", ends, [naive, naive], "muted", DASHED))
        way = "below" if errors[best] < naive else "above"
        text += f", {share(abs(1 - errors[best] / naive))} {way} the naive forecast"
    seen = lines(
        f"{text}. The weights of the best epoch are kept.",
        curves,
        x="epoch",
        y=f"validation MAE{_unit(report)}",
        height=2.4,
        from_zero=True,
        whole=True,
    )
    fell = lines(
        f"Training took {duration(report['seconds']['training'])}.",
        [Line("", epochs, numbers([h["train_loss"] for h in history]), "second")],
        x="epoch",
        y=f"training loss ({loss})",
        height=2.4,
        whole=True,
    )
    return Section("Training", [Beside([seen, fell])])


def the_network(report: Report, drawn: Any, head: str) -> Section:
    """What it is, its equations, and its picture, if it is to be drawn: what `recurra.draw.network` takes."""
    model = report["model"]
    layers = f"{model['layers']} recurrent layer" + ("s" if model["layers"] > 1 else "")
    size = f"{model['parameters']:,} parameters in all"
    parts: list[Part] = [Text(f"{layers} of {model['hidden']} units ({model['cell']}), then {head}: {size}.")]
    if drawn is not None:
        svg = network(drawn, unrolled=3, theme="auto").svg()
        parts.append(Chart(svg, "Folded, and unrolled over three steps.", wide=True))
    symbols = "x.g is an input product W x + b, h.g a recurrent product U h + c, and h alone the state itself."
    return Section("The network", [*parts, Code(model["equations"].strip()), Text(symbols, muted=True)])


def parity(report: Report) -> Section:
    """What was measured of the model file against the training module, and of a live session against both."""
    measured = report["parity"]
    rows = [
        [f"{name} against the whole sequence", f"{count} numbers differ"]
        for name, count in measured.get("differing", {}).items()
    ]
    if "torch_difference" in measured:
        most = f"{number(measured['torch_difference'], 2)} at most"
        rows.append(["the training module against the model file (scaled)", most])
    live = report.get("live")
    if live:
        same = f"{number(live['difference'], 2)} at most" if live["difference"] else "equal to the last bit"
        rows.append(["the live stream against these forecasts", same])
    isa = Text(f"Instruction set: {measured.get('isa', '')}.", muted=True)
    return Section("What is trained is what runs", [Table(["", "measured"], rows), isa])


def parts_table(report: Report) -> Table:
    """The parts of the data."""
    rows = [[part["name"], f"{part['rows']:,}", part["first"], part["last"]] for part in report["data"]["parts"]]
    return Table(["part", "rows", "from", "to"], rows)


def _unit(report: Report) -> str:
    return f" ({report['unit']})" if report.get("unit") else ""
