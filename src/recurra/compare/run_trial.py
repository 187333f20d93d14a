"""Running a trial: train, and evaluate. The same trial gives the same outcome anywhere."""

from __future__ import annotations

import time
from typing import Any

from recurra.compare.candidates import Candidate
from recurra.compare.trial import MOST, Array, Outcome, Trial
from recurra.errors import RecurraError
from recurra.tasks.bench import Bench, NetworkPredictor, Predictor


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
    kind = next(b for b in (*bench.task.baselines, *bench.task.rivals) if b.key == candidate.name)
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
