"""Past one machine, on a Ray of two cores that is started once: the same bits as on one."""

import asyncio
import json
import os
import signal
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import recurra
from recurra import cells, runtime
from recurra.cli import app, main
from recurra.tasks import scoring
from recurra.tasks.learn import PLACE, train_here
from recurra.tasks.shards import SHARDS, Shards
from recurra.weights import Weights

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'recurra[ray]'")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]  # Ray's own


@pytest.fixture(scope="module")
def cluster():
    from recurra.cluster import connected

    with connected(2, {"OMP_NUM_THREADS": "1"}) as started:
        yield started


def waves(lengths, seed):
    rng = np.random.default_rng(seed)
    names = np.array([f"s{(5 * k) % len(lengths)}" for k in range(len(lengths))], object)
    y = np.concatenate([np.sin(np.arange(T) / 3 + rng.random()) + 0.1 * rng.normal(size=T) for T in lengths])
    hours = np.concatenate([np.datetime64("2024-03-01", "h") + np.arange(T) for T in lengths]).astype("M8[us]")
    return {"who": np.repeat(names, lengths), "time": hours, "y": y}


def forecaster(**parameters):
    return recurra.Forecaster(horizon=3, hidden=5, epochs=2, batch=11, refit="train", **parameters)


def fitted(**parameters):
    given = {"target": "y", "time": "time", "series": "who", "evaluate": False}
    return forecaster(**parameters).fit(waves([130, 90, 111], 1), **given)


class Here:
    """Shards of one worker, without Ray."""

    def train(self, bench, network, recipe, plan, **how):
        def shared(loss):
            return Shards([loss() for _ in range(SHARDS)], list(network.parameters()), recipe.seed)

        return train_here(bench, network, recipe, plan, shared, **how)


def test_two_workers_train_the_bits_of_one(cluster, tmp_path):
    from recurra.tasks.training_on_ray import training_on_ray

    told = []
    with training_on_ray(2):
        given = {"target": "y", "time": "time", "series": "who", "evaluate": False}
        how = {"checkpoint": tmp_path / "checkpoint", "progress": told.append}
        many = forecaster().fit(waves([130, 90, 111], 1), **given, **how)
    token = PLACE.set(Here())
    try:
        one = fitted()
        other = fitted(seed=1)
    finally:
        PLACE.reset(token)
    assert many.model_.fingerprint == one.model_.fingerprint != other.model_.fingerprint
    assert many.history_ == one.history_
    assert told[-1].epoch == 2
    assert (tmp_path / "checkpoint").exists()


