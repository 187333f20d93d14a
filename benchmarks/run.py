"""The command: measure the cases, print a table for each group, and write everything to a file if asked."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import accuracy, machine, report
from benchmarks.adapters.recurra_engine import available
from benchmarks.cases import CASES
from benchmarks.measure import FULL, QUICK, Result, measure

ACCURACY = "accuracy"


def main(
    only: Annotated[str, typer.Option(help="Only cases whose group and name contain this, or 'accuracy'.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds: under a minute.")] = False,
    output: Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")] = None,
) -> None:
    """Compare Recurra with PyTorch, ONNX Runtime and NumPy, on one thread."""
    console = report.console()
    description = machine.describe()
    report.print_machine(console, description)
    results: list[Result] = []
    chosen = [case for case in CASES if only.lower() in f"{case.group}: {case.name}".lower()]
    for group, cases in groupby(chosen, lambda case: case.group):
        part = []
        for case in cases:
            if not available(case.cell):
                console.print(f"{group}: {case.name} is left out: no recurra.jit in this build to compile it")
                continue
            with console.status(f"{group}: {case.name}"):
                part.append(measure(case, QUICK if quick else FULL))
        if part:
            report.print_group(console, part)
        results += part
    errors = list(accuracy.errors(every=1009 if quick else 101)) if only.lower() in ACCURACY else []
    if errors:
        report.print_accuracy(console, errors)
    if output is not None:
        output.write_text(json.dumps(report.as_json(description, results, errors), indent=1) + "\n")
