"""Sessions as resources: the paths under /v1, and the table that they and the OpenAPI document are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from recurra.errors import RecurraError
from recurra.serve.access import Access, Guest
from recurra.serve.faults import RETRY, Fault, ServeError
from recurra.serve.frames import to_json
from recurra.serve.held import Held, Work
from recurra.serve.served import Served, log, open_served
from recurra.serve.sessions import Sessions

BYTES = "application/octet-stream"


class Create(msgspec.Struct, forbid_unknown_fields=True):
    """A session to be: its model, which need not be named where there is only one, and its own name."""

    model: str | None = None
    id: str | None = None


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """One step: its input, and where the client counts, its sequence number."""

    x: Any
    seq: int | None = None


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """Several steps: their inputs, and where the client counts, the sequence number of the first."""

    xs: list[Any]
    seq: int | None = None


class Fork(msgspec.Struct, forbid_unknown_fields=True):
    """What the new session is called."""

    id: str | None = None


@dataclass(frozen=True)
class Path:
    """One method of one path.

    Attributes:
        method, path: of the request.
        name: the method of `Rest` that does it.
        body: of the request; bytes where it is a snapshot.
        status: where it is done.
        faults: why it may be refused, beside what can be everywhere.
        answers: the kind of content that it answers with.
    """

    method: str
    path: str
    name: str
    body: Any = None
    status: int = 200
    faults: Sequence[Fault] = ()
    answers: str = "application/json"

    @property
    def takes(self) -> str:
        """What the request has, or nothing."""
        return "" if self.body is None else BYTES if self.body is bytes else "application/json"


_ONE = "/v1/sessions/{id}"
_MADE = (Fault.NOT_FOUND, Fault.TAKEN, Fault.MISMATCH, Fault.FULL, Fault.DRAINING, Fault.LIMITED)
_STEPPED = (
    Fault.NOT_FOUND, Fault.FENCED, Fault.GAP, Fault.GONE, Fault.ENDED, Fault.FULL, Fault.DRAINING, Fault.LIMITED,
)  # fmt: skip
PATHS = (
    Path("GET", "/v1/models", "models"),
    Path("GET", "/v1/models/{model}", "model", faults=(Fault.NOT_FOUND,)),
    Path("POST", "/v1/models/{model}/reload", "reload", faults=(Fault.NOT_FOUND, Fault.MISMATCH)),
    Path("GET", "/v1/sessions", "list"),
    Path("POST", "/v1/sessions", "create", Create, 201, _MADE),
    Path("GET", _ONE, "get", faults=(Fault.NOT_FOUND,)),
    Path("DELETE", _ONE, "delete", None, 204, (Fault.NOT_FOUND,)),
    Path("POST", f"{_ONE}/step", "step", Step, faults=_STEPPED),
    Path("POST", f"{_ONE}/run", "run", Run, faults=_STEPPED),
    Path("POST", f"{_ONE}/reset", "reset", faults=(Fault.NOT_FOUND,)),
    Path("POST", f"{_ONE}/end", "end", faults=(Fault.NOT_FOUND,)),
    Path("POST", f"{_ONE}/fork", "fork", Fork, 201, _MADE),
    Path("GET", f"{_ONE}/states", "states", faults=(Fault.NOT_FOUND,)),
    Path("GET", f"{_ONE}/snapshot", "snapshot", faults=(Fault.NOT_FOUND,), answers=BYTES),
    Path("PUT", f"{_ONE}/snapshot", "restore", bytes, faults=(Fault.NOT_FOUND, Fault.MISMATCH)),
    Path("POST", f"{_ONE}/snapshot", "create_from", bytes, 201, _MADE),
)


def refusal(refused: ServeError) -> Response:
    """A refusal as an answer."""
    retry = RETRY.get(refused.fault)
    headers = {} if retry is None else {"Retry-After": str(retry)}
    if refused.fault is Fault.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(to_json(refused.to_dict()), refused.fault.status, headers, "application/json")


def guest_of(access: Access, request: Request) -> Guest:
    """Who asks.

    Raises:
        ServeError: nobody who may.
    """
    headers = request.headers
    access.check_origin(headers.get("host", ""), headers.get("origin", ""))
    kind, _, token = headers.get("authorization", "").partition(" ")
    return access.guest(token.strip() if kind.lower() == "bearer" else "")


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request, no more of it than is allowed.

    Raises:
        ServeError: it is larger; what is beyond is not read.
    """
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > most:
        raise ServeError(Fault.TOO_LARGE, f"the body has {said[:20]} bytes, expected at most {most}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise ServeError(Fault.TOO_LARGE, f"the body has more than {most} bytes, which is the limit")
    return bytes(body)


async def taken(sessions: Sessions, guest: Guest, held: Held, first: int | None, inputs: bytes) -> Work:
    """Steps of a session, when they have been taken.

    Raises:
        ServeError: they have not; of a frame that was refused midway, `about` says what was taken.
    """
    if guest.limited:
        guest.take(held.served.count(inputs))
    waits: asyncio.Future[Work] = asyncio.get_running_loop().create_future()
    sessions.submit(held, first, inputs, lambda work: None if waits.done() else waits.set_result(work))
    work = await waits
    if work.refused is not None:
        raise ServeError(work.refused.fault, str(work.refused), steps=held.steps, **work.refused.about)
    return work


async def reload(sessions: Sessions, name: str) -> Served:
    """Read a model's file again, and let what it has now take all sessions over; meanwhile steps go on.

    Raises:
        ServeError: it cannot be read, or is of another architecture; nothing has changed.
    """
    path = sessions.model(name).path
    if path is None:
        raise ServeError(Fault.INVALID, f"the model {name!r} came from no file: it cannot be loaded anew")
    try:
        served = await asyncio.to_thread(open_served, path, name)
    except (RecurraError, OSError) as error:
        raise ServeError(Fault.INVALID, f"the model {name!r} cannot be loaded anew: {error}") from None
    sessions.replace(served)
    log.info("the model %s is of version %s now", name, served.fingerprint.hex()[:12])
    return served


class Rest:
    """What the paths of the table do."""

    def __init__(self, sessions: Sessions, access: Access) -> None:
        self.sessions, self.access = sessions, access

    def handler(self, path: Path) -> Callable[[Request], Awaitable[Response]]:
        """What Starlette calls for a path."""
        done = getattr(self, f"_{path.name}")
        decoder = None if path.body in (None, bytes) else msgspec.json.Decoder(path.body)

        async def handle(request: Request) -> Response:
            try:
                guest = guest_of(self.access, request)
                body: Any = await body_of(request, self.sessions.limits.frame)
                if decoder is not None:
                    try:
                        body = decoder.decode(body or b"{}")
                    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                        raise ServeError(Fault.INVALID, f"the body cannot be read: {error}") from None
                found = await done(guest, request, body)
            except ServeError as refused:
                self.sessions.observed.refused(refused.fault.word)
                return refusal(refused)
            if isinstance(found, bytes):
                return Response(found, path.status, media_type=BYTES)
            return Response(None if found is None else to_json(found), path.status, media_type="application/json")

        return handle

    def _of(self, guest: Guest, request: Request) -> Held:
        return self.sessions.get(guest.tenant, request.path_params["id"])

    def _said(self, held: Held) -> dict[str, Any]:
        state = "ended" if held.ended else "live"
        return {"id": held.name, "model": held.served.name, "steps": held.steps, "state": state}

    async def _models(self, guest: Guest, request: Request, body: Any) -> Any:
        return {"models": [served.describe() for served in self.sessions.served.values()]}

    async def _model(self, guest: Guest, request: Request, body: Any) -> Any:
        return self.sessions.model(request.path_params["model"]).describe()

    async def _reload(self, guest: Guest, request: Request, body: Any) -> Any:
        if not guest.admin:
            raise ServeError(Fault.FORBIDDEN, "this token loads no models: write `admin` on its line")
        return (await reload(self.sessions, request.path_params["model"])).describe()

    async def _list(self, guest: Guest, request: Request, body: Any) -> Any:
        query = request.query_params
        most = query.get("limit", "1000")
        if not most.isascii() or not most.isdigit() or not 1 <= int(most[:9]) <= 1000:
            raise ServeError(Fault.INVALID, f"limit is {most[:20]!r}, expected 1 to 1000")
        return {"sessions": self.sessions.list(guest.tenant, query.get("after", ""), int(most))}

    async def _create(self, guest: Guest, request: Request, body: Create) -> Any:
        return self._said(self.sessions.create(guest.tenant, body.model, body.id))

    async def _get(self, guest: Guest, request: Request, body: Any) -> Any:
        return self._said(self._of(guest, request))

    async def _delete(self, guest: Guest, request: Request, body: Any) -> None:
        self.sessions.delete(self._of(guest, request))

    async def _step(self, guest: Guest, request: Request, body: Step) -> Any:
        held = self._of(guest, request)
        work = await taken(self.sessions, guest, held, _counted(body.seq), held.served.read([body.x]))
        return {"seq": work.first, "y": held.served.json(work.answers, work.first)[0]}

    async def _run(self, guest: Guest, request: Request, body: Run) -> Any:
        held = self._of(guest, request)
        if not body.xs:
            raise ServeError(Fault.INVALID, "xs is empty, expected the inputs of one step or more")
        work = await taken(self.sessions, guest, held, _counted(body.seq), held.served.read(body.xs))
        return {"seq": work.first, "ys": held.served.json(work.answers, work.first)}

    async def _reset(self, guest: Guest, request: Request, body: Any) -> Any:
        held = self._of(guest, request)
        self.sessions.reset(held)
        return self._said(held)

    async def _end(self, guest: Guest, request: Request, body: Any) -> Any:
        held = self._of(guest, request)
        self.sessions.end(held)
        return self._said(held)

    async def _fork(self, guest: Guest, request: Request, body: Fork) -> Any:
        return self._said(self.sessions.fork(guest.tenant, self._of(guest, request), body.id))

    async def _states(self, guest: Guest, request: Request, body: Any) -> Any:
        held = self._of(guest, request)
        self.sessions.batcher.finish(held)
        return {"id": held.name, "seq": held.steps, "states": held.served.states(held.state)}

    async def _snapshot(self, guest: Guest, request: Request, body: Any) -> bytes:
        return self.sessions.snapshot(self._of(guest, request))

    async def _restore(self, guest: Guest, request: Request, body: bytes) -> Any:
        held = self._of(guest, request)
        self.sessions.restore(held, body)
        return self._said(held)

    async def _create_from(self, guest: Guest, request: Request, body: bytes) -> Any:
        model = request.query_params.get("model")
        return self._said(self.sessions.create(guest.tenant, model, request.path_params["id"], body))


def _counted(seq: int | None) -> int | None:
    if seq is not None and not 1 <= seq < 1 << 62:
        raise ServeError(Fault.INVALID, f"seq is {seq}, expected 1 or more: the number of the step")
    return seq
