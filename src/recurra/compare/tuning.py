"""What is tuned, by Optuna: the same number of trials for every candidate, and the same ones wherever they run.

Trials are asked for in rounds, and told in the order of their numbers, so the next round does not depend on which
worker was faster.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recurra.compare.candidates import Candidate
from recurra.errors import MissingExtraError

if TYPE_CHECKING:
    from recurra.tasks.bench import Bench

ROUND = 3  # trials of one candidate that may run at a time
STARTUP = 4  # trials before the sampler looks at results

# What each can take, as Optuna's distributions are made of them; the middle entry is tried first.
LEARNING_RATE = (3e-4, 3e-3, 2e-2)
DROPOUT = (0.0, 0.0, 0.1, 0.2)
LAYERS = (1, 2)
RANGES = ("learning_rate", "alpha", "strength")  # what is tuned on a logarithmic scale


def space(candidate: Candidate, bench: Bench) -> dict[str, tuple[Any, ...]]:
    """What is tuned of a candidate: by name a logarithmic range (least, first, most), or choices (first, others...).

    The depth of a convolution network follows from its window.
    """
    if not candidate.tuned:
        return {}
    windows = bench.task.windows(bench)
    if not candidate.neural:
        return next(b for b in bench.task.baselines if b.key == candidate.name).space(windows)
    found: dict[str, tuple[Any, ...]] = {"learning_rate": LEARNING_RATE, "dropout": tuple(dict.fromkeys(DROPOUT))}
    if candidate.kind != "cnn":
        found["layers"] = LAYERS
    if candidate.windowed or not bench.task.whole:
        found["window"] = (windows[-1], *windows[:-1])
    return found


class Study:
    """The tuning of one candidate: `ask` for what to try, `tell` how it went.

    Args:
        candidate: what is tuned.
        bench: tells the windows.
        trials: how many there are.
        seed: of the sampler.

    Raises:
        MissingExtraError: Optuna is not installed.
    """

    def __init__(self, candidate: Candidate, bench: Bench, trials: int, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingExtraError("a comparison", "Optuna", "compare") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.trials = space(candidate, bench), trials
        self._optuna = optuna
        own = zlib.crc32(f"{seed} {candidate.name}".encode())
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=own, n_startup_trials=STARTUP))
        self.first = {n: v[1] if _is_range(n) else v[0] for n, v in self.space.items()}
        self._study.enqueue_trial(self.first)
        self._asked: list[Any] = []
        self._results: dict[int, float] = {}
        self._told = 0

    @property
    def params(self) -> list[dict[str, Any]]:
        """What was asked for, by number."""
        return [dict(trial.params) for trial in self._asked]

    def ask(self) -> dict[str, Any] | None:
        """What to try next; None where the results of a round are waited for, or all has been asked."""
        if len(self._asked) == self.trials or len(self._asked) - self._told >= ROUND:
            return None
        if len(self._asked) % ROUND == 0 and self._told < len(self._asked):
            return None
        trial = self._study.ask(self._distributions())
        self._asked.append(trial)
        return dict(trial.params)

    def tell(self, number: int, valid: float) -> None:
        """The validation error of a trial; NaN where it failed."""
        self._results[number] = valid
        end = min(self.trials, (self._told // ROUND + 1) * ROUND)
        if all(n in self._results for n in range(self._told, end)):
            for n in range(self._told, end):
                value = self._results[n]
                if math.isfinite(value):
                    self._study.tell(self._asked[n], value)
                else:
                    self._study.tell(self._asked[n], state=self._optuna.trial.TrialState.FAIL)
            self._told = end

    @property
    def done(self) -> bool:
        """Whether every trial has its result."""
        return len(self._results) == self.trials

    @property
    def results(self) -> Mapping[int, float]:
        """The validation errors so far, by number."""
        return self._results

    def best(self) -> dict[str, Any] | None:
        """What was best on validation, the earliest of equals; what is tried first where nothing was finished; None
        where nothing has worked."""
        if not self._results:
            return dict(self.first)
        good = {n: v for n, v in self._results.items() if math.isfinite(v)}
        return self.params[min(good, key=lambda n: (good[n], n))] if good else None

    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {
            n: FloatDistribution(v[0], v[-1], log=True) if _is_range(n) else CategoricalDistribution(sorted(v))
            for n, v in self.space.items()
        }


def _is_range(name: str) -> bool:
    return name in RANGES
