"""What a report shows of risks that change over time: some histories, what moved them, and whether they are honest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recurra.tasks.baselines import Floats
from recurra.tasks.calibration import auroc, reliability

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench, ModelPredictor

SHOWN = 2  # histories with the outcome that are drawn, and as many without
NAMED = 4  # variables that moved a risk
ASKED = 100  # histories of the test part that are asked what moved them


def risk_sections(bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
    """Of two labels, the probability of the last one as a risk; of more, nothing."""
    task: Any = bench.task
    pieces = bench.pieces("test")
    if len(task.labels) != 2 or not pieces:
        return []
    label = str(task.labels[-1].item())
    truth, answers = bench.predictions(predictor, pieces)
    there = np.isfinite(truth)
    said, happened = answers[there, -1], truth[there]
    found = {"kind": "reliability", "label": label, "auroc": auroc(said, happened), **reliability(said, happened)}
    sequences = [piece.sequence for piece in pieces]
    shown = [_history(predictor, s, label) for s in _chosen(predictor, sequences)]
    return [{"kind": "risks", "label": label, "histories": shown}, _moves(predictor, sequences, label), found]


def moved(predictor: ModelPredictor, sequence: Any) -> Floats:
    """By how much each variable moved the last risk [V]: less the risk where it was never measured."""
    transform: Any = predictor.transform
    rows = np.stack([transform.without(row) for row in transform.rows(sequence, 0, len(sequence))])
    outputs = predictor.model.session(batch=rows.shape[1]).run(rows)[-1]
    risks: Floats = predictor.task.decode(outputs, transform, sequence.name)[:, -1].astype(np.float64)
    moves: Floats = risks[0] - risks[1:]
    return moves


def _chosen(predictor: ModelPredictor, sequences: list[Any]) -> list[Any]:
    """Of those with the outcome and of those without, the greatest last risk and the middle one."""
    ends = np.array([predictor.predict(s, len(s) - 1, len(s))[-1, -1] for s in sequences])
    truth = np.array([_outcome(s) for s in sequences])
    found = []
    for outcome in (True, False):
        of = np.flatnonzero(truth == outcome)
        of = of[np.argsort(-ends[of], kind="stable")]
        found += [sequences[of[k]] for k in dict.fromkeys((0, len(of) // 2)) if k < len(of)][:SHOWN]
    return found


def _outcome(sequence: Any) -> bool:
    """Whether the last label was there at any step."""
    return bool(np.nanmax(np.append(np.ravel(sequence.target), 0.0)) > 0)


def _history(predictor: ModelPredictor, sequence: Any, label: str) -> dict[str, Any]:
    variables, values = predictor.transform.inputs[1:], sequence.x[:, 1:]
    moves = moved(predictor, sequence)
    most = []
    for k in np.argsort(-np.abs(moves), kind="stable")[:NAMED]:
        known: NDArray[Any] = values[np.isfinite(values[:, k]), k]
        if len(known):
            most.append([variables[k], float(known[-1]), float(moves[k])])
    return {
        "name": sequence.name,
        "outcome": _outcome(sequence),
        "time": sequence.x[:, 0].tolist(),
        "risk": predictor.predict(sequence, 0, len(sequence))[:, -1].tolist(),
        "moved": most,
    }


def _moves(predictor: ModelPredictor, sequences: list[Any], label: str) -> dict[str, Any]:
    """The mean size of each variable's move over some histories, the greatest first."""
    every = max(1, -(-len(sequences) // ASKED))
    sizes = np.mean([np.abs(moved(predictor, s)) for s in sequences[::every]], 0)
    order = np.argsort(-sizes, kind="stable")[:12]
    names = [predictor.transform.inputs[1 + k] for k in order]
    return {"kind": "moves", "label": label, "variables": names, "moves": sizes[order].tolist()}
