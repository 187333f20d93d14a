"""`Shards`: the gradients of a batch from a fixed number of parts, whoever computes them, summed in their order.

A batch is cut into shards by its rows. Each has its own chance, its own carried states and its own gradient, in which
no number depends on where the others are computed; all workers then add all of them in the order of the shards. So one
worker and many give the same bits, which are others than those of a whole batch at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recurra.data.batches import Batch
from recurra.train import Gradients

SHARDS = 8  # of a batch, and workers at most


class Shards(Gradients):
    """The gradients of one worker's shards, brought together with those of the others.

    Args:
        losses: one for each shard, with its own states.
        parameters: of the network.
        seed: of all chance.
        rank, workers: which of how many workers this is; it computes the shards `rank`, `rank + workers` and so on.
        gather: of one array of a worker, those of all of them in their order.
        stopping: asked by the first worker whether to end; all learn of it together.

    Attributes:
        stopped: whether the first worker was told to end.
    """

    def __init__(
        self,
        losses: Sequence[Callable[[Batch], Any]],
        parameters: Sequence[Any],
        seed: int,
        rank: int = 0,
        workers: int = 1,
        gather: Callable[[Any], list[Any]] = lambda mine: [mine],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.losses, self.seed, self.rank, self.workers = list(losses), seed, rank, workers
        self.parameters = [p for p in parameters if p.requires_grad]
        self.gather, self.stopping, self.stopped = gather, stopping, False

    def compute(self, batch: Any, epoch: int, update: int) -> float:
        """See `Gradients`."""
        import torch

        S, B = len(self.losses), batch.rows.shape[1]
        parts = [batch.share(k * B // S, (k + 1) * B // S) for k in range(S)]
        there = np.array([int(np.isfinite(part.targets).sum()) for part in parts])
        mine = torch.zeros(-(-S // self.workers), sum(p.numel() for p in self.parameters) + 2)
        for k in range(self.rank, S, self.workers):
            if parts[k].rows.shape[1]:
                mine[k // self.workers, :-1] = self._one(k, parts[k], bool(there[k]), epoch, update)
        mine[:, -1] = self.rank == 0 and self.stopping()
        all_of_them = self.gather(mine)
        self.stopped |= bool(all_of_them[0][0, -1])
        total = torch.zeros(mine.shape[1] - 1)
        for k in range(S):
            total.add_(all_of_them[k % self.workers][k // self.workers, :-1], alpha=there[k] / max(1, there.sum()))
        at = 0
        for p in self.parameters:
            p.grad = total[at : at + p.numel()].view_as(p).clone()
            at += p.numel()
        return float(total[-1])

    def _one(self, k: int, part: Batch, counts: bool, epoch: int, update: int) -> Any:
        """The gradient of one shard, and its loss; states are carried on where it has no target, too."""
        import torch

        torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch, update, k]).generate_state(1)[0]))
        loss = self.losses[k](part)
        if not counts:
            return torch.zeros(sum(p.numel() for p in self.parameters) + 1)
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        flat = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, found, strict=True)]
        return torch.cat([*(g.reshape(-1) for g in flat), loss.detach().reshape(1)])
