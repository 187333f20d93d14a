"""Several networks of one recipe, each trained by itself with a seed of its own, whose outputs are averaged.

What the networks of several seeds have in common is what the data say; in what they differ is chance, and an average
has less of it (Hansen and Salamon 1990; Lakshminarayanan et al. 2017).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from recurra.errors import ExportError, RecurraError, SettingError
from recurra.train import History, Progress

if TYPE_CHECKING:
    from recurra.models import Network

SEEDS = 2**63
T = TypeVar("T")


def seeds(first: int, members: int) -> list[int]:
    """The seeds of the members, from the estimator's on."""
    return [(first + k) % SEEDS for k in range(members)]


def checkpoints(path: str | os.PathLike[str], members: int) -> list[Path]:
    """The file of each member: the one that was named, and the same with .2, .3 and so on.

    >>> [one.name for one in checkpoints("a.checkpoint", 3)]
    ['a.checkpoint', 'a.checkpoint.2', 'a.checkpoint.3']
    """
    first = Path(path)
    return [first, *(first.with_name(f"{first.name}.{k}") for k in range(2, members + 1))]


def together(networks: Sequence[Network]) -> Network:
    """One network: the only one, or the mean of all."""
    from recurra.models.network import Mean

    return networks[0] if len(networks) == 1 else Mean(networks)


def check_members(network: Any, members: int) -> None:
    """Raise SettingError where networks like one cannot run side by side."""
    from recurra.models import Network

    if members == 1:
        return
    try:
        if not isinstance(network, Network):
            raise ExportError(f"a {type(network).__name__} has no encoder and head")
        together([network] * members).model_layers()
    except RecurraError as error:
        raise SettingError(
            f"members={members}, but such a network does not run beside others, expected members=1: {error}"
        ) from error


def joined(histories: Sequence[History]) -> History:
    """How the training of all members went: the mean of those that came to an epoch; seconds are those of all.

    >>> first, second = (History([{"epoch": 1, "train_loss": loss}], 1, 0.5, "complete") for loss in (2.0, 4.0))
    >>> joined([first, second]).epochs
    [{'epoch': 1, 'train_loss': 3.0}]
    """
    if len(histories) == 1:
        return histories[0]
    longest = max((one.epochs for one in histories), key=len)
    epochs = []
    for e, row in enumerate(longest):
        there = [one.epochs[e] for one in histories if len(one.epochs) > e]
        epochs.append({**{name: float(np.mean([r[name] for r in there])) for name in row}, "epoch": row["epoch"]})
    best = round(float(np.mean([one.best_epoch for one in histories])))
    error = float(np.mean([one.best_error for one in histories]))
    return History(epochs, best, error, histories[-1].ended, sum(one.seconds for one in histories))


def of_all(tell: Callable[[Progress], T], k: int, members: int) -> Callable[[Progress], T]:
    """Of the progress of member k that of all: their epochs one after the other."""

    def told(p: Progress) -> T:
        left = 1 - (p.epoch - 1 + p.update / max(1, p.updates)) / p.epochs  # of this member's time
        one = p.seconds_left / left if left > 0 else 0.0
        epoch, epochs = p.epoch + k * p.epochs, members * p.epochs
        return tell(replace(p, epoch=epoch, epochs=epochs, seconds_left=p.seconds_left + (members - 1 - k) * one))

    return told


def train_members(
    networks: Sequence[Network],
    train: Callable[..., History],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[Progress], bool] | None = None,
    **how: Any,
) -> tuple[Network, list[History]]:
    """Train one network after the other; one that was broken off counts only where it is the first.

    Args:
        networks: with weights of their seeds.
        train: trains one: `train(k, network, checkpoint=..., progress=..., stop=..., ...)`.
        checkpoint: that of the first; see `checkpoints`.
        progress, stop: told of all members.
        how: what else `train` takes.

    Returns:
        The mean of those trained, and how each training went.
    """
    K, trained, histories = len(networks), list[Any](), list[History]()
    files = [None] * K if checkpoint is None else checkpoints(checkpoint, K)
    for k, (network, path) in enumerate(zip(networks, files, strict=True)):
        told: dict[str, Any] = {"progress": progress and of_all(progress, k, K), "stop": stop and of_all(stop, k, K)}
        try:
            history = train(k, network, checkpoint=path, **told, **how)
        except KeyboardInterrupt:
            if not trained:
                raise
            histories[-1] = replace(histories[-1], ended="interrupted")
            break
        if history.ended in ("stopped", "interrupted") and trained:
            histories[-1] = replace(histories[-1], ended=history.ended)
            break
        trained.append(network)
        histories.append(history)
        if history.ended in ("stopped", "interrupted"):
            break
    return together(trained), histories
