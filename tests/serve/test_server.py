"""A server from outside: REST, sockets, the client, Triton's client, kills, bad flags; in processes of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from served_models import F, inputs, kill, network, saved, server

import recurra
from helpers import generator
from recurra.cli import main
from recurra.errors import RecurraError
from recurra.serve.faults import Fault, ServeError

ConnectionClosed = pytest.importorskip("websockets.exceptions").ConnectionClosed
websockets = pytest.importorskip("websockets.sync.client")
pytest.importorskip("picows")

ALICE, BOB = "a-token-of-alice-0001", "a-token-of-bob-000002"


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def url(tmp_path_factory, model):
    path = saved(tmp_path_factory.mktemp("model"), model)
    with server(path, "--frame", 20_000, "--sessions", 40) as (_, url):
        yield url


def ask(url, method="GET", body=None, headers=(), raw=False):
    """(status, headers, answer)."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, said, content = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, said, content = error.code, error.headers, error.read()
    return status, said, content if raw or not content else json.loads(content)


def dial(url, **options):
    return websockets.connect(url.replace("http", "ws") + "/v1/stream", compression=None, **options)


def tell(stream, **message):
    stream.send(json.dumps(message))
    return json.loads(stream.recv(timeout=10))


def as_f32(values):
    return np.array(values, F)


def test_rest(url, model):
    x = inputs("rest", 9)
    want = model.run(x)
    at = f"{url}/v1/sessions"
    assert ask(at, "POST", {"id": "r"})[0] == 201
    assert ask(at, "POST", {"id": "r"})[2]["error"] == "taken"
    status, _, answer = ask(f"{at}/r/step", "POST", {"x": x[0].tolist()})
    assert (status, answer["seq"]) == (200, 1)
    np.testing.assert_array_equal(as_f32(answer["y"]), want[0])
    answer = ask(f"{at}/r/run", "POST", {"xs": x[1:5].tolist(), "seq": 2})[2]
    np.testing.assert_array_equal(as_f32(answer["ys"]), want[1:5])
    snapshot = ask(f"{at}/r/snapshot", raw=True)[2]
    assert ask(f"{at}/r2/snapshot", "POST", snapshot)[0] == 201
    assert ask(f"{at}/r/fork", "POST", {"id": "r3"})[2]["steps"] == 5
    for name in ("r", "r2", "r3"):
        answer = ask(f"{at}/{name}/run", "POST", {"xs": x[5:].tolist()})[2]
        np.testing.assert_array_equal(as_f32(answer["ys"]), want[5:])
    assert ask(f"{at}/r/snapshot", "PUT", snapshot)[2]["steps"] == 5
    assert ask(f"{at}/r/snapshot", "PUT", snapshot[:-3])[0] == 422
    assert ask(f"{at}/r/reset", "POST")[2]["steps"] == 0
    assert ask(f"{at}/r/end", "POST")[2]["state"] == "ended"
    status, _, answer = ask(f"{at}/r/step", "POST", {"x": [1, 2, 3]})
    assert (status, answer["error"]) == (412, "ended")
    states = ask(f"{at}/r2/states")[2]["states"]
    session = model.session()
    session.run(x)
    np.testing.assert_array_equal(as_f32(states["layers.0.c"]), session.state["layers.0.c"])
    assert {one["id"] for one in ask(at)[2]["sessions"]} >= {"r", "r2", "r3"}
    assert len(ask(f"{at}?limit=1&after=r")[2]["sessions"]) == 1
    for name in ("r", "r2", "r3"):
        assert ask(f"{at}/{name}", "DELETE")[0] == 204
    status, _, answer = ask(f"{at}/r")
    assert (status, answer["error"]) == (404, "not_found")


