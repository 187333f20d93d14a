"""What of a sequence made a label probable: each step is hidden in its turn (Zeiler and Fergus 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.tasks.baselines import Floats

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench, Predictor

SHOWN, WORDS = 4, 4  # texts of a report that are right, and that are wrong; tokens of each


@dataclass(frozen=True)
class Explanation:
    """What made a label probable.

    Attributes:
        label: the one that was asked for, or the most probable.
        probability: of it.
        steps: the tokens of a text, or the numbers of steps.
        effects: by how much the probability is less where that step is not known; below zero it speaks against.
    """

    label: Any
    probability: float
    steps: tuple[str, ...]
    effects: tuple[float, ...]

    def __str__(self) -> str:
        most = sorted(zip(self.effects, self.steps, strict=True), key=lambda pair: -abs(pair[0]))[:WORDS]
        return f"{self.label} ({self.probability:.0%}): " + ", ".join(f"{name} {effect:+.2f}" for effect, name in most)


def explained(task: Any, predictor: Predictor, sequence: Any, label: int | None = None) -> Explanation:
    """The explanation of an answer to a whole sequence."""

    def shares(one: Any) -> Floats:
        found: Floats = predictor.predict(one, len(one) - 1, len(one))[0]
        return found

    given = shares(sequence)
    k = int(given.argmax()) if label is None else label
    effects = [float(given[k] - shares(task.input.hidden(sequence, t))[k]) for t in range(len(sequence))]
    return Explanation(task.labels[k].item(), float(given[k]), tuple(task.input.named(sequence)), tuple(effects))


def examples(bench: Bench, predictor: Predictor) -> dict[str, Any]:
    """Texts of the test part for a report: the surest that are wrong, and some that are right."""
    pieces = bench.pieces("test")
    labels = bench.task.labels  # type: ignore[attr-defined]
    answers = np.stack([predictor.predict(*piece)[-1] for piece in pieces])
    truth = np.array([int(piece.sequence.target) for piece in pieces])
    sure = np.argsort(-answers.max(1), kind="stable")
    wrong = [i for i in sure if answers[i].argmax() != truth[i]][:SHOWN]
    found_right = [i for i in sorted(sure) if answers[i].argmax() == truth[i]]
    right = found_right[:: max(1, len(found_right) // SHOWN)][:SHOWN]
    rows = []
    for i in [*wrong, *right]:
        found = explained(bench.task, predictor, pieces[i].sequence)
        most = sorted(zip(found.effects, found.steps, strict=True), key=lambda pair: -abs(pair[0]))[:WORDS]
        spoken = ", ".join(f"{name} {effect:+.2f}" for effect, name in most)
        text = " ".join(found.steps) if len(found.steps) <= 60 else " ".join([*found.steps[:60], "…"])
        rows.append([text, str(labels[truth[i]]), f"{found.label} ({found.probability:.0%})", spoken])
    headings = ["text", "in truth", "it says", "less probable without"]
    heading = "Texts, and the tokens that count"
    return {"kind": "table", "heading": heading, "headings": headings, "rows": rows, "texts": True}
