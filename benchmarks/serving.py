"""A server under load: `python -m benchmarks.serving [messages|steps|memory|migration|eviction|chaos|soak]...`.

The load comes from a process of its own, over the loopback, with an LSTM(1, 64) and its output layer. On a machine that
others use, the time of the clock says little: the server's CPU time for each message is printed beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import uvloop
from picows import WSListener, WSMsgType, ws_connect

import recurra
from recurra import cells, runtime
from recurra.serve.limits import Limits
from recurra.serve.observed import Observed
from recurra.serve.program import Program
from recurra.serve.sessions import Sessions
from recurra.serve.store import Store
from recurra.weights import Weights

HEAD = struct.Struct("<B3xIQ")


def model():
    rng = np.random.default_rng(0)
    recurrent = runtime.Recurrent(cells.lstm, [Weights.random(cells.lstm, 1, 64, rng=rng)])
    return runtime.Model([recurrent, runtime.Linear(rng.normal(size=(1, 64)).astype(np.float32))])


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@contextmanager
def server(folder, *arguments, port=0):
    path = Path(folder) / "net.recurra"
    if not path.exists():
        model().save(path)
    command = [sys.executable, "-m", "recurra", "serve", str(path), "--port", str(port), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert " at http" in line, line
    try:
        yield psutil.Process(process.pid), line.split(" at ")[1].strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


class Stream(WSListener):
    """One socket of the load: opens its sessions, then steps one after the other."""

    def __init__(self, names, steps):
        self.names, self.frame = names, np.ones(steps, np.float32).tobytes()
        self.handles, self.opened, self.count, self.turn = [], asyncio.Event(), 0, 0
        self.sent, self.took, self.closed_loop, self.refused = 0.0, [], False, 0

    def on_ws_connected(self, transport):
        self.transport = transport
        for name in self.names:
            transport.send(WSMsgType.TEXT, json.dumps({"op": "open", "id": name}).encode())

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.BINARY:
            self.count += 1
            self.took.append(time.perf_counter() - self.sent)
            if self.closed_loop:
                self.send()
            return
        if frame.msg_type != WSMsgType.TEXT:
            transport.disconnect()
            return
        said = json.loads(frame.get_payload_as_bytes())
        if said.get("error") == "full":  # as it should be, where more comes than can be taken
            self.refused += 1
            return
        assert said["op"] == "open", said
        self.handles.append(said["handle"])
        if len(self.handles) == len(self.names):
            self.opened.set()

    def send(self):
        self.turn = (self.turn + 1) % len(self.handles)
        self.sent = time.perf_counter()
        self.transport.send(WSMsgType.BINARY, HEAD.pack(1, self.handles[self.turn], 0) + self.frame)


async def streams(url, sockets, each, steps):
    found = []
    for i in range(sockets):
        _, one = await ws_connect(
            lambda i=i: Stream([f"s{i}.{k}" for k in range(each)], steps), url.replace("http", "ws") + "/v1/stream"
        )
        found.append(one)
        if i % 50 == 49:
            await asyncio.gather(*(one.opened.wait() for one in found[-50:]))
    await asyncio.gather(*(one.opened.wait() for one in found))
    return found


async def loaded(process, found, seconds, rate=0.0):
    """(messages a second, server's CPU seconds a message, server's share of a core, p50, p99)."""
    for one in found:
        one.count, one.took, one.closed_loop, one.refused = 0, [], not rate, 0
    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    if rate:
        due, i = began, 0
        while (now := time.perf_counter()) < began + seconds:
            while due <= now:
                found[i % len(found)].send()
                i, due = i + 1, due + 1 / rate
            await asyncio.sleep(0.0005)
    else:
        for one in found:
            one.send()
        await asyncio.sleep(seconds)
    took, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - before
    for one in found:
        one.closed_loop = False
    count = sum(one.count for one in found)
    await asyncio.sleep(0.3)
    times = np.sort(np.concatenate([one.took for one in found]))
    if refused := sum(one.refused for one in found):
        print(f"  {refused:,} messages were refused: there was no place in the queue")
    return count / took, cpu / count, cpu / took, times[len(times) // 2], times[int(len(times) * 0.99)]


async def _messages(folder, sockets, each, steps, seconds):
    with server(folder, "--sockets", sockets + 10) as (process, url):
        found = await streams(url, sockets, each, steps)
        await loaded(process, found, 1)
        rate, cpu, share, half, most = await loaded(process, found, seconds)
        what = f"{sockets} sockets, {sockets * each} sessions, {steps} steps a message"
        waits = f"p50 {1e3 * half:.2f} ms, p99 {1e3 * most:.2f} ms"
        print(f"{what}: {rate:,.0f} messages/s, {rate * steps:,.0f} steps/s, {waits}")
        print(f"  server's CPU {1e6 * cpu:.1f} us a message, {share:.2f} of a core: {steps / cpu:,.0f} steps/s on one")
        rate, _, share, half, most = await loaded(process, found, seconds, 0.7 * rate)
        waits = f"p50 {1e3 * half:.2f} ms, p99 {1e3 * most:.2f} ms"
        print(f"  at {rate:,.0f} messages/s (70 %): {waits}; {share:.2f} of a core")


def messages(folder, seconds):
    uvloop.run(_messages(folder, 1000, 10, 1, seconds))


def steps(folder, seconds):
    uvloop.run(_messages(folder, 64, 4, 256, seconds))


async def _memory(folder):
    with server(folder, "--sockets", 2000, "--idle", 3600) as (process, url):
        first = process.memory_info().rss
        found = await streams(url, 1000, 1, 1)
        second = process.memory_info().rss
        extra = found[0]
        extra.names, extra.handles = [f"m{i}" for i in range(9000)], []
        extra.opened.clear()
        extra.on_ws_connected(extra.transport)
        await extra.opened.wait()
        third = process.memory_info().rss
        state = 4 * sum(model().state_widths().values())
        each = (third - second) / 9000
        with_one = (second - first) / 1000
        print(f"a session: {each:,.0f} bytes, of which {state} are its state; a socket with one: {with_one:,.0f} bytes")


def memory(folder, seconds):
    uvloop.run(_memory(folder))


def house(folder, count):
    served = Program("net", model())
    sessions = Sessions({"net": served}, Store(Path(folder) / "sessions"), Limits(), lambda call: None, Observed())
    for i in range(count):
        sessions.create("t", "net", f"s{i}")
    return sessions


def eviction(folder, seconds):
    sessions, times = house(folder, 10_000), []
    for i in range(1000):
        began = time.perf_counter()
        sessions.evict(1)
        sessions.get("t", f"s{i}")
        times.append(time.perf_counter() - began)
    times.sort()
    print(f"eviction and return of one session: median {1e3 * times[500]:.3f} ms, p99 {1e3 * times[990]:.3f} ms")


def migration(folder, seconds):
    """10,000 sessions from a process to the next one."""
    port = free_port()
    with tempfile.TemporaryDirectory() as place:
        store = ("--store", Path(place) / "sessions", "--takeover", 60)
        old = server(place, *store, port=port)
        process, url = old.__enter__()
        with recurra.connect(url) as client:
            for i in range(10_000):
                client.session(f"s{i}").step(1.0)
        command = [sys.executable, "-m", "recurra", "serve", f"{place}/net.recurra", "--port", str(port)]
        new = subprocess.Popen([*command, *map(str, store)], stdout=subprocess.PIPE, text=True)
        time.sleep(4)  # it has loaded, and waits
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        assert " at http" in new.stdout.readline()
        ready = time.perf_counter() - began
        with recurra.connect(url) as client:
            assert client.session("s9999").steps == 1
        new.send_signal(signal.SIGTERM)
        new.wait()
        print(f"10,000 sessions taken over: {ready:.2f} s from SIGTERM until the next process serves them")
        old.__exit__(None, None, None)


def _serve(arguments):
    sys.argv = ["recurra", "serve", *arguments]
    with open(os.devnull, "w") as sys.stdout:
        importlib.import_module("recurra.cli").main()


async def _accepts(port):
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.005)


def chaos(folder, seconds, kills=200):
    """A durable server is killed at random moments; every answer is compared with the model's own.

    Each server is a fork of a process that has imported all, so that its life is not its start.
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["recurra.cli", "recurra.serve.run", "recurra.serve.program"])
    port, rng, net = free_port(), np.random.default_rng(1), model()
    x = rng.normal(size=(200_000, 1)).astype(np.float32)
    arguments = (f"{folder}/net.recurra", "--port", port, "--store", f"{folder}/chaos", "--durable", "--takeover", 20)

    async def stream(name, done):
        async with recurra.connect_async(f"http://127.0.0.1:{port}", patience=60) as client:
            one = await client.session(name)
            while not ends.is_set():
                done.append(await one.step(x[len(done)]))
            return one.steps

    async def killed():
        for k in range(kills + 1):
            process = forks.Process(target=_serve, args=(list(map(str, arguments)),), daemon=True)
            process.start()
            await _accepts(port)
            await asyncio.sleep(float(rng.random()) * 0.3 + (1 if k == kills else 0))
            if k == kills:
                ends.set()
                await asyncio.sleep(1)
            process.kill()
            process.join()

    async def all_of_it():
        nonlocal ends
        ends = asyncio.Event()
        done = [[] for _ in range(8)]
        tasks = [asyncio.create_task(stream(f"c{i}", one)) for i, one in enumerate(done)]
        await killed()
        counts = await asyncio.gather(*tasks)
        for count, answers in zip(counts, done, strict=True):
            assert count == len(answers)
            np.testing.assert_array_equal(np.stack(answers), net.run(x[: len(answers)]))
        print(f"{kills} kills: {sum(counts):,} steps of 8 sessions, none lost, none twice, all bits those of model.run")

    ends = None
    (Path(folder) / "net.recurra").exists() or net.save(Path(folder) / "net.recurra")
    asyncio.run(all_of_it())


