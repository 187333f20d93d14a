"""Training and serving on a Ray of this machine: `python -m benchmarks.clustered [fit|kill|serve]...`.

`fit` trains a forecaster here, and on Ray with one worker and with two; it prints the time of an update, and if the
weights are the same. `kill` kills a worker in training, and prints that too. `serve` steps sessions over REST, some at
a time, on a single server and on two replicas, and prints steps a second, and the middle and the 99th hundredth of the
round trips.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np
import psutil

import recurra
from benchmarks.serving import model
from recurra.tasks.training_on_ray import training_on_ray

SESSIONS, STEPS = 32, 40


def forecaster(hidden, data):
    """The seconds of a training's updates, and what it comes to."""
    at = []
    made = recurra.Forecaster(horizon=24, hidden=hidden, epochs=4, batch=32, refit="train")
    made.fit(data, "y", evaluate=False, progress=lambda progress: at.append((progress, time.perf_counter())))
    (first, began), (last, ended) = at[0], at[-1]
    updates = (last.epoch - first.epoch) * first.updates + last.update - first.update
    return (ended - began) / updates, made.model_.fingerprint


def fit():
    rng = np.random.default_rng(0)
    data = {"y": np.sin(np.arange(40_000) / 4) + 0.1 * rng.normal(size=40_000)}
    for hidden in (64, 256):
        seconds, _ = forecaster(hidden, data)
        print(f"fit: GRU({hidden}), 32 rows: {1e3 * seconds:.1f} ms an update here", flush=True)
        found = []
        for workers in (1, 2):
            with training_on_ray(workers):
                seconds, fingerprint = forecaster(hidden, data)
            found.append(fingerprint)
            print(f"fit: GRU({hidden}): {1e3 * seconds:.1f} ms an update by {workers} on Ray", flush=True)
        print(f"fit: GRU({hidden}): one worker and two have {'the same' if len(set(found)) == 1 else 'OTHER'} weights")


def kill():
    rng = np.random.default_rng(0)
    data, killed, found = {"y": np.sin(np.arange(2000) / 4) + 0.1 * rng.normal(size=2000)}, [], []

    def progress(now):
        if now.epoch > 3 and not killed:
            killed.append(next(p for p in psutil.process_iter(["name"]) if "RayTrainWorker" in " ".join(p.cmdline())))
            killed[0].kill()

    with tempfile.TemporaryDirectory(prefix="recurra-clustered-") as folder:
        for told in (None, progress):
            with training_on_ray(2):
                made = recurra.Forecaster(horizon=4, hidden=8, epochs=6, batch=16, refit="train")
                began = time.perf_counter()
                made.fit(data, "y", evaluate=False, progress=told, checkpoint=Path(folder) / "checkpoint")
                print(f"kill: {'one worker killed' if told else 'undisturbed'}: {time.perf_counter() - began:.0f} s")
            found.append(made.model_.fingerprint)
    print(f"kill: {'the same' if len(set(found)) == 1 else 'OTHER'} weights")


async def stepped(url):
    took = []

    async def one(client, k):
        name = f"session-{k}"
        async with client.post(f"{url}/v1/sessions", json={"id": name}) as answer:
            assert answer.status == 201, await answer.text()
        for step in range(STEPS):
            began = time.perf_counter()
            async with client.post(f"{url}/v1/sessions/{name}/step", json={"x": [step / 10]}) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
            took.append(time.perf_counter() - began)

    async with aiohttp.ClientSession() as client:
        began = time.perf_counter()
        await asyncio.gather(*(one(client, k) for k in range(SESSIONS)))
        seconds = time.perf_counter() - began
    middle, late = 1e3 * np.quantile(took, [0.5, 0.99])
    return f"{len(took) / seconds:.0f} steps a second, each its own request; {middle:.1f} ms, p99 {late:.1f} ms"


def serve():
    with tempfile.TemporaryDirectory(prefix="recurra-clustered-") as folder:
        path = Path(folder) / "net.recurra"
        model().save(path)
        for words in ([], ["--engine", "ray", "--workers", "2"]):
            command = [sys.executable, "-m", "recurra", "serve", str(path), "--port", "0", *words]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                line = process.stdout.readline()
                said = asyncio.run(stepped(line.split(" at ")[1].strip()))
                print(f"serve: {'two replicas on Ray' if words else 'one server'}: {said}", flush=True)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["fit", "serve"])
    for name in parser.parse_args().what:
        {"fit": fit, "kill": kill, "serve": serve}[name]()


if __name__ == "__main__":
    main()
