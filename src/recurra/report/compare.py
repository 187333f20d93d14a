"""The report of a comparison: one HTML page, from the plain data that `Comparison` is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.compare.results import Comparison, Row
from recurra.compare.table import HEADINGS, LEGEND, cells, notes
from recurra.formatting import duration, number, plain
from recurra.report.charts import COLOURS, DASHED, Line, axes, chart, draw_lines, legend, numbers, told_apart
from recurra.report.page import Beside, Chart, Part, Points, Section, Styled, Table, Text, render

KINDS = {  # colour, marker and word of each kind
    "recurrent": ("accent", "o", "recurrent"),
    "feedforward": ("second", "s", "feedforward"),
    "cnn": ("third", "^", "convolution"),
    "transformer": ("fourth", "D", "Transformer"),
    "linear": ("muted", "P", "linear"),
    "statistical": ("muted", "v", "statistical"),
    "trees": ("muted", "p", "trees"),
    "naive": ("ink", "X", "naive"),
}


def comparison_page(found: Comparison) -> str:
    """The page as text.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    done = [r for r in found.rows if r["test"] is not None]
    sections = [Section("Leaderboard", _leaderboard(found))]
    if done:
        if costs := _costs(found, done):
            sections.append(Section("What accuracy costs", [Beside(costs)]))
        sections.append(Section("Error of each seed", [_errors(found, done)]))
    if any(r["history"] for r in done):
        sections.append(Section("Learning curves", [Beside(_curves([r for r in done if r["history"]]))]))
    if any(r["example"] for r in done):
        sections.append(Section("Forecasts side by side", _forecasts(found, done)))
    facts = [[name.replace("_", " "), plain(value)] for name, value in found.data.items()]
    sections += [Section("The data", [Table(["", ""], facts)]), Section("How it was compared", _method(found))]
    first, *rest = found.verdict or ["Nothing was finished."]
    what = f"a forecast of {found.data['target']}" if found.task == "forecast" else "labels of sequences"
    return render(f"Which network for {what}?", sections, [Styled(first, "strong"), *rest])


def _leaderboard(found: Comparison) -> list[Part]:
    best = found.rows[0]["name"] if found.rows and found.rows[0]["test"] is not None else None
    legend = f"Sorted by the validation error. {LEGEND.format(metric=found.metric)}"
    table = Table(HEADINGS, [cells(r) for r in found.rows], best, unbroken=True)
    return [table, *(Text(line, muted=True) for line in (legend, *notes(found)))]


def _costs(found: Comparison, done: Sequence[Row]) -> list[Chart]:
    charts = []
    steps = [r for r in done if r.get("step_seconds") and r["kind"] != "naive"]
    if steps:
        fast, slow = (f(steps, key=lambda r: r["step_seconds"]) for f in (min, max))
        words = (
            f"Left and low is best. {slow['name']} ({slow['runs_in']}) takes "
            f"{slow['step_seconds'] / fast['step_seconds']:.0f} times as long for a step as {fast['name']} "
            f"({fast['runs_in']})."
        )
        charts.append(_scatter(found, steps, lambda r: r["step_seconds"] * 1e6, "time of a live step, µs", words))
    sized = [r for r in done if r["parameters"]]
    if sized:
        words = (
            "Networks have the same number of parameters within 5 %; linear and naive candidates have what they have."
        )
        charts.append(_scatter(found, sized, lambda r: r["parameters"], "parameters", words))
    return charts


def _scatter(found: Comparison, rows: Sequence[Row], x_of: Callable[[Row], float], label: str, words: str) -> Chart:
    figure, ax = axes(4.7, 3.3, xlabel=label, ylabel=f"test: {_short(found)}")
    _log(ax)
    for kind, (colour, marker, word) in KINDS.items():
        own = [r for r in rows if r["kind"] == kind]
        if own:
            across, up = [x_of(r) for r in own], [r["test"] for r in own]
            ax.scatter(across, up, s=26, color=COLOURS[colour], marker=marker, label=word, zorder=3)
    least, worst = (float(f(r["test"] for r in rows)) for f in (min, max))
    span = worst - least or 1.0
    ax.set_ylim(least - 0.12 * span, worst + 0.15 * span)
    places = sorted(((x_of(r), r["test"], r["name"]) for r in rows), key=lambda p: p[1])
    for (x, y, name), rise in zip(places, _offsets([(np.log10(p[0]), p[1] / span) for p in places]), strict=True):
        ax.annotate(
            name, (x, y), (6, rise), textcoords="offset points", fontsize=7.5, color=COLOURS["ink"], va="center"
        )
    ax.margins(x=0.25)
    legend(ax, 3, fontsize=7.5, handletextpad=0.1, columnspacing=0.8)
    return chart(figure, words)


