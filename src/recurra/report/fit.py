"""The report of any fitted task: one HTML page, from the plain data that an estimator's `report_` is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from recurra.draw import network
from recurra.errors import DrawError
from recurra.formatting import duration, number, plain, share
from recurra.report.charts import DASHED, Line, against, bars, histogram, lines, numbers, told_apart
from recurra.report.page import Beside, Chart, Code, Part, Section, Table, Text, render
from recurra.report.pictured import pictured
from recurra.report.risk import honest, moves, risks
from recurra.report.rolls import rolls
from recurra.report.sound import spikes
from recurra.report.written import written

Report = Mapping[str, Any]
MOST_LABELS = 15  # of a table of all labels by all labels
CONFUSED = 15  # pairs of labels that are listed where there are more


def fit_page(report: Report, model: Any = None) -> str:
    """The page as text.

    Args:
        report: what an estimator's `report_` has.
        model: the network, to be drawn unrolled: what `recurra.draw.network` takes.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
        DrawError: the report has a section of a kind that no page knows.
    """
    found = [section for one in report["sections"] for section in shown(one)]
    if report["table"]:
        found.append(against_baselines(report, report["metrics"], "All of the test part."))
    found += [
        training(report, "loss"),
        the_network(report, model, "a head"),
        Section("The data", data_of(report["data"])),
        parity(report),
    ]
    return render(report.get("title") or f"{_spoken(report['task'])}: how well it does", found, report["verdict"])


def against_baselines(report: Report, metrics: Sequence[Mapping[str, Any]], note: str) -> Section:
    """The model beside what it is compared with, by all metrics; the best by the first one stands out.

    Args:
        report: with `table`, a row for each by the metrics' keys.
        metrics: each with `key`, `name`, and whether it is written in `percent` and `less` is better.
        note: what is below the table.
    """
    rows = [
        [row["name"], *(share(row[m["key"]], 1, "") if m["percent"] else number(row[m["key"]], 3, "") for m in metrics)]
        for row in report["table"]
    ]
    first, *_ = metrics
    measured = [row for row in report["table"] if row[first["key"]] is not None]
    best: Mapping[str, Any] = min(
        measured, key=lambda row: float(row[first["key"]]) * (1 if first["less"] else -1), default={}
    )
    table = Table(["", *(m["name"] for m in metrics)], rows, best.get("name"))
    return Section("Against the baselines", [table, Text(note, muted=True)])


def training(report: Report, loss: str) -> Section:
    """The validation error and the loss of every epoch.

    Args:
        report: with `history`, `best_epoch`, `baseline_error` and `model`.
        loss: what was made smaller, in words.
    """
    history, naive = report["history"], report["baseline_error"]
    epochs = [h["epoch"] for h in history]
    measured = [name for name in history[0] if name.startswith("valid_")]
    name = next((n for n in measured if n != "valid_error"), "valid_error")  # the first metric's, in its own words
    errors = numbers([h[name] for h in history])
    curves = [Line("network", epochs, errors, marker="o")]
    best = int(np.nanargmin(errors)) if np.isfinite(errors).any() else -1
    text = f"Least at epoch {epochs[best]} of {epochs[-1]}: {number(errors[best])}"
    if naive:
        curves.append(Line("best naive", [epochs[0], epochs[-1]], [naive, naive], "muted", DASHED))
        way = "below" if errors[best] < naive else "above"
        text += f", {share(abs(1 - errors[best] / naive))} {way} the best naive one"
    words = f"{_METRICS.get(name, 'error')}{unit_of(report)}"
    kept = str(report.get("best_epoch", epochs[best]))
    if report["model"].get("members", 1) > 1:
        kept += " (on average)"
    seen = lines(
        f"{text}. The weights of epoch {kept} are kept.",
        curves,
        x="epoch",
        y=f"validation {words}",
        height=2.4,
        from_zero=True,
        whole=True,
    )
    fell = [Line("training", epochs, numbers([h["train_loss"] for h in history]), "second")]
    if "valid_error" in measured:
        fell.append(Line("validation", epochs, numbers([h["valid_error"] for h in history])))
    took = f"Training took {duration(report['seconds']['training'])}."
    if report.get("refit"):
        took += f" {REFITTED}"
    return Section("Training", [Beside([seen, lines(took, fell, x="epoch", y=loss, height=2.4, whole=True)])])


REFITTED = (
    "The network that is kept was then trained again, on everything; what is said of errors is said of the one that "
    "had not seen the test part."
)

_METRICS = {
    "valid_mae": "MAE",
    "valid_accuracy": "share of wrong labels",
    "valid_rmse": "squared error",
    "valid_nats": "nats",
    "valid_nats_frame": "nats a frame",
    "valid_ndcg_10": "1 - NDCG@10",
    "valid_wer": "word error rate",
}


def the_network(report: Report, drawn: Any, head: str) -> Section:
    """What it is, its equations, and its picture, if it is to be drawn: what `recurra.draw.network` takes."""
    model = report["model"]
    layers = f"{model['layers']} recurrent layer" + ("s" if model["layers"] > 1 else "")
    size = f"{model['parameters']:,} parameters in all"
    said = f"{layers} of {model['hidden']} units ({model['cell']}), then {head}: {size}."
    several = model.get("members", 1)
    if several > 1:
        said = f"The mean of {several} networks of other seeds, each of {said}"
    parts: list[Part] = [Text(said)]
    if drawn is not None:
        svg = network(drawn, unrolled=3, theme="auto").svg()
        parts.append(Chart(svg, "Folded, and unrolled over three steps.", wide=True))
    symbols = "x.g is an input product W x + b, h.g a recurrent product U h + d, and h alone the state itself."
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


def unit_of(report: Report) -> str:
    """The unit of the target in brackets, behind a space, if it has one."""
    return f" ({report['unit']})" if report.get("unit") else ""


def parts_of(data: Mapping[str, Any]) -> Table:
    """The parts of the data: whatever each of them says."""
    names = {"name": "part", "first": "from", "last": "to"}
    headings = [names.get(key, _spoken(key).lower()) for key in data["parts"][0]]
    return Table(headings, [[plain(value) for value in part.values()] for part in data["parts"]])


def data_of(data: Mapping[str, Any]) -> list[Part]:
    """What is known of the data, their parts, and notes."""
    facts = [[_spoken(key), plain(value)] for key, value in data.items() if key not in ("parts", "notes") and value]
    return [Table(["", ""], facts), parts_of(data), *map(Text, data["notes"])]


def _spoken(name: str) -> str:
    return name.replace("_", " ").capitalize()


def shown(one: Mapping[str, Any]) -> list[Section]:
    """The sections of what a task says of its test part, which is plain data of one of a few kinds."""
    if one["kind"] not in _KINDS:
        raise DrawError(f"a report's section is of the kind {one['kind']!r}, expected one of: {', '.join(_KINDS)}")
    heading, make = _KINDS[one["kind"]]
    parts = make(one)
    return [Section(one.get("heading") or heading, parts)] if parts else []


def _confusion(one: Mapping[str, Any]) -> list[Part]:
    """Which labels are taken for which: rows are the truth, columns what was said."""
    labels, counts = [str(label) for label in one["labels"]], np.asarray(one["counts"])
    right, of_truth, of_said = counts.diagonal(), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore"):
        precision, recall, f1 = right / of_said, right / of_truth, 2 * right / (of_truth + of_said)
    rows = [
        [label, f"{n:,}", *(share(float(v), 1) for v in values)]
        for label, n, *values in zip(labels, of_truth, precision, recall, f1, strict=True)
    ]
    of = one.get("of", "sequences")
    each = Table(["label", of, "precision", "recall", "F1"], rows)
    said = f"{share(right.sum() / max(1, counts.sum()), 1)} of {counts.sum():,} {of} have the right label."
    if len(labels) <= MOST_LABELS:
        shades = counts / np.maximum(of_truth[:, None], 1)
        table = [[label, *(f"{n:,}" if n else "" for n in row)] for label, row in zip(labels, counts, strict=True)]
        whole = Table(["truth, and below: said", *labels], table, shades=(0.75 * shades).tolist())
        return [Text(said), whole, Text("A row is what is true, a column what was said.", muted=True), each]
    wrong = counts - np.diag(right)
    order = np.argsort(wrong, axis=None, kind="stable")[::-1][:CONFUSED]
    pairs = [divmod(int(k), len(labels)) for k in order if wrong.flat[k]]
    most = Table(["truth", "said", of], [[labels[i], labels[j], f"{wrong[i, j]:,}"] for i, j in pairs])
    return [Text(f"{said} What is confused most:"), most, each]


def _calibration(one: Mapping[str, Any]) -> list[Part]:
    """Whether probabilities are honest: what share of the answers given with a probability is right."""
    said, right, counts = (numbers(one[name]) for name in ("said", "right", "counts"))
    off = float(np.nansum(counts * np.abs(said - right)) / np.nansum(counts))
    found = lines(
        f"How often the most probable label is right, against the probability it was given with. They differ by "
        f"{share(off, 1)} on the average.",
        [
            Line("honest", [0, 1], [0, 1], "muted", DASHED, 0.9),
            Line("of the test part", said, right, marker="o"),
        ],
        x="probability of the label",
        y="share that is right",
        height=3.0,
        from_zero=True,
    )
    many = bars(
        "How many answers have such a probability.",
        [share(v) for v in said],
        {"": counts},
        x="probability of the label",
        y="answers",
    )
    return [Beside([found, many])]


def _scatter(one: Mapping[str, Any]) -> list[Part]:
    """Answers against the truth, and how they err."""
    truth, answers = numbers(one["truth"]), numbers(one["answers"])
    errors = (answers - truth)[np.isfinite(truth)]
    if not len(errors):
        return []
    counts, edges = np.histogram(errors, bins=min(40, max(5, round(len(errors) ** 0.5))))
    mean, middle = float(errors.mean()), float(np.median(np.abs(errors)))
    points = against(
        f"{len(errors):,} answers of the test part against the truth; on the line they would be equal.",
        truth,
        answers,
        x="truth",
        y="answer",
    )
    bent = f"Errors, answer less truth: {number(mean)} on the average, half of them within {number(middle)}."
    return [Beside([points, histogram(bent, edges, counts, x="error", y="answers")])]


def _table(one: Mapping[str, Any]) -> list[Part]:
    rows = [[plain(cell) for cell in row] for row in one["rows"]]
    return [Table(one["headings"], rows, texts=bool(one.get("texts")))]


def _lines(one: Mapping[str, Any]) -> list[Part]:
    curves = [Line(name, x, numbers(y), **told_apart(i)) for i, (name, (x, y)) in enumerate(one["lines"].items())]
    return [lines(one["caption"], curves, x=one["x"], y=one["y"])]


def _stream(one: Mapping[str, Any]) -> list[Part]:
    """A stream, how rare its steps were, and where alarms rang."""
    steps = one["start"] + np.arange(len(one["rarity"]))
    level, rung = one["level"], one["alarms"]
    of = f"{one['count']} alarm{'' if one['count'] == 1 else 's'} in {one['steps']:,} steps of the test part"
    here = f", {one['expected']:.1f} of these," if "expected" in one else ""
    parts: list[Part] = [Text(f"{of}; {one['declared']}{here} would be false ones by chance, as declared.")]
    for name, values in one["columns"].items():
        y = numbers(values)
        curves = [Line(name, steps, y)]
        marks = np.array([y[t - one["start"]] for t in rung], float)
        curves.append(Line("alarm", rung, marks, "second", "none", marker="o"))
        parts.append(lines(f"{name}, with the steps at which an alarm began.", curves, x="step", y=name, wide=True))
    curves = [
        Line("rarity", steps, numbers(one["rarity"])),
        Line("an alarm rings", [steps[0], steps[-1]], [level, level], "muted", DASHED, 0.9),
        Line("alarm", rung, [one["rarity"][t - one["start"]] for t in rung], "second", "none", marker="o"),
    ]
    said = "How rare each step is: at k, a stream without anomalies is as surprising once in 10^k steps."
    return [*parts, lines(said, curves, x="step", y="rarity k", from_zero=True, wide=True)]


# What a task's report may have in its `sections`, with the heading if it gives none.
_KINDS: dict[str, tuple[str, Callable[[Mapping[str, Any]], list[Part]]]] = {
    "confusion": ("Label by label", _confusion),
    "calibration": ("What its probabilities are worth", _calibration),
    "risks": ("Risks over time", risks),
    "moves": ("What moves risks", moves),
    "reliability": ("Are the risks honest?", honest),
    "stream": ("The stream and its alarms", _stream),
    "scatter": ("Answers and the truth", _scatter),
    "table": ("In numbers", _table),
    "lines": ("In pictures", _lines),
    "rolls": ("Pieces", rolls),
    "written": ("What it writes", written),
    "spikes": ("One recording as it is heard", lambda one: [spikes(one)]),
    "pictured": ("What it sees", pictured),
}
