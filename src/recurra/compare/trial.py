"""One trial: a candidate with what is tuned, trained from one seed. The same trial gives the same outcome anywhere.

A trial goes to a worker and an outcome comes back as JSON; an outcome of a final run also has arrays.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

STAGES = ("tune", "final")
MOST = {"stop": 256, "valid": 1024, "test": 4096}  # steps at which errors are measured: for early stopping, and after

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Trial:
    """What is to be run.

    Attributes:
        candidate: its fields, as JSON has them.
        stage: "tune", without the test part, or "final", with it.
        number: of the tuning trial or of the final run, from 0.
        params: what is tuned: learning_rate, layers, window, dropout, or those of a baseline.
        seed: of the initial weights and of the order of training.
        parameters: how many a network has, within 5 %.
        epochs, patience: see `Settings`.
        seconds: the longest that training may take.
    """

    candidate: dict[str, Any]
    stage: str
    number: int
    params: dict[str, Any]
    seed: int
    parameters: int
    epochs: int
    patience: int
    seconds: float

    @property
    def name(self) -> str:
        """Of the candidate."""
        return str(self.candidate["name"])

    @property
    def key(self) -> str:
        """Names its outcome in the folder of results; depends on all but the time that it may take."""
        content = asdict(self)
        del content["seconds"]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.name}-{self.stage}-{self.number}-{digest}"


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        key: of the trial.
        valid: the error on the validation part; NaN where the trial failed.
        loss: the validation loss, which decides between equal errors.
        test: the error of each unit of the test part; empty in tuning.
        parameters: how many numbers were learned.
        seconds: of training.
        epochs: that were trained.
        ended: "early" (no more progress), "epochs", "time" (it was cut), or "failed".
        history: [epoch, training loss, validation error, seconds] of each epoch.
        error: why it failed.
        example: see `example_of`.
        arrays: the trained weights of a final run by name, where it is a network.
    """

    key: str
    valid: float
    loss: float = 0.0
    test: list[float] = field(default_factory=list)
    parameters: int = 0
    seconds: float = 0.0
    epochs: int = 0
    ended: str = "early"
    history: list[list[float]] = field(default_factory=list)
    error: str = ""
    example: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    @property
    def rank(self) -> float:
        """The validation error, and a ten-thousandth of the loss: equal errors are many where sequences are few."""
        return self.valid + 1e-4 * min(self.loss, 100.0)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays."""
        content = {name: value for name, value in vars(self).items() if name != "arrays"}
        return content | {"valid": None if np.isnan(self.valid) else self.valid}

    @classmethod
    def from_json(cls, content: dict[str, Any], arrays: dict[str, Array] | None = None) -> Outcome:
        """What `to_json` gave, with the arrays."""
        valid = content["valid"]
        return cls(**content | {"valid": float("nan") if valid is None else valid}, arrays=arrays or {})
