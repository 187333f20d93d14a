"""How a task's network is made, trained, calibrated and brought to the runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.cells import Cell
from recurra.cells.trace import get
from recurra.data.batches import Batch, Piece
from recurra.runtime import Model
from recurra.tasks.base import Task
from recurra.tasks.bench import CONTEXT, Bench, outputs
from recurra.tasks.members import check_members, seeds, train_members
from recurra.train import Gradients, History, Progress, Settings, train

if TYPE_CHECKING:
    from torch import Tensor

    from recurra.models import Network
    from recurra.models.encoders import Encoder

EPOCHS = (12, 200)  # at least and at most
MOST_TARGETS = 10_000  # numbers of a batch that are compared: of a longer horizon some of the steps
MOST_CALIBRATED = 4096  # steps of the validation part
ALONE = 128  # hidden units up to which a second thread gains nothing, and costs much where cores are shared
PARITY = (64, 3)  # steps and rows on which a model's parity is measured


@dataclass(frozen=True)
class Recipe:
    """How a recurrent network is made and trained; the arguments of `recurra.tasks.Estimator` say what each is."""

    cell: str | Cell
    hidden: int
    layers: int
    bidirectional: bool
    pool: str | None
    projection: int | None
    dropout: float
    epochs: int | None
    batch: int | None
    chunk: int
    learning_rate: float
    clip: float
    patience: int | None
    noise: float | None
    seed: int
    embedding: int | None = None
    members: int = 1


def recurrent_network(bench: Bench, recipe: Recipe) -> Network:
    """The torch module of a recipe, with weights of its seed."""
    import torch

    from recurra.models.encoders import RecurrentEncoder

    cell, sizes = get(recipe.cell), [recipe.hidden] * recipe.layers
    pool = "each" if bench.task.tags else recipe.pool or ("last" if bench.every else "all")
    projection = (recipe.projection or max(1, recipe.hidden // 2)) if cell.projection is not None else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        encoder = RecurrentEncoder(
            cell,
            bench.transform.input_size,
            sizes,
            recipe.dropout,
            recipe.bidirectional,
            projection,
            pool,
            bench.transform.tables,
            recipe.embedding or embedding_size(bench.transform.tables),
            bench.task.input.table(bench.transform),
            bench.transform.fields,
        )
        if encoder.table is not None:
            bench.task.input.begin(bench, encoder.table)
        return network_of(bench, encoder, recipe.dropout)


def network_of(bench: Bench, encoder: Encoder, dropout: float) -> Network:
    """The task's head on an encoder."""
    from recurra.models import Network

    head = bench.task.head(encoder.width, bench.transform, dropout)
    bench.task.tie(encoder, head)
    return Network(encoder, head, bench.task.link(), bench.task.whole, bench.every)


def embedding_size(tables: Sequence[int]) -> int:
    """Numbers for a symbol where nothing else is said: more where there are more symbols.

    >>> [embedding_size([n]) for n in (2, 65, 5000)]
    [4, 25, 128]
    """
    return int(np.clip(round(1.6 * float(max(tables, default=0)) ** 0.66), 4, 128))


