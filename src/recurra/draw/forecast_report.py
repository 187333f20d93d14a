"""The report of a forecaster: one HTML page, from the plain data that `Forecaster.report_` is."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from recurra.draw import network
from recurra.draw.page import COLOURS, axes, chart, page, table
from recurra.files import write_atomically

Report = Mapping[str, Any]
LINES = ("accent", "second", "third", "fourth", "muted")
BARS = ("accent", "muted", "second", "third", "fourth")


def write_forecast_report(report: Report, path: str | os.PathLike[str], model: Any = None) -> None:
    """Write the page in one move: a reader sees the old page or the new one.

    Args:
        report: what `Forecaster.report_` has.
        path: where to write.
        model: the network, to be drawn unrolled: what `recurra.draw.network` takes.

    Raises:
        MissingExtraError: Matplotlib is not installed.
        OSError: the file cannot be written; what was there is untouched.
    """
    write_atomically(path, forecast_page(report, model).encode())


def forecast_page(report: Report, model: Any = None) -> str:
    """The page as text; see `write_forecast_report`."""
    sections = [
        ("The forecast and the truth", _forecast(report)),
        ("Against the baselines", _table(report)),
        ("Where it errs", _errors(report)),
        ("Training", _training(report)),
        ("The network", _network(report, model)),
        ("The data", _data(report)),
        ("What is trained is what runs", _parity(report)),
        ("Run it live", _live(report)),
    ]
    summary = "".join(f"<p>{escape(sentence)}</p>" for sentence in report["verdict"])
    return page(f"A forecast of {report['target']}, {report['horizon']} steps ahead", sections, summary)


def _forecast(report: Report) -> str:
    example, fan = report["example"], report["fan"]
    if not example:
        return "<p>The test part has no forecast to show.</p>"
    truth, low, high = (_floats(example[name]) for name in ("truth", "low", "high"))
    figure, ax = axes(7.2, 2.9, ylabel=f"{report['target']}{_unit(report)}")
    times = _times(example["times"])
    _band(ax, times, low, _floats(example["median"]), high, "forecast and its interval")
    if "naive" in example:
        dotted = {"color": COLOURS["muted"], "linewidth": 0.9, "linestyle": (0, (2, 2))}
        ax.plot(times, _floats(example["naive"]), **dotted, label=example["naive_name"])
    ax.plot(times, truth, color=COLOURS["ink"], linewidth=1.3, label="truth")
    _dates(ax, times)
    _legend(ax, 3)
    known = np.isfinite(truth)
    inside = np.mean((truth >= low)[known] & (truth <= high)[known]) if known.any() else np.nan
    week = chart(
        figure,
        f"The end of the test part, each value as it was forecast {example['lead']} steps of {report['step']} "
        f"before. Of these values {inside:.0%} lie in the interval, which is meant to hold {_share(report):.0%}.",
        wide=True,
    )
    figure, ax = axes(4.7, 2.6, ylabel=f"{report['target']}{_unit(report)}")
    past, ahead = _times(fan["past_times"]), _times(fan["times"])
    ax.plot(past, _floats(fan["past"]), color=COLOURS["ink"], linewidth=1.3, label="known")
    dashed = {"color": COLOURS["ink"], "linewidth": 1.1, "linestyle": (0, (2, 1.5))}
    ax.plot(ahead, _floats(fan["truth"]), **dashed, label="what came")
    low, middle, high = (_floats(fan[name]) for name in ("low", "median", "high"))
    _band(ax, ahead, low, middle, high, "forecast")
    ax.axvline(past[-1], color=COLOURS["muted"], linewidth=0.8)
    _dates(ax, np.concatenate([past, ahead]))
    _legend(ax, 3)
    one = chart(figure, f"One forecast: all {report['horizon']} steps, made at the line from what was known there.")
    return week + f'<div class="pair">{one}{_by_horizon(report)}</div>'


def _by_horizon(report: Report) -> str:
    figure, ax = axes(4.7, 2.6, xlabel="steps ahead", ylabel=f"MAE{_unit(report)}")
    errors = {name: _floats(report["by_horizon"][name]) for name in _shown(report, report["by_horizon"])}
    for colour, (name, values) in zip(LINES, errors.items(), strict=False):
        ax.plot(range(1, len(values) + 1), values, color=COLOURS[colour], linewidth=1.5, label=name)
    ax.set_ylim(bottom=0)
    _legend(ax)
    own = next(iter(errors.values()))
    return chart(
        figure, f"Error against the horizon, test part: {own[0]:.3g} one step ahead, {own[-1]:.3g} at the last."
    )


def _table(report: Report) -> str:
    columns = ("mae", "mase", "smape", "coverage", "pinball")
    rows = [[row["name"], *(_number(row[c], c) for c in columns)] for row in report["table"]]
    measured = [row for row in report["table"] if row["mae"] is not None]
    best = min(measured, key=lambda row: float(row["mae"]))["name"] if measured else None
    return table(["", f"MAE{_unit(report)}", "MASE", "sMAPE", "in the interval", "pinball"], rows, best=best) + (
        "<p class='muted'>Every origin of the test part, all steps ahead. MASE divides by the error of the seasonal "
        "naive forecast on the training part: below 1 is better than that.</p>"
    )


def _errors(report: Report) -> str:
    parts = []
    for key, heading in (("by_hour", "hour of the day"), ("by_weekday", "day of the week")):
        labels, values = report[key].get("labels", []), report[key].get("values", {})
        if labels:
            parts.append(_bars(report, heading, labels, {n: _floats(values[n]) for n in _shown(report, values)}))
    if not parts:
        return f"<p>Steps of {escape(report['step'])} have no hours or weekdays to tell apart.</p>"
    return f'<div class="pair">{"".join(parts)}</div>'


def _bars(report: Report, heading: str, labels: Sequence[str], values: Mapping[str, Any]) -> str:
    """Mean errors side by side: the network's, and those of what it is compared with."""
    figure, ax = axes(4.7, 2.4, xlabel=heading, ylabel=f"MAE{_unit(report)}")
    places, width = np.arange(len(labels)), 0.8 / len(values)
    for k, (colour, (name, errors)) in enumerate(zip(BARS, values.items(), strict=False)):
        ax.bar(places + (k + 0.5) * width - 0.4, errors, width, color=COLOURS[colour], label=name)
    every = max(1, len(labels) // 8)
    ax.set_xticks(places[::every], labels[::every])
    _legend(ax)
    own = next(iter(values.values()))
    if np.isnan(own).all():
        return chart(figure, f"Mean error by {heading}.")
    most, fewest = (f"{labels[k]} ({own[k]:.3g})" for k in (int(np.nanargmax(own)), int(np.nanargmin(own))))
    return chart(figure, f"Mean error by {heading}: largest at {most}, least at {fewest}.")


def _training(report: Report) -> str:
    history, naive = report["history"], report["baseline_mae"]
    epochs, errors = [h["epoch"] for h in history], _floats([h["valid_mae"] for h in history])
    figure, ax = axes(4.7, 2.4, xlabel="epoch", ylabel=f"validation MAE{_unit(report)}")
    ax.plot(epochs, errors, color=COLOURS["accent"], linewidth=1.5, marker="o", markersize=2.5, label="network")
    best = int(np.nanargmin(errors)) if np.isfinite(errors).any() else -1
    text = f"Least at epoch {epochs[best]} of {epochs[-1]}: {errors[best]:.3g}"
    if naive:
        ax.axhline(naive, color=COLOURS["muted"], linestyle=(0, (2, 2)), label="best naive forecast")
        text += (
            f", {abs(1 - errors[best] / naive):.0%} {'below' if errors[best] < naive else 'above'} the naive forecast"
        )
    ax.set_ylim(bottom=0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    _legend(ax)
    curve = chart(figure, f"{text}. The weights of the best epoch are kept.")
    figure, ax = axes(4.7, 2.4, xlabel="epoch", ylabel="training loss (pinball, scaled)")
    ax.plot(epochs, _floats([h["train_loss"] for h in history]), color=COLOURS["second"], linewidth=1.5)
    ax.xaxis.get_major_locator().set_params(integer=True)
    loss = chart(figure, f"Training took {report['seconds']['training']:.0f} s.")
    return f'<div class="pair">{curve}{loss}</div>'


def _network(report: Report, drawn: Any) -> str:
    model = report["model"]
    layers = f"{model['layers']} recurrent layer" + ("s" if model["layers"] > 1 else "")
    picture = ""
    if drawn is not None:
        svg = network(drawn, unrolled=3, theme="auto").svg()
        picture = f'<figure class="wide">{svg}<figcaption>Folded, and unrolled over three steps.</figcaption></figure>'
    return (
        f"<p>{layers} of {model['hidden']} units ({escape(model['cell'])}), then a head that sees, for each step "
        "ahead, what is known of it and the same time one season earlier: "
        f"{model['parameters']:,} parameters in all.</p>{picture}"
        f"<pre><code>{escape(model['equations'].strip())}</code></pre>"
        "<p class='muted'>x.g is an input product W x + b, h.g a recurrent product U h + c, and h alone the state "
        "itself.</p>"
    )


def _data(report: Report) -> str:
    data = report["data"]
    seasons = " and ".join(str(s) for s in data["seasons"]) or "none"
    known = ", ".join(data["known_ahead"]) or "nothing but the calendar"
    text = (
        f"<p>{data['rows']:,} rows of {escape(str(data['source']))}, one every {escape(report['step'])}, in "
        f"{data['series']} series. "
        f"Seasons found in the training part: {seasons} steps. Known ahead: {escape(known)}; known up to now: "
        f"{escape(', '.join([report['target'], *data['past']]))}.</p>"
    )
    rows = [[part["name"], f"{part['rows']:,}", part["first"], part["last"]] for part in data["parts"]]
    notes = "".join(f"<p>{escape(note)}</p>" for note in data["notes"])
    return text + table(["part", "rows", "from", "to"], rows) + notes


def _parity(report: Report) -> str:
    parity = report["parity"]
    differing = parity.get("differing", {})
    rows = [[f"{name} against the whole sequence", f"{count} numbers differ"] for name, count in differing.items()]
    if "torch_difference" in parity:
        rows.append(
            ["the training module against the model file (scaled)", f"{parity['torch_difference']:.1e} at most"]
        )
    live = report.get("live")
    if live:
        same = f"{live['difference']:.1e} at most" if live["difference"] else "equal to the last bit"
        rows.append(["the live stream against these forecasts", same])
    return (
        table(["", "measured"], rows) + f"<p class='muted'>Instruction set: {escape(str(parity.get('isa', '')))}.</p>"
    )


def _live(report: Report) -> str:
    file = escape(report["model_file"])
    columns = ",".join(["time", report["target"], *report["data"]["past"], *report["data"]["known_ahead"]])
    cost = (
        f" Here one step took {report['live']['microseconds']:.0f} µs, features included." if report.get("live") else ""
    )
    return (
        f"<pre><code>recurra stream {file} --snapshot state.bin &lt; observations.csv</code></pre>"
        f"<p>One observation a line, with the columns <code>{escape(columns)}</code>; one forecast a line comes back."
        f"{cost} No training framework is loaded.</p>"
        "<pre><code>import recurra\nfrom recurra.tasks.live import LiveForecaster\n\n"
        f"live = LiveForecaster(recurra.load({file!r}))\nforecast = live.step(observation)  # a dict of those columns"
        "</code></pre>"
    )


def _unit(report: Report) -> str:
    return f" ({report['unit']})" if report.get("unit") else ""


def _times(times: Sequence[Any]) -> Any:
    return np.array(times) if not isinstance(times[0], str) else np.array(times, dtype="datetime64[s]")


def _dates(ax: Any, times: Any) -> None:
    """As few dates as can be read."""
    if np.issubdtype(times.dtype, np.datetime64):
        from matplotlib.dates import HOURLY, AutoDateLocator, ConciseDateFormatter

        locator: Any = AutoDateLocator(maxticks=7)  # type: ignore[no-untyped-call]
        locator.intervald[HOURLY] = [1, 2, 3, 4, 6, 12, 24]  # by itself it has nothing between 12 hours and days
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        ax.xaxis.get_offset_text().set(fontsize=8.5, color=COLOURS["muted"])
    ax.margins(x=0.01)


def _band(ax: Any, times: Any, low: Any, middle: Any, high: Any, label: str) -> None:
    """A forecast with its interval."""
    ax.fill_between(times, low, high, color=COLOURS["accent"], alpha=0.22, linewidth=0)
    ax.plot(times, middle, color=COLOURS["accent"], linewidth=1.5, label=label)


def _shown(report: Report, names: Collection[str]) -> list[str]:
    """Of the names, the network, the best naive forecast and the linear one: a chart of all is no clearer."""
    naive = [row for row in report["table"] if row["kind"] == "naive" and row["mae"] is not None]
    best = min(naive, key=lambda row: float(row["mae"]), default=None)
    return [r["name"] for r in report["table"] if r["name"] in names and (r["kind"] != "naive" or r is best)]


def _legend(ax: Any, columns: int = 2) -> None:
    """Above the chart, where it covers nothing."""
    ax.legend(ncols=columns, loc="lower left", bbox_to_anchor=(0, 1))


def _share(report: Report) -> float:
    """How many of the values the interval is meant to hold."""
    return float(report["levels"][-1] - report["levels"][0])


def _floats(values: Sequence[float | None]) -> Any:
    """Numbers as an array; what was not measured is NaN."""
    return np.array([np.nan if v is None else v for v in values], float)


def _number(value: float | None, column: str) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if column in ("smape", "coverage") else f"{value:.3g}"
