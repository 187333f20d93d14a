"""The training loop: AdamW with a warm-up and a cosine, clipped gradients, early stopping, checkpoints.

Whatever chance there is in an epoch follows from the seed and the epoch's number. So a checkpoint at the end of an
epoch is enough: a run that is killed at any moment and resumed ends with the same weights, to the last bit, as one that
was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recurra.errors import CheckpointError, TrainingError, need
from recurra.files import write_atomically

FORMAT = 1
KEY = "recurra-training"
FLOOR = 0.02  # of the learning rate at the end of the cosine

ENDS = ("unfinished", "complete", "early", "stopped", "interrupted")

Batch = TypeVar("Batch")
Tensors = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: at most so many; the learning rate falls to its floor by the last, or the last `planned` one.
        learning_rate: at its highest, after `warm_up` updates.
        weight_decay: of AdamW, on matrices only.
        clip: the largest norm of all gradients together.
        patience: epochs without a better validation error before training stops; None: it goes to the end, and the
            weights are those of the last epoch.
        warm_up: updates over which the learning rate rises from zero.
        seed: of all chance in training.
        planned: epochs over which the learning rate falls; None: `epochs`.
    """

    epochs: int = 30
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    patience: int | None = 10
    warm_up: int = 50
    seed: int = 0
    planned: int | None = None


@dataclass(frozen=True)
class Progress:
    """Where training is; `train_loss` is the mean of this epoch so far, `last` what the last validation measured.

    `baseline_error` is what the error should be compared with; `train` knows none.
    """

    epoch: int
    epochs: int
    update: int
    updates: int
    train_loss: float
    last: dict[str, float]
    seconds_left: float
    baseline_error: float | None = None


