"""Which trial comes next: tuning for all, then final runs, within a budget. What is finished is not run again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from recurra.compare.candidates import Candidate
from recurra.compare.settings import Settings
from recurra.compare.store import Store
from recurra.compare.trial import Outcome, Trial
from recurra.compare.tuning import Study
from recurra.tasks.bench import Bench

TUNING = 0.55  # the share of training time after which tuning is over
REST = 0.1  # the share of the budget that is kept for measurements and the report,
LEAST, MOST_LEAST = 20.0, 0.3  # at least so many seconds, or this share of a short budget
USUAL = ("gru", "lstm")  # of the recurrent networks, which a short budget has first
GRACE = 0.03  # a share of the budget in which the last trials may still end


class Schedule:
    """What an engine asks for trials, and tells their outcomes.

    Args:
        bench: tells what can be tuned.
        candidates: in the order of the report.
        settings: seeds, trials, budget.
        store: where outcomes are kept.
        started: when the budget began, of `time.monotonic`.

    Attributes:
        finals: the outcomes of final runs by candidate, in the order of seeds.
        notes: what was cut, in words.
    """

    def __init__(
        self, bench: Bench, candidates: Sequence[Candidate], settings: Settings, store: Store, started: float
    ) -> None:
        self.candidates, self.settings, self.store = list(candidates), settings, store
        self.budget, self.started = settings.seconds, started
        self.studies = {c.name: Study(c, bench, settings.trials, settings.seed) for c in candidates if c.tuned}
        self._turns = _turns(candidates)
        self.running: dict[str, Trial] = {}
        self.finals: dict[str, dict[int, Outcome]] = {c.name: {} for c in candidates}
        self.final_params: dict[str, dict[str, Any]] = {}
        self.tuned: dict[str, dict[int, Outcome]] = {name: {} for name in self.studies}
        self._training = self.budget - max(REST * self.budget, min(LEAST, MOST_LEAST * self.budget))
        self._left: list[Trial] | None = None
        self._back: list[Trial] = []
        count = sum(settings.trials for name in self.studies)
        self._slot = store.slot("tune", self._left_for(TUNING) * settings.cores / max(1, count))

    @property
    def deadline(self) -> float:
        """When the last trial must have ended, of `time.monotonic`."""
        return self.started + self._training + GRACE * self.budget

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to run or to wait for, or no more time."""
        if time.monotonic() > self.deadline:
            return True
        if self.running or self._back or self._left is None:
            return False
        return not self._left or self._left_for(1.0) <= 0

    def replay(self) -> None:
        """Take in what an earlier run has finished, as far as that goes without running anything."""
        waiting = []
        while (trial := self.take()) is not None:
            waiting.append(trial)
        for trial in waiting:
            del self.running[trial.key]
        self._back = waiting

    def take(self) -> Trial | None:
        """The next trial to run; None where others must end first, or nothing is left, or no time for it."""
        while True:
            trial = self._back.pop(0) if self._back else self._next()
            if trial is None:
                return None
            kept = self.store.outcome(trial.key)
            in_time = self._left_for(TUNING if trial.stage == "tune" else 1.0) > 0
            if kept is not None and (kept.ended != "failed" or not in_time):
                self.running[trial.key] = trial
                self.give(kept, again=True)
            elif in_time:  # also what failed: that may have been the machine's fault
                self.running[trial.key] = trial
                return trial

    def give(self, outcome: Outcome, again: bool = False) -> None:
        """A trial has ended. Unless it is read from the store (`again`), its outcome is written there first."""
        trial = self.running.pop(outcome.key)
        if not again:
            self.store.keep(outcome)
        if trial.stage == "tune":
            self.tuned[trial.name][trial.number] = outcome
            self.studies[trial.name].tell(trial.number, outcome.rank)
        else:
            self.finals[trial.name][trial.number] = outcome

    def naive_left(self) -> list[Trial]:
        """The naive candidates that have not been run: they take no time, so they are always there."""
        left = [c for c in self.candidates if c.kind == "naive" and not self.finals[c.name]]
        return [self._trial(c.name, "final", 0, {}, 1.0) for c in left]

    def progress(self) -> tuple[int, int]:
        """Trials that have ended, and all that are planned."""
        ended = sum(len(t) for t in self.tuned.values()) + sum(len(f) for f in self.finals.values())
        planned = self.settings.trials * len(self.studies) + sum(self._runs(c) for c in self.candidates)
        return ended, planned

    def trial(self, name: str, number: int) -> Trial:
        """The final run of a candidate with one seed."""
        return self._trial(name, "final", number, self.final_params[name], 0.0)

    def cut(self) -> list[str]:
        """What was planned and did not happen, in words."""
        trials, runs, late = [], [], []
        for c in self.candidates:
            finals, planned = self.finals[c.name], self._runs(c)
            done = len(self.studies[c.name].results) if c.tuned else self.settings.trials
            if done < self.settings.trials:
                trials.append(f"{c.name} {done} of {self.settings.trials}")
            if len(finals) < planned:
                runs.append(f"{c.name} {len(finals)} of {planned}")
            epochs = [str(o.epochs) for o in finals.values() if o.ended == "time"]
            if epochs:
                late.append(f"{c.name} at {', '.join(epochs)}")
        notes = [("tuning trials", trials), ("final runs", runs), (f"epochs of {self.settings.epochs}", late)]
        return [f"{what}: {'; '.join(each)}" for what, each in notes if each]

    def _left_for(self, share: float) -> float:
        return self.started + share * self._training - time.monotonic()

    def _runs(self, candidate: Candidate) -> int:
        return self.settings.seeds if candidate.neural else 1

    def _next(self) -> Trial | None:
        if self._left is None:
            trial = self._next_tuning()
            if trial is not None or self.running:
                return trial
            self._begin_finals()
        assert self._left is not None
        return self._left.pop(0) if self._left else None

    def _next_tuning(self) -> Trial | None:
        """A trial of the candidate whose turn it is: every candidate has the same number before any has more, and every
        kind has its first before any has its second, so that a short budget has all kinds."""
        for name in sorted(self.studies, key=lambda n: (len(self.studies[n].params), self._turns[n])):
            params = self.studies[name].ask()
            if params is not None:
                return self._trial(name, "tune", len(self.studies[name].params) - 1, params, self._slot)
        return None

    def _begin_finals(self) -> None:
        chosen: dict[str, Mapping[str, Any]] = {}
        for c in self.candidates:
            best = self.studies[c.name].best() if c.tuned else {}
            if best is not None:
                chosen[c.name] = best
                self.final_params[c.name] = dict(best)
        ordered = sorted(self.candidates, key=lambda c: self._turns[c.name])
        plan = [(k, c) for k in range(self.settings.seeds) for c in ordered if k < self._runs(c)]
        plan = [(k, c) for k, c in plan if c.name in chosen]
        heavy = sum(c.neural for _, c in plan)
        slot = self.store.slot("final", self._left_for(1.0) * self.settings.cores / max(1, heavy))
        self._left = [self._trial(c.name, "final", k, dict(chosen[c.name]), slot) for k, c in plan]

    def _trial(self, name: str, stage: str, number: int, params: dict[str, Any], slot: float) -> Trial:
        candidate = next(c for c in self.candidates if c.name == name)
        s = self.settings
        seed = s.seed + (number if stage == "final" else 1000)
        return Trial(asdict(candidate), stage, number, params, seed, s.parameters, s.epochs, s.patience, max(0.1, slot))


def _turns(candidates: Sequence[Candidate]) -> dict[str, tuple[int, int]]:
    """Whose turn comes before whose: the first of each kind, then the second, the usual recurrent networks first."""
    by_kind: dict[str, list[str]] = {}
    for c in sorted(candidates, key=lambda c: c.name not in USUAL):
        by_kind.setdefault(c.kind, []).append(c.name)
    order = {c.name: place for place, c in enumerate(candidates)}
    return {name: (k, order[name]) for names in by_kind.values() for k, name in enumerate(names)}
