"""Trials on a cluster, by Ray Tune: it asks our schedule for what to run through its interface for search algorithms.

The cluster is the one that `RAY_ADDRESS` names, else a Ray of its own on this machine.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from recurra.cluster import connected
from recurra.compare.engines import Source
from recurra.compare.run_trial import run_trial
from recurra.compare.store import decode, encode
from recurra.compare.trial import Outcome, Trial
from recurra.compare.worker import THREADS, one_thread
from recurra.errors import MissingExtraError
from recurra.tasks.bench import Bench


class OnRay:
    """Ray Tune, one core for each trial.

    Args:
        workers: how many trials at a time.
        tune, final: the data as bytes, without and with the test part.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, workers: int, tune: bytes, final: bytes) -> None:
        try:
            import ray.tune  # noqa: F401
        except ImportError:
            raise MissingExtraError("engine='ray'", "Ray Tune", "ray") from None
        self.workers, self.benches = workers, {"tune": tune, "final": final}

    def run(self, source: Source, tick: Callable[[], None]) -> None:
        """As `Engine.run`."""
        from ray import tune

        with connected(self.workers, THREADS), tempfile.TemporaryDirectory(prefix="recurra-ray-") as folder:
            trainable = tune.with_parameters(_train, benches=self.benches)
            tuner = tune.Tuner(
                tune.with_resources(trainable, {"cpu": 1}),
                tune_config=tune.TuneConfig(
                    search_alg=_search(source, tick),
                    num_samples=-1,
                    max_concurrent_trials=self.workers,
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                    time_budget_s=max(1.0, source.deadline - time.monotonic()),
                ),
                run_config=tune.RunConfig(verbose=0, storage_path=folder),
            )
            tuner.fit()


def _train(config: dict[str, Any], benches: dict[str, bytes]) -> dict[str, Any]:
    """What Ray runs."""
    one_thread()
    trial = Trial(**json.loads(config["trial"]))
    return {"outcome": json.dumps(encode(run_trial(trial, Bench.from_bytes(benches[trial.stage]))))}


def _name(trial: Any) -> str:
    """Of a trial on the cluster and of its folder."""
    return f"recurra-{trial.trial_id}"


def _search(source: Source, tick: Callable[[], None]) -> Any:
    """Our schedule as a search algorithm of Ray Tune's; the class is made here, for Ray is imported only when used."""
    from ray.tune.search import Searcher

    class Ask(Searcher):
        def __init__(self) -> None:
            super().__init__()
            self.keys: dict[str, str] = {}

        def suggest(self, trial_id: str) -> Any:
            trial = source.take()
            tick()
            if trial is None:
                return Searcher.FINISHED if source.finished else None
            self.keys[trial_id] = trial.key
            return {"trial": json.dumps(asdict(trial))}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            key = self.keys.pop(trial_id)
            if result and "outcome" in result:
                source.give(decode(json.loads(result["outcome"])))
            elif error:
                source.give(Outcome(key, float("nan"), ended="failed", error="its process on the cluster ended"))
            tick()

        def save(self, checkpoint_path: str) -> None:
            """Nothing: what is finished is in our store."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing."""

    return Ask()
