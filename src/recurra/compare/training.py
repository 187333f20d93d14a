"""Training, the same for every network: `recurra.train`, with as many epochs as fit the time.

The learning rate falls over the epochs there will be, so a training that is short of time still ends with a small one.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from recurra.compare.trial import MOST, Trial
from recurra.data.batches import Batch, Batches, Piece
from recurra.tasks.base import TOGETHER
from recurra.tasks.bench import Bench
from recurra.tasks.learn import loss_of, validate_of
from recurra.train import Progress, Settings
from recurra.train import train as fit

PROBE = 3  # updates that are timed before training, the first left out
WARM_UP = 20  # updates; trainings here are short
LATE = 1.3  # times its seconds after which a training ends, whatever was planned


@dataclass
class Trained:
    """What happened.

    Attributes:
        ended: "early" (no more progress), "epochs" (all that were asked for), or "time" (it got fewer).
        seconds: that it took.
        loss: on the validation part, in the end.
        history: [epoch, training loss, validation loss, seconds] of each epoch.
    """

    ended: str = "epochs"
    seconds: float = 0.0
    loss: float = 0.0
    history: list[list[float]] = field(default_factory=list)


def train(network: Any, bench: Bench, trial: Trial, spent: float = 0.0) -> Trained:
    """Train in place; at the end the network has the weights of the epoch that was best on validation.

    Args:
        network: as it begins.
        bench: what it is to learn.
        trial: how long, how fast, from which seed.
        spent: seconds of the trial that are gone.

    Raises:
        TrainingError: the loss is no number.
    """
    start = time.perf_counter() - spent
    batches, stop = _batches(network, bench, trial), _stop_pieces(network, bench)
    epochs, limit = _affordable(network, bench, trial, batches, stop, spent)
    planned = min(epochs, trial.epochs)
    result, clock, measure = Trained(), list[float](), validate_of(bench, network, stop)

    def epoch(number: int) -> Iterable[Batch]:
        return itertools.islice(batches.epoch(number), limit)

    def validate() -> dict[str, float]:
        measured = measure()
        clock.append(time.perf_counter() - start)
        return measured

    def late(_: Progress) -> bool:
        return bool(clock) and time.perf_counter() - start > LATE * trial.seconds

    settings = Settings(
        epochs=planned,
        learning_rate=trial.params["learning_rate"],
        patience=trial.patience,
        warm_up=WARM_UP,
        seed=trial.seed,
    )
    history = fit(network, epoch, loss_of(bench, network), validate, settings, updates=limit, stop=late)
    cut = history.ended == "stopped" or (
        history.ended == "complete" and (planned < trial.epochs or limit < batches.updates)
    )
    result.ended = "time" if cut else {"early": "early"}.get(history.ended, "epochs")
    result.seconds = time.perf_counter() - start
    for done, when in zip(history.epochs, clock, strict=False):
        result.history.append([done["epoch"], done["train_loss"], done["valid_error"], round(when, 3)])
    result.loss = history.best_error
    return result


def _batches(network: Any, bench: Bench, trial: Trial) -> Batches:
    """As many targets in an update, whatever the network is."""
    chunk = int(trial.params.get("window", 0)) or 1
    batch = None if bench.task.whole else max(1, TOGETHER // chunk)
    return bench.task.batches(bench.transform, bench.pieces("train"), network.encoder, batch, chunk, trial.seed)


def _stop_pieces(network: Any, bench: Bench) -> list[Piece]:
    """What training stops by: all of the validation part where a state is carried through it, else some windows."""
    return bench.pieces("valid") if network.encoder.context is None else bench.blocks("valid", MOST["stop"])


def _affordable(
    network: Any, bench: Bench, trial: Trial, batches: Batches, stop: list[Piece], spent: float
) -> tuple[int, int]:
    """How many epochs fit the trial's time, evaluation and all, and how many updates each has: fewer than all if not
    even one epoch fits."""
    copied = copy.deepcopy(network).train()
    moment, loss = [], loss_of(bench, copied)
    with torch.random.fork_rng(devices=[]):
        for batch in itertools.islice(batches.epoch(0), PROBE):
            moment.append(time.perf_counter())
            loss(batch).backward()
        moment.append(time.perf_counter())
        copied.eval()
        with torch.inference_mode():
            validate_of(bench, copied, stop)()
    validation = time.perf_counter() - moment[-1]
    update = float(np.mean(np.diff(moment)[1:] if len(moment) > 2 else np.diff(moment)))
    parts = ("valid", "test") if trial.stage == "final" else ("valid",)
    evaluated = sum(_steps(bench, bench.blocks(part, MOST[part])) for part in parts)
    after = validation * evaluated / max(1, _steps(bench, stop))
    left = trial.seconds - spent - after - (time.perf_counter() - moment[0])
    epochs = int(left / (batches.updates * update + validation))
    if epochs >= 1:
        return epochs, batches.updates
    return 1, int(np.clip((left - validation) / update, 1, batches.updates))


def _steps(bench: Bench, pieces: list[Piece]) -> int:
    """What evaluating some pieces costs: the steps that are read."""
    return sum(piece.stop - (0 if bench.task.whole else piece.start) for piece in pieces)
