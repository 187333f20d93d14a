"""The report of a forecaster: one HTML page, from the plain data that `Forecaster.report_` is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.forecasting.series import Series
from recurra.formatting import duration, number, share
from recurra.report.charts import (
    BARS,
    COLOURS,
    DASHED,
    LINES,
    Line,
    axes,
    bars,
    chart,
    draw_lines,
    legend,
    lines,
    numbers,
)
from recurra.report.fit import Report, against_baselines, parity, parts_of, the_network, training, unit_of
from recurra.report.page import Beside, Chart, Code, Section, Styled, Table, Text, render
from recurra.runtime.ops.forecast import middle_of
from recurra.tasks.forecasting.backtest import Forecasts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COUNT = re.compile(r"-?\d+(\.\d+)?")
_OFFSET = re.compile(r"[+-]\d\d:\d\d$")  # from UTC, behind a time of the day
METRICS: list[dict[str, Any]] = [
    {"key": "mae", "name": "MAE", "less": True, "percent": False},
    {"key": "mase", "name": "MASE", "less": True, "percent": False},
    {"key": "smape", "name": "sMAPE", "less": True, "percent": True},
    {"key": "coverage", "name": "in the interval", "less": False, "percent": True},
    {"key": "pinball", "name": "pinball", "less": True, "percent": False},
]


def forecast_page(report: Report, model: Any = None) -> str:
    """The page as text.

    Args:
        report: what `Forecaster.report_` has.
        model: the network, to be drawn unrolled: what `recurra.draw.network` takes.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    sections = [
        _forecast(report),
        against_baselines(
            report,
            [{**metric, "name": metric["name"] + unit_of(report) * (metric["key"] == "mae")} for metric in METRICS],
            "Every origin of the test part, all steps ahead. MASE divides by the error of the seasonal naive forecast "
            "on the training part: below 1 is better than that.",
        ),
        *([_rivals(report)] if report.get("rivals", {}).get("table") else []),
        *([_targets(report)] if report.get("by_target") else []),
        _errors(report),
        training(report, "loss (pinball, scaled)"),
        the_network(
            report,
            model,
            "a head that sees, for each step ahead, what is known of it and the same time one season earlier",
        ),
        _data(report),
        parity(report),
        _live(report),
    ]
    return render(f"A forecast of {report['target']}, {report['horizon']} steps ahead", sections, report["verdict"])


def _forecast(report: Report) -> Section:
    heading, example = "The forecast and the truth", report["example"]
    if not example:
        return Section(heading, [Text("The test part has no forecast to show.")])
    more = [_coverage(report)] if report.get("coverage_by_horizon") and report["horizon"] > 1 else []
    return Section(heading, [_week(report), Beside([_one(report), _by_horizon(report), *more])])


def _week(report: Report) -> Chart:
    """The end of the test part, as it was forecast a horizon before."""
    example = report["example"]
    truth, low, high = (numbers(example[name]) for name in ("truth", "low", "high"))
    figure, ax = axes(7.2, 2.9, ylabel=f"{example.get('variable') or report['target']}{unit_of(report)}")
    times = _times(example["times"])
    _band(ax, times, example, "forecast and its interval")
    if "naive" in example:
        draw_lines(ax, [Line(example["naive_name"], times, numbers(example["naive"]), "muted", (0, (2, 2)), 0.9)])
    draw_lines(ax, [Line("truth", times, truth, "ink", width=1.3)])
    _dates(ax, times)
    legend(ax, 3)
    lead = f"{example['lead']} steps of {report['step']}"
    said = f"The end of the test part, each value as it was forecast {lead} before."
    if len(report["levels"]) == 1:
        return chart(figure, said, wide=True)
    known = np.isfinite(truth)
    inside = float(np.mean((truth >= low)[known] & (truth <= high)[known])) if known.any() else None
    meant = float(report["levels"][-1] - report["levels"][0])
    return chart(
        figure,
        f"{said} Of these values {share(inside)} lie in the interval, which is meant to hold {share(meant)}.",
        wide=True,
    )