def test_ray_answers_as_one_machine_does(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS", 60)
    model = tmp_path / "model.recurra"
    fitted().save(model)
    pq.write_table(pa.table(waves([37, 61, 5, 61, 1, 90, 23], 2)), tmp_path / "data.parquet", row_group_size=50)
    for engine in ("local", "ray"):
        arguments = [str(model), str(tmp_path / "data.parquet"), "--out", str(tmp_path / f"{engine}.parquet")]
        found = CliRunner().invoke(app, ["predict", *arguments, "--engine", engine], catch_exceptions=False)
        assert found.exit_code == 0, found.output
    local, far = (pq.read_table(tmp_path / f"{engine}.parquet") for engine in ("local", "ray"))
    assert local.equals(far)
    assert len(local) == 7 * 3


class Client:
    """Asks an edge without a socket."""

    def __init__(self, edge):
        self.edge = edge

    async def __call__(self, method, path, body=b"", query=b""):
        sent = []
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = [(b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query}
        scope |= {"headers": headers, "scheme": "http", "root_path": "", "http_version": "1.1", "asgi": {}}

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await self.edge.app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent[1:])
        said = dict(sent[0]["headers"]).get(b"content-type", b"")
        return sent[0]["status"], json.loads(content) if said == b"application/json" and content else content


def network():
    rng = np.random.default_rng(0)
    recurrent = runtime.Recurrent(cells.lstm, [Weights.random(cells.lstm, 3, 7, rng=rng)])
    return runtime.Model([recurrent, runtime.Linear(rng.normal(size=(2, 7)).astype(np.float32))])


def test_sessions_are_those_of_one_server_whatever_dies(cluster, tmp_path):
    pytest.importorskip("fastapi")
    psutil = pytest.importorskip("psutil")
    from ray import serve

    from recurra.serve.access import Access
    from recurra.serve.limits import Limits
    from recurra.serve.on_ray import start
    from recurra.serve.replica import Job

    model = network()
    model.save(tmp_path / "net.recurra")
    content = (tmp_path / "net.recurra").read_bytes()
    job = Job({"net": content}, tmp_path / "stores", Limits(frame=4000), Access({}), durable=True)
    edge, names = start(job, 2)
    ask, names_of_sessions = Client(edge), [f"turbine-{k}" for k in range(6)]
    xs = np.random.default_rng(1).normal(size=(6, 11, 3)).astype(np.float32)
    wanted = model.run(np.ascontiguousarray(xs.transpose(1, 0, 2))).transpose(1, 0, 2)

    async def use():
        assert {edge.place(name) for name in names_of_sessions} == {0, 1}
        for name in names_of_sessions:
            assert (await ask("POST", "/v1/sessions", {"id": name}))[0] == 201
        assert (await ask("POST", "/v1/sessions", {"id": names_of_sessions[0]}))[0] == 409
        status, own = await ask("POST", "/v1/sessions", {})
        assert status == 201
        assert (await ask("DELETE", f"/v1/sessions/{own['id']}"))[0] == 204
        for k, name in enumerate(names_of_sessions):
            status, said = await ask("POST", f"/v1/sessions/{name}/run", {"xs": xs[k, :4].tolist()})
            assert status == 200
            assert np.array_equal(np.array(said["ys"], np.float32), wanted[k, :4])
        snapshots = [(await ask("GET", f"/v1/sessions/{name}/snapshot"))[1] for name in names_of_sessions]

        killed = [
            p for p in psutil.process_iter(["name", "cmdline"]) if "ServeReplica" in " ".join(p.info["cmdline"] or ())
        ]
        for process in killed:
            os.kill(process.pid, signal.SIGKILL)
        assert len(killed) == 2
        for k, name in enumerate(names_of_sessions):  # the fifth step, told by its number: it may be sent again
            until = time.monotonic() + 60
            status = 503
            while status == 503 and time.monotonic() < until:
                status, said = await ask("POST", f"/v1/sessions/{name}/step", {"x": xs[k, 4].tolist(), "seq": 5})
                await asyncio.sleep(0.2 if status == 503 else 0)
            assert status == 200, said
            assert np.array_equal(np.array(said["y"], np.float32), wanted[k, 4])
        for k, name in enumerate(names_of_sessions):
            other = names_of_sessions[k - 1]  # back to the fourth step, by the snapshot; and a fork goes to any replica
            assert (await ask("PUT", f"/v1/sessions/{name}/snapshot", snapshots[k]))[0] == 200
            status, said = await ask("POST", f"/v1/sessions/{name}/fork", {"id": f"of-{other}"})
            assert (status, said["steps"]) == (201, 4)
            for one in (name, f"of-{other}"):
                status, said = await ask("POST", f"/v1/sessions/{one}/run", {"xs": xs[k, 4:].tolist()})
                assert np.array_equal(np.array(said["ys"], np.float32), wanted[k, 4:])
        status, said = await ask("GET", "/v1/sessions", query=b"limit=7")
        everything = sorted([*names_of_sessions, *(f"of-{name}" for name in names_of_sessions)])
        assert [one["id"] for one in said["sessions"]] == everything[:7]
        refused = [
            await ask("POST", "/v1/sessions", b"{" * 3),
            await ask("POST", "/v1/sessions", {"id": "\ud800"}),
            await ask("POST", "/v1/sessions", b"x" * 5000),
            await ask("GET", "/v1/sessions/nobody"),
            await ask("POST", "/v1/sessions/nobody/fork", {}),
            await ask("GET", "/v2"),
            await ask("POST", "/v1/models/net/reload"),
            await ask("GET", "/v1/sessions", query=b"limit=0"),
        ]
        assert [status for status, _ in refused] == [422, 422, 413, 404, 404, 404, 404, 422]
        assert (await ask("GET", "/health/ready"))[0] == 200
        metrics = (await ask("GET", "/metrics"))[1].decode()
        assert 'recurra_sessions{replica="1",state="live"}' in metrics

    try:
        asyncio.run(use())
    finally:
        for name in names:
            serve.delete(name)


@pytest.mark.parametrize(
    ("arguments", "address", "said"),
    [
        (["predict", "M", "D", "--out", "o.parquet", "--engine", "cloud"], None, "expected one of: local, ray"),
        (["predict", "M", "D", "--out", "o.parquet", "--workers", "2"], None, "without --engine ray"),
        (["predict", "M", "D", "--out", "o.parquet", "--engine", "ray", "--workers", "0"], None, "--workers is 0"),
        (["predict", "M", "D", "--out", "o.csv", "--engine", "ray"], None, "ends in .parquet"),
        (["predict", "M", "D", "--out", "o.parquet", "--engine", "ray"], "127.0.0.1:1", "nothing answers there"),
        (
            ["fit", "forecast", "D", "--target", "y", "--horizon", "3", "--engine", "ray", "--workers", "9"],
            None,
            "to 8",
        ),
        (["serve", "M", "--engine", "ray", "--workers", "-1"], None, "--workers is -1"),
        (["serve", "M", "--engine", "ray", "--takeover", "3"], None, "expected neither"),
        (["serve", "M", "--engine", "ray", "--store", "stores", "--workers", "3"], None, "expected --workers 2"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, arguments, address, said):
    monkeypatch.chdir(tmp_path)
    network().save("M")
    pq.write_table(pa.table(waves([30, 30], 1)), "D.parquet")
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "sessions-0-of-2.db").touch()
    if address:
        monkeypatch.setattr("ray.is_initialized", lambda: False)
        monkeypatch.setenv("RAY_ADDRESS", address)
        fitted().save("M")
    files = {"M": "M", "D": "D.parquet"}
    monkeypatch.setattr("sys.argv", ["recurra", *(files.get(word, word) for word in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.count("\n") == 1
    assert said in error


def test_ray_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    for command in (["predict", "m", "d"], ["serve", "m"], ["fit", "forecast", "d", "--target", "y", "--horizon", "2"]):
        monkeypatch.setattr("sys.argv", ["recurra", *command, "--engine", "ray"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert "pip install 'recurra[ray]'" in capsys.readouterr().err
