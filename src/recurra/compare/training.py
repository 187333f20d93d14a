"""Training, the same for every network: `recurra.train`, with as many epochs as fit the time.

The learning rate falls over the epochs there will be, so a training that is short of time still ends with a small one.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.compare.problem import Problem
from recurra.compare.trial import Trial
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
        history: [epoch, training loss, validation loss, seconds] of each epoch.
    """

    ended: str = "epochs"
    seconds: float = 0.0
    history: list[list[float]] = field(default_factory=list)


def train(network: Any, problem: Problem, trial: Trial, spent: float = 0.0) -> Trained:
    """Train in place; at the end the network has the weights of the epoch that was best on validation.

    Args:
        network: as it begins.
        problem: what it is to learn.
        trial: how long, how fast, from which seed.
        spent: seconds of the trial that are gone.

    Raises:
        TrainingError: the loss is no number.
    """
    start = time.perf_counter() - spent
    updates = problem.updates(network)
    epochs, limit = _affordable(network, problem, trial, updates, spent)
    planned = min(epochs, trial.epochs)
    result, clock = Trained(), list[float]()

    def batches(epoch: int) -> Iterable[Callable[[], Tensor]]:
        return itertools.islice(problem.steps(network, np.random.default_rng([trial.seed, epoch])), limit)

    def validate() -> dict[str, float]:
        loss = problem.loss_of(network, "valid")
        clock.append(time.perf_counter() - start)
        return {"valid_loss": loss}

    def late(_: Progress) -> bool:
        return bool(clock) and time.perf_counter() - start > LATE * trial.seconds

    settings = Settings(
        epochs=planned,
        learning_rate=trial.params["learning_rate"],
        patience=trial.patience,
        warm_up=WARM_UP,
        seed=trial.seed,
    )
    history = fit(network, batches, lambda step: step(), validate, settings, updates=limit, stop=late)
    cut = history.ended == "stopped" or (history.ended == "complete" and (planned < trial.epochs or limit < updates))
    result.ended = "time" if cut else {"early": "early"}.get(history.ended, "epochs")
    result.seconds = time.perf_counter() - start
    for epoch, when in zip(history.epochs, clock, strict=False):
        result.history.append([epoch["epoch"], epoch["train_loss"], epoch["valid_loss"], round(when, 3)])
    return result


def _affordable(network: Any, problem: Problem, trial: Trial, updates: int, spent: float) -> tuple[int, int]:
    """How many epochs fit the trial's time, evaluation and all, and how many updates each has: fewer than all if not
    even one epoch fits."""
    copied = copy.deepcopy(network).train()
    moment = []
    with torch.random.fork_rng(devices=[]):
        for step in itertools.islice(problem.steps(copied, np.random.default_rng(0)), PROBE):
            moment.append(time.perf_counter())
            step().backward()
        moment.append(time.perf_counter())
        copied.eval()
        with torch.inference_mode():
            problem.loss_of(copied, "valid")
    validation = time.perf_counter() - moment[-1]
    update = float(np.mean(np.diff(moment)[1:] if len(moment) > 2 else np.diff(moment)))
    parts = ("valid", "test") if trial.stage == "final" else ("valid",)
    after = validation * problem.evaluations(parts)
    left = trial.seconds - spent - after - (time.perf_counter() - moment[0])
    epochs = int(left / (updates * update + validation))
    if epochs >= 1:
        return epochs, updates
    return 1, int(np.clip((left - validation) / update, 1, updates))
