"""`connect`: sessions of a server from Python, which go on by themselves where a connection breaks.

`Client` and `AsyncClient` carry the messages of one core, `Conversation`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from recurra.errors import DataError, RecurraError, need
from recurra.serve.conversation import Conversation, input_of, output_of
from recurra.serve.faults import ServeError

_SOON, _LATE = 0.02, 1.0  # seconds before the first and the last tries to connect again
_MOST = 1 << 24  # bytes of an answer


class _Remote:
    """One session of a server.

    Attributes:
        name: of the session.
        model: whose it is.
    """

    def __init__(self, client: Any, said: Mapping[str, Any]) -> None:
        self._client, self.name, self.model = client, said["id"], said["model"]
        client.talk.steps[self.name] = said["steps"]
        client.talk.fenced.discard(self.name)

    @property
    def steps(self) -> int:
        """How many steps it has taken."""
        return int(self._client.talk.steps[self.name])

    def _step(self, x: Any) -> dict[str, Any]:
        ready = input_of(x)
        return {"op": "step", "id": self.name, "x": ready, "seq": self._client.talk.next(self.name, 1)}

    def _run(self, xs: Any) -> dict[str, Any]:
        ready = input_of(list(xs))
        return {"op": "run", "id": self.name, "xs": ready, "seq": self._client.talk.next(self.name, len(ready))}

    def _fork(self, name: str | None) -> dict[str, Any]:
        return {"op": "fork", "id": self.name, "to": name or secrets.token_urlsafe(12)}

    def _begun(self) -> None:
        self._client.talk.steps[self.name] = 0


class RemoteSession(_Remote):
    """One session of a server; `step`, `run` and the rest wait for the answer."""

    def step(self, x: Any) -> Any:
        """One step: float32 [O] of a program, a dict with the `answer` of a task; None where there is none.

        Raises:
            ServeError: the server does not take it; nothing has changed.
        """
        return output_of(self._client.ask(self._step(x))["y"])

    def run(self, xs: Any) -> list[Any]:
        """Several steps: the answers, as `step` has them."""
        return [output_of(y) for y in self._client.ask(self._run(xs))["ys"]]

    def states(self) -> dict[str, Any]:
        """What the network remembers, by name."""
        found = self._client.ask({"op": "states", "id": self.name})["states"]
        return {name: output_of(values) for name, values in found.items()}

    def fork(self, name: str | None = None) -> RemoteSession:
        """Another session in the same state."""
        return RemoteSession(self._client, self._client.ask(self._fork(name)))

    def reset(self) -> None:
        """Back to the beginning."""
        self._client.ask({"op": "reset", "id": self.name})
        self._begun()

    def end(self) -> None:
        """Take no more steps."""
        self._client.ask({"op": "end", "id": self.name})

    def delete(self) -> None:
        """Forget it."""
        self._client.ask({"op": "delete", "id": self.name})
        self._client.talk.steps.pop(self.name, None)


class AsyncSession(_Remote):
    """`RemoteSession` whose methods are awaited; any number may be under way."""

    async def step(self, x: Any) -> Any:
        """See `RemoteSession`."""
        return output_of((await self._client.ask(self._step(x)))["y"])

    async def run(self, xs: Any) -> list[Any]:
        """See `RemoteSession`."""
        return [output_of(y) for y in (await self._client.ask(self._run(xs)))["ys"]]

    async def states(self) -> dict[str, Any]:
        """See `RemoteSession`."""
        found = (await self._client.ask({"op": "states", "id": self.name}))["states"]
        return {name: output_of(values) for name, values in found.items()}

    async def fork(self, name: str | None = None) -> AsyncSession:
        """See `RemoteSession`."""
        return AsyncSession(self._client, await self._client.ask(self._fork(name)))

    async def reset(self) -> None:
        """See `RemoteSession`."""
        await self._client.ask({"op": "reset", "id": self.name})
        self._begun()

    async def end(self) -> None:
        """See `RemoteSession`."""
        await self._client.ask({"op": "end", "id": self.name})

    async def delete(self) -> None:
        """See `RemoteSession`."""
        await self._client.ask({"op": "delete", "id": self.name})
        self._client.talk.steps.pop(self.name, None)


class _Connection:
    """What the two clients share: where the server is, and how long to be patient with it."""

    def __init__(self, url: str, token: str = "", patience: float = 30.0, ssl: Any = None) -> None:
        need("recurra.connect", "websockets", "msgspec", extra="serve")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
            raise DataError(f"the server's address is {url[:80]!r}, expected one such as http://127.0.0.1:8080")
        scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
        self._url, self.talk, self._patience = f"{scheme}://{parts.netloc}/v1/stream", Conversation(), patience
        self._options: dict[str, Any] = {"max_size": _MOST, "compression": None, "proxy": None}
        if token:
            self._options["additional_headers"] = {"Authorization": f"Bearer {token}"}
        if ssl is not None:
            self._options["ssl"] = ssl

    def _open(self, name: str | None, model: str | None) -> dict[str, Any]:
        return {"op": "open", "id": name or secrets.token_urlsafe(12), "model": model}

    def _no_place(self) -> RecurraError:
        return RecurraError(f"{self._url}: the server had no place for {self._patience:g} seconds")

    def _given_up(self, error: Exception) -> RecurraError:
        status = getattr(getattr(error, "response", None), "status_code", None)
        body = bytes(getattr(getattr(error, "response", None), "body", None) or b"")
        said = f" ({status}: {body.decode(errors='replace')[:200]})" if status else f" ({error})"
        return RecurraError(f"{self._url}: no connection{said}")

    def _refused(self, error: Exception) -> bool:
        """Whether to try again is of no use."""
        return getattr(getattr(error, "response", None), "status_code", 503) in (401, 403, 404)


class Client(_Connection):
    """A connection to a server; see `recurra.connect`."""

    def __init__(self, url: str, token: str = "", patience: float = 30.0, ssl: Any = None) -> None:
        super().__init__(url, token, patience, ssl)
        self._socket: Any = None
        self._connect()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def session(self, name: str | None = None, model: str | None = None) -> RemoteSession:
        """The session of that name, where it is; a new one where there is none.

        Args:
            name: of the session; None for one of its own.
            model: of a new session; None where the server has only one.

        Raises:
            ServeError: the server does not open it.
        """
        return RemoteSession(self, self.ask(self._open(name, model)))

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message, and wait for its answer, on another connection where this one breaks."""
        from websockets.exceptions import ConnectionClosed

        tag, content = self.talk.ask(message)
        until = time.monotonic() + self._patience
        try:
            while True:
                try:
                    if content:
                        self._socket.send(content, text=True)
                    content = b""
                    heard = self.talk.hear(self._socket.recv())
                except ConnectionClosed:
                    self._connect()
                    continue
                if heard is None or heard[0] != tag:
                    continue
                found = heard[1]
                if isinstance(found, ServeError):
                    raise found
                if isinstance(found, dict):
                    return found
                if time.monotonic() > until:
                    raise self._no_place()
                time.sleep(found)
                content = self.talk.content(tag)
        finally:
            self.talk.forget(tag)

    def close(self) -> None:
        """End the connection; the sessions stay."""
        if self._socket is not None:
            self._socket.close()

    def _connect(self) -> None:
        from websockets.exceptions import ConnectionClosed, InvalidHandshake
        from websockets.sync.client import connect as dial

        until, wait = time.monotonic() + self._patience, _SOON
        while True:
            try:
                self._socket = dial(self._url, **self._options).__enter__()  # `close` leaves it
                for content in self.talk.resume():
                    self._socket.send(content, text=True)
                return
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                if self._refused(error) or time.monotonic() > until:
                    raise self._given_up(error) from error
            time.sleep(wait)
            wait = min(_LATE, 2 * wait)