@dataclass
class History:
    """What happened: `epochs` has for each one `epoch` (from 1), `train_loss`, and what `validate` measured.

    `seconds` is the mean of the epochs that this process ran, with their validation; no checkpoint has it.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_error: float = math.inf
    ended: str = "unfinished"  # or "complete", "early", "stopped", "interrupted"
    seconds: float = field(default=0.0, compare=False)


class Gradients(ABC):
    """Who computes the gradients of a batch: this process from the whole of it, or many, each from some of its rows."""

    @abstractmethod
    def compute(self, batch: Any, epoch: int, update: int) -> float:
        """Add the gradients of a batch to those of the parameters, which are none, and return its loss.

        Args:
            batch: the batch.
            epoch, update: whose it is, counted from 0 and from 1.
        """


class Whole(Gradients):
    """From the loss of the whole batch, here."""

    def __init__(self, loss: Callable[[Any], Any]) -> None:
        self.loss = loss

    def compute(self, batch: Any, epoch: int, update: int) -> float:
        """See `Gradients`."""
        value = self.loss(batch)
        value.backward()
        return float(value.detach())


def train(
    module: Any,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Batch], Any] | Gradients,
    validate: Callable[[], dict[str, float]] | None,
    settings: Settings,
    *,
    updates: int,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    identity: dict[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[Progress], bool] | None = None,
) -> History:
    """Train a torch module, and leave it with the weights of the epoch that had the least validation error.

    Ctrl-C ends training with the best weights so far; before the first epoch's end it is passed on.

    Args:
        module: in training mode while it learns and in evaluation mode for `validate` and at the end.
        batches: of an epoch, numbered from 0; the same whenever it is asked for the same epoch.
        loss: one number to be made smaller, of a batch. It may carry states from batch to batch of an epoch. Or who
            computes its gradients.
        validate: what is to be recorded, by name; the first number is the error, the smaller, the better. It is called
            without gradients. None: nothing is held out, and the weights are those of the last epoch.
        settings: how.
        updates: batches of an epoch.
        checkpoint: a file that is written after every epoch, in one move: safetensors, with no code in it.
        resume: go on from the checkpoint, where there is one.
        identity: what a checkpoint must agree on besides the settings, as JSON: the data, the network.
        progress: called after every update, and after every validation.
        stop: asked whether to end whenever `progress` is called. Training then ends with the best weights so far; in
            the first epoch, which has none yet, with those of the moment, after a validation.

    Raises:
        TrainingError: the loss or the error is no longer a number.
        CheckpointError: the checkpoint cannot be read, or is of another run.

    >>> import torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> error = lambda _=None: (layer(x) - 3 * x).square().mean()
    >>> validate = lambda: {"valid_error": error().item()}
    >>> settings = Settings(epochs=8, learning_rate=0.1, weight_decay=0.0)
    >>> history = train(layer, lambda epoch: range(50), error, validate, settings, updates=50)
    >>> history.ended, round(layer.weight.item(), 2)
    ('complete', 3.0)
    """
    need("training", "torch", extra="train")
    path = None if checkpoint is None else Path(checkpoint)
    gradients = loss if isinstance(loss, Gradients) else Whole(loss)
    run = _Run(module, settings, updates, identity or {}, path, progress, stop)
    if resume:
        run.resume()
    try:
        while run.goes_on():
            run.epoch(batches, gradients, validate)
    except KeyboardInterrupt:
        if not run.best:
            raise
        run.history.ended = "interrupted"
    module.load_state_dict(run.best)
    module.eval()
    run.history.seconds = sum(run.seconds) / max(1, len(run.seconds))
    return run.history


class _Run:
    """A training in progress: all of it is in the checkpoint but the module's class and the data."""

    def __init__(
        self,
        module: Any,
        settings: Settings,
        updates: int,
        identity: dict[str, Any],
        checkpoint: Path | None,
        progress: Callable[[Progress], None] | None,
        stop: Callable[[Progress], bool] | None,
    ) -> None:
        import torch

        self.module, self.settings, self.updates = module, settings, updates
        self.identity = json.loads(json.dumps({"settings": asdict(settings), "updates": updates, **identity}))
        self.checkpoint, self.progress, self.stop = checkpoint, progress, stop
        self.parameters = list(module.parameters())
        matrices = [p for p in self.parameters if p.dim() > 1]
        others = [p for p in self.parameters if p.dim() < 2]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate)
        self.history = History()
        self.best: Tensors = {}
        self.seconds: list[float] = []

    def goes_on(self) -> bool:
        """Whether there is another epoch, and if not, why."""
        done = len(self.history.epochs)
        if self.history.ended == "stopped":
            return False
        if done >= self.settings.epochs:
            self.history.ended = "complete"
        elif self.settings.patience and done and done - self.history.best_epoch >= self.settings.patience:
            self.history.ended = "early"
        return self.history.ended == "unfinished"

    def epoch(
        self,
        batches: Callable[[int], Iterable[Batch]],
        gradients: Gradients,
        validate: Callable[[], dict[str, float]] | None,
    ) -> None:
        """One epoch, its validation, and its checkpoint."""
        import torch

        number, began, total, i = len(self.history.epochs), time.perf_counter(), 0.0, 0
        self.module.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.settings.seed, number]).generate_state(1)[0]))
            for i, batch in enumerate(batches(number), 1):
                total += self.update(gradients, batch, number, i)
                if self.tell(number, i, total / i, began):
                    self.history.ended = "stopped"
                    break
            if self.history.ended == "stopped" and self.best:
                return
            self.module.eval()
            with torch.no_grad():
                measured = {name: float(value) for name, value in validate().items()} if validate else {}
        error = next(iter(measured.values()), 0.0)
        if not math.isfinite(error):
            raise TrainingError(f"training: the validation error is {error} in epoch {number + 1}; {_CURE}")
        self.history.epochs.append({"epoch": number + 1, "train_loss": total / max(1, i), **measured})
        if error < self.history.best_error or not (validate and self.settings.patience):
            self.history.best_epoch, self.history.best_error = number + 1, error
            self.best = {n: t.detach().clone() for n, t in self.module.state_dict().items()}
        self.seconds.append(time.perf_counter() - began)
        if self.checkpoint and self.history.ended != "stopped":  # of whole epochs alone, so that resuming has the bits
            write_atomically(self.checkpoint, self.content())
        if self.tell(number, i, total / max(1, i), began):
            self.history.ended = "stopped"

    def update(self, gradients: Gradients, batch: Any, epoch: int, i: int) -> float:
        """One step of the optimizer; returns the loss."""
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        value = gradients.compute(batch, epoch, i)
        if not math.isfinite(value):
            raise TrainingError(f"training: the loss is {value} at update {i} of epoch {epoch + 1}; {_CURE}")
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        rate = learning_rate(self.settings, epoch * self.updates + i - 1, self.updates)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return value

    def tell(self, epoch: int, update: int, train_loss: float, began: float) -> bool:
        """Report progress; whether training is to stop."""
        if not self.progress and not self.stop:
            return False
        epochs, done = self.settings.epochs, len(self.history.epochs)
        passed = time.perf_counter() - began if done == epoch else 0.0  # of an epoch that goes on
        if self.seconds:
            left = max(0.0, sum(self.seconds) / len(self.seconds) * (epochs - done) - passed)
        else:
            left = passed / max(1, update) * self.updates * epochs - passed
        last = self.history.epochs[-1] if self.history.epochs else {}
        now = Progress(epoch + 1, epochs, update, self.updates, train_loss, last, left)
        if self.progress:
            self.progress(now)
        return self.stop is not None and self.stop(now)

    def content(self) -> bytes:
        """The checkpoint as bytes."""
        from safetensors.torch import save

        tensors = {f"module.{n}": t for n, t in self.module.state_dict().items()}
        tensors |= {f"best.{n}": t for n, t in self.best.items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{n}": t for n, t in state.items()}
        tensors = {n: t.detach().contiguous().clone() for n, t in tensors.items()}
        manifest = {"format": FORMAT, "identity": self.identity, "history": asdict(self.history)}
        manifest["checksum"] = _checksum(manifest, tensors)
        return save(tensors, {KEY: json.dumps(manifest)})

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        parts, manifest = _read(self.checkpoint)
        theirs = manifest.get("identity")
        if theirs != self.identity:
            names = [k for k in self.identity if not isinstance(theirs, dict) or theirs.get(k) != self.identity[k]]
            raise CheckpointError(
                f"{self.checkpoint}: the checkpoint is of a run with other {', '.join(names) or 'settings'}, expected "
                "the same: resume with what it was started with, or train anew without resume"
            )
        try:
            self.history = _history(manifest["history"], self.settings.epochs)
            if parts["best"].keys() != self.module.state_dict().keys():
                raise ValueError("the best weights are not those of the module")
            self.best = parts["best"]
            self.module.load_state_dict(parts["module"])
            state: dict[int, Tensors] = {}
            for name, tensor in parts["optimizer"].items():
                index, _, kind = name.partition(".")
                state.setdefault(int(index), {})[kind] = tensor
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{self.checkpoint}: {' '.join(str(error).split())[:300]}; {_ANEW}") from error
        if self.history.ended == "interrupted":
            self.history.ended = "unfinished"


_CURE = "expected a finite number: lower learning_rate, or look for very large numbers in the data"
_ANEW = "expected a checkpoint of recurra: train anew without resume"


def _checksum(manifest: dict[str, Any], tensors: Tensors) -> str:
    """Of all that a checkpoint says, so that no flipped bit goes on as other weights."""
    import torch

    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].dtype}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _history(said: dict[str, Any], most: int) -> History:
    """What a checkpoint says of the epochs so far; ValueError or TypeError where it cannot have been so."""
    history = History(**said)
    rows = isinstance(history.epochs, list) and all(isinstance(row, dict) for row in history.epochs)
    if not rows or not all(isinstance(v, (int, float)) for row in history.epochs for v in row.values()):
        raise ValueError("the epochs are no list of numbers by name")
    if type(history.best_epoch) is not int or not 0 <= history.best_epoch <= len(history.epochs) <= most:
        raise ValueError(f"the best epoch is {str(history.best_epoch)[:40]} of {len(history.epochs)}")
    if not isinstance(history.best_error, (int, float)) or history.ended not in ENDS:
        raise ValueError(f"the run ended as {str(history.ended)[:40]!r}, expected one of: {', '.join(ENDS)}")
    return history