def _one(report: Report) -> Chart:
    """One whole forecast."""
    fan = report["fan"]
    figure, ax = axes(4.7, 2.6, ylabel=f"{fan.get('variable') or report['target']}{unit_of(report)}")
    past, ahead = _times(fan["past_times"]), _times(fan["times"])
    known = Line("known", past, numbers(fan["past"]), "ink", width=1.3)
    draw_lines(ax, [known, Line("what came", ahead, numbers(fan["truth"]), "ink", DASHED, 1.1)])
    _band(ax, ahead, fan, "forecast")
    ax.axvline(past[-1], color=COLOURS["muted"], linewidth=0.8)
    _dates(ax, np.concatenate([past, ahead]))
    legend(ax, 3)
    return chart(figure, f"One forecast: all {report['horizon']} steps, made at the line from what was known there.")


def _by_horizon(report: Report) -> Chart:
    errors = {name: numbers(report["by_horizon"][name]) for name in _shown(report, report["by_horizon"])}
    own = next(iter(errors.values()))
    return lines(
        f"Error against the horizon, test part: {number(own[0])} one step ahead, {number(own[-1])} at the last.",
        [
            Line(name, np.arange(1, len(values) + 1), values, colour)
            for colour, (name, values) in zip(LINES, errors.items(), strict=False)
        ],
        x="steps ahead",
        y=f"MAE{unit_of(report)}",
        height=2.6,
        from_zero=True,
    )


def backtest_figure(series: Series, tested: Forecasts) -> Figure:
    """What was forecast at rolling origins of a series, against what came; as a figure of Matplotlib.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    M, N, _ = tested.quantiles.shape
    middle = middle_of(tested.levels)
    before = len(series.target[: series.observed]) - M * N
    shown = slice(max(0, before - 2 * N), series.observed)
    times = _times(series.time)
    figure, ax = axes(9.6, 3.4, ylabel=series.variable or series.name)
    draw_lines(ax, [Line("truth", times[shown], series.target[shown], "ink", width=1.3)])
    for k in range(M):
        at = times[before + k * N : before + (k + 1) * N]
        said = tested.quantiles[k]
        name = "forecast and its interval" if k == 0 and len(tested.levels) > 1 else "" if k else "forecast"
        if len(tested.levels) > 1:
            ax.fill_between(at, said[:, 0], said[:, -1], color=COLOURS["accent"], alpha=0.18, linewidth=0)
        draw_lines(ax, [Line(name, at, said[:, middle])])
        ax.axvline(at[0], color=COLOURS["line"], linewidth=0.8)
    _dates(ax, times[shown])
    legend(ax, 3)
    return figure


def _coverage(report: Report) -> Chart:
    """How much of the truth the interval holds, horizon by horizon."""
    held = 100 * numbers(report["coverage_by_horizon"])
    meant, n = 100 * float(report["levels"][-1] - report["levels"][0]), np.arange(1, len(held) + 1)
    return lines(
        f"What the interval holds of the test part: {held[0]:.0f} % one step ahead, {held[-1]:.0f} % at the last, "
        f"where {meant:.4g} % are meant.",
        [Line("held", n, held, LINES[0]), Line("meant", n, np.full(len(held), meant), "muted", DASHED, 1.0)],
        x="steps ahead",
        y="% in the interval",
        height=2.6,
        from_zero=True,
    )


def _rivals(report: Report) -> Section:
    rivals = report["rivals"]
    rows = [
        [r["name"], number(r["mae"], 4), number(r["mase"], 4), duration(r["seconds"]) if r["seconds"] else ""]
        for r in rivals["table"]
    ]
    text = (
        f"Models of other libraries, each fitted to the training part, and all forecasts from the same "
        f"{rivals['origins']} origins of the test part; the time is that of fitting and forecasting."
    )
    return Section("Rivals", [Table(["", f"MAE{unit_of(report)}", "MASE", "time"], rows, best=rows[0][0]), Text(text)])


def _targets(report: Report) -> Section:
    rows = [
        [one["target"], *(number(error[key], 4) for error in one["errors"].values() for key in ("mae", "mase"))]
        for one in report["by_target"]
    ]
    names = [f"{name}, {key}" for name in report["by_target"][0]["errors"] for key in ("MAE", "MASE")]
    return Section("Target by target", [Table(["target", *names], rows)])


def _errors(report: Report) -> Section:
    parts = []
    for key, heading in (("by_hour", "hour of the day"), ("by_weekday", "day of the week")):
        labels, values = report[key].get("labels", []), report[key].get("values", {})
        if labels:
            shown = {name: numbers(values[name]) for name in _shown(report, values)[: len(BARS)]}
            own = next(iter(shown.values()))
            text = f"Mean error by {heading}"
            if np.isfinite(own).any():
                most, least = (f"{labels[k]} ({number(own[k])})" for k in (np.nanargmax(own), np.nanargmin(own)))
                text += f": largest at {most}, least at {least}"
            parts.append(bars(f"{text}.", labels, shown, x=heading, y=f"MAE{unit_of(report)}"))
    none = Text(f"Steps of {report['step']} have no hours or weekdays to tell apart.")
    return Section("Where it errs", [Beside(parts)] if parts else [none])


def _data(report: Report) -> Section:
    data = report["data"]
    seasons = " and ".join(str(s) for s in data["seasons"]) or "none"
    known = ", ".join(data["known_ahead"]) or "nothing but the calendar"
    static = f" The same within a series: {', '.join(data['static'])}." if data.get("static") else ""
    text = (
        f"{data['rows']:,} rows of {data['source'] or 'the table'}, one every {report['step']}, in {data['series']} "
        f"series. Seasons found in the training part: {seasons} steps. Known ahead: {known}; known up to now: "
        f"{', '.join([report['target'], *data['past']])}.{static}"
    )
    return Section("The data", [Text(text), parts_of(data), *map(Text, data["notes"])])


def _live(report: Report) -> Section:
    names = [*report["target"].split(", "), *report["data"]["past"], *report["data"]["known_ahead"]]
    columns = ",".join(["time", *names, *report["data"].get("static", [])])
    live, file = report.get("live"), report["model_file"] or "model.recurra"
    cost = f" Here one step took {live['microseconds']:.0f} µs, features included." if live else ""
    return Section(
        "Run it live",
        [
            Code(f"recurra stream {file} --snapshot state.bin < observations.csv"),
            Text(
                [
                    "One observation a line, with the columns ",
                    Styled(columns, "code"),
                    f"; one forecast a line comes back.{cost} No training framework is loaded.",
                ]
            ),
            Code(
                "import recurra\nfrom recurra.tasks.forecasting.live import LiveForecaster\n\n"
                f"live = LiveForecaster(recurra.load({file!r}))\n"
                "forecast = live.step(observation)  # a dict of those columns"
            ),
        ],
    )


def _times(times: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Times as an axis takes them: dates as a clock on the wall shows them; what counts, also years, as numbers."""
    if all(_COUNT.fullmatch(str(time)) for time in times):
        return np.array(times, np.float64)
    return np.array([_OFFSET.sub("", str(time)) for time in times], dtype="datetime64[us]")


