"""The leaderboard as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recurra.formatting import duration, number

if TYPE_CHECKING:
    from rich.table import Table

    from recurra.compare.results import Comparison, Row

HEADINGS = (
    "", "valid", "test", "95 % over seeds", "vs naive", "p", "parameters", "training", "live step", "in", "state",
    "lag", "longer",
)  # fmt: skip
LEGEND = (
    "valid, test: {metric}, the mean over seeds. vs naive, p: against the best naive baseline, paired over the test "
    "part, adjusted for their number. training: of one run on one core. live step, in: its time on this CPU, and what "
    "runs it. state: bytes kept between steps. lag: the longest at which the prediction still depends on what the "
    "network sees. "
    "longer: whether it takes sequences longer than trained on, and its error there over that at the trained length."
)


def cells(row: Row) -> list[str]:
    """One row of the table, a text for each of `HEADINGS`."""
    if row["error"]:
        return [row["name"], "failed", *[""] * (len(HEADINGS) - 2)]
    span = row["interval"]
    return [
        row["name"],
        number(row["valid"]),
        number(row["test"]),
        f"{number(span[0])} to {number(span[1])}" if span else "-",
        "-" if row["gain"] is None else f"{-row['gain']:+.0%}",
        "-" if row["p"] is None else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.2g}",
        "-" if row["parameters"] is None else f"{row['parameters']:,}",
        duration(row["train_seconds"]),
        "no" if row["refusal"] else duration(row.get("step_seconds")),
        row.get("runs_in") or "-",
        "-" if row.get("state_bytes") is None else f"{row['state_bytes']:,}",
        _lag(row),
        _longer(row),
    ]


def _lag(row: Row) -> str:
    lag = row.get("lag")
    if lag is None:
        return "-"
    return f">= {lag}" if row.get("lag_looked_at") == lag else str(lag)


def _longer(row: Row) -> str:
    if row.get("handles_longer") is None:
        return "-"
    ratio = f" ({row['longer']:.2f})" if row.get("longer") is not None else ""
    return ("yes" if row["handles_longer"] else "no") + ratio


def as_table(found: Comparison) -> Table:
    """For a terminal."""
    from rich.table import Table

    table = Table(title=f"{found.task}: {found.metric}, best on validation first")
    for k, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if k == 0 else "right", no_wrap=True)
    for row in found.rows:
        table.add_row(*cells(row))
    return table


def notes(found: Comparison) -> list[str]:
    """What a reader of the table must know besides."""
    said = [f"Suspicious: {s}." for s in found.suspicions]
    said += [f"Refused: {name}: {why}." for name, why in found.refused.items()]
    said += [f"Not live: {r['name']}: {r['refusal']}." for r in found.rows if r["refusal"]]
    said += [f"Failed: {r['name']}: {r['error']}." for r in found.rows if r["error"]]
    return said + [f"Cut: {note}." for note in found.cut]


def as_text(found: Comparison, width: int = 200) -> str:
    """Table, notes and verdict."""
    import io

    from rich.console import Console

    out: Any = io.StringIO()
    console = Console(file=out, width=width)
    show(found, console)
    return str(out.getvalue())


def show(found: Comparison, console: Any) -> None:
    """Print table, legend, notes and verdict."""
    console.print(as_table(found))
    console.print(LEGEND.format(metric=found.metric), style="dim", highlight=False)
    for line in notes(found):
        console.print(line, highlight=False, markup=False)
    console.print()
    for sentence in found.verdict:
        console.print(sentence, highlight=False, markup=False)
