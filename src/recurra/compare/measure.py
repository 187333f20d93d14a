"""What is measured of a trained candidate besides its error: time of a live step, memory, reach, longer sequences."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from recurra.compare.candidates import Candidate
from recurra.compare.live import step_of
from recurra.compare.trial import Array
from recurra.data.batches import Piece
from recurra.tasks.bench import Bench, NetworkPredictor

# A step is timed by the median of so many rounds, each of about so many seconds: short, so that on a busy machine most
# are not interrupted.
ROUNDS, ROUND = 101, 1e-3
REACH = 1024  # steps: the longest lag that is looked at
LAGS = 96  # how many lags are looked at, all of the short ones
DEPENDS = 0.01  # the least change of an output, in its standard deviations, that counts as dependence
LONGER = 4  # times the length that was trained on
WORSE = 1.05  # times the error: up to there, longer sequences are handled
SAMPLES = 4  # places in the data at which lags are looked at
ORIGINS = 128  # at which longer contexts are tried


def measured(bench: Bench, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """All of it, as JSON has it; None where a thing cannot be.

    Args:
        bench: with its test part.
        candidate: what `predictor` is.
        predictor: a trained network, or a fitted baseline.
    """
    return timed(bench, candidate, predictor) | probed(bench, candidate, predictor)


def timed(bench: Bench, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """The time and the memory of a live step, and what runs it."""
    steps = step_of(bench, candidate, predictor)
    times = {step.where: seconds_of_step(step.run) for step in steps}
    return {
        "step_seconds": times[steps[0].where] if steps else None,
        "runs_in": steps[0].where if steps else None,
        "torch_step_seconds": times.get("torch"),
        "state_bytes": steps[0].state if steps else None,
    }


def probed(bench: Bench, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """How far it looks back, and what longer sequences do to it."""
    return reach(bench, candidate, predictor) | longer(bench, candidate, predictor)


def seconds_of_step(run: Callable[[], Any]) -> float:
    """The median time of a call."""
    run()
    start = time.perf_counter()
    run()
    count = max(1, int(ROUND / max(1e-9, time.perf_counter() - start)))
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            run()
        rounds.append((time.perf_counter() - start) / count)
    return statistics.median(rounds)


def lags(most: int, count: int = LAGS) -> Array:
    """Lags from 0 to `most`: all of the first, then evenly on a logarithmic scale.

    >>> lags(5).tolist(), len(lags(1000)), int(lags(1000)[-1])
    ([0, 1, 2, 3, 4, 5], 96, 1000)
    """
    if most < count:
        return np.arange(most + 1)
    dense = np.arange(count // 2)
    for points in range(count // 2, 4 * count):
        spread = np.geomspace(count // 2, most, points).round().astype(int)
        found = np.unique(np.concatenate([dense, spread]))
        if len(found) >= count:
            break
    return found[-count:] if len(found) == count else np.unique(np.concatenate([found[: count - 1], [most]]))


def reach(bench: Bench, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """The longest lag at which a change of what the encoder sees, by one standard deviation, still changes an output by
    1 % of its own; and the longest that was looked at."""
    if not candidate.neural:
        return {"lag": None if predictor.steps is None else predictor.steps - 1, "lag_looked_at": None}
    samples, outputs = _samples(bench, predictor)
    spread = np.concatenate([outputs(s) for s in samples]).std(0) if len(samples) > 1 else np.ones(1)
    most = max(len(s) for s in samples) - 1
    changes: dict[int, list[float]] = {}
    rng = np.random.default_rng(0)
    for sample in samples:
        looked_at = lags(len(sample) - 1)
        x = np.repeat(sample[:, None], len(looked_at) + 1, 1)
        x[len(sample) - 1 - looked_at, 1 + np.arange(len(looked_at))] += rng.normal(size=(len(looked_at), x.shape[2]))
        y = outputs.many(x, len(sample))
        change = np.abs(y[1:] - y[:1]) / np.where(spread > 0, spread, 1.0)
        for lag, value in zip(looked_at, change.mean(1), strict=True):
            changes.setdefault(int(lag), []).append(float(value))
    depends = [lag for lag, values in changes.items() if np.mean(values) > DEPENDS]
    return {"lag": max(depends, default=0), "lag_looked_at": most}


class _Outputs:
    """The last outputs of a network for sequences of what its encoder sees."""

    def __init__(self, network: Any, future: Any) -> None:
        self.network, self.future = network, future

    def __call__(self, sample: Array) -> Array:
        return self.many(sample[:, None], len(sample))

    def many(self, x: Array, length: int) -> Array:
        """Outputs [B, O] of sequences [T, B, I]."""
        import torch

        encoder, future = self.network.encoder, self.future
        with torch.inference_mode():
            inputs, lengths = torch.from_numpy(np.ascontiguousarray(x, np.float32)), torch.full((x.shape[1],), length)
            h = encoder.summary(inputs, lengths) if self.network.whole else encoder.last(inputs, lengths)
            output = self.network.head(h, future.expand(len(h), -1)) if future.numel() else self.network.head(h)
            result: Array = output.flatten(1).numpy()
            return result


def _samples(bench: Bench, network: Any) -> tuple[list[Array], _Outputs]:
    """Sequences of what the encoder sees, [T, I] each, and what gives the outputs."""
    import torch

    I, pieces = bench.transform.input_size, bench.pieces("test")
    if bench.task.whole:
        ends = [(p.sequence, p.stop) for p in sorted(pieces, key=lambda p: -p.stop)[: 4 * SAMPLES]]
    else:
        longest = max(pieces, key=lambda p: p.stop - p.start)
        ends = [(longest.sequence, int(t) + 1) for t in np.linspace(longest.start, longest.stop - 1, SAMPLES)]
    T = REACH if bench.task.whole else min(REACH, ends[0][1])
    rows = [bench.transform.rows(sequence, max(0, stop - T), stop) for sequence, stop in ends]
    return [r[:, :I] for r in rows], _Outputs(network, torch.from_numpy(rows[0][-1:, I:].copy()))


def longer(bench: Bench, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """The error on sequences longer than trained on, over that on sequences of the trained length.

    Whole sequences are read twice in a row, which keeps what belongs to them; an answer for each step is made from four
    times as many rows as a chunk of training had. A window model reads the end alone.
    """
    if candidate.kind == "naive":
        return {"longer": None, "handles_longer": None}
    if bench.task.whole:
        before, after = (_error(bench, candidate, predictor, twice) for twice in (False, True))
        handled = after <= max(WORSE * before, before + 1 / len(bench.pieces("test")))
        return {"longer": after / before if before else None, "handles_longer": handled}
    if not candidate.neural:
        return {"longer": 1.0, "handles_longer": True}
    length = predictor.encoder.context or bench.task.windows(bench)[-1]
    before, after = (_context_error(bench, predictor, n) for n in (length, LONGER * length))
    return {"longer": after / before, "handles_longer": after <= WORSE * before}


def _error(bench: Bench, candidate: Candidate, predictor: Any, twice: bool) -> float:
    """On the test part, each of whose sequences may be read twice in a row."""
    pieces = bench.pieces("test")
    if twice:
        pieces = [
            Piece(replace(p.sequence, x=np.concatenate([p.sequence.x] * 2)), p.stop * 2 - 1, p.stop * 2) for p in pieces
        ]
    used = NetworkPredictor(bench.task, bench.transform, predictor) if candidate.neural else predictor
    return float(bench.errors(used, pieces).mean())


def _context_error(bench: Bench, network: Any, context: int) -> float:
    """The error of some answers that were made from so many rows alone."""
    import torch

    task, transform, I = bench.task, bench.transform, bench.transform.input_size
    errors = []
    for piece in bench.blocks("test", ORIGINS):
        at = np.arange(piece.start, piece.stop)
        rows = transform.rows(piece.sequence, max(0, piece.start - context + 1), piece.stop)
        lengths = np.minimum(at + 1, context)
        places = at[None] - lengths[None] + 1 + np.arange(context)[:, None] - max(0, piece.start - context + 1)
        windows = rows[np.clip(places, 0, len(rows) - 1), :I]
        with torch.inference_mode():
            h = network.encoder.last(torch.from_numpy(windows), torch.from_numpy(lengths))
            future = torch.from_numpy(rows[len(rows) - len(at) :, I:].copy())
            output = network.head(h, future) if future.shape[-1] else network.head(h)
            values = network.linked(output.flatten(1)).numpy()
        errors.append(task.errors(piece, task.answers(values, transform, piece.sequence, piece.start), transform))
    return float(np.nanmean(np.concatenate(errors)))