class AsyncClient(_Connection):
    """A connection to a server, used with `async with`; see `recurra.connect_async`."""

    def __init__(self, url: str, token: str = "", patience: float = 30.0, ssl: Any = None) -> None:
        super().__init__(url, token, patience, ssl)
        self._socket: Any = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._until: dict[int, float] = {}  # of each tag: until when it is asked again where there is no place
        self._later = set[asyncio.Future[None]]()  # sendings under way, which nobody else holds
        self._failed: Exception | None = None

    async def __aenter__(self) -> AsyncClient:
        self._connected = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        waits = asyncio.create_task(self._connected.wait())
        await asyncio.wait((self._reader, waits), return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if self._failed is not None:
            raise self._failed
        return self

    async def __aexit__(self, *error: object) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        if self._socket is not None:
            await self._socket.close()

    async def session(self, name: str | None = None, model: str | None = None) -> AsyncSession:
        """See `Client.session`."""
        return AsyncSession(self, await self.ask(self._open(name, model)))

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message, and wait for its answer."""
        if self._failed is not None:
            raise self._failed
        tag, content = self.talk.ask(message)
        waits = self._answers[tag] = asyncio.get_running_loop().create_future()
        self._until[tag] = time.monotonic() + self._patience
        try:
            await self._send(content)
            answer: dict[str, Any] = await waits
            return answer
        finally:
            del self._answers[tag], self._until[tag]
            self.talk.forget(tag)

    async def _send(self, content: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):  # it is sent again on the next connection
                await self._socket.send(content, text=True)

    async def _read(self) -> None:
        from websockets.asyncio.client import connect as dial
        from websockets.exceptions import ConnectionClosed, InvalidHandshake

        until, wait = time.monotonic() + self._patience, _SOON
        while True:
            try:
                self._socket = await dial(self._url, **self._options).__aenter__()  # it is closed at the end
                for content in self.talk.resume():
                    await self._socket.send(content, text=True)
                until, wait = math.inf, _SOON
                self._connected.set()
                async for content in self._socket:
                    self._hear(content)
                raise ConnectionClosed(None, None)
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                self._socket = None
                if until == math.inf:
                    until = time.monotonic() + self._patience
                if self._refused(error) or time.monotonic() > until:
                    self._failed = self._given_up(error)
                    for waits in self._answers.values():
                        if not waits.done():
                            waits.set_exception(self._failed)
                    return
            await asyncio.sleep(wait)
            wait = min(_LATE, 2 * wait)

    def _hear(self, content: bytes | str) -> None:
        heard = self.talk.hear(content)
        if heard is None:
            return
        tag, found = heard
        waits = self._answers.get(tag)
        if waits is None or waits.done():
            return
        if isinstance(found, ServeError):
            waits.set_exception(found)
        elif isinstance(found, dict):
            waits.set_result(found)
        elif time.monotonic() > self._until[tag]:
            waits.set_exception(self._no_place())
        else:
            asyncio.get_running_loop().call_later(found, self._ask_again, tag)

    def _ask_again(self, tag: int) -> None:
        if tag in self._answers:
            sending = asyncio.ensure_future(self._send(self.talk.content(tag)))
            self._later.add(sending)
            sending.add_done_callback(self._later.discard)


def connect(url: str, *, token: str = "", patience: float = 30.0, ssl: Any = None) -> Client:
    """Connect to a server of `recurra serve`.

    Where the connection breaks, or the server is replaced by another one with the same store, calls wait and go on.

    Args:
        url: of the server, such as http://127.0.0.1:8080.
        token: where the server wants one.
        patience: seconds to wait for a server that is away or full.
        ssl: an `ssl.SSLContext`, where the system's certificates are not enough.

    Raises:
        RecurraError: there is no server, or it does not let us in.

    >>> with recurra.connect("http://127.0.0.1:8080") as server:  # doctest: +SKIP
    ...     pump = server.session("pump-7")
    ...     answer = pump.step([0.3, 1.2])
    """
    return Client(url, token, patience, ssl)


def connect_async(url: str, *, token: str = "", patience: float = 30.0, ssl: Any = None) -> AsyncClient:
    """As `connect`, for `async with`: sessions whose methods are awaited.

    >>> async def stream():
    ...     async with recurra.connect_async("http://127.0.0.1:8080") as server:
    ...         pump = await server.session("pump-7")
    ...         return await pump.step([0.3, 1.2])
    """
    return AsyncClient(url, token, patience, ssl)
