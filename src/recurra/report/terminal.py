"""What a fitted task's report says, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recurra.formatting import number, share
from recurra.report.fit import REFITTED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from recurra.tasks.estimator import Estimator


def tell(console: Console, model: Estimator) -> None:
    """Print what was done to the data, the table of metrics, and the verdict."""
    report, history = model.report_, model.history_
    for note in report["data"]["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)
    if history.ended == "interrupted":
        console.print(
            f"Stopped: what follows is the best model so far, of epoch {history.best_epoch}; --resume goes on.",
            style="bold",
        )
    if report["table"]:
        console.print(table_of(report["metrics"], report["table"], "on the test part"))
    if rivals := report.get("rivals", {}).get("table"):
        metrics = [m for m in report["metrics"] if m["key"] in rivals[0]]
        console.print(table_of(metrics, rivals, f"at {report['rivals']['origins']} origins of it"))
    for sentence in report["verdict"]:
        console.print(sentence, highlight=False, markup=False)
    if said := sentence_of(report.get("cost", {})):
        console.print(said, highlight=False, markup=False)
    if report.get("refit"):
        console.print(REFITTED, highlight=False, markup=False)


def sentence_of(cost: Mapping[str, float]) -> str:
    """What an epoch cost, beside what the hardware does; nothing where none was timed.

    >>> sentence_of({"seconds": 2.0, "macs": 6e9, "peak": 40e9})
    'An epoch took 2 s: 3,000 million multiply-adds a second, 7.5 % of what a core does here at most.'
    """
    if not cost.get("seconds"):
        return ""
    rate = cost["macs"] / cost["seconds"]
    return (
        f"An epoch took {number(cost['seconds'], 2)} s: {number(rate / 1e6, 2)} million multiply-adds a second, "
        f"{number(100 * rate / cost['peak'], 2)} % of what a core does here at most."
    )


def table_of(metrics: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Metrics of the model and of what it is compared with."""
    from rich.table import Table

    table = Table(title)
    for metric in metrics:
        table.add_column(metric["name"], justify="right")
    for row in rows:
        cells = [_text(metric, row.get(metric["key"])) for metric in metrics]
        table.add_row(row["name"], *cells, style="bold" if row["kind"] == "model" else None)
    return table


def _text(metric: Mapping[str, Any], value: float | None) -> str:
    return share(value, 1, missing="") if metric["percent"] else number(value, 4, missing="")
