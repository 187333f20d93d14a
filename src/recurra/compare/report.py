"""The report of a comparison: one HTML page, from the plain data that `Comparison` is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.compare.table import HEADINGS, LEGEND, cells, notes
from recurra.draw.page import COLOURS, axes, chart, page, table

if TYPE_CHECKING:
    from recurra.compare.results import Comparison, Row

KINDS = {  # colour, marker and word of each kind
    "recurrent": ("accent", "o", "recurrent"),
    "feedforward": ("second", "s", "feedforward"),
    "cnn": ("third", "^", "convolution"),
    "transformer": ("fourth", "D", "Transformer"),
    "linear": ("muted", "P", "linear"),
    "naive": ("ink", "X", "naive"),
}


def comparison_page(found: Comparison) -> str:
    """The page as text.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    done = [r for r in found.rows if r["test"] is not None]
    sections = [("Leaderboard", _leaderboard(found))]
    if done:
        sections.append(("What accuracy costs", _costs(found, done)))
        sections.append(("Error of each seed", _errors(found, done)))
    if any(r["history"] for r in done):
        sections.append(("Learning curves", _curves(found, done)))
    if any(r["example"] for r in done):
        sections.append(("Forecasts side by side", _forecasts(found, done)))
    sections += [("The data", _data(found)), ("How it was compared", _method(found))]
    first, *rest = found.verdict or ["Nothing was finished."]
    summary = f"<p><strong>{escape(first)}</strong></p>" + "".join(f"<p>{escape(s)}</p>" for s in rest)
    what = f"a forecast of {found.data['target']}" if found.task == "forecast" else "labels of sequences"
    return page(f"Which network for {what}?", sections, summary)


def _leaderboard(found: Comparison) -> str:
    rows = [[text.replace(" ", "\u00a0") for text in cells(r)] for r in found.rows]
    said = "".join(f"<p class='muted'>{escape(line)}</p>" for line in notes(found))
    best = found.rows[0]["name"] if found.rows and found.rows[0]["test"] is not None else None
    return table(HEADINGS, rows, best=best) + (
        f"<p class='muted'>Sorted by the validation error. {escape(LEGEND.format(metric=found.metric))}</p>{said}"
    )


def _costs(found: Comparison, done: Sequence[Row]) -> str:
    steps = [r for r in done if r.get("step_seconds") and r["kind"] != "naive"]
    figures = []
    if steps:
        figures.append(
            _scatter(found, steps, lambda r: r["step_seconds"] * 1e6, "time of a live step, µs", _latency_words(steps))
        )
    sized = [r for r in done if r["parameters"]]
    words = "Networks have the same number of parameters within 5 %; linear and naive candidates have what they have."
    if sized:
        figures.append(_scatter(found, sized, lambda r: r["parameters"], "parameters", words))
    return f'<div class="pair">{"".join(figures)}</div>'


def _latency_words(rows: Sequence[Row]) -> str:
    fast, slow = (f(rows, key=lambda r: r["step_seconds"]) for f in (min, max))
    ratio = slow["step_seconds"] / fast["step_seconds"]
    return (
        f"Left and low is best. {slow['name']} ({slow['runs_in']}) takes {ratio:.0f} times as long for a step as "
        f"{fast['name']} ({fast['runs_in']})."
    )


def _scatter(found: Comparison, rows: Sequence[Row], x_of: Callable[[Row], float], label: str, words: str) -> str:
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
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), fontsize=7.5, handletextpad=0.1, columnspacing=0.8)
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