def test_rest_refuses(url):
    at = f"{url}/v1/sessions"
    assert ask(f"{url}/v1/nothing")[0] == 404
    assert ask(at, "PATCH")[0] == 405
    assert ask(at, "POST", b"{")[0] == 422
    assert ask(at, "POST", {"id": "q", "modle": 1})[0] == 422
    assert ask(at, "POST", {"model": "none"})[0] == 404
    assert ask(at, "POST", b"[" * 15_000)[0] == 422
    assert ask(at, "POST", b" " * 20_001)[0] == 413
    assert ask(at, headers={"Host": "evil.example"})[0] == 403
    assert ask(at, headers={"Origin": "http://evil.example"})[0] == 403
    made = []
    while (answer := ask(at, "POST", {}))[0] == 201:
        made.append(answer[2]["id"])
    assert (answer[0], answer[2]["error"], answer[1]["Retry-After"]) == (503, "full", "1")
    for name in made:
        ask(f"{at}/{name}", "DELETE")


def test_stream_of_frames(url, model):
    """JSON and binary, one step and many, three sessions on a socket, and a group of them in one frame."""
    x = {name: inputs(name, 8) for name in ("f0", "f1", "f2")}
    want = {name: model.run(x[name]) for name in x}
    with dial(url) as stream:
        handles = [tell(stream, op="open", id=name)["handle"] for name in x]
        assert tell(stream, op="open", id="f0", tag=5)["error"] == "taken"
        for name in x:
            answer = tell(stream, op="step", id=name, x=x[name][0].tolist(), seq=1, tag="t")
            assert (answer["seq"], answer["tag"]) == (1, "t")
            np.testing.assert_array_equal(as_f32(answer["y"]), want[name][0])
        for handle, name in zip(handles, x, strict=True):
            stream.send(struct.pack("<B3xIQ", 1, handle, 2) + x[name][1:4].tobytes())
        for handle, name in zip(handles, x, strict=True):
            answer = stream.recv(timeout=10)
            assert struct.unpack_from("<B3xIQ", answer) == (1, handle, 2)
            np.testing.assert_array_equal(np.frombuffer(answer, F, offset=16).reshape(3, 2), want[name][1:4])
        head = struct.pack("<B3xIQ3I4x3Q", 2, 3, 0, *handles, 5, 5, 5)
        stream.send(head + b"".join(x[name][4].tobytes() for name in x))
        answer = stream.recv(timeout=10)
        assert answer[: len(head)] == head
        got = np.frombuffer(answer, F, offset=len(head)).reshape(3, 2)
        np.testing.assert_array_equal(got, np.stack([want[name][4] for name in x]))
        answer = tell(stream, op="run", handle=handles[1], xs=x["f1"][5:].tolist())
        np.testing.assert_array_equal(as_f32(answer["ys"]), want["f1"][5:])
        for name in x:
            assert tell(stream, op="delete", id=name)["op"] == "delete"


def test_the_old_socket_is_fenced(url):
    with dial(url) as old, dial(url) as new:
        handle = tell(old, op="open", id="shared")["handle"]
        tell(old, op="step", id="shared", x=[1, 2, 3])
        assert tell(new, op="step", id="shared", x=[1, 2, 3])["error"] == "fenced"
        assert tell(new, op="attach", id="shared", after=1)["steps"] == 1
        assert json.loads(old.recv(timeout=10))["op"] == "fenced"
        assert tell(old, op="step", handle=handle, x=[1, 2, 3])["error"] == "fenced"
        assert tell(new, op="step", id="shared", x=[1, 2, 3])["seq"] == 2
        again = tell(new, op="attach", id="shared", after=0)
        assert (again["op"], again["seq"], len(again["ys"])) == ("run", 1, 2)
        assert json.loads(new.recv(timeout=10))["op"] == "attach"
        tell(new, op="delete", id="shared")


