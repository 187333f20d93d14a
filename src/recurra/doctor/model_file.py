"""A model file and a file of data, as the doctor takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra import runtime
from recurra.data import read_table
from recurra.data.table import Table
from recurra.data.transform import Transform
from recurra.doctor.examine import examine
from recurra.doctor.findings import Findings
from recurra.doctor.retrain import retrain as try_remedies
from recurra.errors import DoctorError
from recurra.runtime.model import Model
from recurra.tasks.base import Task
from recurra.tasks.opening import opened
from recurra.torch import Stack
from recurra.torch.bridge import layers_of, stack_of

STEPS, ROWS = 256, 16  # of what is examined
HELD_OUT = 0.2  # the last windows, in time, that trials are compared on


@dataclass
class Stretches:
    """Some of the data, of one length: x [T, N, I] or ids [T, N]; y [T, N, ...], or [1, N, ...] of whole sequences."""

    x: Tensor
    y: Tensor | None
    loss: Any

    @property
    def late(self) -> slice:
        """The last ones."""
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
    target: str | None = None,
    retrain: bool = False,
    lag: int | None = None,
    steps: int = 200,
) -> Findings:
    """Examine a model of a file on a table of a file; with `retrain`, try the remedies too if it is not healthy.

    The model of a task reads a table as its `predict` does, and its loss is the task's. Any other takes a table with a
    column for each of its inputs, as the network takes them, and after those perhaps one for each output that it should
    give.

    Args:
        model: a model file.
        file: CSV or Parquet.
        target: the column of labels or numbers; as in training if not given. Where the table has none, gradients are
            those of a fixed random combination of the outputs.
        retrain: whether to try remedies.
        lag: how many steps back the task needs the network to look.
        steps: of each retraining.

    Raises:
        ModelFileError, DataError: a file cannot be read.
        DoctorError: the columns do not fit the model, the table is too short, or retraining is wanted without outputs.
    """
    loaded = runtime.load(model)
    make: Callable[[], nn.Module] = partial(_anew, loaded)
    network: nn.Module = stack_of(loaded)
    source = str(file)
    if "task" in loaded.preprocessing:
        task, transform = opened(loaded, str(model))
        stretches = _of_task(task, transform, _sequences(task, transform, read_table(file), target), source)
        network, make = _of_a_task(loaded, task, stack_of), partial(_of_a_task, loaded, task, _anew)
    else:
        stretches = _of(loaded, read_table(file))
    x, y = stretches.x[:, -ROWS:], None if stretches.y is None else stretches.y[:, -ROWS:]
    findings = examine(network, x, y, stretches.loss, lag=lag)
    if retrain and not findings.healthy:
        if stretches.y is None or not stretches.late.start:
            raise DoctorError(
                f"doctor --retrain: {source} has {stretches.x.shape[1]} stretches of {len(stretches.x)} rows"
                + (" and no columns for the outputs" if stretches.y is None else "")
                + ", expected several, and what the network should give: add rows or columns, or name the target"
            )
        late = (stretches.x[:, stretches.late], stretches.y[:, stretches.late])
        draw, loss = stretches.batch, stretches.loss
        try_remedies(make, draw, loss, findings, held_out=late, steps=steps, clip=1.0)
    return findings


def _anew(model: Model) -> nn.Module:
    """The same network with weights drawn anew."""
    module = stack_of(model)
    for part in module.modules():
        if callable(reset := getattr(part, "reset_parameters", None)):
            reset()
    return module


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
    module = best.module.whole_network() if isinstance(best.module, TaskNetwork) else best.module
    export(module, path, preprocessing=before.preprocessing, card=card)
    return best.module


def _of(model: Model, table: Table) -> Stretches:
    names, inputs = list(table.columns), 1 if model.vocabulary_size else model.input_size
    if len(names) not in (inputs, inputs + model.output_size):
        raise DoctorError(
            f"doctor: {table.source} has {len(names)} columns, expected {inputs}, one for each input of the network, "
            f"or {inputs + model.output_size} with what it should give"
        )
    columns = np.stack([table.numbers(name) for name in names], axis=-1)
    ids = _ids(model, columns[:, 0], table) if model.vocabulary_size else None
    x = _cut(columns[:, :inputs].astype(np.float32) if ids is None else ids, table.source)
    y = _cut(columns[:, inputs:].astype(np.float32), table.source) if len(names) > inputs else None
    if y is not None and not y.isfinite().any():
        raise DoctorError(
            f"doctor: {table.source} has no value of what the network should give, so there is no loss whose gradient "
            "could be measured: fill its last columns in, or leave them out"
        )
    return Stretches(x, y, None if y is None else _square)


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


def _cut(rows: np.ndarray, source: str) -> Tensor:
    """[rows, ...] to stretches [T, N, ...]; what does not fill one at the beginning is left out."""
    T = min(STEPS, max(len(rows) // 4, min(len(rows), 32)))
    if T < 2:
        raise DoctorError(f"doctor: {source} has {len(rows)} rows, expected at least 2")
    N = len(rows) // T
    parts = rows[len(rows) - N * T :].reshape(N, T, *rows.shape[1:])
    return torch.from_numpy(np.ascontiguousarray(parts.swapaxes(0, 1)))


def _sequences(task: Task, transform: Transform, table: Table, target: str | None) -> Sequence[Any]:
    if target is not None:
        return task.read(table, transform, targets=True, y=target)
    return task.read(table, transform, targets=task.roles.get("y") in table.columns)


def _of_task(task: Task, transform: Transform, sequences: Sequence[Any], source: str) -> Stretches:
    """Rows and targets as the task's own transform makes them, and its loss."""
    rows = [transform.rows(s, 0, len(s)) for s in sequences]
    targets = [transform.targets(s, 0, len(s)) for s in sequences]
    if task.whole:
        # The ends of sequences of one length, which is that of most of them.
        T = min(STEPS, int(np.median([len(r) for r in rows])))
        kept = [(r[-T:], t[-1]) for r, t in zip(rows, targets, strict=True) if len(r) >= T]
        x = torch.from_numpy(np.stack([r for r, _ in kept], axis=1))
        y = torch.from_numpy(np.stack([t for _, t in kept])[None])
    else:
        xs, ys = ([_cut(part, source) for part in parts] for parts in (rows, targets))
        T = min(len(x) for x in xs)
        x, y = (torch.cat([p[-T:] for p in parts], dim=1) for parts in (xs, ys))
    known = bool(y.isfinite().any())
    if not known and not task.whole:
        raise DoctorError(
            f"doctor: {source} has no value of the target, so there is no loss whose gradient could be measured, "
            "expected a table with the target"
        )

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return task.loss(output, target[0] if task.whole else target)

    return Stretches(x, y if known else None, loss if known else None)


class TaskNetwork(nn.Module):
    """A model file's network as its task's loss takes it: without the link, and of whole sequences the last output."""

    def __init__(self, network: nn.Module, link: nn.Module | None, whole: bool) -> None:
        super().__init__()
        self.network, self.link, self.whole = network, link, whole

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [T, B, O], or [B, O] of whole sequences, from rows [T, B, R]."""
        output: Tensor = self.network(x)
        return output[-1] if self.whole else output

    def whole_network(self) -> Stack:
        """As a model file has it: with the link, and outputs of every step."""
        return Stack(self.network, *(() if self.link is None else (self.link,)))


def _of_a_task(model: Model, task: Task, make: Callable[[Model], nn.Module]) -> TaskNetwork:
    link = task.link()
    without = model if link is None else Model(model.ops[: -len(layers_of(link))])
    return TaskNetwork(make(without), link, task.whole)
