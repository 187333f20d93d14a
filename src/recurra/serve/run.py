"""`run`: a server listens until it is told to end; Uvicorn for HTTP, picows for WebSockets, on one port."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from picows import WSAutoPingStrategy
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recurra.serve.limits import Limits

_HEADERS = 1 << 16  # bytes of a request before its body
_REQUEST = 20.0  # seconds in which a request must be there, body included
_QUIET = 30.0  # seconds after which a silent WebSocket is asked whether it is still there
_GARBAGE = 50_000  # objects more than before, when they are looked through
_log = logging.LoggerAdapter(logging.getLogger("recurra.serve.socket"), {})


class Http(HttpToolsProtocol):
    """A connection whose request must come in time and have a head of bounded size."""

    limit = 1024  # connections

    def connection_made(self, transport: Any) -> None:
        """Begin, unless there are too many."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._head = 0
        if len(self.connections) > self.limit:
            transport.close()
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before the body."""
        if self._head >= 0:
            self._head += len(data)
            if self._head > _HEADERS + (1 << 18):  # one read may have some of the body
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._head = -1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is whole."""
        self._disarm()
        self._head = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """From here on it is a WebSocket's."""
        self._disarm()
        super().handle_websocket_upgrade()

    def _arm(self) -> None:
        self._disarm()
        self._timer = self.loop.call_later(_REQUEST, self.transport.close)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Stream(WSProtocol):  # type: ignore[misc]
    """picows' protocol, handed a request that Uvicorn has read."""

    def data_received(self, data: bytes) -> None:
        """Take the request as if it had come in here."""
        at = 0
        while at < len(data):
            room = memoryview(self.get_buffer(len(data) - at))
            some = min(len(room), len(data) - at)
            room[:some] = data[at : at + some]
            self.buffer_updated(some)
            at += some


class Listens(Protocol):
    """What can be run: a `Server`, or what stands for many."""

    @property
    def app(self) -> Any:
        """What Uvicorn serves."""

    @property
    def limits(self) -> Limits:
        """Of connections and frames."""

    def listener(self, request: Any) -> Any:
        """See `Server.listener`."""


def stream_of(server: Listens) -> Callable[..., Stream]:
    """What Uvicorn calls for a WebSocket."""

    def made(config: Any, server_state: Any, app_state: Any) -> Stream:
        return Stream(
            None, None, False, server.listener, _log, False, _REQUEST,
            True, _QUIET, _QUIET, WSAutoPingStrategy.PING_WHEN_IDLE, True,
            server.limits.frame + 64, None, 2048,
        )  # fmt: skip

    return made


class _Uvicorn(uvicorn.Server):
    """Uvicorn that ends with 0 where it is told to end, loads models anew at SIGHUP, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], reload: Callable[[], Any] | None) -> None:
        super().__init__(config)
        self._ready, self._reload = ready, reload

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in order at the first signal, at once at the second."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        if self._reload is not None and hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, self._load)
        yield

    def _load(self) -> None:
        assert self._reload is not None
        self._loading = asyncio.ensure_future(self._reload())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def bound(host: str, port: int, wait: float = 0.0) -> socket.socket:
    """A socket at an address; `wait` seconds may pass until another process has left it.

    Raises:
        OSError: it is in use, or no address of this machine.
    """
    until = time.monotonic() + wait
    while True:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=4096)
        except OSError as error:
            if time.monotonic() > until:
                raise OSError(error.errno, os.strerror(error.errno or 0), f"{host}:{port}") from None
            time.sleep(0.02)


def run(
    server: Listens,
    sock: socket.socket,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    ready: Callable[[str], None] = lambda url: None,
    reload: Callable[[], Any] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT: then what waits is taken, and all sessions are written to the store.

    Args:
        server: what answers.
        sock: where it listens.
        certificate, key: to speak TLS.
        ready: called with the address, once it listens.
        reload: awaited at SIGHUP.
    """
    _raise_files()
    gc.freeze()  # what is there from the start is never garbage: no pass over it holds anybody up
    gc.set_threshold(_GARBAGE)  # a message leaves none: passes over all sessions need not be frequent
    host, port = sock.getsockname()[:2]
    url = f"{'https' if certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    http = type("Http", (Http,), {"limit": server.limits.sockets})
    config = uvicorn.Config(
        server.app,
        http=http,
        ws=stream_of(server),  # type: ignore[arg-type]
        loop="uvloop" if sys.platform != "win32" else "auto",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=None if certificate is None else str(certificate),
        ssl_keyfile=None if key is None else str(key),
    )
    _Uvicorn(config, lambda: ready(url), reload).run(sockets=[sock])


def _raise_files() -> None:
    """As many open files as the system lets this process have."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Lines(logging.Formatter):
    """A record as a line of JSON: of an exception its type and place, never what it says, which may be a client's."""

    def format(self, record: logging.LogRecord) -> str:
        """A line."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            last = record.exc_info[2]
            while last is not None and last.tb_next is not None:
                last = last.tb_next
            where = f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last is not None else ""
            line |= {"exception": record.exc_info[0].__name__, "where": where}
        return json.dumps(line)


def log_to_stderr(level: str) -> None:
    """Structured lines on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    for name in ("recurra.serve", "uvicorn", "picows"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper() if name == "recurra.serve" else "WARNING")
    logging.getLogger("recurra.serve.socket").setLevel("WARNING")
