"""Risks over time: the sections of a report for whoever looks after what was watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recurra.formatting import number, share
from recurra.report.charts import DASHED, Line, lines
from recurra.report.page import Beside, Chart, Part, Table, Text


def risks(one: Mapping[str, Any]) -> list[Part]:
    """The risk after each step of some histories, and what moved the last one."""
    drawn = [_history(history, one["label"]) for history in one["histories"]]
    words = (
        f"The risk of {one['label']!r} after each measurement, of histories that nothing was learned from. What moved "
        "a risk is computed: by how much it would be less if that variable had never been measured."
    )
    return [Text(words), *(Beside(list(pair)) for pair in _pairs(drawn))]


def _history(history: Mapping[str, Any], label: str) -> Chart:
    moved = ", ".join(f"{name} {number(value)} ({100 * move:+.0f})" for name, value, move in history["moved"])
    happened = label if history["outcome"] else f"not {label}"
    caption = (
        f"{history['name']}, in truth {happened}: the last risk is {share(history['risk'][-1])}, moved, in points, by "
        f"{moved}."
    )
    curve = Line("", history["time"], history["risk"], marker="o")
    return lines(caption, [curve], x="time", y="risk", from_zero=True, to=1.0)


def moves(one: Mapping[str, Any]) -> list[Part]:
    """Which variables move risks the most."""
    sizes = one["moves"]
    rows = [[name, f"{100 * size:.1f}"] for name, size in zip(one["variables"], sizes, strict=True)]
    return [Table(["variable", f"moves the risk of {one['label']!r} by, in points, on the average"], rows)]


def honest(one: Mapping[str, Any]) -> list[Part]:
    """What was said beside what happened."""
    rows = one["rows"]
    said, happened = ([row[k] for row in rows] for k in (0, 1))
    most = max(*said, *happened)
    curve = lines(
        f"Risks in groups of as many answers each: what was said, and how often it happened. They differ by "
        f"{share(one['ece'], 1)} on the average.",
        [
            Line("honest", [0, most], [0, most], "muted", DASHED, 0.9),
            Line("of the test part", said, happened, marker="o"),
        ],
        x="risk that was said",
        y="share that happened",
        from_zero=True,
    )
    words = (
        f"Area under the curve {number(one['auroc'])}: so often, of two answers, the one of which it came true had the "
        f"greater risk. Brier score {number(one['brier'])}; always saying the share would have "
        f"{number(one['brier_of_share'])}."
    )
    table = Table(["said", "happened", "answers"], [[share(a, 1), share(b, 1), f"{n:,}"] for a, b, n in rows])
    return [Text(words), Beside([curve, table])]


def _pairs(charts: list[Chart]) -> list[list[Chart]]:
    return [charts[i : i + 2] for i in range(0, len(charts), 2)]
