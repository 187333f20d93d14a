"""The command: run the rows that are named, or all, and print the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.answers import (
    beauty,
    captions,
    chorales,
    counts,
    cycles,
    digits,
    engines,
    indoor,
    liver,
    load,
    nab,
    patients,
    polarity,
    power,
    pronunciation,
    sentences,
    shakespeare,
    skab,
    snips,
    spotting,
    stocks,
    utterances,
    variance,
    vowels,
    weekly,
)
from benchmarks.answers.row import Metric, MissingDataError, Result, Row, measure
from benchmarks.report import console

ROWS: tuple[Row, ...] = tuple(
    file.ROW
    for file in (
        vowels,
        power,
        indoor,
        engines,
        cycles,
        load,
        weekly,
        polarity,
        snips,
        digits,
        utterances,
        spotting,
        nab,
        skab,
        patients,
        liver,
        beauty,
    )
)
ROWS += (
    chorales.ROW_ALONE,
    chorales.ROW,
    chorales.ROW_16TH,
    shakespeare.ROW_QUICK,
    shakespeare.ROW,
    counts.ROW,
    counts.ROW_CALLS,
    variance.ROW,
    stocks.ROW,
)
ROWS += (
    captions.ROW,
    sentences.ROW,
    sentences.ROW_BACK,
    sentences.ROW_SUMMARIES,
    pronunciation.ROW,
    pronunciation.ROW_DICTIONARY,
)
COLUMNS = ("naive", "simple", "published", "ours", "reach", "", "minutes")


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(row.name for row in ROWS)}.")] = None,
) -> None:
    """Print what recurra's estimators answer on data whose answers are known; 1 is returned where one falls short."""
    known = {row.name: row for row in ROWS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"there is no row {unknown[0]!r}, expected one of {', '.join(known)}")
    results = run([known[name] for name in names or known], console())
    if not all(result.reached for result in results):
        raise typer.Exit(1)


def run(rows: Sequence[Row], out: Console) -> list[Result]:
    """Measure some rows and print their table; one whose data are missing is a line instead."""
    results = []
    for row in rows:
        try:
            with out.status(f"{row.name}: {row.data}"):
                results.append(measure(row))
        except MissingDataError as error:
            out.print(f"{row.name}: {error}", soft_wrap=True)
    if results:
        out.print(table(results))
    for result in results:
        if result.row.tried and not result.reached:
            out.print(f"{result.row.name}: tried {result.row.tried}", soft_wrap=True)
    return results


def table(results: Sequence[Result]) -> Table:
    """A line for each metric; the published number is that of the best recurrent network."""
    made = Table(title="Known answers, on test parts")
    for column in ("data", "split", "metric"):
        made.add_column(column)
    for column in COLUMNS:
        made.add_column(column, justify="right" if column else "left")
    for result in results:
        of_row = (result.naive, result.simple, result.ours)
        for k, metric in enumerate(result.row.metrics):
            naive, simple, ours = (metric.text(values[k]) for values in of_row)
            shown = (result.row.data, result.row.split, f"{result.minutes:.1f}") if k == 0 else ("", "", "")
            known = metric.text(metric.recurrent), ours, metric.text(metric.reach), said(metric, result.ours[k])
            made.add_row(*shown[:2], metric.name, naive, simple, *known, shown[2])
    return made


def said(metric: Metric, value: float) -> str:
    """Whether the goal is reached; nothing where there is none."""
    return "" if metric.reach is None else "reached" if metric.reached(value) else "[red]not reached[/]"


if __name__ == "__main__":
    typer.run(main)
