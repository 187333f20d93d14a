"""A candidate as it runs live: the recurrent ones in the native runtime, window models on a window they keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.compare.candidates import Candidate
from recurra.compare.classify import Labelled
from recurra.compare.forecast import LEVELS, UNITS, Ahead
from recurra.compare.problem import Array, Problem
from recurra.runtime import Model

BYTES = 4  # of a float32
PARITY = (64, 3)  # steps and rows on which a model's parity is measured


@dataclass(frozen=True)
class Step:
    """One live step.

    Attributes:
        run: takes it.
        where: "native", "torch", "scikit-learn" or "numpy".
        state: bytes that must be kept from step to step, beside the features' own memory, which is the same for all.
    """

    run: Callable[[], Any]
    where: str
    state: int


def live_model(problem: Problem, network: Any, card: dict[str, Any] | None = None) -> Model:
    """A recurrent network of one direction as a model of the runtime, its parity measured.

    Raises:
        ExportError: it does not compute what the network does.
    """
    from recurra.torch.export import to_model

    if isinstance(problem, Labelled):
        return to_model(_classifier(network), _sequences(problem), preprocessing=_preparation(problem), card=card)
    assert isinstance(problem, Ahead)
    features = problem.features
    preprocessing = {
        "task": "forecast",
        "features": features.to_dict(),
        "horizon": features.horizon,
        "quantiles": list(LEVELS),
    }
    return to_model(_forecaster(problem, network), _rows(problem), preprocessing=preprocessing, card=card)


def _classifier(network: Any) -> Any:
    from torch import nn

    from recurra.torch import Stack

    return Stack(network.encoder.layers, network.head, nn.Softmax(-1))


def _preparation(problem: Labelled) -> dict[str, Any]:
    """What a live classifier needs before the network: z = (x - mean) / scale, 0 where missing, then the flags."""
    numbers = {"mean": problem.mean.tolist(), "scale": problem.scale.tolist(), "flagged": list(problem.flagged)}
    return {"task": "classify", "labels": list(problem.labels), **numbers}


def _sequences(problem: Labelled) -> Array:
    """The first steps of some sequences, [T, B, I]."""
    rows = problem.of("valid")[: PARITY[1]]
    steps = min(PARITY[0], *(len(problem.x[i]) for i in rows), 10**9)
    return np.stack([problem.x[i][:steps] for i in rows], 1)


def _forecaster(problem: Ahead, network: Any) -> Any:
    from recurra.models import ForecastNetwork

    f, layers = problem.features, network.encoder.layers
    sizes = {"horizon": f.horizon, "known": f.ahead_size, "seasons": f.season_size}
    module = ForecastNetwork(layers.cell, f.input_size, 1, levels=LEVELS, units=UNITS, **sizes)
    module.encoder, module.head = layers, network.head
    return module.eval()


def _rows(problem: Ahead) -> Array:
    """Rows of the longest series, [T, B, R]."""
    one = max(problem.series, key=len)
    steps = min(PARITY[0], len(one) // PARITY[1])
    ends = [len(one) - r * steps for r in range(PARITY[1])]
    return np.stack([problem.features.rows(one, end - steps, end) for end in ends], 1)


def calibrate(problem: Problem, network: Any) -> None:
    """Set the width of a forecaster's intervals on the validation part; the median stays what it is."""
    import torch

    if not isinstance(problem, Ahead):
        return
    pairs = [(problem.quantiles(network, k, o), problem.truth(k, o)) for k, o in problem.origins("valid", 4096)]
    quantiles, targets = (torch.from_numpy(np.concatenate([pair[i] for pair in pairs])) for i in (0, 1))
    network.head.calibrate(quantiles, targets)


def step_of(problem: Problem, candidate: Candidate, predictor: Any) -> list[Step]:
    """Ways to take one live step of what was trained, the fastest first; none where it cannot run live."""
    if candidate.refusal:
        return []
    if not candidate.neural:
        return [_plain_step(problem, candidate, predictor)]
    window = _window_step if candidate.windowed else _torch_step
    steps = [window(problem, predictor)]
    if not candidate.windowed:
        model = live_model(problem, predictor)
        session, x = model.session(), np.zeros(model.input_size, np.float32)
        state = BYTES * sum(model.state_widths().values())
        steps.insert(0, Step(lambda: session.step(x), "native", state))
    return steps


def _plain_step(problem: Problem, candidate: Candidate, predictor: Any) -> Step:
    if isinstance(problem, Labelled):
        model, window = predictor
        x = np.zeros((1, window * problem.input_size), np.float32)
        state = 0 if candidate.kind == "naive" else BYTES * x.size
        return Step(lambda: model.predict(x), "scikit-learn", state)
    assert isinstance(problem, Ahead)
    if candidate.kind == "naive":
        season = np.zeros(problem.features.horizon, np.float32)
        return Step(season.copy, "numpy", 0)
    inputs = predictor.inputs(0, np.array([len(problem.series[0]) - 1]))
    return Step(lambda: predictor.apply(*inputs), "numpy", BYTES * predictor.window)


def _beside(problem: Problem) -> Any:
    """What the head of a forecaster takes besides features, of one step; None for a classifier."""
    import torch

    if not isinstance(problem, Ahead):
        return None
    row = problem.features.rows(problem.series[0], len(problem.series[0]) - 1, len(problem.series[0]))
    return torch.from_numpy(row[:, problem.features.input_size :].copy())


def _window_step(problem: Problem, network: Any) -> Step:
    """Move the window on by one row, and compute all of it again."""
    import torch

    encoder, head, beside = network.encoder, network.head, _beside(problem)
    window, new = torch.zeros(encoder.context, 1, problem.input_size), torch.zeros(1, problem.input_size)
    length = torch.tensor([encoder.context])

    def run() -> Any:
        with torch.inference_mode():
            window[:-1] = window[1:].clone()
            window[-1] = new
            if beside is None:
                return head(encoder.summary(window, length))
            return head(encoder.last(window, length), beside)

    return Step(run, "torch", BYTES * window.numel())


def _torch_step(problem: Problem, network: Any) -> Step:
    """The same recurrent network, one step in torch, for comparison with the window models."""
    import torch

    encoder, head, beside = network.encoder, network.head, _beside(problem)
    new, state = torch.zeros(1, 1, problem.input_size), None

    def run() -> Any:
        nonlocal state
        with torch.inference_mode():
            h, state = encoder(new, state)
            return head(h[0]) if beside is None else head(h[0], beside)

    return Step(run, "torch", 0)
