"""Where the training of a forecaster goes on from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from recurra.data.forecasting.features import Features
from recurra.errors import SettingError
from recurra.runtime import Branches, Model, load
from recurra.tasks.opening import opened


def beginning(given: Any, horizon: int, quantiles: Sequence[float]) -> tuple[Model, Features] | None:
    """The model that training begins from, and its transform; None where nothing was given.

    Args:
        given: a fitted forecaster, a model of the runtime, or its file.
        horizon, quantiles: of the forecaster to train.

    Raises:
        SettingError: it is no model, or of another horizon or other levels.
    """
    if given is None:
        return None
    model = load(given) if isinstance(given, (str, os.PathLike)) else getattr(given, "model_", given)
    if not isinstance(model, Model):
        raise SettingError(f"init_model: got {type(given).__name__}, expected a fitted Forecaster, or a model's file")
    task, transform = opened(model, "init_model")
    if not isinstance(transform, Features):
        raise SettingError(f"init_model: its task is {task.name!r}, expected a forecaster's model")
    said, wanted = (transform.horizon, task.quantiles), (horizon, tuple(map(float, quantiles)))  # type: ignore[attr-defined]
    if said != wanted:
        raise SettingError(
            f"init_model: its horizon and quantiles are {said[0]} and {said[1]}, expected {wanted[0]} and {wanted[1]}, "
            "as of the forecaster to train"
        )
    if any(isinstance(op, Branches) for op in model.ops):
        raise SettingError("init_model: it is the mean of several networks, expected one: fit it with members=1")
    return model, transform