def _errors(found: Comparison, done: Sequence[Row]) -> str:
    figure, ax = axes(9, 0.55 + 0.27 * len(done), xlabel=f"test: {_short(found)}")
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color=COLOURS["line"], linewidth=0.7)
    for k, r in enumerate(reversed(done)):
        colour = COLOURS[KINDS[r["kind"]][0]]
        low, high = r["interval"] or (r["test"], r["test"])
        ax.plot([max(0.0, low), high], [k, k], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        ax.scatter(r["seeds"], [k] * len(r["seeds"]), s=14, color=colour, zorder=3)
    most = max(max(r["seeds"]) for r in done)
    ax.set_xlim(left=0, right=1.15 * most)
    ax.set_yticks(range(len(done)), [r["name"] for r in reversed(done)])
    best = done[0]
    words = (
        f"A point for each seed, a band for the 95 % interval of their mean (cut at the chart's edge). "
        f"{best['name']} lies between {min(best['seeds']):.3g} and {max(best['seeds']):.3g}."
    )
    return chart(figure, words, wide=True)


def _curves(found: Comparison, done: Sequence[Row]) -> str:
    trained = [r for r in done if r["history"]]
    figures = []
    for column, label in ((0, "epoch"), (3, "seconds of training, one core")):
        figure, ax = axes(4.7, 3.0, xlabel=label, ylabel="validation loss")
        lines = ("-", (0, (4, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
        seen: dict[str, int] = {}
        for r in trained:
            style = lines[seen.get(r["kind"], 0) % len(lines)]
            seen[r["kind"]] = seen.get(r["kind"], 0) + 1
            h = np.array(r["history"])
            ax.plot(
                h[:, column],
                h[:, 2],
                color=COLOURS[KINDS[r["kind"]][0]],
                linestyle=style,
                linewidth=1.3,
                label=r["name"],
            )
        every = np.concatenate([np.array(r["history"])[:, 2] for r in trained])
        ax.set_ylim(top=float(np.quantile(every, 0.97)) * 1.05)
        if column == 3:
            _log(ax)
        else:
            ax.legend(
                ncols=4, loc="lower left", bbox_to_anchor=(0, 1), fontsize=7.5, columnspacing=0.8, handlelength=2.4
            )
        figures.append(figure)
    quick = min(trained, key=lambda r: r["train_seconds"])
    slow = max(trained, key=lambda r: r["train_seconds"])
    texts = (
        "The best run of each network. The weights of the lowest point are kept.",
        f"The same against time: {quick['name']} took {quick['train_seconds']:.1f} s, {slow['name']} "
        f"{slow['train_seconds']:.1f} s.",
    )
    return f'<div class="pair">{"".join(chart(f, t) for f, t in zip(figures, texts, strict=True))}</div>'


def _forecasts(found: Comparison, done: Sequence[Row]) -> str:
    """The same moment as the best of each kind forecast it."""
    best_of: dict[str, Row] = {}
    for r in done:
        if r["example"]:
            best_of.setdefault(r["kind"], r)
    shown = list(best_of.values())
    example = shown[0]["example"]
    past, truth = (_numbers(example[name]) for name in ("past", "truth"))
    low, high = (
        f([f(_finite(_numbers(v))) for r in shown for v in (r["example"]["forecast"], truth, past)]) for f in (min, max)
    )
    figures = []
    for r in shown:
        figure, ax = axes(4.7, 2.3, xlabel="steps from the forecast", ylabel=found.data["target"])
        ax.plot(range(1 - len(past), 1), past, color=COLOURS["muted"], linewidth=1.2, label="known")
        ahead = range(1, len(truth) + 1)
        ax.plot(ahead, truth, color=COLOURS["ink"], linewidth=1.2, linestyle=(0, (2, 1.5)), label="what came")
        forecast = _numbers(r["example"]["forecast"])
        ax.plot(ahead, forecast, color=COLOURS[KINDS[r["kind"]][0]], linewidth=1.6, label=r["name"])
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        error = np.nanmean(np.abs(forecast - truth))
        figures.append(chart(figure, f"{r['name']}: mean absolute error of this forecast {error:.3g}."))
    when = escape(str(example["origin"]).replace("T", " "))
    head = f"<p>One moment of the test part, {when}, by the best of each kind.</p>"
    return head + f'<div class="pair">{"".join(figures)}</div>'


def _numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], np.float64)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)


def _data(found: Comparison) -> str:
    rows = [[name.replace("_", " "), _value(value)] for name, value in found.data.items()]
    return table(["", ""], rows)


def _method(found: Comparison) -> str:
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
    tuned = [[r["name"], ", ".join(f"{k} {_value(v)}" for k, v in r["params"].items()) or "-"] for r in found.rows]
    listed = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    return f"<ul>{listed}</ul><p>What tuning chose:</p>{table(['', 'settings'], tuned)}"


def _short(found: Comparison) -> str:
    return found.metric.partition(",")[0]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
