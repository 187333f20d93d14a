"""Gradients by shards: one worker and many, and plain sums, by hand."""

import threading

import numpy as np
import pytest

import recurra
from recurra.data.batches import Batch
from recurra.tasks.shards import SHARDS, Shards

torch = pytest.importorskip("torch")


class Many:
    """Workers as threads, which meet where gradients are gathered."""

    def __init__(self, workers):
        self.workers, self.met = workers, threading.Barrier(workers)
        self.given = [None] * workers

    def gather(self, rank):
        def gather(mine):
            self.given[rank] = mine.clone()
            self.met.wait()
            found = list(self.given)
            self.met.wait()
            return found

        return gather


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 2)


def batches(count, B, T=4):
    rng = np.random.default_rng(7)
    for k in range(count):
        targets = rng.normal(size=(T, B, 2)).astype(np.float32)
        targets[rng.random((T, B)) < 0.3] = np.nan
        if B > 2:
            targets[:, 2] = np.nan  # a shard that has no target
        yield Batch(rng.normal(size=(T, B, 3)).astype(np.float32), targets, first=k == 0)


def losses(net):
    """Of each shard one that carries a state from batch to batch."""

    def made():
        state = [0.0]

        def loss(batch):
            rows, targets = torch.from_numpy(batch.rows), torch.from_numpy(batch.targets)
            there = targets.isfinite()
            error = (net(rows) + state[0] - targets)[there].square()
            state[0] = rows.mean()
            return error.mean() if there.any() else error.sum()

        return loss

    return [made() for _ in range(SHARDS)]


def trained(workers, B):
    """The gradients of three batches by each worker."""
    many, found, nets = Many(workers), [None] * workers, [network() for _ in range(workers)]

    def work(rank):
        net = nets[rank]
        shards = Shards(losses(net), list(net.parameters()), 5, rank, workers, many.gather(rank), lambda: rank == 0)
        found[rank] = []
        for update, batch in enumerate(batches(3, B), 1):
            value = shards.compute(batch, 0, update)
            found[rank].append((value, [p.grad.numpy().copy() for p in net.parameters()]))
        assert shards.stopped

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


@pytest.mark.parametrize("B", [1, 5, 8, 19])
def test_many_workers_have_the_gradients_of_one(B):
    (one,) = trained(1, B)
    for workers in (2, 3, 8):
        for found in trained(workers, B):
            for (value, gradients), (wanted, those) in zip(found, one, strict=True):
                assert value == wanted
                assert all(np.array_equal(a, b) for a, b in zip(gradients, those, strict=True))


def test_the_sum_is_that_of_the_whole_batch_but_for_rounding():
    net = network()
    for update, batch in enumerate(batches(1, 19), 1):
        shards = Shards(losses(net), list(net.parameters()), 5)
        value = shards.compute(batch, 0, update)
        by_shards = [p.grad.numpy() for p in net.parameters()]
        rows, targets = torch.from_numpy(batch.rows).double(), torch.from_numpy(batch.targets).double()
        there = targets.isfinite()
        exact = network().double()
        loss = (exact(rows) - targets)[there].square().mean()
        loss.backward()
        assert value == pytest.approx(float(loss.detach()), rel=1e-5)
        for a, p in zip(by_shards, exact.parameters(), strict=True):
            np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_chance_is_of_the_shard_and_of_the_update():
    drawn = {}

    def made(k):
        def loss(batch):
            drawn.setdefault(k, []).append(float(torch.rand(())))
            return net(torch.from_numpy(batch.rows)).sum()

        return loss

    net = network()
    shards = Shards([made(k) for k in range(SHARDS)], list(net.parameters()), 5)
    for update, batch in enumerate(batches(2, 16), 1):
        shards.compute(batch, 3, update)
    every = [x for k in range(SHARDS) for x in drawn[k]]
    assert len(set(every)) == len(every) == 2 * SHARDS


@pytest.mark.parametrize("ends", [False, True])
def test_a_share_of_a_batch_has_its_rows(ends):
    rng = np.random.default_rng(2)
    rows, flags = rng.normal(size=(4, 5, 3)).astype(np.float32), rng.random((4, 5)) < 0.5
    targets = rng.normal(size=(5, 2) if ends else (4, 5, 2)).astype(np.float32)
    part = Batch(rows, targets, np.arange(5), flags, False, 1, ~flags, ends).share(1, 4)
    assert np.array_equal(part.rows, rows[:, 1:4])
    assert np.array_equal(part.targets, targets[1:4] if ends else targets[:, 1:4])
    assert part.lengths.tolist() == [1, 2, 3]
    assert np.array_equal(part.reset, flags[:, 1:4])
    assert np.array_equal(part.wanted, ~flags[:, 1:4])
    assert (part.first, part.lead, part.ends) == (False, 1, ends)


def test_workers_are_no_more_than_shards():
    from recurra.tasks.training_on_ray import training_on_ray

    for workers in (0, SHARDS + 1):
        with pytest.raises(recurra.errors.SettingError, match="expected 1 to 8"), training_on_ray(workers):
            pass
