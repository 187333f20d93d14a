"""What is measured of a trained candidate besides its error: time of a live step, memory, reach, longer sequences."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from recurra.compare.candidates import Candidate
from recurra.compare.classify import Labelled
from recurra.compare.forecast import LEVELS, Ahead
from recurra.compare.live import step_of
from recurra.compare.problem import Array, Problem

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


def measured(problem: Problem, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """All of it, as JSON has it; None where a thing cannot be.

    Args:
        problem: with its test part.
        candidate: what `predictor` is.
        predictor: a trained network, or what `Problem.fit_plain` gave.
    """
    return timed(problem, candidate, predictor) | probed(problem, candidate, predictor)


def timed(problem: Problem, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """The time and the memory of a live step, and what runs it."""
    steps = step_of(problem, candidate, predictor)
    times = {step.where: seconds_of_step(step.run) for step in steps}
    return {
        "step_seconds": times[steps[0].where] if steps else None,
        "runs_in": steps[0].where if steps else None,
        "torch_step_seconds": times.get("torch"),
        "state_bytes": steps[0].state if steps else None,
    }


def probed(problem: Problem, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """How far it looks back, and what longer sequences do to it."""
    return reach(problem, candidate, predictor) | longer(problem, candidate, predictor)


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


def reach(problem: Problem, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """The longest lag at which a change of what the encoder sees, by one standard deviation, still changes an output by
    1 % of its own; and the longest that was looked at."""
    if not candidate.neural:
        return {"lag": _plain_lag(problem, candidate, predictor), "lag_looked_at": None}
    samples, outputs = _samples(problem, predictor)
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

    def __init__(self, problem: Problem, network: Any, beside: Any) -> None:
        self.problem, self.network, self.beside = problem, network, beside

    def __call__(self, sample: Array) -> Array:
        return self.many(sample[:, None], len(sample))

    def many(self, x: Array, length: int) -> Array:
        """Outputs [B, O] of sequences [T, B, I]."""
        import torch

        with torch.inference_mode():
            inputs, lengths = torch.from_numpy(np.ascontiguousarray(x, np.float32)), torch.full((x.shape[1],), length)
            if self.beside is None:
                result: Array = self.network.head(self.network.encoder.summary(inputs, lengths)).numpy()
                return result
            h = self.network.encoder.last(inputs, lengths)
            quantiles: Array = self.network.head(h, self.beside.expand(len(h), -1)).numpy()
            return quantiles[..., len(LEVELS) // 2]


def _samples(problem: Problem, network: Any) -> tuple[list[Array], _Outputs]:
    """Sequences of what the encoder sees, [T, I] each, and what gives the outputs."""
    import torch

    if isinstance(problem, Labelled):
        longest = sorted(problem.of("test"), key=lambda i: -len(problem.x[i]))[: 4 * SAMPLES]
        return [problem.x[i][-REACH:] for i in longest], _Outputs(problem, network, None)
    assert isinstance(problem, Ahead)
    k, origins = max(problem.origins("test"), key=lambda found: len(found[1]))
    at = origins[np.linspace(0, len(origins) - 1, SAMPLES).astype(int)]
    f, T = problem.features, min(REACH, int(at[0]) + 1)
    rows = [f.rows(problem.series[k], t - T + 1, t + 1) for t in at]
    beside = torch.from_numpy(rows[0][-1:, f.input_size :].copy())
    return [r[:, : f.input_size] for r in rows], _Outputs(problem, network, beside)


def _plain_lag(problem: Problem, candidate: Candidate, predictor: Any) -> int | None:
    """By construction."""
    if isinstance(problem, Labelled):
        return None if candidate.kind == "naive" else int(predictor[1]) - 1
    return int(predictor.window if candidate.kind == "linear" else predictor.naive.season) - 1


def longer(problem: Problem, candidate: Candidate, predictor: Any) -> dict[str, Any]:
    """The error on sequences longer than trained on, over that on sequences of the trained length.

    Labelled sequences are read twice in a row, which keeps the label; a forecast is made from four times as many rows
    as a chunk of training had. A window model reads the end alone.
    """
    if candidate.kind == "naive":
        return {"longer": None, "handles_longer": None}
    if isinstance(problem, Labelled):
        test = problem.of("test")
        twice = tuple(np.concatenate([s, s]) if i in set(test.tolist()) else s for i, s in enumerate(problem.x))
        errors = _evaluated(problem, candidate, predictor), _evaluated(replace(problem, x=twice), candidate, predictor)
        before, after = (float(e.mean()) for e in errors)
        handled = after <= max(WORSE * before, before + 1 / len(test))
        return {"longer": after / before if before else None, "handles_longer": handled}
    assert isinstance(problem, Ahead)
    if candidate.kind == "linear":
        return {"longer": 1.0, "handles_longer": True}
    length = predictor.encoder.context or predictor.window
    before, after = (_context_error(problem, predictor, n) for n in (length, LONGER * length))
    return {"longer": after / before, "handles_longer": after <= WORSE * before}


def _evaluated(problem: Labelled, candidate: Candidate, predictor: Any) -> Array:
    import torch

    if not candidate.neural:
        return problem.evaluate_plain(predictor, "test")
    with torch.inference_mode():
        return problem.evaluate(predictor, "test")


def _context_error(problem: Ahead, network: Any, context: int) -> float:
    errors = []
    for k, origins in problem.origins("test", ORIGINS):
        error = problem.truth(k, origins) - problem.quantiles(network, k, origins, context)[..., len(LEVELS) // 2]
        errors.append(np.abs(error).ravel())
    return float(np.nanmean(np.concatenate(errors)))