def learning_rate(settings: Settings, update: int, updates: int) -> float:
    """The learning rate at an update, counted from the beginning of the first epoch.

    >>> [round(learning_rate(Settings(epochs=10, learning_rate=1.0, warm_up=10), u, 10), 2) for u in (0, 9, 50, 99)]
    [0.1, 0.98, 0.51, 0.02]
    """
    total = max(1, (settings.planned or settings.epochs) * updates)
    cosine = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(update, total) / total))
    return settings.learning_rate * cosine * min(1.0, (update + 1) / max(1, min(settings.warm_up, total // 5)))


def _read(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The tensors of a checkpoint by what they belong to, and its manifest."""
    from safetensors import SafetensorError, safe_open

    parts: dict[str, Tensors] = {"module": {}, "best": {}, "optimizer": {}}
    tensors: Tensors = {}
    try:
        with safe_open(path, framework="pt") as file:
            manifest = json.loads((file.metadata() or {})[KEY])
            if manifest["format"] != FORMAT:
                raise CheckpointError(f"{path}: the checkpoint has format {manifest['format']}, expected {FORMAT}")
            for name in file.keys():  # noqa: SIM118  (no mapping)
                part, _, rest = name.partition(".")
                tensors[name] = parts[part][rest] = file.get_tensor(name)
        said = manifest.pop("checksum", None)  # checkpoints of earlier versions have none
        if said is not None and said != _checksum(manifest, tensors):
            raise CheckpointError(f"{path}: the checkpoint is damaged; {_ANEW}")
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: {' '.join(str(error).split())[:300]}; {_ANEW}") from error
    return parts, dict(manifest)