def test_fuzzed_frames(url, model):
    """Whatever comes in, the socket answers or is closed, and others go on."""
    rng = generator("fuzz")
    x = inputs("fuzz", 3)
    with dial(url) as good:
        tell(good, op="open", id="good")
        for _ in range(12):
            with dial(url) as stream:
                for _ in range(12):
                    kind = rng.integers(0, 4)
                    if kind == 0:
                        stream.send(rng.bytes(int(rng.integers(0, 80))))
                    elif kind == 1:
                        stream.send(struct.pack("<B3xIQ", *map(int, rng.integers(0, 4, 3))) + rng.bytes(24))
                    elif kind == 2:
                        ops = ("step", "run", "attach", "fork", "open", "reset", "nothing")
                        said = {"op": str(rng.choice(ops)), "handle": int(rng.integers(-2, 3)), "x": [{}], "id": None}
                        stream.send(json.dumps(said))
                    else:
                        stream.send(rng.bytes(int(rng.integers(1, 40))).hex())
                    stream.recv(timeout=10)
        with dial(url) as stream:
            stream.send(b"x" * 30_000)
            with pytest.raises(ConnectionClosed):
                stream.recv(timeout=10)
        answer = tell(good, op="run", id="good", xs=x.tolist())
        np.testing.assert_array_equal(as_f32(answer["ys"]), model.run(x))
        tell(good, op="delete", id="good")


def test_triton_client(url, model):
    """An unmodified client of Triton streams a sequence, two interleaved, and asks for a whole one."""
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_model_ready("net")
    said = client.get_model_metadata("net")
    assert said["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    x = inputs("triton", 5)
    want = model.run(x)

    def infer(rows, binary, **options):
        tensor = triton.InferInput("x", rows.shape, "FP32")
        tensor.set_data_from_numpy(rows, binary_data=binary)
        outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
        return client.infer("net", [tensor], outputs=outputs, **options).as_numpy("y").reshape(len(rows), 2)

    for t in range(5):
        for sequence in (7, "pump"):
            got = infer(x[t : t + 1], t % 2 == 0, sequence_id=sequence, sequence_start=t == 0, sequence_end=t == 4)
            np.testing.assert_array_equal(got, want[t : t + 1])
    np.testing.assert_array_equal(infer(x, True), want)
    with pytest.raises(triton.InferenceServerException, match="not_found"):
        infer(x[:1], True, sequence_id=7)
    client.close()


def test_openapi_by_schemathesis(url):
    """What is not in the document is not answered, and nothing that it allows breaks the server."""
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation in operations:
        _asked_at_random(operation)
    assert len(operations) >= 15
    for one in ask(f"{url}/v1/sessions")[2]["sessions"]:
        ask(f"{url}/v1/sessions/{one['id']}", "DELETE")


def _asked_at_random(operation):
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance  # what a model takes, its schema cannot say

    said = operation.definition.raw["responses"]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=3,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        answer = case.call()
        assert answer.status_code != 500
        if answer.status_code != 503:
            case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        assert str(answer.status_code) in said or answer.status_code in (404, 405, 400), answer.content

    check()


def test_metrics_health_and_page(url):
    at = f"{url}/v1/sessions"
    assert ask(f"{at}/nobody")[0] == 404
    assert ask(at, "POST", {"id": "counted"})[0] == 201
    assert ask(f"{at}/counted/step", "POST", {"x": [1.0, 2.0, 3.0]})[0] == 200
    tell_metrics = ask(f"{url}/metrics", raw=True)[2].decode()
    for name in (
        "sessions{",
        "steps_total{",
        "batch_size_bucket",
        "queue_age_seconds",
        "round_trip_seconds",
        "refusals",
    ):
        assert f"recurra_{name}" in tell_metrics
    assert ask(f"{url}/health/live", raw=True)[0] == 200
    assert ask(f"{url}/health/ready", raw=True)[0] == 200
    _, headers, page = ask(f"{url}/", raw=True)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"<script src" not in page
    assert b"http://" not in page.replace(b"http://www.w3.org/", b"")


def _closed(connection, line, times):
    """Whether the other side ends a connection on which the head of a request has no end."""
    connection.settimeout(0.02)
    connection.sendall(b"GET / HTTP/1.1\r\n")
    for _ in range(times):
        try:
            connection.sendall(line)
            if not connection.recv(1):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_slow_heads_are_let_go(url):
    """Connections that send a request byte by byte hold nobody up."""
    host, port = url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(50)]
    for one in slow:
        one.sendall(b"GET /health/live HTTP/1.1\r\nX-Slow: ")
    began = time.monotonic()
    assert ask(f"{url}/health/live", raw=True)[0] == 200
    assert time.monotonic() - began < 2
    big = socket.create_connection((host, int(port)))
    closed = _closed(big, b"X-Much: " + b"a" * 8000 + b"\r\n", 200)
    for one in (*slow, big):
        one.close()
    assert closed


