"""A replica of a server that Ray Serve starts, and the `Line` by which requests go to it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from starlette.responses import Response

from recurra.serve.access import Access
from recurra.serve.limits import Limits
from recurra.serve.served import open_served
from recurra.serve.server import Server

PATIENCE = 30.0  # seconds that a request waits for a replica that is being started anew
_OUT, _TOGETHER = 4, 256  # calls to a replica at a time, so that none waits for a long one; requests of one

Headers = list[tuple[bytes, bytes]]


class Asked(NamedTuple):
    """What a replica is asked: a request of HTTP's."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes


class Answer(NamedTuple):
    """What a replica answers."""

    status: int
    headers: Headers
    body: bytes

    def response(self) -> Response:
        """For the client."""
        made = Response(self.body, self.status)
        made.raw_headers = [pair for pair in self.headers if pair[0] != b"content-length"]
        made.raw_headers.append((b"content-length", str(len(self.body)).encode()))
        return made


@dataclass(frozen=True)
class Job:
    """What each replica serves.

    Attributes:
        models: the content of each file, by its name.
        store: the folder of the stores; None: sessions go with their replica.
        limits, access, durable: as `Server` has them.
        wait: seconds that a replica waits for its store, until the one before it has gone.
    """

    models: Mapping[str, bytes]
    store: Path | None
    limits: Limits
    access: Access
    durable: bool
    wait: float = 10.0


class Replica:
    """A server without a socket: an actor of Ray Serve's."""

    def __init__(self, job: Job, store: Path | None) -> None:
        with tempfile.TemporaryDirectory(prefix="recurra-ray-") as folder:
            served = {}
            for name, content in job.models.items():
                path = Path(folder, "model.recurra")
                path.write_bytes(content)
                served[name] = open_served(path, name)
        self._server = Server(served, store, job.limits, job.access, job.durable, False, job.wait)
        self._life: AbstractAsyncContextManager[Any] | None = None

    async def ask(self, method: str, path: str, query: bytes, headers: Headers, body: bytes) -> Answer:
        """What the server answers to a request."""
        if self._life is None:
            self._life = self._server.app.router.lifespan_context(self._server.app)
            await self._life.__aenter__()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
            "raw_path": path.encode(), "query_string": query, "headers": headers, "scheme": "http", "root_path": "",
            "server": None, "client": None,
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        try:
            await self._server.app(scope, receive, send)
        except Exception:
            if not sent:  # else it has answered that it is at fault
                raise
        return Answer(sent[0]["status"], list(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:]))

    async def ask_all(self, requests: Sequence[Asked]) -> list[Answer]:
        """What the server answers to several requests, which it takes together."""
        return await asyncio.gather(*(self.ask(*request) for request in requests))

    async def close(self) -> None:
        """Take what waits, and write all sessions to the store."""
        life, self._life = self._life, None
        if life is not None:
            await life.__aexit__(None, None, None)


class Line:
    """The way to one replica. A call of Ray's costs more than a step: what comes while calls are out goes together with
    the next.

    Args:
        replica: a handle with the methods of `Replica` as Ray Serve has them.
    """

    def __init__(self, replica: Any) -> None:
        self.replica = replica
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def ask(self, request: Asked) -> Answer:
        """What the replica answers.

        Raises:
            Exception: of Ray's, where the replica has gone; TimeoutError: it is not there in time.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._send()
        return await answer

    def _send(self) -> None:
        if not self._waiting or len(self._calls) >= _OUT:
            return
        sent, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
        call = asyncio.create_task(self._call(sent))
        self._calls.add(call)

        def done(call: asyncio.Task[None]) -> None:
            self._calls.discard(call)
            self._send()

        call.add_done_callback(done)

    async def _call(self, sent: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        try:
            waits = self.replica.ask_all.remote([request for request, _ in sent])
            answers = await asyncio.wait_for(waits, PATIENCE)
        except Exception as error:
            for _, answer in sent:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), found in zip(sent, answers, strict=True):
            if not answer.done():
                answer.set_result(Answer(*found))
