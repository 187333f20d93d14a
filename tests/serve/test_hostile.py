"""Readers that do not read, clients that do not end, and ten times more of them than there is place for; and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from served_models import F, inputs, network, saved, server
from test_server import ask, dial, tell

import recurra
from recurra.cli import main
from recurra.errors import RecurraError

pytest.importorskip("picows")
exceptions = pytest.importorskip("websockets.exceptions")

HEAD = struct.Struct("<B3xIQ")
STEPS, FRAMES = 1000, 25  # answers of a megabyte each
WIDE = network("wide", O=256)


def flooded(stream):
    """Many frames that are sent, and none that is read; the whole input."""
    x = inputs("flood", STEPS * FRAMES)
    handle = tell(stream, op="open", id="flood")["handle"]
    for k in range(FRAMES):
        stream.send(HEAD.pack(1, handle, 1 + k * STEPS) + x[k * STEPS : (k + 1) * STEPS].tobytes())
    return x


def counted(url, name):
    return float(re.search(rf"^recurra_{name} (\S+)$", ask(f"{url}/metrics", raw=True)[2].decode(), re.M)[1])


def taken(url, steps):
    until = time.monotonic() + 20
    while ask(f"{url}/v1/sessions/flood")[2]["steps"] < steps:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_slow_reader_is_dropped_and_can_come_back(tmp_path):
    with server(saved(tmp_path, WIDE), "--frame", 20_000) as (_, url):
        with dial(url, max_queue=1, max_size=None) as slow:
            x = flooded(slow)
            until = time.monotonic() + 20
            while not counted(url, "slow_readers_total"):
                assert time.monotonic() < until
                time.sleep(0.02)
            with pytest.raises(exceptions.ConnectionClosed):
                all(slow.recv(timeout=10) for _ in range(FRAMES + 1))
        with recurra.connect(url) as client:  # nothing of what came in is lost
            session = client.session("flood")
            done = session.steps
            assert 0 < done <= len(x)
            live = WIDE.session()
            live.run(x[:done])
            np.testing.assert_array_equal(session.step(x[0]), live.step(x[0]))


def test_a_slow_reader_gets_the_newest_answers_only(tmp_path):
    with (
        server(saved(tmp_path, WIDE), "--frame", 20_000, "--conflate") as (_, url),
        dial(url, max_queue=1, max_size=None) as slow,
    ):
        x = flooded(slow)
        taken(url, STEPS * FRAMES)
        assert counted(url, "slow_readers_total") > 0
        firsts, answer = [], b""
        while not firsts or firsts[-1] != 1 + STEPS * (FRAMES - 1):
            answer = slow.recv(timeout=10)
            firsts.append(struct.unpack_from("<B3xIQ", answer)[2])
        assert firsts == sorted(firsts)
        assert len(firsts) < FRAMES
        want = WIDE.run(x)[-STEPS:]
        np.testing.assert_array_equal(np.frombuffer(answer, F, offset=16).reshape(STEPS, 256), want)
        assert tell(slow, op="ping")["op"] == "ping"


def test_ten_times_more_clients_than_there_is_place_for(tmp_path):
    """All are served in their turn, each with its own answers; the others are told when to come back."""
    model, limit = network(), 2
    with server(saved(tmp_path, model), "--sockets", limit) as (_, url):

        async def one(i):
            x = inputs("crowd", 5)
            want = model.run(x)
            async with recurra.connect_async(url, patience=60) as client:
                session = await client.session(f"c{i}")
                for t in range(5):
                    np.testing.assert_array_equal(await session.step(x[t]), want[t])
                    await asyncio.sleep(0.002)

        async def crowd():
            await asyncio.gather(*(one(i) for i in range(10 * limit)))

        with contextlib.ExitStack() as inside:
            streams = [inside.enter_context(dial(url)) for _ in range(limit)]
            for _ in range(3):
                with pytest.raises(exceptions.InvalidStatus, match="503") as caught, dial(url):
                    pass
                answer = caught.value.response
                assert answer.headers["Retry-After"] == "1"
                assert json.loads(answer.body)["error"] == "full"
            with pytest.raises(RecurraError, match="503"):
                recurra.connect(url, patience=0.1)
            assert all(tell(stream, op="ping")["op"] == "ping" for stream in streams)
        asyncio.run(crowd())
        assert len(ask(f"{url}/v1/sessions")[2]["sessions"]) == 10 * limit


def test_a_socket_has_any_number_of_sessions_one_after_the_other(tmp_path):
    """Handles that its client has given up are given again, and answers are those of the session that has one now."""
    model, x = network(), inputs("many", 12)
    few = "import recurra.serve.sockets as sockets; sockets._MOST_HANDLES = 3"
    with server(saved(tmp_path, model), before=few) as (_, url), dial(url) as stream:
        for i in range(9):
            opened = tell(stream, op="open", id=f"s{i}")
            assert opened["handle"] < 3
            stream.send(HEAD.pack(1, opened["handle"], 0) + x[: i + 1].tobytes())
            kind, handle, first = HEAD.unpack_from(said := stream.recv())
            assert (kind, handle, first) == (1, opened["handle"], 1)
            np.testing.assert_array_equal(np.frombuffer(said[16:], F).reshape(i + 1, -1), model.run(x[: i + 1]))
            tell(stream, op="detach" if i % 2 else "delete", handle=opened["handle"])
        for i in range(3):
            assert sorted({tell(stream, op="open", id=f"t{i}")["handle"], 0, 1, 2}) == [0, 1, 2]
        assert tell(stream, op="open", id="t3")["error"] == "full"
        assert tell(stream, op="fork", id="t0", to="t4")["error"] == "full"
        assert tell(stream, op="attach", id="s1")["error"] == "full"
        assert tell(stream, op="attach", id="t1")["id"] == "t1"
        names = {one["id"] for one in ask(f"{url}/v1/sessions")[2]["sessions"]}
        assert names == {"s1", "s3", "s5", "s7", "t0", "t1", "t2"}


def test_clients_are_patient_but_not_for_ever(tmp_path):
    with server(saved(tmp_path), "--sessions", 1) as (_, url):

        async def waits():
            async with recurra.connect_async(url, patience=0.3) as client:
                await client.session("one")
                with pytest.raises(RecurraError, match=r"no place for 0\.3 seconds"):
                    await client.session("two")
                assert (await (await client.session("one")).step([1.0, 2.0, 3.0])).shape == (2,)

        asyncio.run(waits())
        with recurra.connect(url, patience=0.3) as client, pytest.raises(RecurraError, match="no place for"):
            client.session("two")


def test_requests_without_end_are_let_go(tmp_path):
    """A head, a body, and a frame that come byte by byte: the first two have a time, and nobody waits for any."""
    model = network()
    with server(saved(tmp_path, model), before="run._REQUEST = 0.4") as (_, url), dial(url) as stream:
        host, port = url.removeprefix("http://").split(":")
        head = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
        slow = {begin: socket.create_connection((host, int(port))) for begin in (b"", b"GET / HT", head)}
        tell(stream, op="open", id="a")
        cut = socket.create_connection((host, int(port)))
        upgrade = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        cut.sendall((upgrade + key).encode())
        assert b" 101 " in cut.recv(4096)
        cut.sendall(b"\x82\xfe")  # a frame of which the rest never comes
        for begin, one in slow.items():
            one.sendall(begin)
        x = inputs("slow", 40)
        got, began = [], time.monotonic()
        for t in range(40):
            got.append(tell(stream, op="step", id="a", x=x[t].tolist())["y"])
        assert time.monotonic() - began < 5
        np.testing.assert_array_equal(np.array(got, F), model.run(x))
        for one in slow.values():
            one.settimeout(5)
            assert one.recv(1) in (b"", b"H")  # it is closed, some with an answer
            one.close()
        cut.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate")
def test_tls(tmp_path, monkeypatch, capsys):
    """REST, streams and the client over TLS; a key that is another's is one line."""
    for name in ("own", "other"):
        words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout {name}.key -out {name}.pem -addext subjectAltName=IP:127.0.0.1"  # noqa: E501
        subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    model, trusted = network(), ssl.create_default_context(cafile=str(tmp_path / "own.pem"))
    path, x = saved(tmp_path, model), inputs("tls", 6)
    with server(path, "--certificate", tmp_path / "own.pem", "--key", tmp_path / "own.key") as (_, url):
        assert url.startswith("https://")
        with recurra.connect(url, ssl=trusted) as client:
            session = client.session("a")
            np.testing.assert_array_equal(np.stack(session.run(x)), model.run(x))
        with pytest.raises(RecurraError, match="certificate"):
            recurra.connect(url, patience=0.1)
        with pytest.raises(RecurraError):
            recurra.connect(url.replace("https", "http"), patience=0.1)
    words = ["serve", path, "--certificate", tmp_path / "own.pem", "--key", tmp_path / "other.key"]
    monkeypatch.setattr(sys, "argv", ["recurra", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert "own.pem: TLS cannot be spoken" in said
    assert len(said.strip().splitlines()) == 1
