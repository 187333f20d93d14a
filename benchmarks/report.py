"""Results as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.accuracy import Error
from benchmarks.measure import Result, Spread

SCALES = ((1, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns"))


def duration(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return ""
    value, unit = next((seconds * s, unit) for s, unit in SCALES if seconds * s >= 1 or unit == "ns")
    return f"{value:#.3g} {unit}".replace(". ", " ")


def median(result: Result, name: str) -> float:
    return Spread.of(result.seconds[name]).median


def console() -> Console:
    """The terminal; in a file or a pipe, which have no width of their own, as wide as the tables need."""
    own = Console()
    return own if own.is_terminal else Console(width=180)


def print_machine(console: Console, machine: dict[str, object]) -> None:
    table = Table(title="Machine", show_header=False, title_justify="left")
    for key, value in machine.items():
        text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(key, text)
    console.print(table)


def print_group(console: Console, results: list[Result]) -> None:
    """Medians of everyone, ours against the bound, and the goals with the median of round-by-round ratios."""
    names = list(dict.fromkeys(name for r in results for name in r.case.entrants))
    waits = any(r.latency is not None for r in results)
    table = Table(title=results[0].case.group, title_justify="left", show_lines=True)
    table.add_column("case", min_width=12)
    for column in (*names, "bound", *(("latency",) if waits else ()), "ours / bound"):
        table.add_column(column, justify="right")
    for column in ("ratio (quartiles)", "goal", "reached"):
        table.add_column(column, no_wrap=True)
    for r in results:
        cells = [duration(median(r, n)) if n in r.seconds else "" for n in (*names, "bound")]
        cells += [duration(r.latency)] if waits else []
        cells.append(f"{median(r, 'recurra') / r.bound:.2f}")
        ratios = [r.ratio(goal) for goal in r.case.goals]
        columns = (
            [f"{s.median:.2f} ({s.low:.2f}-{s.high:.2f})" for s in ratios],
            [f"{g.against} / {g.of} >= {g.times:.3g}" for g in r.case.goals],
            ["yes" if s.median >= g.times else "[red]no[/]" for s, g in zip(ratios, r.case.goals, strict=True)],
        )
        table.add_row(r.case.name, *cells, *("\n".join(lines) for lines in columns))
    console.print(table)


def print_accuracy(console: Console, errors: list[Error]) -> None:
    table = Table(title="accuracy, float32, in ulp", title_justify="left")
    for column in ("function", "library", "points", "largest", "mean", "largest at x"):
        table.add_column(column, justify="left" if column in ("function", "library") else "right")
    for e in errors:
        table.add_row(e.function, e.library, f"{e.points:,}", f"{e.largest:.3g}", f"{e.mean:.2g}", f"{e.at:.6g}")
    console.print(table)


def as_json(machine: dict[str, object], results: list[Result], errors: list[Error]) -> dict[str, object]:
    """All that was measured; times in seconds per call, ratios as `against / of`."""
    return {
        "machine": machine,
        "cases": [_case(r) for r in results],
        "accuracy_ulp": [asdict(e) for e in errors],
    }


def _case(r: Result) -> dict[str, object]:
    case = r.case
    return {
        "group": case.group,
        "case": case.name,
        "kind": case.kind,
        "cell": case.cell.name,
        **{size: getattr(case, size) for size in ("T", "B", "I", "H", "want_x", "macs")},
        "rounds": len(r.seconds["recurra"]),
        "seconds": {n: asdict(Spread.of(r.seconds[n])) for n in case.entrants},
        "bound": r.bound,
        "latency": r.latency,
        "goals": [
            asdict(g) | {"ratio": asdict(r.ratio(g)), "reached": bool(r.ratio(g).median >= g.times)} for g in case.goals
        ],
    }
