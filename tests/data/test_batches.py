"""Sequences in batches, and as rows: nothing is learned twice, from a neighbour, or from what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers import generator
from recurra.data.batches import Lanes, Piece, Shuffled
from recurra.data.sequences import Steps
from recurra.data.split import Split
from recurra.data.transform import Standardize


def made(count: int = 11) -> tuple[list[Steps], Standardize]:
    """Ragged sequences, of which number k holds k + t / 100 at step t, and k is its target; one value is missing."""
    rng = generator("batches", count)
    found = []
    for k, n in enumerate(rng.integers(2, 9, count)):
        x = np.stack([k + np.arange(n) / 100, rng.normal(size=n)], 1)
        found.append(Steps(str(k), x, np.asarray(float(k)), str(k), np.nan))
    found[3].x[1, 1] = np.nan
    return found, Standardize.fit(found, [Split(len(s), len(s), len(s)) for s in found], ["id", "noise"])


def ids(transform: Standardize, rows: np.ndarray) -> np.ndarray:
    """The first number of each row in its own units."""
    return transform.scalers[0].undo(rows[..., 0])


def test_whole_sequences_come_once_with_their_own_targets() -> None:
    sequences, transform = made()
    batches = Shuffled(transform, [Piece(s, len(s) - 1, len(s)) for s in sequences], 4, seed=0)
    orders = []
    for epoch in range(2):
        seen: list[int] = []
        for batch in batches.epoch(epoch):
            assert batch.lengths is not None
            for b, length in enumerate(batch.lengths):
                k = int(batch.targets[b])
                np.testing.assert_allclose(ids(transform, batch.rows[:length, b]), sequences[k].x[:, 0], atol=1e-5)
                assert length == len(sequences[k])
                seen.append(k)
        assert sorted(seen) == list(range(len(sequences)))
        orders.append(seen)
    assert orders[0] != orders[1]
    assert len(orders[0]) == len(sequences)


def test_lanes_carry_a_state_along_a_sequence_and_no_further() -> None:
    sequences, transform = made()
    sequences = [replace(s, target=s.x[:, 0]) for s in sequences]
    lanes = Lanes(transform, [Piece(s, 0, len(s)) for s in sequences], 5, 4, seed=0)
    chunks = list(lanes.epoch(0))
    assert [chunk.first for chunk in chunks] == [True, *[False] * (len(chunks) - 1)]
    rows, reset = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("rows", "reset"))
    found = ids(transform, rows)
    steps = np.concatenate([s.x[:, 0] for s in sequences])
    there = np.abs(found[..., None] - steps).min(-1) < 1e-5
    for b in range(rows.shape[1]):
        lane, begins = found[there[:, b], b], reset[there[:, b], b]
        assert np.array_equal(begins, np.abs(lane - np.round(lane)) < 1e-5)  # a reset just where a sequence begins
        goes_on = np.abs(np.diff(lane) - 0.01) < 1e-5
        assert np.all(goes_on | begins[1:] | (np.diff(lane) < 0))
    assert sorted(np.round(found[there], 2)) == sorted(np.round(steps, 2))
    targets = np.concatenate([chunk.targets for chunk in chunks])
    assert not there.all()
    np.testing.assert_allclose(targets[there], found[there], atol=1e-5)
    assert np.isnan(targets[~there]).all()  # nothing is learned from padding


def test_rows_have_flags_for_what_is_missing() -> None:
    sequences, transform = made()
    assert transform.flags == (1,)
    rows = transform.rows(sequences[3], 0, len(sequences[3]))
    assert rows[1].tolist()[1:] == [0.0, 1.0]
    assert not rows[[0, *range(2, len(rows))], 2].any()
    every = np.concatenate([s.x for s in sequences])
    wanted = (sequences[0].x - np.nanmean(every, 0)) / np.nanstd(every, 0)
    np.testing.assert_allclose(transform.rows(sequences[0], 0, len(sequences[0]))[:, :2], wanted, atol=1e-5)