def loss_of(bench: Bench, network: Network, noise: float = 0.0) -> Callable[[Batch], Tensor]:
    """The loss of a batch as `train` wants it; states are carried from batch to batch of an epoch.

    With noise, so many standard deviations of it are added to the numbers of each step; flags and symbols stay as they
    are.
    """
    import torch

    state: Any = None
    noise = 0.0 if bench.transform.tables else noise
    numbers = bench.transform.quantities

    def loss(batch: Batch) -> Tensor:
        nonlocal state
        lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths)
        reset = torch.from_numpy(batch.reset) if batch.reset is not None and batch.reset.any() else None
        begin, rows = None if batch.first else state, torch.from_numpy(batch.rows)
        if noise:
            x, flags = rows[..., :numbers], rows[..., numbers:]
            rows = torch.cat([x + noise * torch.randn_like(x), flags], -1)
        targets, at = torch.from_numpy(batch.targets), None
        if every := 0 if network.whole else -(-targets.numel() // MOST_TARGETS) - 1:  # neighbours have nearly the same
            steps = len(targets)
            at = torch.randint(0, min(every + 1, steps), (1,)) + torch.arange(0, steps, every + 1)
            at = at[at < steps]
            targets = targets[at]
        output, state = network(rows, begin, lengths=lengths, reset=reset, lead=batch.lead, at=at)
        state = _detached(state)
        return bench.task.loss(output, targets)

    return loss


def validate_of(
    bench: Bench, network: Network, pieces: Sequence[Piece] | None = None
) -> Callable[[], dict[str, float]]:
    """The mean loss and the first metric's error on the validation part, or some pieces of it, as `train` wants it."""
    import torch

    task, metric = bench.task, bench.task.metrics[0]
    pieces = task.held(bench) if pieces is None else pieces
    truth = {id(piece): task.truth(*piece) for piece in pieces}

    def validate() -> dict[str, float]:
        total = errors = count = steps = 0.0
        done: dict[int, int] = {}
        for group, batch, output in outputs(network, bench.transform, pieces, context_of(bench)):
            targets = torch.from_numpy(batch.targets)
            there = float(targets.isfinite().sum())
            total += float(task.loss(output, targets)) * there if there else 0.0
            count += there
            values = network.linked(output).numpy()
            for b, piece in enumerate(group):
                chosen = values[b : b + 1] if batch.wanted is None else values[batch.wanted[:, b], b]
                if not len(chosen):
                    continue
                at = done.get(id(piece), 0)
                known = truth[id(piece)][at : at + len(chosen)]
                done[id(piece)] = at + len(chosen)
                answers = task.answers(chosen, bench.transform, piece.sequence, piece.start + at)
                found = metric.units(known, answers)
                errors, steps = errors + float(np.nansum(found)), steps + float(np.isfinite(found).sum())
        return {"valid_error": total / max(1.0, count), f"valid_{metric.key}": errors / max(1.0, steps)}

    return validate


def context_of(bench: Bench) -> int:
    """How many steps are read before the validation part: two of the longest seasons that fit."""
    low, high = CONTEXT
    seasons = getattr(bench.transform, "seasons", (1,))
    return int(np.clip(2 * max(s for s in seasons if 2 * s <= high), low, high))


Held: TypeAlias = "tuple[Tensor, Tensor]"


def learn(
    bench: Bench,
    recipe: Recipe,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[Progress], bool] | None = None,
    baseline: float | None = None,
    identity: dict[str, Any] | None = None,
) -> tuple[Network, list[History], Held]:
    """The network of a recipe trained and calibrated, how it went with each member, and what it was calibrated by.

    Args:
        bench: the data.
        recipe: how.
        checkpoint, resume, progress, stop: see `recurra.train.train`.
        baseline: the error of the best naive answer on the validation part, for `progress`.
        identity: what a checkpoint must agree on.
    """
    recipes, networks = _members(bench, recipe)
    check_members(networks[0], recipe.members)
    told = progress and (lambda p: progress(replace(p, baseline_error=baseline)))

    def one(k: int, network: Network, **how: Any) -> History:
        return _train(bench, network, recipes[k], Plan(), **how, resume=resume, identity=identity)

    with torch_threads(1 if recipe.hidden <= ALONE else None):
        network, histories = train_members(networks, one, checkpoint=checkpoint, progress=told, stop=stop)
        held = calibrate(bench, network)
    return network, histories, held


def _members(bench: Bench, recipe: Recipe) -> tuple[list[Recipe], list[Network]]:
    """The recipe of each member, and its network with weights of its seed."""
    recipes = [replace(recipe, seed=seed) for seed in seeds(recipe.seed, recipe.members)]
    return recipes, [bench.task.network(bench, one) for one in recipes]


def learn_again(
    bench: Bench,
    recipe: Recipe,
    histories: Sequence[History],
    held: Held,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[Progress], bool] | None = None,
) -> tuple[Bench, Network] | None:
    """All sequences as a training part, and the network of a recipe trained on them; None where that was broken off.

    Nothing is held out: each member is trained for as many epochs as its history came to (for as many updates, where
    validation chose when to stop), and they are calibrated by what `learn` held out.
    """
    everything = bench.all_for_training()
    recipes, networks = _members(everything, recipe)
    share = _steps(bench) / _steps(everything) if recipe.patience else 1.0

    def one(k: int, network: Network, **how: Any) -> History:
        until = max(1, round(histories[k].best_epoch * share))
        return _train(everything, network, recipes[k], Plan(False, until, share), **how)

    with torch_threads(1 if recipe.hidden <= ALONE else None):
        try:
            network, went = train_members(networks, one, progress=progress, stop=stop)
        except KeyboardInterrupt:
            return None
        if went[-1].ended not in ("complete", "early"):
            return None
        bench.task.calibrate(network, *held)
    return everything, network


def _steps(bench: Bench) -> int:
    """Of the training part."""
    return sum(piece.stop - piece.start for piece in bench.pieces("train"))


class Place(Protocol):
    """Where networks are trained, if not in this process."""

    def train(self, bench: Bench, network: Network, recipe: Recipe, plan: Plan, **how: Any) -> History:
        """As `train_here`."""