async def _soak(folder, seconds):
    """Sessions come, step, are evicted and go, again and again."""
    with server(folder, "--live", 500, "--idle", 1) as (process, url):
        async with recurra.connect_async(url) as client:
            began, seen, count = time.monotonic(), [], 0
            while time.monotonic() < began + seconds:
                some = [await client.session() for _ in range(200)]
                await asyncio.gather(*(one.step(1.0) for one in some for _ in range(20)))
                await asyncio.gather(*(one.delete() for one in some))
                count += 200
                seen.append(process.memory_info().rss)
        tenth = max(1, len(seen) // 10)
        early, late = np.mean(seen[tenth : 2 * tenth + 1]), np.mean(seen[-tenth:])
        grown = f"{early / 1e6:.1f} MB after a tenth of the time, {late / 1e6:.1f} MB at the end"
        print(f"{count:,} sessions in {seconds} s: {grown}")


def soak(folder, seconds):
    uvloop.run(_soak(folder, max(seconds, 20)))


ALL = {f.__name__: f for f in (messages, steps, memory, eviction, migration, chaos, soak)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*ALL, []], default=[])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    for name in options.what or [n for n in ALL if n not in ("chaos", "soak")]:
        with tempfile.TemporaryDirectory() as folder:
            more = {"kills": options.kills} if name == "chaos" else {}
            ALL[name](folder, options.seconds, **more)


if __name__ == "__main__":
    main()
