"""A model file and a file of data, as the doctor takes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra import runtime
from recurra.data import Features, read_table
from recurra.data.table import Table
from recurra.doctor.examine import examine
from recurra.doctor.findings import Findings
from recurra.doctor.models import anew
from recurra.doctor.retrain import retrain as try_remedies
from recurra.errors import DoctorError
from recurra.models import pinball
from recurra.runtime.model import Model

STEPS, ROWS = 256, 16  # of what is examined
HELD_OUT = 0.2  # the last windows, in time, that trials are compared on


@dataclass
class Windows:
    """Stretches of the data in the order of time: x [T, N, I] or ids [T, N], and y [T, N, O] where there is one."""

    x: Tensor
    y: Tensor | None
    loss: Any

    @property
    def late(self) -> slice:
        """The last windows."""
        N = self.x.shape[1]
        return slice(N - max(1, round(HELD_OUT * N)), N)

    def batch(self) -> tuple[Tensor, Tensor | None]:
        """Some of the others, at random."""
        some = torch.randint(self.late.start, (ROWS,))
        return self.x[:, some], None if self.y is None else self.y[:, some]


def examine_file(
    model: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    retrain: bool = False,
    lag: int | None = None,
    steps: int = 200,
) -> Findings:
    """Examine a model of a file on a table of a file; with `retrain`, try the remedies too if it is not healthy.

    A forecast model reads a table as `Forecaster.fit` does. Any other takes a table with a column for each of its
    inputs, as the network takes them, and after those perhaps one for each output that it should give.

    Raises:
        ModelFileError, DataError: a file cannot be read.
        DoctorError: the columns do not fit the model, the table is too short, or retraining is wanted without outputs.
    """
    loaded = runtime.load(model)
    table = read_table(file)
    windows = _of_forecast(loaded, table) if loaded.preprocessing.get("task") == "forecast" else _of(loaded, table)
    x, y = windows.x[:, -ROWS:], None if windows.y is None else windows.y[:, -ROWS:]
    findings = examine(loaded, x, y, windows.loss, lag=lag)
    if retrain and not findings.healthy:
        if windows.y is None or not windows.late.start:
            raise DoctorError(
                f"doctor --retrain: {table.source} has {windows.x.shape[1]} stretches of {len(windows.x)} rows"
                + (" and no columns for the outputs" if windows.y is None else "")
                + ", expected several, and what the network should give: add columns or rows"
            )
        late = (windows.x[:, windows.late], windows.y[:, windows.late])
        try_remedies(lambda: anew(loaded), windows.batch, windows.loss, findings, held_out=late, steps=steps, clip=1.0)
    return findings


def save_best(findings: Findings, model: str | os.PathLike[str], path: str | os.PathLike[str]) -> nn.Module:
    """Write the best network of the trials to a model file, with the preprocessing of the model it came from.

    Raises:
        DoctorError: no remedy was tried, or none helped.
        ExportError: the remedy has no form in a model file; the message names it.
    """
    from recurra.torch import export

    if findings.retraining is None or not findings.retraining.best.remedies:
        raise DoctorError("doctor --save: no remedy was better than the network as it was, so there is nothing to save")
    best, before = findings.retraining.best, runtime.load(model)
    card = {"doctor": {"remedies": list(best.remedies), "loss": best.loss, "steps": findings.retraining.steps}}
    export(best.module, path, preprocessing=before.preprocessing, card=card)
    return best.module


def _of(model: Model, table: Table) -> Windows:
    names, inputs = list(table.columns), 1 if model.vocabulary_size else model.input_size
    if len(names) not in (inputs, inputs + model.output_size):
        raise DoctorError(
            f"doctor: {table.source} has {len(names)} columns, expected {inputs}, one for each input of the network, "
            f"or {inputs + model.output_size} with what it should give"
        )
    columns = np.stack([table.numbers(name) for name in names], axis=-1)
    ids = _ids(model, columns[:, 0], table) if model.vocabulary_size else None
    x = _cut(columns[:, :inputs].astype(np.float32) if ids is None else ids, table)
    y = _cut(columns[:, inputs:].astype(np.float32), table) if len(names) > inputs else None
    return Windows(x, y, None if y is None else _square)


def _ids(model: Model, column: np.ndarray, table: Table) -> np.ndarray:
    last = model.vocabulary_size - 1
    if np.isnan(column).any() or (column % 1).any() or column.min() < 0 or column.max() > last:
        raise DoctorError(
            f"doctor: the first column of {table.source} has other than whole numbers from 0 to {last}, "
            "which the network's embedding takes"
        )
    return column.astype(np.int64)


def _square(output: Tensor, y: Tensor) -> Tensor:
    """The mean square of the differences where y is known."""
    there = ~y.isnan()
    return ((output - y.nan_to_num()).square() * there).sum() / there.sum().clamp(min=1)


def _cut(rows: np.ndarray, table: Table) -> Tensor:
    """[rows, ...] to stretches [T, N, ...]; what does not fill one at the beginning is left out."""
    T = min(STEPS, max(len(rows) // 4, min(len(rows), 32)))
    if T < 2:
        raise DoctorError(f"doctor: {table.source} has {len(rows)} rows, expected at least 2")
    N = len(rows) // T
    parts = rows[len(rows) - N * T :].reshape(N, T, *rows.shape[1:])
    return torch.from_numpy(np.ascontiguousarray(parts.swapaxes(0, 1)))


def _of_forecast(model: Model, table: Table) -> Windows:
    features = Features.from_dict(model.preprocessing.get("transform", model.preprocessing.get("features", {})))
    levels = torch.tensor(model.preprocessing["quantiles"], dtype=torch.float32)
    xs, ys = [], []
    for series in features.series_of(table):
        xs.append(_cut(features.rows(series, 0, len(series)), table))
        ys.append(_cut(features.targets(series, 0, len(series)), table))
    T = min(len(x) for x in xs)
    x, y = (torch.cat([p[-T:] for p in parts], dim=1) for parts in (xs, ys))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return pinball(output.unflatten(-1, (-1, len(levels))), target, levels)

    return Windows(x, y, loss)
