"""What every task is to the machinery: data in three parts, a loss, and the errors of a prediction.

A problem is plain arrays and settings, so that it can be written to a file for worker processes without pickle. What is
given to a tuning trial is `tuning_part()`: a problem whose test part is not there, so nothing can be tuned on it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.compare.candidates import Candidate

Array: TypeAlias = NDArray[Any]

PARTS = ("train", "valid", "test")


class Problem(ABC):
    """What the tasks have in common.

    Attributes:
        task: "forecast" or "classify".
        metric: what its error is, in words.
        input_size: I, the numbers that an encoder sees in a step.
        windows: lengths to choose from for what sees a window, the shortest first.
    """

    task: ClassVar[str]
    metric: str
    input_size: int
    windows: tuple[int, ...]

    @abstractmethod
    def tuning_part(self) -> Problem:
        """The same without the test part."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What a reader wants to know of the data, as JSON has it."""

    @abstractmethod
    def pack(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Its arrays and its settings."""

    @classmethod
    @abstractmethod
    def unpack(cls, arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> Problem:
        """From what `pack` gave."""

    @abstractmethod
    def head(self, width: int) -> nn.Module:
        """The layers from the features of an encoder to what is predicted."""

    @abstractmethod
    def updates(self, network: Any) -> int:
        """Steps of the optimizer in one epoch, at most."""

    @abstractmethod
    def steps(self, network: Any, rng: np.random.Generator) -> Iterator[Callable[[], Tensor]]:
        """One epoch: functions that give the loss of each step of the optimizer, called in their order."""

    @abstractmethod
    def evaluate(self, network: Any, part: str) -> Array:
        """The error of each unit (a sequence, or a stretch of time) of a part, in their order."""

    @abstractmethod
    def loss_of(self, network: Any, part: str) -> float:
        """The mean loss of a part, by which training stops."""

    @abstractmethod
    def evaluations(self, parts: Sequence[str]) -> float:
        """How many times the work of `loss_of` on the validation part it is to evaluate these parts."""

    @abstractmethod
    def fit_plain(self, candidate: Candidate, params: Mapping[str, Any]) -> Any:
        """Fit a naive or linear candidate on the training part."""

    @abstractmethod
    def evaluate_plain(self, fitted: Any, part: str) -> Array:
        """As `evaluate`, of what `fit_plain` gave."""

    def loss_plain(self, fitted: Any) -> float:
        """A validation loss to tell equal errors apart; 0 where errors are fine enough."""
        return 0.0

    @abstractmethod
    def count_plain(self, fitted: Any) -> int:
        """How many numbers such a candidate has learned."""

    def example(self, predictor: Any) -> dict[str, Any]:
        """Some predictions of the test part, for the report."""
        return {}

    @property
    def fingerprint(self) -> str:
        """Of all its arrays and settings."""
        arrays, settings = self.pack()
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(
                name.encode() + str(arrays[name].shape).encode() + np.ascontiguousarray(arrays[name]).tobytes()
            )
        return digest.hexdigest()


def to_bytes(problem: Problem) -> bytes:
    """A problem as one file: a ZIP archive of arrays, and JSON."""
    arrays, settings = problem.pack()
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("settings.json", json.dumps({"task": problem.task, **settings}))
    return out.getvalue()


def from_bytes(content: bytes) -> Problem:
    """What `to_bytes` wrote."""
    from recurra.compare.classify import Labelled
    from recurra.compare.forecast import Ahead

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        settings = json.loads(archive.read("settings.json"))
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    arrays = {name: loaded[name] for name in loaded.files if name != "settings.json"}
    kinds: dict[str, type[Problem]] = {kind.task: kind for kind in (Labelled, Ahead)}
    return kinds[settings.pop("task")].unpack(arrays, settings)
