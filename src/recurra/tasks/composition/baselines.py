"""Baselines of what sounds next: how often each key sounds, whether it did before, a linear model of some frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.rolls import KEYS, Roll
from recurra.tasks.baselines import Baseline, Floats
from recurra.tasks.learn import torch_threads

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

BACK = 4  # frames that the linear model sees
PENALTIES = (1e-5, 1e-4)  # to choose from
ITERATIONS = 60


def frames_of(bench: Bench, part: str) -> list[Any]:
    """The frames [T, 88] of each piece of a part."""
    return [piece.sequence.frames[piece.start : piece.stop] for piece in bench.pieces(part)]


class KeyFrequencies(Baseline):
    """How often each key sounds in training, whatever was before."""

    key, kind, words = "keys", "naive", "how often each note sounds"
    name = "how often each note sounds"

    def __init__(self, bench: Bench) -> None:
        frames = np.concatenate(frames_of(bench, "train"))
        self.shares = (frames.sum(0) + 0.5) / (len(frames) + 1)
        self.parameters = KEYS

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Count."""
        return cls(bench)

    def predict(self, sequence: Roll, start: int, stop: int) -> Floats:
        """[M, 88]."""
        return np.tile(self.shares, (stop - start, 1))


class KeyChains(KeyFrequencies):
    """How often each key sounds after a frame in which it did, or did not."""

    key, words = "chains", "each note by whether it sounded before"
    name = "each note by itself before"

    def __init__(self, bench: Bench) -> None:
        counts = np.ones((2, 2, KEYS)) * 0.5
        for frames in frames_of(bench, "train"):
            for was in (0, 1):
                there = frames[:-1] == was
                counts[was, 1] += (frames[1:] & there).sum(0)
                counts[was, 0] += (~frames[1:] & there).sum(0)
        self.shares, self.parameters = counts[:, 1] / counts.sum(1), 2 * KEYS

    def predict(self, sequence: Roll, start: int, stop: int) -> Floats:
        """[M, 88]."""
        before = lagged(sequence.frames, 1)[start:stop]
        found: Floats = np.where(before > 0, self.shares[1], self.shares[0])
        return found


class LinearOnFrames(Baseline):
    """A logistic regression for each key, on all keys of the last four frames."""

    key, kind, words = "frames", "linear", "logistic regression on four frames"
    name = f"logistic on {BACK} frames"
    packages = ("torch",)
    steps = BACK

    def __init__(self, W: Floats) -> None:
        self.W, self.parameters = W, W.size

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """The penalty is chosen on the validation part."""
        parts = frames_of(bench, "train")
        x, y = np.concatenate([lagged(f, BACK) for f in parts]), np.concatenate(parts)
        penalties = [params["penalty"]] if params else PENALTIES
        found = [cls(_logistic(x, y, penalty)) for penalty in penalties]
        return found[0] if len(found) == 1 else min(found, key=lambda one: bench.error(one, "valid"))

    def predict(self, sequence: Roll, start: int, stop: int) -> Floats:
        """[M, 88]."""
        x = lagged(sequence.frames, BACK)[start:stop]
        found: Floats = 1.0 / (1.0 + np.exp(-(x @ self.W[:-1] + self.W[-1])))
        return found


def lagged(frames: Any, back: int) -> Any:
    """The frames before each one, side by side, the last first, and none before the beginning: float32 [T, back * 88].

    >>> lagged(np.eye(88)[:2], 2).nonzero()
    (array([1]), array([0]))
    """
    padded = np.concatenate([np.zeros((back, KEYS), np.float32), frames])
    return np.concatenate([padded[back - k : len(padded) - k] for k in range(1, back + 1)], 1)


def _logistic(x: Any, y: Any, penalty: float) -> Floats:
    """Weights [K + 1, 88] of least cross entropy a frame and `penalty` times their squares."""
    import torch

    X, Y = torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))
    W = torch.zeros(X.shape[1] + 1, KEYS, requires_grad=True)
    optimizer = torch.optim.LBFGS([W], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        scores = X @ W[:-1] + W[-1]
        value = torch.nn.functional.binary_cross_entropy_with_logits(scores, Y) * KEYS + penalty * W[:-1].square().sum()
        value.backward()
        return value

    with torch_threads(1):  # a second one gains nothing here
        optimizer.step(loss)
    return W.detach().numpy().astype(np.float64)