def test_client_goes_on_through_kills(tmp_path, model):
    """A durable server is killed at random moments: nothing acknowledged is lost, and nothing counts twice."""
    path, rng = saved(tmp_path, model), generator("kills")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    x, other = inputs("kills", 2000), inputs("others", 2000)
    arguments = (path, "--port", port, "--store", tmp_path / "store", "--durable", "--takeover", 5)
    ends, done, state = threading.Event(), [], {}

    def client():
        with recurra.connect(f"http://127.0.0.1:{port}") as remote:
            a, b = remote.session("a"), remote.session("b")
            while not ends.is_set() and len(done) < 2000:
                t = len(done)
                done.append((a.step(x[t]), b.step(other[t])))
            state["steps"] = (a.steps, b.steps)

    kills = 3
    worker = threading.Thread(target=client)
    for k in range(kills):
        with server(*arguments) as (process, _):
            if k == 0:
                worker.start()
            before = len(done)
            while len(done) < before + 20 and worker.is_alive():
                time.sleep(0.005)
            time.sleep(float(rng.random()) / 20)
            kill(process)
    with server(*arguments) as (process, _):
        before = len(done)
        while len(done) < before + 20 and worker.is_alive():
            time.sleep(0.005)
        ends.set()
        worker.join(20)
    assert len(done) >= 20 * kills
    assert state["steps"] == (len(done), len(done))
    np.testing.assert_array_equal(np.stack([a for a, _ in done]), model.run(x[: len(done)]))
    np.testing.assert_array_equal(np.stack([b for _, b in done]), model.run(other[: len(done)]))


