"""A candidate as it runs live: the recurrent ones in the native runtime, window models on a window they keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.compare.candidates import Candidate
from recurra.tasks.bench import Bench
from recurra.tasks.learn import to_runtime

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Step:
    """One live step.

    Attributes:
        run: takes it.
        where: "native", "torch" or "numpy".
        state: bytes that must be kept from step to step, beside the transform's own memory, which is the same for all.
    """

    run: Callable[[], Any]
    where: str
    state: int


def step_of(bench: Bench, candidate: Candidate, predictor: Any) -> list[Step]:
    """Ways to take one live step of what was trained, the fastest first; none where it cannot run live.

    Args:
        bench: the data.
        candidate: what `predictor` is.
        predictor: a trained network, or a fitted baseline.
    """
    if candidate.refusal:
        return []
    if not candidate.neural:
        return [Step(predictor.live(bench), "numpy", predictor.state_bytes(bench))]
    window = _window_step if candidate.windowed else _torch_step
    steps = [window(bench, predictor)]
    if not candidate.windowed:
        model = to_runtime(bench, predictor)
        session, x = model.session(), np.zeros(model.input_size, np.float32)
        state = BYTES * sum(model.state_widths().values())
        steps.insert(0, Step(lambda: session.step(x), "native", state))
    return steps


def _future(bench: Bench) -> tuple[Any, ...]:
    """What the head takes besides features, of one step; nothing where the encoder sees all of a row."""
    import torch

    transform = bench.transform
    return (
        (torch.zeros(1, transform.row_size - transform.input_size),)
        if transform.row_size > transform.input_size
        else ()
    )


def _window_step(bench: Bench, network: Any) -> Step:
    """Move the window on by one row, and compute all of it again."""
    import torch

    encoder, head, future, I = network.encoder, network.head, _future(bench), bench.transform.input_size
    window, new, length = torch.zeros(encoder.context, 1, I), torch.zeros(1, I), torch.tensor([encoder.context])
    features = encoder.summary if network.whole else encoder.last

    def run() -> Any:
        with torch.inference_mode():
            window[:-1] = window[1:].clone()
            window[-1] = new
            return head(features(window, length), *future)

    return Step(run, "torch", BYTES * window.numel())


def _torch_step(bench: Bench, network: Any) -> Step:
    """The same recurrent network, one step in torch, for comparison with the window models."""
    import torch

    encoder, head, future, state = network.encoder, network.head, _future(bench), None
    new = torch.zeros(1, 1, bench.transform.input_size)

    def run() -> Any:
        nonlocal state
        with torch.inference_mode():
            h, state = encoder(new, state)
            return head(h[0], *future)

    return Step(run, "torch", 0)