def _dates(ax: Any, times: NDArray[Any]) -> None:
    """As few dates as can be read."""
    if np.issubdtype(times.dtype, np.datetime64):
        from matplotlib.dates import HOURLY, AutoDateLocator, ConciseDateFormatter

        locator: Any = AutoDateLocator(maxticks=7)  # type: ignore[no-untyped-call]
        locator.intervald[HOURLY] = [1, 2, 3, 4, 6, 12, 24]  # by itself it has nothing between 12 hours and days
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        ax.xaxis.get_offset_text().set(fontsize=8.5, color=COLOURS["muted"])
    ax.margins(x=0.01)


def _band(ax: Any, times: NDArray[Any], forecast: Mapping[str, Any], label: str) -> None:
    """A forecast with its interval."""
    low, high = numbers(forecast["low"]), numbers(forecast["high"])
    ax.fill_between(times, low, high, color=COLOURS["accent"], alpha=0.22, linewidth=0)
    draw_lines(ax, [Line(label, times, numbers(forecast["median"]))])


def _shown(report: Report, names: Collection[str]) -> list[str]:
    """Of the names, the network, the best naive forecast and the linear one: a chart of all is no clearer."""
    naive = [row for row in report["table"] if row["kind"] == "naive" and row["mae"] is not None]
    best = min(naive, key=lambda row: float(row["mae"]), default=None)
    return [r["name"] for r in report["table"] if r["name"] in names and (r["kind"] != "naive" or r is best)]
