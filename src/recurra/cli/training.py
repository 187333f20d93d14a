"""Training on the command line: a bar, the model file, and what it is worth."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from recurra.cluster import chosen_engine
from recurra.terminal import Terminal

_WORKERS = "recurra.workers"


def train(model: Any, file: Path, out: Path, report: Path | None, resume: bool, **roles: Any) -> None:
    """Train with a bar, save, and say what it is worth."""
    from recurra.errors import need
    from recurra.files import check_writable
    from recurra.report.terminal import tell
    from recurra.tasks.members import checkpoints

    if report is not None:  # said before anything is trained
        need("a report", "matplotlib", "jinja2", extra="draw")
    check_writable(out, file)
    if report is not None:
        check_writable(report, file, out)
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    console = Terminal()
    with TrainingBar(console, model.make_task().metrics[0]) as bar:
        try:
            model.fit(file, checkpoint=checkpoint, resume=resume, progress=bar, **roles)
        except KeyboardInterrupt:
            console.print("Stopped before the end of the first epoch: there is nothing to save.")
            raise typer.Exit(130) from None
    model.save(out)
    if model.history_.ended != "interrupted":
        for path in checkpoints(checkpoint, getattr(model, "members", 1)):
            path.unlink(missing_ok=True)
    tell(console, model)
    console.print(f"wrote {out}", highlight=False, markup=False)
    if report is not None and "failed" not in model.report_:
        from recurra.report import write_report

        write_report(model.report_, report, model.model_)
        console.print(f"wrote {report}", highlight=False, markup=False)
    if "failed" in model.report_:
        raise typer.Exit(1)


def places() -> list[Any]:
    """The options `--engine` and `--workers` of a command that trains: within it everything is trained there."""
    made = typer.Typer(add_completion=False)

    @made.command()
    def with_places(
        workers: Annotated[
            int | None,
            typer.Option(
                help="Of Ray, up to 8: the model is the same, however many.",
                rich_help_panel="Training",
                is_eager=True,
                callback=_kept,
                show_default=False,
            ),
        ] = None,
        engine: Annotated[
            str,
            typer.Option(
                help="local, or ray for a cluster (RAY_ADDRESS).", rich_help_panel="Training", callback=_trained_there
            ),
        ] = "local",
    ) -> None:
        """Only its options are used."""

    options = [option for option in typer.main.get_command(made).params if option.name in ("workers", "engine")]
    for option in options:
        option.expose_value = False
    return options


def _kept(ctx: typer.Context, workers: int | None) -> int | None:
    ctx.meta[_WORKERS] = workers
    return workers


def _trained_there(ctx: typer.Context, engine: str) -> str:
    workers = ctx.meta[_WORKERS]
    if chosen_engine("fit", engine, workers, "torch", "pandas", "tensorboardX"):
        from recurra.tasks.training_on_ray import training_on_ray

        ctx.with_resource(training_on_ray(2 if workers is None else workers))
    return engine


class TrainingBar:
    """A progress bar of training: the validation error beside the best naive one's, and the time left."""

    def __init__(self, console: Console, metric: Any) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(None),
            TextColumn("{task.fields[error]}"),
            TimeRemainingColumn(),
        )
        self.metric = metric
        self.bar = Progress(*columns, console=console, transient=True, expand=True)

    def __enter__(self) -> TrainingBar:
        self.bar.start()
        self.task = self.bar.add_task("reading", total=None, error="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, progress: Any) -> None:
        """What `fit` calls after every update."""
        p, key = progress, f"valid_{self.metric.key}"
        done = (p.epoch - 1) * p.updates + p.update
        error = ""
        if key in p.last:
            error = f"validation {self.metric.error} {p.last[key]:.4g}"
            if p.baseline_error:
                error += f", naive {p.baseline_error:.4g} ({p.last[key] / p.baseline_error - 1:+.0%})"
        self.bar.update(
            self.task,
            description=f"epoch {p.epoch} of {p.epochs}",
            total=p.epochs * p.updates,
            completed=done,
            error=error,
        )


def names(text: str) -> list[str]:
    """Names between commas; a name with a comma in it is put between quotes."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])] if text.strip() else []
