"""`recurra evaluate`: how good a model is on a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.terminal import Terminal


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file of `recurra fit`.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A table with the columns that the model was fitted to.", show_default=False
        ),
    ],
) -> None:
    """Measure a model on data that it has not seen, with all metrics of its task.

    The file knows its task and its columns, that of the target too.

    \b
    recurra evaluate walks.recurra walks_of_may.csv
    """
    from recurra.report.terminal import table_of
    from recurra.tasks.estimator import open_model
    from recurra.tasks.report import describe_metric

    estimator = open_model(model)
    values = estimator.evaluate(file)
    task = map(describe_metric, estimator.task_.metrics)
    known = {m["key"]: m for m in (*task, *estimator.report_["metrics"], *estimator.evaluated)}
    metrics = [known[key] for key in values if key in known]
    Terminal().print(table_of(metrics, [{"name": model.name, "kind": "model", **values}], "on this table"))
