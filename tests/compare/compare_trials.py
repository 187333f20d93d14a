"""Trials with settings that are the same in many tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from recurra.compare.candidates import CANDIDATES
from recurra.compare.trial import Trial

PARAMS = {"learning_rate": 5e-3, "layers": 1, "dropout": 0.0, "window": 8, "alpha": 1.0, "strength": 1.0}


def tune(name: str, **changed: Any) -> Trial:
    chosen = {"epochs": 2, "patience": 10, "parameters": 1500, "seconds": 60.0, "seed": 3, "number": 0} | changed
    return Trial(asdict(CANDIDATES[name]), chosen.pop("stage", "tune"), params=dict(PARAMS), **chosen)


def final(name: str, **changed: Any) -> Trial:
    return tune(name, stage="final", **changed)