def test_tokens_takeover_and_async(tmp_path, model):
    """SIGTERM hands all sessions to the next server; tokens see their own sessions only, within their limits."""
    path = saved(tmp_path, model)
    (tmp_path / "tokens").write_text(f"{ALICE} alice\n{BOB} bob sessions=1 rate=5 # slow\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = (path, "--port", port, "--store", tmp_path / "store", "--tokens", tmp_path / "tokens", "--takeover", 9)
    url, x = f"http://127.0.0.1:{port}", inputs("async", 40)
    want = model.run(x)

    async def many(first, last):
        async with recurra.connect_async(url, token=ALICE) as remote:
            sessions = [await remote.session(f"s{i}") for i in range(5)]
            answers = await asyncio.gather(*(one.step(x[t]) for t in range(first, last) for one in sessions))
            for t in range(first, last):
                for i in range(5):
                    np.testing.assert_array_equal(answers[5 * (t - first) + i], want[t])
            return [one.steps for one in sessions]

    with server(*arguments):
        assert asyncio.run(many(0, 20)) == [20] * 5
        assert ask(f"{url}/v1/sessions")[0] == 401
        bob = {"Authorization": f"Bearer {BOB}"}
        assert ask(f"{url}/v1/sessions", headers=bob)[2] == {"sessions": []}
        assert ask(f"{url}/v1/sessions/s1", headers=bob)[0] == 404
        assert ask(f"{url}/v1/sessions", "POST", {"id": "s1"}, bob)[0] == 201
        assert ask(f"{url}/v1/sessions", "POST", {}, bob)[0] == 429
        assert ask(f"{url}/v1/sessions/s1/run", "POST", {"xs": x[:6].tolist()}, bob)[2]["error"] == "limited"
        assert ask(f"{url}/v1/sessions/s1/run", "POST", {"xs": x[:3].tolist()}, bob)[0] == 200
        with pytest.raises(RecurraError, match="401"):
            recurra.connect(url, token="unknown")
    with server(*arguments):
        assert asyncio.run(many(20, 40)) == [40] * 5
        assert ask(f"{url}/v1/sessions/s1", headers=bob)[2]["steps"] == 3
        with recurra.connect(url, token=ALICE) as one, recurra.connect(url, token=ALICE) as two:
            mine = one.session("s1")
            fork = mine.fork()
            two.session("s1")
            with pytest.raises(ServeError) as caught:
                mine.step(x[0])
            assert caught.value.fault is Fault.FENCED
            np.testing.assert_array_equal(fork.states()["layers.0.h"], two.session("s1").states()["layers.0.h"])


def as_by(models, x, answers):
    """How many of the answers are of each model, one taking over the state of the other."""
    state, counts, at = models[0].session().state, [], 0
    for model in models:
        session = model.session()
        session.state = state
        begin = at
        while at < len(answers):
            y = session.step(x[at])
            if not np.array_equal(y.view(np.uint32), answers[at].view(np.uint32)):
                break
            state, at = session.state, at + 1
        counts.append(at - begin)
    return counts


def test_a_new_version_takes_over_without_a_gap(tmp_path, model):
    """Asked for by REST and by a signal, while a client streams; one that does not fit changes nothing."""
    models = [model, network("second"), network("third")]
    path, x = saved(tmp_path, model), inputs("versions", 20_000)
    (tmp_path / "tokens").write_text(f"{ALICE} alice admin\n{BOB} bob\n")
    alice = {"Authorization": f"Bearer {ALICE}"}
    answers, ends = [], threading.Event()

    def client(url):
        with recurra.connect(url, token=ALICE) as remote:
            session = remote.session("a")
            while not ends.is_set() and len(answers) < len(x):
                answers.append(session.step(x[len(answers)]))

    def streams(more=30):
        before, until = len(answers), time.monotonic() + 10
        while len(answers) < before + more and time.monotonic() < until:
            time.sleep(0.002)
        assert len(answers) >= before + more

    with server(path, "--tokens", tmp_path / "tokens") as (process, url):
        at = f"{url}/v1/models/net/reload"
        worker = threading.Thread(target=client, args=(url,))
        worker.start()
        streams()
        models[1].save(path)
        assert ask(at, "POST", headers={"Authorization": f"Bearer {BOB}"})[2]["error"] == "forbidden"
        assert ask(at, "POST", headers=alice)[2]["fingerprint"] == models[1].fingerprint
        streams()
        network(H=8).save(path)
        assert ask(at, "POST", headers=alice)[2]["error"] == "mismatch"
        path.write_bytes(b"no model")
        assert ask(at, "POST", headers=alice)[2]["error"] == "invalid"
        assert ask(at.replace("net/", "none/"), "POST", headers=alice)[0] == 404
        streams()
        models[2].save(path)
        process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 10
        while ask(f"{url}/v1/models/net", headers=alice)[2]["fingerprint"] != models[2].fingerprint:
            assert time.monotonic() < until
        streams()
        ends.set()
        worker.join(10)
    counts = as_by(models, x, answers)
    assert sum(counts) == len(answers)
    assert min(counts) >= 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{folder}/nothing.recurra",), "nothing.recurra"),
        (("{folder}/text.recurra",), "text.recurra"),
        (("{model}", "--durable"), "--store"),
        (("{model}", "--host", "0.0.0.0"), "--tokens"),
        (("{model}", "--certificate", "{folder}/text.recurra"), "certificate"),
        (("{model}", "--port", "{taken}"), "in use"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, model, arguments, message, monkeypatch, capsys):
    path = saved(tmp_path, model)
    (tmp_path / "text.recurra").write_text("no model, and no certificate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = [str(a).format(folder=tmp_path, model=path, taken=taken.getsockname()[1]) for a in arguments]
        monkeypatch.setattr(sys, "argv", ["recurra", "serve", *words])
        with pytest.raises(SystemExit) as caught:
            main()
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in said
    assert len(said.strip().splitlines()) == 1
