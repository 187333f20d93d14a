"""What a comparison has found: a table of plain numbers, a verdict in words, and what was cut."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recurra.compare.candidates import Candidate
from recurra.compare.statistics import LEVEL, holm, interval, paired
from recurra.compare.trial import Outcome
from recurra.errors import CompareError
from recurra.files import write_atomically

FORMAT = 1

Row = dict[str, Any]


@dataclass
class Comparison:
    """A finished comparison.

    Attributes:
        task: "forecast" or "classify".
        metric: what the errors are; less is better.
        data: what was compared on.
        rows: a dict for each candidate, the best on validation first; see `row_of` and `recurra.compare.measure`.
        refused: candidates that cannot do this task, with the reason.
        verdict: sentences, drawn from the rows.
        suspicions: what looked like leakage.
        cut: what was planned and not finished, in words.
        settings: what was asked for.
        machine: what times depend on.
        seconds: that it took.
        model: the file of the best candidate that runs live, or "".
    """

    task: str
    metric: str
    data: dict[str, Any]
    rows: list[Row]
    refused: dict[str, str] = field(default_factory=dict)
    verdict: list[str] = field(default_factory=list)
    suspicions: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    model: str = ""

    @property
    def winner(self) -> Row:
        """The best on validation.

        Raises:
            CompareError: nothing was finished.
        """
        if not self.rows or self.rows[0]["valid"] is None:
            raise CompareError("the comparison has no winner: nothing was finished; go on with resume")
        return self.rows[0]

    def row(self, name: str) -> Row:
        """The row of a candidate.

        Raises:
            CompareError: it is not there.
        """
        for row in self.rows:
            if row["name"] == name:
                return row
        raise CompareError(
            f"no candidate is called {name!r}, expected one of: {', '.join(r['name'] for r in self.rows)}"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {"format": FORMAT, **asdict(self)}

    def save(self, path: str | Path) -> None:
        """Write `compare.json` in one move."""
        write_atomically(path, (json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """What `save` wrote.

        Raises:
            CompareError: the file is something else.
        """
        try:
            content = json.loads(Path(path).read_text())
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CompareError(f"{path}: no comparison of this version ({error}), expected compare.json") from error

    def __str__(self) -> str:
        from recurra.compare.table import as_text

        return as_text(self)


def row_of(
    candidate: Candidate, finals: Mapping[int, Outcome], tuned: Mapping[int, Outcome], params: Mapping[str, Any] | None
) -> Row:
    """The row of one candidate, before anything is measured of it.

    Its entries: `name`, `kind`, `words`; `valid`, the mean validation error of the final runs (of the best tuning trial
    where there are none), and `rank`, which also has the loss, to tell equal errors apart; `test`, the mean over
    `seeds`, and `interval`, 95 % over them; `parameters`; `params`, what was tuned; `tuning_trials`; `train_seconds`,
    `epochs` of a run; `cut`, whether time ended one; `history` and `example` of the best run; `error`, why it failed;
    `live`, and `refusal`, why not.
    """
    good = [finals[k] for k in sorted(finals) if math.isfinite(finals[k].valid)]
    tried = [o.valid for o in tuned.values() if math.isfinite(o.valid)]
    failed = [o.error for o in (*finals.values(), *tuned.values()) if o.error]
    tests = [float(np.mean(o.test)) for o in good if o.test]
    valid = float(np.mean([o.valid for o in good])) if good else min(tried, default=math.nan)
    best = min(good, key=lambda o: o.rank, default=None)
    span = interval(tests)
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "words": candidate.words,
        "valid": valid if math.isfinite(valid) else None,
        "rank": float(np.mean([o.rank for o in good])) if good else valid if math.isfinite(valid) else None,
        "test": float(np.mean(tests)) if tests else None,
        "interval": list(span) if span else None,
        "seeds": tests,
        "parameters": best.parameters if best else None,
        "params": dict(params or {}),
        "tuning_trials": len(tuned),
        "train_seconds": float(np.mean([o.seconds for o in good])) if good else None,
        "epochs": float(np.mean([o.epochs for o in good])) if good else None,
        "cut": any(o.ended == "time" for o in good),
        "history": best.history if best else [],
        "example": best.example if best else {},
        "error": "" if good or not failed else failed[0],
        "live": not candidate.refusal,
        "refusal": candidate.refusal,
        "p": None,
        "gain": None,
        "p_best": None,
    }


def add_tests(rows: Sequence[Row], units: Mapping[str, np.ndarray]) -> str | None:
    """Sort the rows by validation error, and add to each its gain over the best naive baseline and paired tests.

    `gain` is the share of the naive error that is saved; `p` the p-value against the naive baseline, Holm's for all
    candidates together; `p_best` that against the winner, each by itself: the best on validation of those that beat the
    naive baseline on the test part, or of all if none does.

    Args:
        rows: of all candidates.
        units: the errors of each unit of the test part by candidate, the mean over seeds.

    Returns:
        The name of the best naive baseline on validation.
    """
    naive = [r for r in rows if r["kind"] == "naive" and r["name"] in units and r["valid"] is not None]
    base = min(naive, key=lambda r: r["rank"], default=None)
    others = [r for r in rows if r["kind"] != "naive" and r["name"] in units and r["valid"] is not None]
    if base is not None:
        raw = {r["name"]: paired(units[r["name"]], units[base["name"]]) for r in others}
        adjusted = holm(raw)
        for r in others:
            r["p"] = adjusted[r["name"]]
            r["gain"] = 1 - r["test"] / base["test"] if base["test"] else 0.0
    winners = [r for r in others if r["p"] is not None and r["p"] < LEVEL and r["gain"] > 0]
    best = min(winners or others, key=lambda r: r["rank"], default=None)
    if best is not None:
        for r in (*others, *naive):
            if r is not best:
                r["p_best"] = paired(units[r["name"]], units[best["name"]])
    return base["name"] if base is not None else None


def sort_rows(rows: list[Row]) -> None:
    """The best on validation first; what has no result last."""
    rows.sort(key=lambda r: (r["test"] is None, math.inf if r["rank"] is None else r["rank"]))
