"""`Server`: models, their sessions, and the paths and sockets by which they are used, in one process."""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from recurra.errors import SettingError
from recurra.serve.access import Access
from recurra.serve.faults import Fault, ServeError
from recurra.serve.frames import to_json
from recurra.serve.inference import Inference
from recurra.serve.limits import Limits
from recurra.serve.observed import Observed
from recurra.serve.openapi import document
from recurra.serve.rest import PATHS, Rest, guest_of, refusal, reload
from recurra.serve.served import Served
from recurra.serve.sessions import Sessions
from recurra.serve.sockets import Socket, Sockets
from recurra.serve.store import Store

log = logging.getLogger("recurra.serve")
STREAM = "/v1/stream"
PROTOCOL = "recurra"  # of the WebSocket; a page adds `token.TOKEN`, as it cannot set headers
_CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


@dataclass
class Server:
    """A server, not yet listening: `app` is what Uvicorn serves, `listener` makes a socket of a request to upgrade.

    Args:
        served: models by name.
        store: a file that outlives the process; none: one of its own, which goes with it.
        limits: how much it takes.
        access: who is let in.
        durable: whether every step is in the store before it is answered.
        conflate: whether slow readers get the newest answers only, in place of being dropped.
        wait: seconds to wait for another process to leave the store.
    """

    served: dict[str, Served]
    store: Path | None = None
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=lambda: Access({}))
    durable: bool = False
    conflate: bool = False
    wait: float = 0.0

    def __post_init__(self) -> None:
        self._own = None if self.store else tempfile.TemporaryDirectory(prefix="recurra-")
        self._store = Store(self.store or Path(str(self._own and self._own.name)) / "sessions", self.wait)
        self.observed = Observed()
        self.sessions = Sessions(
            self.served, self._store, self.limits, self._soon, self.observed, self.durable, self.access.sessions_of
        )
        self.sockets = Sockets(self.sessions, self.conflate)
        rest, inference = Rest(self.sessions, self.access), Inference(self.sessions, self.access)
        self.app = Starlette(
            routes=[
                *(Route(path.path, rest.handler(path), methods=[path.method]) for path in PATHS),
                *inference.routes(),
                Route("/", self._page),
                Route("/openapi.json", self._document),
                Route("/metrics", self._metrics),
                Route("/health/live", self._live),
                Route("/health/ready", self._ready),
            ],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _http, Exception: _broken},
        )

    def _soon(self, turn: Callable[[], None]) -> object:
        return asyncio.get_running_loop().call_soon(turn)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        tidying = asyncio.create_task(self._tidy())
        try:
            yield
        finally:
            tidying.cancel()
            self.close()

    def close(self) -> None:
        """Take what waits, let all sockets go, and write all sessions to the store."""
        self.sessions.drain()
        self.sockets.close()
        self._store.close()
        if self._own is not None:
            self._own.cleanup()

    async def reload(self) -> None:
        """Read the files of all models again; what cannot take its sessions over is logged, and all stays as it is."""
        for name in list(self.sessions.served):
            try:
                await reload(self.sessions, name)
            except ServeError as refused:
                log.error("%s", refused)

    async def _tidy(self) -> None:
        """Now and then, sessions that are not used go to the store, a few at a time."""
        while True:
            await asyncio.sleep(min(5.0, self.limits.idle / 4))
            try:
                while self.sessions.evict(64, self.limits.idle) == 64:
                    await asyncio.sleep(0)
            except Exception:
                log.exception("sessions could not be written to the store")

    def listener(self, request: WSUpgradeRequest) -> Any:
        """The listener of a new WebSocket, or the answer that refuses it."""
        try:
            headers = request.headers
            if request.path.partition(b"?")[0] != STREAM.encode():
                raise ServeError(Fault.NOT_FOUND, f"there is no stream here, expected {STREAM}")
            if self.sessions.draining:
                raise ServeError(Fault.DRAINING, "the server is going down: try again")
            if len(self.sockets.open) >= self.limits.sockets:
                raise ServeError(Fault.FULL, f"there are {self.limits.sockets} sockets, which is the limit")
            self.access.check_origin(headers.get("Host", ""), headers.get("Origin", ""))
            offered = [word.strip() for word in headers.get("Sec-WebSocket-Protocol", "").split(",")]
            kind, _, token = headers.get("Authorization", "").partition(" ")
            if kind.lower() != "bearer":
                token = next((word.removeprefix("token.") for word in offered if word.startswith("token.")), "")
            socket = Socket(self.sockets, self.access.guest(token.strip()))
        except ServeError as refused:
            self.observed.refused(refused.fault.word)
            return refused_upgrade(refused)
        chosen = {"Sec-WebSocket-Protocol": PROTOCOL} if PROTOCOL in offered else {}
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(chosen), socket)

    async def _page(self, request: Request) -> Response:
        try:
            self.access.check_origin(request.headers.get("host", ""), "")
        except ServeError as refused:
            return refusal(refused)
        page = files("recurra.serve").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(page, headers={"Content-Security-Policy": _CSP, "X-Content-Type-Options": "nosniff"})

    async def _document(self, request: Request) -> Response:
        return Response(to_json(document()), media_type="application/json")

    async def _metrics(self, request: Request) -> Response:
        try:
            guest_of(self.access, request)
        except ServeError as refused:
            return refusal(refused)
        live = len(self.sessions.live)
        stored, queue = len(self.sessions) - live, self.sessions.batcher.steps
        self.observed.gauge(live, stored, len(self.sockets.open), queue)
        return PlainTextResponse(self.observed.text(), media_type="text/plain; version=0.0.4")

    async def _live(self, request: Request) -> Response:
        return PlainTextResponse("live\n")

    async def _ready(self, request: Request) -> Response:
        if self.sessions.draining:
            return refusal(ServeError(Fault.DRAINING, "the server is going down"))
        return PlainTextResponse("ready\n")


