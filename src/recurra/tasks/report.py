"""What an estimator's report says, as plain lists and numbers; and what of it a model file keeps."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.cells import Cell
from recurra.cells.trace import get
from recurra.tasks.bench import Bench, ModelPredictor, Predictor
from recurra.tasks.learn import Recipe
from recurra.train import History

if TYPE_CHECKING:
    from recurra.runtime import Model
    from recurra.tasks.baselines import Baseline
    from recurra.tasks.metrics import Metric


def build_report(
    bench: Bench, predictor: ModelPredictor, baselines: Sequence[Baseline], history: History, recipe: Recipe
) -> dict[str, Any]:
    """The report of a trained model.

    Args:
        bench: the data.
        predictor: the model.
        baselines: fitted, to compare with on the test part; without any, no comparison is made.
        history: of training.
        recipe: how the network was made.
    """
    compared: list[Predictor] = [predictor, *baselines] if baselines else []
    table = [bench.table_row(one, "test") for one in compared]
    return {
        "task": bench.task.name,
        "metrics": [describe_metric(metric) for metric in bench.task.metrics],
        "data": {"source": "", **bench.described()},
        "table": table,
        "history": history.epochs,
        "ended": history.ended,
        "best_epoch": history.best_epoch,
        "model": model_of(predictor.model, recipe),
        "model_file": "",
        "parity": predictor.model.parity,
        "verdict": verdict(bench.task.metrics[0], table),
        "sections": bench.task.sections(bench, predictor) if baselines else [],
    }


def without_measurements(bench: Bench, predictor: ModelPredictor, history: History, why: str) -> dict[str, Any]:
    """The report of a trained model whose measuring failed: the model is there, and why there is no more."""
    names = dict.fromkeys(bench.task.kept, "")
    data = {"source": "", "parts": [], "notes": [], "fingerprint": bench.fingerprint}
    return names | {
        "task": bench.task.name,
        "metrics": [describe_metric(metric) for metric in bench.task.metrics],
        "data": data,
        "table": [],
        "history": history.epochs,
        "ended": history.ended,
        "model_file": "",
        "parity": predictor.model.parity,
        "verdict": [f"The model is trained; how well it does could not be measured: {why}"],
        "sections": [],
        "failed": why,
    }


def describe_metric(metric: Metric) -> dict[str, Any]:
    """For whoever shows a table."""
    return {"key": metric.key, "name": metric.name, "less": metric.less, "percent": metric.percent}


def model_of(model: Model, recipe: Recipe) -> dict[str, Any]:
    """The network, for a reader."""
    cell = get(recipe.cell)
    return {
        "cell": cell.name,
        "equations": cell.text,
        "latex": cell.latex(),
        "layers": recipe.layers,
        "hidden": recipe.hidden,
        "members": recipe.members,
        "parameters": sum(a.size for n, a in model.arrays().items() if not n.endswith(".k")),
    }


def verdict(metric: Metric, table: Sequence[dict[str, Any]]) -> list[str]:
    """What a table says, in sentences; also where it says that the model is not worth it."""
    if not table:
        return []
    model, others = table[0], table[1:]
    beside = " and ".join(f"{row['name']} {metric.text(row[metric.key])}" for row in others)
    said = [
        f"On the test part {model['name']} has {metric.name} {metric.text(model[metric.key])}.",
        f"Beside it, {beside}.",
    ]
    best = min(others, key=lambda row: row[metric.key] if metric.less else -row[metric.key], default=None)
    if best is not None and not metric.better(model[metric.key], best[metric.key]):
        said.append(f"Do not use the recurrent network here: {best['name']} is as good or better, and simpler.")
    return said


def parameters_of(estimator: Any) -> dict[str, Any]:
    """The parameters as JSON; a cell that is not in the zoo is its equations."""
    parameters = estimator.get_params()
    cell = parameters["cell"]
    if isinstance(cell, Cell):
        parameters["cell"] = cell.name if _in_zoo(cell) else cell.text
    return {name: _plain(value) for name, value in parameters.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _written(value: Any) -> Any:
    """As JSON has it: a number that is none, as of an error over nothing, is None."""
    if isinstance(value, Mapping):
        return {str(name): _written(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_written(one) for one in value]
    value = _plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_zoo(cell: Cell) -> bool:
    from recurra.cells import zoo_cells

    return any(cell.fingerprint == other.fingerprint for other in zoo_cells())


def card_of(estimator: Any, bench: Bench) -> dict[str, Any]:
    """The training card of a model file."""
    report, history = estimator.report_, estimator.history_
    kept = ("data", "metrics", "table", "verdict", "baseline_error", "seconds", "refit", *bench.task.kept)
    card = {
        "cell": get(estimator.cell).name,
        "parameters": parameters_of(estimator),
        **{name: report[name] for name in kept},
        "training": {"ended": history.ended, "epochs": len(history.epochs), "best_epoch": history.best_epoch},
        "versions": {"python": platform.python_version()} | {n: _version(n) for n in ("recurra", "torch", "numpy")},
    }
    found: dict[str, Any] = _written(card)
    return found


def _version(package: str) -> str:
    return importlib.metadata.version(package)
