"""One trial: a candidate with what is tuned, trained from one seed. The same trial gives the same outcome anywhere.

A trial goes to a worker and an outcome comes back as JSON; an outcome of a final run also has arrays.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.compare.candidates import Candidate
from recurra.errors import RecurraError
from recurra.tasks.bench import Bench, NetworkPredictor, Predictor

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


def run_trial(trial: Trial, bench: Bench) -> Outcome:
    """Train and evaluate. What goes wrong is in the outcome: one candidate that fails does not end a comparison.

    Args:
        trial: what to run.
        bench: the data, without their test part in a tuning trial.
    """
    candidate = Candidate(**trial.candidate)
    start = time.perf_counter()
    try:
        outcome = _run_network(trial, candidate, bench) if candidate.neural else _run_baseline(trial, candidate, bench)
    except Exception as error:  # of whatever kind: it is reported, and the others go on
        message = " ".join(f"{'' if isinstance(error, RecurraError) else type(error).__name__ + ': '}{error}".split())
        outcome = Outcome(trial.key, float("nan"), ended="failed", error=message[:300])
    outcome.seconds = outcome.seconds or time.perf_counter() - start
    return outcome


def fit_baseline(candidate: Candidate, bench: Bench, params: dict[str, Any]) -> Any:
    """A naive or linear candidate, fitted to the training part."""
    kind = next(b for b in bench.task.baselines if b.key == candidate.name)
    return kind.fit(bench, params)


def _run_baseline(trial: Trial, candidate: Candidate, bench: Bench) -> Outcome:
    start = time.perf_counter()
    fitted = fit_baseline(candidate, bench, trial.params)
    seconds = time.perf_counter() - start
    outcome = Outcome(trial.key, _error(bench, fitted), _tie(bench, fitted), seconds=seconds, epochs=1)
    outcome.parameters = fitted.parameters
    return _tested(trial, outcome, bench, fitted)


def _run_network(trial: Trial, candidate: Candidate, bench: Bench) -> Outcome:
    import torch

    from recurra.compare.training import train

    start = time.perf_counter()
    torch.manual_seed(trial.seed)
    network, count = network_of(trial, candidate, bench)
    trained = train(network, bench, trial, time.perf_counter() - start)
    predictor = NetworkPredictor(bench.task, bench.transform, network)
    outcome = Outcome(trial.key, _error(bench, predictor), trained.loss, parameters=count, seconds=trained.seconds)
    outcome.epochs, outcome.ended, outcome.history = len(trained.history), trained.ended, trained.history
    if trial.stage == "final":
        outcome.arrays = {n: p.detach().numpy().copy() for n, p in network.state_dict().items()}
    return _tested(trial, outcome, bench, predictor)


def _error(bench: Bench, predictor: Predictor) -> float:
    return float(bench.errors(predictor, bench.blocks("valid", MOST["valid"])).mean())


def _tie(bench: Bench, predictor: Predictor) -> float:
    """What tells equal errors of baselines apart: another metric, where answers are few enough to be equal."""
    metric = bench.task.metrics[-1]
    return (
        metric.value(*bench.predictions(predictor, bench.pieces("valid"))) if metric.less and bench.task.whole else 0.0
    )


def _tested(trial: Trial, outcome: Outcome, bench: Bench, predictor: Predictor) -> Outcome:
    """With what is measured on the test part, in a final run."""
    if trial.stage == "final":
        outcome.test = bench.errors(predictor, bench.blocks("test", MOST["test"])).tolist()
        outcome.example = bench.task.example(bench, predictor)
    return outcome


def network_of(trial: Trial, candidate: Candidate, bench: Bench, arrays: dict[str, Array] | None = None) -> Any:
    """The network of a trial, not trained, and its number of parameters; or with the arrays of an outcome."""
    import torch
    from torch import nn

    from recurra.compare.matching import matched
    from recurra.models import Network

    task, transform, dropout = bench.task, bench.transform, trial.params.get("dropout", 0.0)

    def head(width: int) -> nn.Module:
        return task.head(width, transform, dropout)

    encoder, top, count = matched(candidate, trial.params, transform.input_size, head, trial.parameters)
    network = Network(encoder, top, task.link(), task.whole)
    if arrays is not None:
        network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        network.eval()
    return network, count
