"""What a comparison is asked to do, besides its data: how long, which candidates, how many seeds, where."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurra.errors import CompareError

ENGINES = ("local", "ray")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LEAST_BUDGET = 10.0  # seconds: below, not even the workers have started


def seconds_of(budget: str | float) -> float:
    """A length of time in seconds: "90s", "10m", "1.5h", or a number of seconds.

    Raises:
        CompareError: it is none of these, or shorter than 10 s.

    >>> seconds_of("10m"), seconds_of("1.5h"), seconds_of(30)
    (600.0, 5400.0, 30.0)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([smh]?)\s*", str(budget))
    if not match:
        raise CompareError(f"budget: got {budget!r}, expected a length of time such as 90s, 10m or 1.5h")
    seconds = float(match[1]) * _UNITS[match[2] or "s"]
    if not LEAST_BUDGET <= seconds < 1e7:
        raise CompareError(f"budget: got {budget!r}, expected at least {LEAST_BUDGET:.0f} s (and less than 100 days)")
    return seconds


@dataclass(frozen=True)
class Settings:
    """How to compare.

    Attributes:
        budget: wall-clock time of everything, "10m" or seconds; the comparison ends within 1.1 times that.
        candidates: names of `recurra.compare.CANDIDATES`, cells of the zoo, `my_cells.py:my_cell`, or cells; None: all
            that suit the task.
        seeds: how often each tuned candidate is trained anew.
        trials: tuning trials of each candidate.
        parameters: how many every network has, within 5 %.
        epochs: at most so many in one training.
        patience: epochs without a better validation score after which a training ends.
        out: folder of the results; None: nothing is kept.
        engine: "local", processes on this machine; "ray", Ray Tune on a cluster.
        workers: how many trainings at a time, each on one thread; None: one for each core.
        resume: go on with what is in `out`.
        seed: of every random choice.
    """

    budget: float | str = "10m"
    candidates: Sequence[Any] | None = None
    seeds: int = 3
    trials: int = 6
    parameters: int = 20_000
    epochs: int = 100
    patience: int = 20
    out: str | os.PathLike[str] | None = None
    engine: str = "local"
    workers: int | None = None
    resume: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("trials", 1), ("parameters", 100), ("epochs", 1), ("patience", 1)):
            value = getattr(self, name)
            if isinstance(value, np.integer):
                object.__setattr__(self, name, value := int(value))
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise CompareError(f"{name}: got {value!r}, expected a whole number of at least {least}")
        for name in ("workers", "seed"):
            if isinstance(value := getattr(self, name), np.integer):
                object.__setattr__(self, name, int(value))
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise CompareError(f"workers: got {self.workers!r}, expected a whole number of at least 1")
        if self.engine not in ENGINES:
            raise CompareError(f"engine: got {self.engine!r}, expected one of: {', '.join(ENGINES)}")
        if self.resume and self.out is None:
            raise CompareError("resume: there is no folder to go on with: give `out`, the folder of the earlier run")
        seconds_of(self.budget)

    @property
    def seconds(self) -> float:
        """The budget."""
        return seconds_of(self.budget)

    @property
    def cores(self) -> int:
        """How many trainings at a time."""
        return self.workers or cores()

    def check_out(self) -> None:
        """See that the folder can be made, and that it is not another run's.

        Raises:
            CompareError: it holds results, and `resume` was not asked for; or it is no folder.
        """
        if self.out is None:
            return
        folder = Path(self.out)
        if folder.exists() and not folder.is_dir():
            raise CompareError(f"{folder}: a file, expected a folder for the results: give another with --out")
        if (folder / "plan.json").exists() and not self.resume:
            raise CompareError(
                f"{folder}: holds an earlier comparison: use --resume to go on with it, or another --out"
            )
        if self.resume and not (folder / "plan.json").exists():
            raise CompareError(f"{folder}: holds no comparison to go on with: leave out --resume")

    def described(self) -> dict[str, Any]:
        """As JSON has it: what decides the results, without where and how fast."""
        kept = asdict(self)
        return {n: kept[n] for n in ("seeds", "trials", "parameters", "epochs", "patience", "seed")}


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
