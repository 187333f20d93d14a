"""`recurra doctor`: what is wrong with a model, and what helps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.terminal import Terminal


def doctor(
    model: Annotated[Path, typer.Argument(help="A model file, written by `recurra fit` or `recurra.torch.export`.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="Data: for a forecast model a table as for `recurra fit`; for another, CSV with a column for each "
            "input of the network and, after them, perhaps one for each output that it should give."
        ),
    ],
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Try the remedies by short retraining, and keep the best.")
    ] = False,
    cure: Annotated[bool, typer.Option("--cure", hidden=True)] = False,
    target: Annotated[
        str | None,
        typer.Option("--target", help="The column of labels or numbers; as in training if not given."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Also write an HTML page to this file.")] = None,
    tensorboard: Annotated[Path | None, typer.Option("--tensorboard", help="Also write into this folder.")] = None,
    lag: Annotated[
        int | None, typer.Option("--lag", min=1, help="Steps back that the task needs; 20 if not given.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of each retraining.")] = 200,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the best retrained network to this model file.")
    ] = None,
) -> None:
    """Examine a model on data: gradients, saturation, memory, stability; findings with their causes and remedies."""
    from recurra.doctor.model_file import examine_file, save_best
    from recurra.errors import need

    if report is not None:
        need("a report", "matplotlib", "jinja2", extra="draw")
    if tensorboard is not None:
        need("writing for TensorBoard", "tensorboard", extra="tensorboard")
    retrain = retrain or cure
    findings = examine_file(model, file, target=target, retrain=retrain, lag=lag, steps=steps)
    console = Terminal()
    console.print(findings.show(console.width), highlight=False, markup=False)
    if retrain and findings.healthy:
        console.print("nothing to remedy")
    if report is not None:
        console.print(f"report: {findings.report(report)}", highlight=False, markup=False)
    if tensorboard is not None:
        findings.to_tensorboard(tensorboard)
    if save is not None:
        save_best(findings, model, save)
        console.print(f"saved: {save}", highlight=False)