def refused_upgrade(refused: ServeError) -> Any:
    """The answer to a request for a WebSocket that is refused."""
    answer = refusal(refused)
    said = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return WSUpgradeResponseWithListener(
        WSUpgradeResponse.create_error_response(refused.fault.status, bytes(answer.body), said), None
    )


async def _http(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    fault = {404: Fault.NOT_FOUND, 405: Fault.METHOD}.get(status, Fault.INVALID)
    answer = refusal(ServeError(fault, f"{request.method} {request.url.path[:80]}: {getattr(error, 'detail', '')}"))
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


async def _broken(request: Request, error: Exception) -> Response:
    return refusal(ServeError(Fault.INTERNAL, f"the server is at fault ({type(error).__name__})"))


def check_certificate(certificate: Path, key: Path | None) -> None:
    """Raise where TLS cannot be spoken with these files.

    Raises:
        SettingError: they do not fit one another, or are no PEM.
        OSError: one cannot be read.
    """
    for path in (certificate, key):
        if path is not None:
            path.open("rb").close()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise SettingError(
            f"{certificate}: TLS cannot be spoken with this certificate and its key ({error.reason}), expected PEM "
            "files that belong together"
        ) from None


def names_of(models: Sequence[Path]) -> dict[str, Path]:
    """Models by name: that of the file without its ending, or what is said before `=`.

    Raises:
        SettingError: two have the same name.

    >>> names_of([Path("a/demand.recurra"), Path("new=b/demand.recurra")])
    {'demand': PosixPath('a/demand.recurra'), 'new': PosixPath('b/demand.recurra')}
    """
    found: dict[str, Path] = {}
    for path in models:
        name, _, rest = str(path).partition("=")
        where = Path(rest) if rest and "/" not in name else path
        name = name if rest and "/" not in name else path.stem
        if name in found:
            raise SettingError(f"two models are called {name!r}: name one, as in other={where}")
        found[name] = where
    return found
