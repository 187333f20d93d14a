"""`Served`: a model under a name, as a server sees it: states that take inputs and give answers.

There are two kinds. A model of a task has its own `Live`: an input is an observation, an answer what the task decodes,
as JSON (`decoder`). Any other is a program: an input is a row of numbers (or one whole number), an answer a row of
numbers (`program`).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recurra.errors import SessionError
from recurra.runtime.model import Model

if TYPE_CHECKING:
    from recurra.serve.held import Work

log = logging.getLogger("recurra.serve")


class Served(ABC):
    """A model under a name.

    Answers to several steps are bytes, one after the other.

    Attributes:
        name, model: as given.
        takes_json: whether inputs and answers are JSON; else they are numbers.
        size: bytes of the answer to a step; 0: each ends with a line feed.
        path: of its file; None where there is none.
        fingerprint: of the model, 32 bytes.
        architecture: of the model without its numbers, 64 characters; who has the same takes its sessions over.
        successor: the version that has taken its place; None: it is the one that is served.
    """

    takes_json: ClassVar[bool]
    size: int
    architecture: str

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model = name, model
        self.fingerprint = bytes.fromhex(model.fingerprint)
        self.path: Path | None = None
        self.successor: Served | None = None

    @abstractmethod
    def begin(self) -> Any:
        """A state at its beginning."""

    @abstractmethod
    def read(self, steps: Sequence[Any]) -> bytes:
        """Inputs of JSON as bytes.

        Raises:
            ServeError: they do not fit.
        """

    def frame(self, body: bytes) -> bytes:
        """Inputs as the body of a binary frame has them."""
        return body

    @abstractmethod
    def count(self, inputs: bytes) -> int:
        """How many steps these inputs are of.

        Raises:
            ServeError: they are of no whole number of steps, or cannot be read.
        """

    @abstractmethod
    def cut(self, inputs: bytes, steps: int) -> bytes:
        """Inputs without their first steps."""

    @abstractmethod
    def take(self, works: Sequence[Work]) -> None:
        """Take some steps of each of these works, whose sessions are all different: `Work.taken` of each."""

    @abstractmethod
    def first_answers(self, answers: bytes, steps: int) -> bytes:
        """Of some answers the first."""

    @abstractmethod
    def json(self, answers: bytes, first: int) -> list[Any]:
        """Answers, ready for JSON; `first`: the sequence number of the first of them."""

    @abstractmethod
    def binary(self, answers: bytes) -> bytes:
        """Answers as the body of a binary frame."""

    @abstractmethod
    def snapshot(self, state: Any) -> bytes:
        """A state as bytes."""

    @abstractmethod
    def restore(self, snapshot: bytes, version: bool = False) -> Any:
        """A state from its bytes.

        Args:
            snapshot: from `snapshot`.
            version: whether it may be of another version of this model.

        Raises:
            SessionError: they are of another model, or damaged.
        """

    @abstractmethod
    def states(self, state: Any) -> dict[str, list[float]]:
        """What the network remembers, by name."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a client needs to know of it."""


def open_served(path: Path, name: str) -> Served:
    """A model file as a server serves it.

    Raises:
        ModelFileError, SessionError: it is no model, or one that cannot stream.
        OSError: it cannot be read.
    """
    from recurra.runtime import load
    from recurra.serve.decoder import Decoder
    from recurra.serve.program import Program

    model = load(path)
    try:
        found = Decoder(name, model, str(path)) if "task" in model.preprocessing else Program(name, model)
    except SessionError as error:
        raise SessionError(f"{path}: {error}") from error
    found.path = path
    return found
