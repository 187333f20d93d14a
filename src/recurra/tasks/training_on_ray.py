"""Training by many workers: Ray Train starts them, gloo carries their gradients, and N give the bits of one."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.cells import Cell, from_text
from recurra.cluster import connected
from recurra.errors import ClusterError, RecurraError, SettingError
from recurra.tasks.bench import Bench
from recurra.tasks.learn import PLACE, Plan, Recipe, train_here
from recurra.tasks.shards import SHARDS, Shards
from recurra.train import History, Progress

if TYPE_CHECKING:
    from recurra.models import Network

_ASKED = 0.2  # seconds between two looks at what the workers say
_AGAIN = 3  # times that workers are started anew, where there is a checkpoint
_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@contextmanager
def training_on_ray(workers: int) -> Iterator[None]:
    """Within this, whatever is fitted is trained by so many workers.

    Each batch is cut into eight shards, whose gradients are summed in one order: the weights are the same, to the last
    bit, however many workers there are. They are others than those without Ray, which sums over whole batches.

    Raises:
        SettingError: workers is less than 1 or more than the shards of a batch.
        ClusterError: when something is fitted, the cluster cannot be reached, or is too small.

    >>> with training_on_ray(2):  # doctest: +SKIP
    ...     forecaster.fit("demand.csv", target="Demand")
    """
    if not 1 <= workers <= SHARDS:
        raise SettingError(f"fit: --workers is {workers}, expected 1 to {SHARDS}: a batch has so many shards")
    with ExitStack() as started:
        token = PLACE.set(OnRay(workers, started))
        try:
            yield
        finally:
            PLACE.reset(token)


class OnRay:
    """A place where networks are trained, by so many workers.

    Args:
        workers: how many.
        started: is given the Ray that the first training starts.
    """

    def __init__(self, workers: int, started: ExitStack) -> None:
        self.workers, self._started, self._ray = workers, started, None

    def train(self, bench: Bench, network: Network, recipe: Recipe, plan: Plan, **how: Any) -> History:
        """As `train_here`."""
        from safetensors.torch import load, save

        progress, stop = how.pop("progress", None), how.pop("stop", None)
        path = how.pop("checkpoint", None)
        checkpoint = None if path is None else Path(path).resolve()
        if checkpoint is not None and not how.pop("resume", False):
            checkpoint.unlink(missing_ok=True)
        identity = {**(how.pop("identity", None) or {}), "shards": SHARDS}
        cell = recipe.cell.text if isinstance(recipe.cell, Cell) else recipe.cell
        job = {
            "recipe": replace(recipe, cell=cell),
            "plan": plan,
            "identity": identity,
            "checkpoint": None if checkpoint is None else str(checkpoint),
        }
        ray = self._ray = self._ray or self._started.enter_context(connected(self.workers, _THREADS))
        with tempfile.TemporaryDirectory(prefix="recurra-ray-") as folder:
            board = ray.remote(num_cpus=0)(_Board).remote()
            start = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
            job |= {"board": board, "bench": ray.put(bench), "start": ray.put(start)}
            weights, history = self._watched(ray, board, job, folder, progress, stop)
        network.load_state_dict(load(weights))
        network.eval()
        return History(**history)

    def _watched(
        self,
        ray: Any,
        board: Any,
        job: dict[str, Any],
        folder: str,
        progress: Callable[[Progress], None] | None,
        stop: Callable[[Progress], bool] | None,
    ) -> tuple[bytes, dict[str, Any]]:
        """Let the workers train, and tell how far they are; Ctrl-C ends training with the best weights so far."""
        failed: list[BaseException] = []
        ended = threading.Event()
        threading.Thread(target=self._run, args=(job, folder, failed, ended), daemon=True).start()
        interrupted, last = False, None
        while not ended.is_set():
            try:
                ended.wait(_ASKED)
                said = ray.get(board.said.remote())
                if said is not None and said != last:
                    last, now = said, Progress(**said)
                    if progress is not None:
                        progress(now)
                    if stop is not None and stop(now):
                        board.stop.remote()
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                board.stop.remote()
        result = ray.get(board.taken.remote())
        if isinstance(result, RecurraError):
            raise result
        if result is None:
            why = " ".join(str(failed[0]).split())[:300] if failed else "they gave nothing"
            raise ClusterError(f"training on Ray ended without a result: {why}")
        weights, history = result
        if interrupted and history["ended"] == "stopped":
            history["ended"] = "interrupted"
        return weights, history

    def _run(self, job: dict[str, Any], folder: str, failed: list[BaseException], ended: threading.Event) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        try:
            TorchTrainer(
                _work,
                train_loop_config=job,
                scaling_config=ScalingConfig(num_workers=self.workers, resources_per_worker={"CPU": 1}),
                torch_config=TorchConfig(backend="gloo"),
                run_config=RunConfig(
                    storage_path=folder, failure_config=FailureConfig(max_failures=_AGAIN if job["checkpoint"] else 0)
                ),
            ).fit()
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()


class _Board:
    """An actor on which the first worker writes how far it is, and reads whether to end."""

    def __init__(self) -> None:
        self._said: dict[str, Any] | None = None
        self._result: Any = None
        self._stopping = False

    def tell(self, progress: dict[str, Any]) -> bool:
        """Keep where training is; whether it is to end."""
        self._said = progress
        return self._stopping

    def said(self) -> dict[str, Any] | None:
        """The last of `tell`."""
        return self._said

    def stop(self) -> None:
        """Let training end."""
        self._stopping = True

    def give(self, result: Any) -> None:
        """Keep what training has come to."""
        self._result = result

    def taken(self) -> Any:
        """What it has come to."""
        return self._result


class _Told:
    """What the first worker says now and then."""

    def __init__(self, board: Any) -> None:
        self.board, self.at, self.stopping = board, 0.0, False

    def __call__(self, progress: Progress) -> None:
        import ray

        last = progress.update == progress.updates
        if last or time.monotonic() > self.at + _ASKED:
            self.stopping |= ray.get(self.board.tell.remote(asdict(progress)))
            self.at = time.monotonic()


def _work(job: dict[str, Any]) -> None:
    """What each worker does: all of it as the others, but for the shards that it computes."""
    import ray
    import torch
    from ray.train import get_context
    from safetensors.torch import load, save
    from torch import distributed

    torch.set_num_threads(1)
    rank, workers, board = get_context().get_world_rank(), get_context().get_world_size(), job["board"]
    told = _Told(board)

    def gather(mine: Any) -> list[Any]:
        if workers == 1:
            return [mine]
        found = [torch.empty_like(mine) for _ in range(workers)]
        distributed.all_gather(found, mine)
        return found

    try:
        bench, recipe = ray.get(job["bench"]), _of_text(job["recipe"])
        network = bench.task.network(bench, recipe)
        network.load_state_dict(load(ray.get(job["start"])))
        with _own_checkpoint(job["checkpoint"], rank) as checkpoint:
            made: list[Shards] = []

            def shared(loss: Callable[[], Any]) -> Shards:
                losses, parameters = [loss() for _ in range(SHARDS)], list(network.parameters())
                made.append(Shards(losses, parameters, recipe.seed, rank, workers, gather, lambda: told.stopping))
                return made[0]

            how = {"checkpoint": checkpoint, "resume": checkpoint is not None, "identity": job["identity"]}
            how["progress"] = told if rank == 0 else None
            history = train_here(bench, network, recipe, job["plan"], shared, stop=lambda _: made[0].stopped, **how)
        if rank == 0:
            weights = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
            ray.get(board.give.remote((weights, asdict(history))))
    except RecurraError as error:
        if rank == 0:
            ray.get(board.give.remote(error))


@contextmanager
def _own_checkpoint(path: str | None, rank: int) -> Iterator[str | None]:
    """The checkpoint of the first worker; the others read it, and write one that goes."""
    if path is None or rank == 0:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="recurra-ray-") as folder:
        own = os.path.join(folder, "checkpoint")
        if os.path.exists(path):
            shutil.copyfile(path, own)
        yield own


def _of_text(recipe: Recipe) -> Recipe:
    """With the cell of an equation that came as text."""
    cell = recipe.cell
    own = isinstance(cell, str) and cell.lstrip().startswith("def ")
    return replace(recipe, cell=from_text(cell)) if own and isinstance(cell, str) else recipe
