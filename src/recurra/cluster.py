"""Ray, which is imported and started only when it is used: the caller's own, a cluster's, or one on this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from recurra.errors import ClusterError, MissingExtraError, SettingError, need

# Ray's own habits that we do without: result files for each trial, a handler of Ctrl-C, words on the screen.
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
}
ENGINES = ("local", "ray")
MOST_WORKERS = 10_000
_TRIED = 5.0  # seconds until a cluster is taken as unreachable


def chosen_engine(what: str, engine: str, workers: int | None, *modules: str) -> bool:
    """Whether Ray was asked for, before anything costs time.

    Args:
        what: the command, for messages.
        engine: "local" or "ray".
        workers: how many were asked for; None: nothing was said.
        modules: that Ray needs for it.

    Raises:
        SettingError: there is no such engine, no such number of workers, or workers without Ray.
        MissingExtraError: Ray is not installed.

    >>> chosen_engine("predict", "local", None)
    False
    """
    if engine not in ENGINES:
        raise SettingError(f"{what}: --engine is {engine[:40]!r}, expected one of: {', '.join(ENGINES)}")
    if engine == "local":
        if workers is not None:
            raise SettingError(f"{what}: --workers is {workers} without --engine ray, expected both or neither")
        return False
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise SettingError(f"{what}: --workers is {workers}, expected 1 to {MOST_WORKERS}")
    try:
        need(f"{what} --engine ray", "ray", *modules, extra="ray")
    except MissingExtraError:
        raise MissingExtraError(f"{what} --engine ray", "Ray", "ray") from None
    return True


@contextmanager
def connected(workers: int, environment: Mapping[str, str] | None = None) -> Iterator[Any]:
    """With a Ray: the caller's own, the one of RAY_ADDRESS, or a new one on this machine, which is then ended.

    Args:
        workers: cores that are needed; so many has a Ray of this machine.
        environment: more variables for its processes.

    Raises:
        ClusterError: the cluster of RAY_ADDRESS cannot be reached, or is too small.
    """
    changed = QUIET | dict(environment or {})
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    import ray

    own = not ray.is_initialized()
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        if own:
            _check_reachable(address)
            try:
                ray.init(
                    num_cpus=None if address else workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ClusterError(f"Ray cannot be started ({' '.join(str(error).split())[:200]})") from error
        cores = cores_of(ray)
        if cores < workers:
            raise ClusterError(f"the cluster has {cores} cores, expected at least {workers}, one for each worker")
        quiet()
        yield ray
    finally:
        if own:
            ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def cores_of(ray: Any) -> int:
    """How many cores a cluster has."""
    return int(ray.cluster_resources().get("CPU", 0))


def _check_reachable(address: str) -> None:
    """Ray itself would wait for a minute, and then end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TRIED).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"RAY_ADDRESS is {address[:80]}, and nothing answers there ({error}), expected a cluster's head: start it "
            "with `ray start --head`, or unset RAY_ADDRESS for a Ray on this machine"
        ) from error


def quiet() -> None:
    """Let Ray's libraries say errors only; they forget it where they are imported later."""
    for name in ("ray.data", "ray.train", "ray.serve", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
