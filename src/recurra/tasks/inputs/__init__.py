"""`Input`: what kind of thing sequences are made of, which decides how they are read, turned into rows and run live.

Numbers are one kind; text is another. An estimator asks each kind that its task takes whether X is of it, the numbers
last. The kind is kept in the model file beside the task.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from recurra.data.sequences import Sequences
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import ModelFileError, SettingError

if TYPE_CHECKING:
    from recurra.runtime.model import Model
    from recurra.tasks.base import Task
    from recurra.tasks.baselines import Baseline
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.live.base import Live
    from recurra.torch import Embedding


@dataclass
class Input(ABC):
    """One kind of input; the fields of a subclass are its settings, which an estimator's `reading` may change.

    Attributes:
        name: the word in the model file, and of its module in `recurra.tasks.inputs`.
    """

    name: ClassVar[str]
    known: ClassVar[dict[str, type[Input]]] = {}

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            Input.known[cls.name] = cls

    @classmethod
    @abstractmethod
    def takes(cls, X: Any, given: Mapping[str, Any]) -> bool:
        """Whether X, with what was given beside it, is of this kind; it is not read yet."""

    @abstractmethod
    def read(self, task: Task, X: Any, **given: Any) -> Sequences:
        """What X holds, to learn from.

        Raises:
            DataError: it cannot be used; the message says where.
        """

    @abstractmethod
    def again(self, task: Task, X: Any, transform: Any, targets: bool, **given: Any) -> Sequences:
        """What X holds, to predict or, with `targets`, to evaluate.

        Raises:
            DataError: it cannot be used, or is not as in training.
        """

    @abstractmethod
    def transform(self, task: Task, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """What turns sequences into rows, learned from the training part."""

    @abstractmethod
    def transform_from(self, described: Mapping[str, Any]) -> Transform:
        """The transform of a model file."""

    @abstractmethod
    def live(self, task: Task, model: Model, transform: Any) -> Live:
        """A live session."""

    @abstractmethod
    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Sequences as arrays and JSON, for another process; without their targets."""

    @abstractmethod
    def unpack(self, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Sequences:
        """From what `pack` gave."""

    def cut(self, sequence: Any, end: int) -> dict[str, Any]:
        """The fields of a sequence that change where the steps from `end` on are left out, the target apart."""
        return {"x": sequence.x[:end]}

    def table(self, transform: Any) -> Embedding | None:
        """What a network has for the symbols of a row, in place of a plain `Embedding`; None: that, or nothing."""
        return None

    def begin(self, bench: Bench, table: Any) -> None:  # noqa: B027  (as it is made)
        """Give the network's table numbers to begin with, of the training part."""

    def hidden(self, sequence: Any, step: int) -> Any:
        """The same sequence with one step as if it were not known, for what `explain` says of it."""
        x = np.array(sequence.x)
        x[step] = np.nan
        return replace(sequence, x=x)

    def groups(self, sequences: Sequence[Any], parts: Any) -> list[str]:
        """What each sequence was taken from; no two parts may share one."""
        return [s.group for s in sequences]

    def named(self, sequence: Any) -> list[str]:
        """What to call the steps of a sequence."""
        return [str(t) for t in range(1, len(sequence) + 1)]

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """What a report of labels shows of this kind of input, ready for JSON."""
        return []

    def baselines(self, task: Task) -> tuple[type[Baseline], ...]:
        """What a network of the task must beat with this kind of input."""
        return type(task).baselines

    def suspicions(self, bench: Bench) -> list[str]:
        """What looks as if the data told what they should not, in words.

        Raises:
            LeakageError: they do.
        """
        return []

    def to_dict(self) -> dict[str, Any]:
        """As JSON: part of a model file."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def made(cls, settings: Mapping[str, Any] | None) -> Self:
        """With some settings.

        Raises:
            SettingError: there is none of a name.
        """
        names = [f.name for f in fields(cls)]
        odd = next((name for name in settings or {} if name not in names), None)
        if odd is not None:
            have = f"expected one of {', '.join(names)}" if names else "which has no settings"
            raise SettingError(f"reading: there is no setting {odd!r} of {cls.name}, {have}")
        return cls(**(settings or {}))


def kind_of(name: str) -> type[Input]:
    """The kind of that name; its module is imported if need be.

    Raises:
        ModelFileError: there is none.
    """
    if name not in Input.known and name.isidentifier():
        try:
            importlib.import_module(f"recurra.tasks.inputs.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"recurra.tasks.inputs.{name}":
                raise
    if name not in Input.known:
        raise ModelFileError(f"the input is {str(name)[:40]!r}, expected one of {', '.join(Input.known)}")
    return Input.known[name]


def input_of(names: Sequence[str], X: Any, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> Input:
    """The input of the first kind among `names` that takes X; of the last one where none does.

    Raises:
        SettingError: the settings are not of that kind.
    """
    kind = next((kind for kind in map(kind_of, names) if kind.takes(X, given)), kind_of(names[-1]))
    return kind.made(settings)


def input_from(described: Mapping[str, Any] | None) -> Input:
    """The input of a model file; numbers where none is named.

    Raises:
        ModelFileError: there is no such kind.
        TypeError: it has other settings.
    """
    settings = dict(described or {"name": "numbers"})
    return kind_of(str(settings.pop("name", "")))(**settings)
