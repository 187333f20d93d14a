"""Sessions on many processes and machines: each replica of Ray Serve holds some, found by the hash of their names.

The process of `recurra serve --engine ray` listens, and hands each request to the replica of its session. A replica is
a whole `Server`, with a store of its own, so all that REST says of one server holds for each session. Ray starts a
replica anew that has died; of a durable server its sessions come back from its store.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from picows import WSUpgradeRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recurra.cluster import quiet
from recurra.errors import SettingError
from recurra.serve.faults import Fault, ServeError
from recurra.serve.frames import to_json
from recurra.serve.limits import Limits
from recurra.serve.replica import Answer, Asked, Job, Line, Replica
from recurra.serve.rest import body_of, refusal
from recurra.serve.server import refused_upgrade

_SESSIONS = "/v1/sessions"
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


class Edge:
    """What listens, and asks the replicas; it stands in `recurra.serve.run.run` for a server.

    Args:
        replicas: of each, a handle with the methods of `Replica` as Ray Serve has them.
        limits: of a replica; those of connections and bodies are the edge's own.
    """

    def __init__(self, replicas: Sequence[Any], limits: Limits) -> None:
        self.lines, self.limits = [Line(replica) for replica in replicas], limits
        self.app = Starlette(
            routes=[Route("/{path:path}", self._handle, methods=list(_METHODS))], lifespan=self._lifespan
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.gather(*(line.replica.close.remote() for line in self.lines), return_exceptions=True)

    def place(self, name: str) -> int:
        """The replica of a session: always the same for a name.

        >>> Edge([None] * 4, Limits()).place("turbine-7")
        1
        """
        return int.from_bytes(hashlib.sha256(name.encode(errors="replace")).digest()[:8], "big") % len(self.lines)

    def listener(self, request: WSUpgradeRequest) -> Any:
        """The answer that refuses a WebSocket."""
        return refused_upgrade(ServeError(Fault.NOT_FOUND, "there is no stream on Ray, expected REST: POST .../run"))

    async def _handle(self, request: Request) -> Response:
        try:
            body = await body_of(request, self.limits.frame)
            return await self._routed(request, body)
        except ServeError as refused:
            return refusal(refused)

    async def _routed(self, request: Request, body: bytes) -> Response:
        path, method = request.scope["path"], request.method
        if path == "/" or path.startswith("/v2") or path.endswith("/reload"):
            raise ServeError(Fault.NOT_FOUND, f"there is no {path[:40]} on Ray, expected the paths under /v1")
        if path == _SESSIONS and method == "POST":
            name, body = _named(body)
            return (await self._ask(self.place(name), request, body)).response()
        if path == _SESSIONS and method == "GET":
            return self._listed(request, await self._everywhere(request, body))
        if path == "/metrics":
            return self._measured(await self._everywhere(request, body))
        if path == "/health/ready":
            answers = await self._everywhere(request, body)
            return next((a for a in answers if a.status != 200), answers[0]).response()
        name, _, verb = path.removeprefix(f"{_SESSIONS}/").partition("/")
        name = name if path.startswith(f"{_SESSIONS}/") else ""
        if verb == "fork" and method == "POST":
            return await self._fork(request, name, body)
        return (await self._ask(self.place(name) if name else 0, request, body)).response()

    async def _fork(self, request: Request, name: str, body: bytes) -> Response:
        """Within a replica as it is; to another by a snapshot."""
        at = self.place(name)
        new, body = _named(body, lambda made: self.place(made) == at)
        if self.place(new) == at:
            return (await self._ask(at, request, body)).response()
        one = f"{_SESSIONS}/{name}"
        said = await self._ask(at, request, b"", "GET", one)
        taken = await self._ask(at, request, b"", "GET", f"{one}/snapshot") if said.status == 200 else said
        if taken.status != 200:
            return taken.response()
        query = f"model={json.loads(said.body)['model']}".encode()
        path = f"{_SESSIONS}/{new}/snapshot"
        return (await self._ask(self.place(new), request, taken.body, "POST", path, query)).response()

    def _listed(self, request: Request, answers: Sequence[Answer]) -> Response:
        """The sessions of all replicas, in the order of their names."""
        refused = next((answer for answer in answers if answer.status != 200), None)
        if refused is not None:
            return refused.response()
        found = [one for answer in answers for one in json.loads(answer.body)["sessions"]]
        most = int(request.query_params.get("limit", "1000"))  # which the replicas have checked
        listed = sorted(found, key=lambda one: one["id"])[:most]
        return Response(to_json({"sessions": listed}), media_type="application/json")

    def _measured(self, answers: Sequence[Answer]) -> Response:
        """The metrics of all replicas, each with the number of its own."""
        refused = next((answer for answer in answers if answer.status != 200), None)
        if refused is not None:
            return refused.response()
        return Response(labelled([answer.body.decode() for answer in answers]), headers=_type_of(answers[0]))

    async def _everywhere(self, request: Request, body: bytes) -> list[Answer]:
        return await asyncio.gather(*(self._ask(k, request, body) for k in range(len(self.lines))))

    async def _ask(
        self,
        at: int,
        request: Request,
        body: bytes,
        method: str | None = None,
        path: str | None = None,
        query: bytes | None = None,
    ) -> Answer:
        """What a replica answers to a request, or to another in its place.

        Raises:
            ServeError: the replica has gone, or is not there in time.
        """
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        headers = [pair for pair in request.headers.raw if pair[0] not in (b"content-length", b"transfer-encoding")]
        headers.append((b"content-length", str(len(body)).encode()))
        scope = request.scope
        given = (method or request.method, path or scope["path"], scope["query_string"] if query is None else query)
        try:
            return await self.lines[at].ask(Asked(*given, headers, body))
        except (RayError, RayServeException, TimeoutError) as error:
            raise ServeError(
                Fault.DRAINING,
                f"the replica of this session has gone ({type(error).__name__}) and is started anew: ask again; what "
                "was not answered may have been taken, which a step with its `seq` leaves no matter",
            ) from error


def _named(body: bytes, fits: Any = lambda name: True) -> tuple[str, bytes]:
    """The name in a request to make a session, which gets one where it has none; what is no JSON stays as it is."""
    try:
        said = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return "", body
    if not isinstance(said, dict) or said.get("id") is not None:
        return str(said.get("id", "")) if isinstance(said, dict) else "", body
    name = next(made for made in iter(lambda: secrets.token_urlsafe(12), None) if fits(made))
    return name, json.dumps(said | {"id": name}).encode()


def _type_of(answer: Answer) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.headers if name == b"content-type"}


def labelled(texts: Iterable[str]) -> str:
    """Prometheus' texts of some replicas as one, with a label for each replica.

    >>> print(labelled(["# TYPE a counter\\na 1\\n", '# TYPE a counter\\na{of="x"} 2\\n']), end="")
    # TYPE a counter
    a{replica="0"} 1
    a{replica="1",of="x"} 2
    """
    families: dict[str, list[str]] = {}
    for k, text in enumerate(texts):
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("#"):
                lines = families.setdefault(line, [])
            else:
                name, rest = re.split(r"(?=[{ ])", line, maxsplit=1)
                rest = f",{rest[1:]}" if rest.startswith("{") else f"}}{rest}"
                lines.append(f'{name}{{replica="{k}"{rest}')
    return "".join(f"{line}\n" for head, lines in families.items() for line in (head, *lines))


def stores(folder: Path | None, replicas: int) -> list[Path | None]:
    """The store of each replica.

    Raises:
        SettingError: the folder has stores of another number of replicas, or is none.
    """
    if folder is None:
        return [None] * replicas
    if folder.exists() and not folder.is_dir():
        raise SettingError(
            f"--store is {folder}, a file, expected a folder: with --engine ray each replica has a store"
        )
    folder.mkdir(exist_ok=True)
    there = {int(path.stem.rpartition("-")[2]) for path in folder.glob("sessions-*-of-*.db")}
    if there - {replicas}:
        raise SettingError(
            f"--store {folder} has the sessions of {min(there - {replicas})} replicas, expected --workers "
            f"{min(there - {replicas})}: a session lies where the hash of its name says"
        )
    return [folder.resolve() / f"sessions-{k}-of-{replicas}.db" for k in range(replicas)]


def start(job: Job, replicas: int) -> tuple[Edge, list[str]]:
    """Replicas on the Ray that is connected, and what listens for them; and the names of Ray Serve's applications."""
    from ray import serve

    quiet()
    serve.start(proxy_location="Disabled")
    quiet()
    several, run = secrets.token_hex(4), []
    for k, store in enumerate(stores(job.store, replicas)):
        deployment = serve.deployment(
            name=f"recurra-{k}",
            num_replicas=1,
            max_ongoing_requests=1 << 16,
            ray_actor_options={"num_cpus": 1},
            health_check_period_s=1,
            graceful_shutdown_timeout_s=10,
        )(Replica)
        run.append(serve.RunTarget(deployment.bind(job, store), name=f"recurra-{several}-{k}", route_prefix=None))
    return Edge(serve.run_many(run), job.limits), [target.name for target in run]