PLACE: ContextVar[Place | None] = ContextVar("recurra_training", default=None)


@dataclass(frozen=True)
class Plan:
    """How long to train.

    Attributes:
        validated: whether the validation part is looked at after each epoch.
        until: for so many epochs of a plan that was made for a `share` of these data, so that each update has the
            learning rate that it had there; None: as the recipe says.
        share: see `until`.
    """

    validated: bool = True
    until: int | None = None
    share: float = 1.0


def train_here(
    bench: Bench,
    network: Network,
    recipe: Recipe,
    plan: Plan,
    shared: Callable[[Callable[[], Callable[[Batch], Tensor]]], Gradients] | None = None,
    **how: Any,
) -> History:
    """Train a network on the training part; `how` is as in `recurra.train.train`.

    Args:
        bench, network, recipe, plan: what, and how.
        shared: of what makes a loss, who computes gradients; None: this process, of whole batches.
    """
    batches = bench.task.batches(
        bench.transform, bench.pieces("train"), network.encoder, recipe.batch, recipe.chunk, recipe.seed
    )
    until, share = plan.until, plan.share
    epochs = recipe.epochs or int(np.clip(-(-bench.task.updates // max(1, round(batches.updates * share))), *EPOCHS))
    settings = Settings(
        epochs=until or epochs,
        planned=max(until, round(epochs * share)) if until else None,
        learning_rate=recipe.learning_rate,
        clip=recipe.clip,
        patience=recipe.patience,
        seed=recipe.seed,
    )

    def loss() -> Callable[[Batch], Tensor]:
        return bench.task.losses(bench, network, bench.task.noise if recipe.noise is None else recipe.noise)

    gradients = loss() if shared is None else shared(loss)
    validate = bench.task.validation(bench, network) if plan.validated else None
    return train(network, batches.epoch, gradients, validate, settings, updates=batches.updates, **how)


def _train(bench: Bench, network: Network, recipe: Recipe, plan: Plan, **how: Any) -> History:
    place = PLACE.get()
    return (place.train if place else train_here)(bench, network, recipe, plan, **how)


def calibrate(bench: Bench, network: Network) -> Held:
    """Let the task adjust a trained network to the validation part; returns what it was adjusted by: outputs and
    targets."""
    import torch

    if type(bench.task).calibrate is Task.calibrate:
        return torch.empty(0), torch.empty(0)
    some: list[tuple[Tensor, Tensor]] = []
    for _, batch, output in outputs(network, bench.transform, bench.pieces("valid"), context_of(bench)):
        targets = torch.from_numpy(batch.targets)
        lead = output.dim() - 1
        there = ~(targets.isnan().flatten(lead).all(-1) if targets.dim() > lead else targets.isnan())
        some.append((output[there], targets[there]))
    every = max(1, sum(len(targets) for _, targets in some) // MOST_CALIBRATED)
    output, targets = (torch.cat(parts)[::every] for parts in zip(*some, strict=True))
    bench.task.calibrate(network, output, targets)
    return output, targets


def to_runtime(bench: Bench, network: Network) -> Model:
    """A trained recurrent network as a model, its parity measured on some rows."""
    from recurra.models.network import Exported
    from recurra.torch.export import to_model

    return to_model(Exported(network).eval(), sample_rows(bench), preprocessing=preprocessing_of(bench))


def preprocessing_of(bench: Bench) -> dict[str, Any]:
    """What a model file needs besides the network: the task, what it has learned, and the transform."""
    return {"task": bench.task.name, "transform": bench.transform.to_dict(), **bench.task.to_dict()}


def sample_rows(bench: Bench) -> NDArray[np.float32]:
    """Rows of the last steps of long sequences, for the check of parity: [steps, rows, R]."""
    steps, count = PARITY
    longest = sorted(bench.sequences, key=len)[-count:]
    if len(longest) < count or len(longest[0]) < min(steps, len(longest[-1]) // count):
        one = longest[-1]
        steps = min(steps, max(1, len(one) // count))
        ends = [max(steps, len(one) - r * steps) for r in range(count)]
        return np.stack([bench.transform.rows(one, end - steps, end) for end in ends], 1)
    steps = min(steps, len(longest[0]))
    return np.stack([bench.transform.rows(s, len(s) - steps, len(s)) for s in longest], 1)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """With so many threads of torch; None: as it is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _detached(state: Any) -> Any:
    """Cut from its graph."""
    return tuple(map(_detached, state)) if isinstance(state, tuple) else None if state is None else state.detach()
