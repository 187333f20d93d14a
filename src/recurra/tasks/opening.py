"""The task, the transform and a live session of a model that an estimator made; torch is not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recurra.data.transform import Transform
from recurra.errors import ModelFileError
from recurra.runtime import Model
from recurra.tasks.base import Task

if TYPE_CHECKING:
    from recurra.tasks.live.base import Live


def opened(model: Model, source: str = "the model") -> tuple[Task, Transform]:
    """The task of a model that an estimator made, and its transform.

    Raises:
        ModelFileError: there is none, or they are unreadable.
    """
    described = model.preprocessing
    name = described.get("task")
    if not isinstance(name, str):
        raise ModelFileError(f"{source}: the model has no task, expected one that an estimator of recurra wrote")
    kind = Task.named(name)
    try:
        transform = kind.transform_from(described.get("transform", described.get("features", {})))
        task = kind.from_dict(described)
        task.check_model(model, transform)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"{source}: its task is unreadable ({error}): save the model again") from error
    return task, transform


def open_live(model: Model, source: str = "the model") -> Live:
    """A live session of a model that an estimator made, whatever its task; torch is not imported.

    Raises:
        ModelFileError: it has no task, or that is unreadable.
        SessionError: the network reads sequences in both directions.
    """
    task, transform = opened(model, source)
    return task.live(model, transform)
