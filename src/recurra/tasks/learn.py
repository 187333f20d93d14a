"""How a forecaster's network is made, trained, calibrated and brought to the runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.cells.trace import get
from recurra.data import Features
from recurra.runtime import Model
from recurra.tasks.describe import data_of, parameters_of
from recurra.tasks.evaluate import Bench
from recurra.tasks.stretches import Chunk, Stretches, in_order
from recurra.train import History, Progress, Settings, train

if TYPE_CHECKING:
    from recurra.tasks.forecast import Forecaster

UPDATES = 800  # that `epochs=None` aims at
EPOCHS = (12, 200)  # at least and at most
MOST_CALIBRATED = 4096  # origins of the validation part
CONTEXT = (256, 2000)  # rows before the validation part that its states come from, at least and at most
ALONE = 128  # hidden units up to which a second thread gains nothing, and costs much where cores are shared
PARITY = (64, 3)  # steps and rows on which a model's parity is measured


def _network(forecaster: Forecaster, features: Features) -> Any:
    """The torch module, with weights of the seed."""
    import torch

    from recurra.models import ForecastNetwork

    cell, hidden = get(forecaster.cell), forecaster.hidden
    projection = (forecaster.projection or max(1, hidden // 2)) if cell.projection is not None else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(forecaster.seed)
        return ForecastNetwork(
            cell,
            features.input_size,
            hidden,
            horizon=features.horizon,
            known=features.ahead_size,
            seasons=features.season_size,
            levels=forecaster.quantiles,
            layers=forecaster.layers,
            projection=projection,
            dropout=forecaster.dropout,
        )


def learn(
    forecaster: Forecaster,
    bench: Bench,
    checkpoint: str | os.PathLike[str] | None,
    resume: bool,
    progress: Callable[[Progress], None] | None,
    baseline: float,
) -> tuple[Any, History]:
    """The network trained and calibrated, and how it went."""
    import torch

    from recurra.models import pinball

    features = bench.features
    network = _network(forecaster, features)
    stretches = Stretches(features, bench.pieces("train"), forecaster.batch, forecaster.chunk, forecaster.seed)
    epochs = forecaster.epochs or int(np.clip(-(-UPDATES // stretches.updates), *EPOCHS))
    settings = Settings(
        epochs=epochs,
        learning_rate=forecaster.learning_rate,
        clip=forecaster.clip,
        patience=forecaster.patience,
        seed=forecaster.seed,
    )
    levels = torch.tensor(forecaster.quantiles)
    state: Any = None

    def loss(chunk: Chunk) -> Any:
        nonlocal state
        reset = torch.from_numpy(chunk.reset) if chunk.reset.any() else None
        output, state = network(torch.from_numpy(chunk.rows), None if chunk.first else state, reset=reset)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return pinball(_quantiles(output, forecaster), torch.from_numpy(chunk.targets), levels)

    def validate() -> dict[str, float]:
        total = errors = count = 0.0
        for quantiles, targets, scales in _validated(network, bench, forecaster):
            there = ~targets.isnan()
            middle = quantiles[..., network.head.middle]
            errors += float(((targets.nan_to_num() - middle).abs() * there * scales).sum())
            total += float(pinball(quantiles, targets, levels)) * int(there.sum())
            count += int(there.sum())
        return {"valid_error": total / max(1, count), "valid_mae": errors / max(1, count)}

    with torch_threads(1 if forecaster.hidden <= ALONE else None):
        history = train(
            network,
            stretches.batches,
            loss,
            validate,
            settings,
            updates=stretches.updates,
            checkpoint=checkpoint,
            resume=resume,
            identity={"parameters": parameters_of(forecaster), "data": data_of(bench)},
            progress=progress and (lambda p: progress(replace(p, baseline_error=baseline))),
        )
        _calibrate(network, bench, forecaster)
    return network, history


def _calibrate(network: Any, bench: Bench, forecaster: Forecaster) -> None:
    """Fit the width of the intervals to the validation part."""
    import torch

    some: list[tuple[Any, Any]] = []
    with torch.no_grad():
        for quantiles, targets, _ in _validated(network, bench, forecaster):
            there = ~targets.isnan().all(-1)  # neither context nor padding
            some.append((quantiles[there], targets[there]))
    every = max(1, sum(len(targets) for _, targets in some) // MOST_CALIBRATED)
    quantiles, targets = (torch.cat(parts)[::every] for parts in zip(*some, strict=True))
    network.head.calibrate(quantiles, targets)


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


def _validated(network: Any, bench: Bench, forecaster: Forecaster) -> Iterator[tuple[Any, Any, Any]]:
    """Quantiles [T, B, N, Q] and targets [T, B, N] of the validation part, and the scale of each row [B, 1]."""
    import torch

    features = bench.features
    low, high = CONTEXT
    context = int(np.clip(2 * max(s for s in features.seasons if 2 * s <= high), low, high))
    for series, chunks in in_order(features, bench.pieces("valid"), context):
        scales = torch.tensor([[features.scaler(one.name).scale] for one in series])
        state = None
        for chunk in chunks:
            output, state = network(torch.from_numpy(chunk.rows), state)
            yield _quantiles(output, forecaster), torch.from_numpy(chunk.targets), scales


def _quantiles(output: Any, forecaster: Forecaster) -> Any:
    return output.unflatten(-1, (forecaster.horizon, len(forecaster.quantiles)))


def _sample(bench: Bench) -> NDArray[np.float32]:
    """Rows of the last series as far as they go, for the check of parity: [steps, rows, R]."""
    one = max(bench.series, key=len)
    steps = min(PARITY[0], len(one) // PARITY[1])
    ends = [len(one) - r * steps for r in range(PARITY[1])]
    return np.stack([bench.features.rows(one, end - steps, end) for end in ends], 1)


def to_runtime(forecaster: Forecaster, network: Any, bench: Bench) -> Model:
    """The trained network as a model, its parity measured."""
    from recurra.torch.export import to_model

    preprocessing = {
        "task": "forecast",
        "features": bench.features.to_dict(),
        "horizon": forecaster.horizon,
        "quantiles": [float(level) for level in forecaster.quantiles],
    }
    return to_model(network, _sample(bench), preprocessing=preprocessing)


def mean_trust(network: Any, bench: Bench) -> dict[str, list[float]]:
    """How much of each season the network takes, for each horizon: the mean over the sample."""
    import torch

    first = network.encoder.input_size
    with torch.no_grad():
        rows = torch.from_numpy(_sample(bench))
        shares = network.head.trust(network.encoder(rows[..., :first])[0], rows[..., first:]).mean((0, 1))
    return {str(season): shares[:, s].tolist() for s, season in enumerate(bench.features.seasons)}
