"""The folder of a comparison: its plan, and each outcome as soon as there is one, so that it can be gone on with."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recurra.compare.trial import Array, Outcome
from recurra.errors import CompareError
from recurra.files import write_atomically


class Store:
    """Outcomes by key, written as they come.

    Args:
        folder: exists.
        plan: what the results depend on: data, settings, candidates.

    Raises:
        CompareError: the folder holds a comparison of another plan, or a file of it is damaged.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self.folder, self._file = folder, folder / "plan.json"
        self._begun = time.monotonic()
        self._state: dict[str, Any] = {"plan": json.loads(json.dumps(plan)), "slots": {}, "seconds": 0.0}
        if self._file.exists():
            state = _read(self._file)
            different = [n for n in self._state["plan"] if state.get("plan", {}).get(n) != self._state["plan"][n]]
            if different:
                raise CompareError(
                    f"{folder}: the comparison there has another {' and '.join(different)}: resume with the same data "
                    "and settings, or give another --out"
                )
            self._state = state
        self.spent = float(self._state["seconds"])
        (folder / "trials").mkdir(exist_ok=True)
        self._write()

    def slot(self, stage: str, seconds: float) -> float:
        """The time for each trial of a stage: what the earlier run had, else `seconds`, which is kept."""
        slot = float(self._state["slots"].setdefault(stage, seconds))
        self._write()
        return slot

    def outcome(self, key: str) -> Outcome | None:
        """What is kept of a trial."""
        path = self.folder / "trials" / f"{key}.json"
        return decode(_read(path)) if path.exists() else None

    def keep(self, outcome: Outcome) -> None:
        """Write an outcome, and how much time has been spent."""
        path = self.folder / "trials" / f"{outcome.key}.json"
        write_atomically(path, json.dumps(encode(outcome)).encode())
        self._write()

    def _write(self) -> None:
        self._state["seconds"] = self.spent + time.monotonic() - self._begun if hasattr(self, "spent") else 0.0
        write_atomically(self._file, json.dumps(self._state, indent=1).encode())


def encode(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON, arrays and all."""
    arrays = {n: [list(a.shape), base64.b64encode(_little(a)).decode()] for n, a in outcome.arrays.items()}
    return outcome.to_json() | {"arrays": arrays}


def decode(content: dict[str, Any]) -> Outcome:
    """What `encode` gave."""
    arrays: dict[str, Array] = {}
    for name, (shape, text) in content.pop("arrays").items():
        arrays[name] = np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32).reshape(shape)
    return Outcome.from_json(content, arrays)


def _little(array: Array) -> bytes:
    return array.astype("<f4").tobytes()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise CompareError(f"{path}: damaged ({error}): delete it, and resume") from error