def _log(ax: Any) -> None:
    """A logarithmic axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def _offsets(places: Sequence[tuple[float, float]]) -> list[float]:
    """Points by which names move up so that they do not cover those below; places are (decades, shares of height)."""
    moved: list[float] = []
    for i, (x, y) in enumerate(places):
        rise = 0.0
        for (other, height), before in zip(places[:i], moved, strict=True):
            gap = (y - height) * 130 + rise - before  # a chart is about 130 points high
            if abs(x - other) < 0.5 and gap < 8.5:
                rise += 8.5 - gap
        moved.append(rise)
    return moved


def _errors(found: Comparison, done: Sequence[Row]) -> Chart:
    figure, ax = axes(9, 0.55 + 0.27 * len(done), xlabel=f"test: {_short(found)}")
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color=COLOURS["line"], linewidth=0.7)
    for k, r in enumerate(reversed(done)):
        colour = COLOURS[KINDS[r["kind"]][0]]
        low, high = r["interval"] or (r["test"], r["test"])
        ax.plot([max(0.0, low), high], [k, k], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        ax.scatter(r["seeds"], [k] * len(r["seeds"]), s=14, color=colour, zorder=3)
    ax.set_xlim(left=0, right=1.15 * max(max(r["seeds"]) for r in done))
    ax.set_yticks(range(len(done)), [r["name"] for r in reversed(done)])
    best = done[0]
    words = (
        f"A point for each seed, a band for the 95 % interval of their mean (cut at the chart's edge). "
        f"{best['name']} lies between {number(min(best['seeds']))} and {number(max(best['seeds']))}."
    )
    return chart(figure, words, wide=True)


def _curves(trained: Sequence[Row]) -> list[Chart]:
    """The validation loss of the best run of each network, by epoch and by time."""
    quick, slow = (f(trained, key=lambda r: r["train_seconds"]) for f in (min, max))
    every = np.concatenate([np.array(r["history"])[:, 2] for r in trained])
    texts = {
        "epoch": "The best run of each network. The weights of the lowest point are kept.",
        "seconds of training, one core": f"The same against time: {quick['name']} took "
        f"{duration(quick['train_seconds'])}, {slow['name']} {duration(slow['train_seconds'])}.",
    }
    charts = []
    for (label, words), column in zip(texts.items(), (0, 3), strict=True):
        figure, ax = axes(4.7, 3.0, xlabel=label, ylabel="validation loss")
        seen: dict[str, int] = {}
        for r in trained:
            seen[r["kind"]] = seen.get(r["kind"], -1) + 1
            h = np.array(r["history"])
            dash = told_apart(4 * seen[r["kind"]])["dash"]
            draw_lines(ax, [Line(r["name"], h[:, column], h[:, 2], KINDS[r["kind"]][0], dash, 1.3)])
        ax.set_ylim(top=float(np.quantile(every, 0.97)) * 1.05)
        if column:
            _log(ax)
        else:
            legend(ax, 4, fontsize=7.5, columnspacing=0.8, handlelength=2.4)
        charts.append(chart(figure, words))
    return charts


def _forecasts(found: Comparison, done: Sequence[Row]) -> list[Part]:
    """The same moment as the best of each kind forecast it."""
    best_of: dict[str, Row] = {}
    for r in done:
        if r["example"]:
            best_of.setdefault(r["kind"], r)
    shown = list(best_of.values())
    example = shown[0]["example"]
    past, truth = (numbers(example[name]) for name in ("past", "truth"))
    forecasts = [numbers(r["example"]["forecast"]) for r in shown]
    every = _finite(np.concatenate([past, truth, *forecasts]))
    room = 0.05 * (every.max() - every.min())
    charts = []
    for r, forecast in zip(shown, forecasts, strict=True):
        figure, ax = axes(4.7, 2.3, xlabel="steps from the forecast", ylabel=found.data["target"])
        ahead = np.arange(1, len(truth) + 1)
        curves = [
            Line("known", np.arange(1 - len(past), 1), past, "muted", width=1.2),
            Line("what came", ahead, truth, "ink", DASHED, 1.2),
            Line(r["name"], ahead, forecast, KINDS[r["kind"]][0], width=1.6),
        ]
        draw_lines(ax, curves)
        ax.set_ylim(every.min() - room, every.max() + room)
        legend(ax, 3)
        error = number(np.nanmean(np.abs(forecast - truth)))
        charts.append(chart(figure, f"{r['name']}: mean absolute error of this forecast {error}."))
    when = str(example["origin"]).replace("T", " ")
    return [Text(f"One moment of the test part, {when}, by the best of each kind."), Beside(charts)]


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)


def _method(found: Comparison) -> list[Part]:
    s = found.settings
    facts = [
        f"Every network has {s['parameters']:,} parameters within 5 %, the same features, loss, optimizer (AdamW), "
        "early stopping and learning-rate schedule.",
        f"Each candidate had {s['trials']} tuning trials by Optuna under the same time each, without the test part in "
        f"reach; then networks were trained from {s['seeds']} seeds.",
        f"The budget was {s['budget_seconds']:.0f} s; the comparison took {found.seconds:.0f} s with {s['workers']} "
        f"trainings at a time ({s['engine']}).",
        f"Live steps were timed on one thread of {found.machine['processor']}.",
    ]
    tuned = [[r["name"], plain(r["params"]) if r["params"] else "-"] for r in found.rows]
    return [Points(facts), Text("What tuning chose:"), Table(["", "settings"], tuned)]


def _short(found: Comparison) -> str:
    return found.metric.partition(",")[0]
