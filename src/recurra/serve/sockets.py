"""`Socket`: one WebSocket, with any number of sessions on it; on picows, whose frames cost least."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from recurra.serve.access import Guest
from recurra.serve.faults import RETRY, Fault, ServeError
from recurra.serve.frames import GROUP, HEAD, OPS, STEPS, Message, group_head, group_of, message, to_json
from recurra.serve.held import Held, Work

if TYPE_CHECKING:
    from recurra.serve.sessions import Sessions

log = logging.getLogger("recurra.serve")
_MOST_HANDLES = 1 << 16
_BINARY, _TEXT = WSMsgType.BINARY, WSMsgType.TEXT
_HEAD, _pack, _unpack = HEAD.size, HEAD.pack, HEAD.unpack_from


class Sockets:
    """The sockets of a server, and which of them has which session."""

    def __init__(self, sessions: Sessions, conflate: bool = False) -> None:
        self.sessions, self.conflate = sessions, conflate
        self.open: set[Socket] = set()

    def close(self) -> None:
        """Tell all that they may come back in a moment."""
        for socket in list(self.open):
            socket.close(WSCloseCode.SERVICE_RESTART, "the server is going down: connect again")


class Socket(WSListener):
    """One WebSocket.

    A session belongs to the last socket that opened or attached it: the one before is told so, and is refused. A reader
    that is too slow is dropped; with `conflate` it gets, of each session, the newest answer only.
    """

    __slots__ = (  # of a class that is not Python's, attributes in a dict take several times as long
        "_all", "_free", "_guest", "_helds", "_kind", "_latest", "_parts", "_paused", "_sessions",
        "_submit", "_transport",
    )  # fmt: skip

    def __init__(self, sockets: Sockets, guest: Guest) -> None:
        super().__init__()
        sessions = sockets.sessions
        self._all, self._sessions, self._guest = sockets, sessions, guest
        self._transport: Any = None
        self._submit = self._submit_limited if guest.limited else sessions.submit
        self._helds: list[Held | None] = []  # of each handle, as it was last; None where it was given up
        self._free: list[int] = []  # handles that the client itself has given up, so that no frame of it has them
        self._parts: list[bytes] = []  # of a message in fragments, and what it is
        self._kind = _TEXT
        self._paused, self._latest = False, dict[str, tuple[Any, bytes]]()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self._transport = transport
        self._all.open.add(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Its sessions stay, for whoever attaches them."""
        self._transport = None
        self._all.open.discard(self)
        away = self._sessions.away
        for held in self._helds:
            if held is None:
                continue
            if held.owner is self:
                held.owner = None
            if away.get(held.key, (None, 0))[0] is self:
                del away[held.key]
        self._helds = []

    def pause_writing(self) -> None:
        """The reader does not keep up."""
        self._paused = True

    def resume_writing(self) -> None:
        """The reader has caught up: what was held back is sent."""
        self._paused = False
        latest, self._latest = self._latest, {}
        for kind, content in latest.values():
            self._send(kind, content)

    def close(self, code: WSCloseCode, why: str) -> None:
        """End it, with a reason."""
        if self._transport is not None:
            self._transport.send_close(code, why.encode())
            self._transport.disconnect(graceful=True)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame."""
        kind, whole = frame.msg_type, frame.fin and not self._parts
        if kind == _BINARY and whole:
            self._binary(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind == _TEXT and whole:
            self._text(frame.get_payload_as_bytes())
        elif kind in (_TEXT, _BINARY, WSMsgType.CONTINUATION):
            self._part(kind, frame)

    def _part(self, kind: WSMsgType, frame: WSFrame) -> None:
        """Take a part of a message."""
        if kind != WSMsgType.CONTINUATION:
            self._kind, self._parts = kind, []
        self._parts.append(frame.get_payload_as_bytes())
        if sum(map(len, self._parts)) > self._sessions.limits.frame:
            self.close(WSCloseCode.MESSAGE_TOO_BIG, "the message is too large")
        elif frame.fin:
            content, self._parts = b"".join(self._parts), []
            (self._binary if self._kind == _BINARY else self._text)(content)

    def _text(self, content: bytes) -> None:
        told: dict[str, Any] = {}  # what a refusal says beside why
        try:
            asked = message(content)
            told |= {n: v for n in ("id", "handle", "seq", "tag") if (v := getattr(asked, n)) is not None}
            self._message(asked)
        except ServeError as refused:
            self._refuse(refused, told)
        except Exception:
            self._broken(told)

    def _binary(self, content: bytes) -> None:
        kind = handle = first = 0
        try:
            if len(content) < _HEAD:
                raise ServeError(Fault.INVALID, f"a frame has {len(content)} bytes, expected {_HEAD} or more")
            kind, handle, first = _unpack(content)
            if kind == STEPS:
                held, inputs = self._of(handle), content[_HEAD:]
                if held.served.takes_json:
                    inputs = held.served.frame(inputs)
                self._submit(held, first or None, inputs, self._answered, handle)
            elif kind == GROUP:
                self._group(*group_of(content, handle))
            else:
                raise ServeError(Fault.INVALID, f"a frame is of kind {kind}, expected {STEPS} or {GROUP}")
        except ServeError as refused:
            self._refuse(refused, {"handle": handle, "seq": first} if kind == STEPS else {})
        except Exception:
            self._broken({"handle": handle, "seq": first} if kind == STEPS else {})

    def _broken(self, told: dict[str, Any]) -> None:
        log.exception("a frame could not be taken")
        self._refuse(ServeError(Fault.INTERNAL, "the server is at fault"), told)

    def _group(self, handles: list[int], firsts: list[int], inputs: bytes) -> None:
        """One step of each of these sessions, answered by one frame."""
        rows, rest = divmod(len(inputs), len(handles))
        if rest:
            raise ServeError(Fault.INVALID, f"inputs of {len(handles)} sessions have {len(inputs)} bytes")
        gathered = _Gathered(self, len(handles))
        for i, (handle, first) in enumerate(zip(handles, firsts, strict=True)):
            try:
                held = self._of(handle)
                if held.served.takes_json:
                    raise ServeError(Fault.INVALID, "a session of a task takes no groups: send it steps")
                self._submit(held, first or None, inputs[i * rows : (i + 1) * rows], gathered.add, handle)
            except ServeError as refused:
                self._refuse(refused, {"handle": handle, "seq": first})
                gathered.miss()

    def _message(self, asked: Message) -> None:
        op = asked.op
        if op in ("step", "run"):
            held = self._asked(asked)
            if op == "run" and not asked.xs:
                raise ServeError(Fault.INVALID, "a run has no `xs`, expected a list of the inputs of its steps")
            inputs = held.served.read([asked.x] if op == "step" else asked.xs or [])
            self._submit(held, asked.seq, inputs, self._told, asked)
            return
        tell: dict[str, Any] = {"op": op}
        tenant = self._guest.tenant
        if op == "open":
            self._check_handles()
            held = self._sessions.create(tenant, asked.model, asked.id)
            tell |= self._attach(held)
        elif op == "attach":
            held = self._sessions.get(tenant, asked.id or "")
            if held.owner is not self:
                self._check_handles()
            tell |= self._attach(held)
            if asked.after is not None:
                self._again(held, asked.after)
        elif op == "fork":
            self._check_handles()
            other = self._sessions.fork(tenant, self._asked(asked), asked.to)
            tell |= self._attach(other)
        elif op == "states":
            held = self._asked(asked)
            self._sessions.batcher.finish(held)
            tell |= {"id": held.name, "seq": held.steps, "states": held.served.states(held.state)}
        elif op in ("reset", "end", "delete"):
            held = self._asked(asked)
            getattr(self._sessions, op)(held)
            if op == "delete":
                self._give_up(held)
            tell |= {"id": held.name, "steps": held.steps}
        elif op == "detach":
            held = self._asked(asked)
            self._give_up(held)
            tell["id"] = held.name
        elif op != "ping":
            raise ServeError(Fault.INVALID, f"op is {op[:40]!r}, expected one of {', '.join(OPS)}")
        self.tell(tell if asked.tag is None else tell | {"tag": asked.tag})

    def _check_handles(self) -> None:
        if not self._free and len(self._helds) >= _MOST_HANDLES:
            raise ServeError(
                Fault.FULL, f"this socket has {len(self._helds)} sessions: detach or delete some, or open another one"
            )

    def _attach(self, held: Held) -> dict[str, Any]:
        before: Socket | None = held.owner
        if before is not self:
            if before is not None:
                before.fenced(held)
                self._sessions.observed.resumed()
            if self._free:
                handle = self._free.pop()
            else:
                handle = len(self._helds)
                self._helds.append(None)
            self._helds[handle], held.owner, held.handle = held, self, handle
        return {"id": held.name, "model": held.served.name, "handle": held.handle, "steps": held.queued}

    def fenced(self, held: Held) -> None:
        """Another socket has taken a session."""
        self._detach(held)
        self.tell({"op": "fenced", "id": held.name})

    def _detach(self, held: Held) -> None:
        if held.owner is self:
            self._helds[held.handle] = held.owner = None

    def _give_up(self, held: Held) -> None:
        """The client wants no more of a session, and may have its handle for another one, once all is answered."""
        self._sessions.batcher.finish(held)
        if held.owner is self:
            self._free.append(held.handle)
        self._detach(held)

    def _again(self, held: Held, after: int) -> None:
        """Send the answers that the client did not get."""
        self._sessions.batcher.finish(held)
        if after < held.steps:
            answers = held.window.since(after + 1)
            if answers is None:
                raise ServeError(Fault.GONE, f"the answer to step {after + 1} has left the replay window")
            ys = held.served.json(answers, after + 1)
            self.tell({"op": "run", "id": held.name, "seq": after + 1, "ys": ys, "again": True})

    def _asked(self, asked: Message) -> Held:
        if asked.handle is not None:
            return self._of(asked.handle)
        if asked.id is None:
            raise ServeError(Fault.INVALID, f"{asked.op}: which session is not said, expected `id` or `handle`")
        held = self._sessions.get(self._guest.tenant, asked.id)
        if held.owner is not self and held.owner is not None:
            raise ServeError(Fault.FENCED, f"another socket has the session {asked.id!r}: attach it to take it over")
        return held

    def _of(self, handle: int) -> Held:
        helds = self._helds
        if not 0 <= handle < len(helds):
            raise ServeError(Fault.NOT_FOUND, f"this socket has no handle {handle}")
        held = helds[handle]
        if held is not None and held.here and held.served.successor is None:
            return held
        if held is not None:  # it went to the store, was deleted, or its model has another version
            held = self._sessions.get(self._guest.tenant, held.name)
        if held is None or held.owner is not self:
            raise ServeError(
                Fault.FENCED, f"handle {handle} was taken over by another socket, or given up: attach again"
            )
        helds[handle] = held
        return held

    def _submit_limited(
        self, held: Held, first: int | None, inputs: bytes, reply: Callable[[Work], None], tag: Any = None
    ) -> None:
        self._guest.take(held.served.count(inputs))
        self._sessions.submit(held, first, inputs, reply, tag)

    def _answered(self, work: Work) -> None:
        """Answer a STEPS frame; of one that was refused midway, what was taken before."""
        if work.answers:
            held, body = work.held, work.answers
            if held.served.takes_json:
                body = held.served.binary(body)
            self._send(_BINARY, _pack(STEPS, work.tag, work.first) + body, held.key)
        if work.refused is not None:
            self._refuse(work.refused, {"handle": work.tag, "seq": work.next})

    def _told(self, work: Work) -> None:
        """Answer a message of steps; of one that was refused midway, what was taken before."""
        asked: Message = work.tag
        told: dict[str, Any] = {"op": asked.op, "id": work.held.name, "seq": work.first}
        if asked.tag is not None:
            told["tag"] = asked.tag
        if work.answers:
            answers = work.held.served.json(work.answers, work.first)
            name, value = ("y", answers[0]) if asked.op == "step" else ("ys", answers)
            self._send(WSMsgType.TEXT, to_json(told | {name: value}), work.held.key)
        if work.refused is not None:
            self._refuse(work.refused, told | {"seq": work.next})

    def _refuse(self, refused: ServeError, told: dict[str, Any]) -> None:
        self._sessions.observed.refused(refused.fault.word)
        retry = {"retry_after": RETRY[refused.fault]} if refused.fault in RETRY else {}
        self.tell(told | {"op": "error"} | refused.to_dict() | retry)

    def tell(self, value: dict[str, Any]) -> None:
        """Send a message."""
        self._send(WSMsgType.TEXT, to_json(value))

    def gathered(self, works: list[Work]) -> None:
        """Answer a GROUP."""
        body = b"".join([work.answers for work in works])
        self._send(WSMsgType.BINARY, group_head([work.tag for work in works], [work.first for work in works]) + body)

    def refuse_work(self, work: Work) -> None:
        """Refuse one step of a GROUP."""
        assert work.refused is not None
        self._refuse(work.refused, {"handle": work.tag, "seq": work.first})

    def _send(self, kind: WSMsgType, content: bytes, key: str = "") -> None:
        transport = self._transport
        if transport is None:
            return
        if self._paused:
            if self._all.conflate and key:
                if key in self._latest:
                    self._sessions.observed.slow()
                self._latest[key] = (kind, content)
                return
            if transport.underlying_transport.get_write_buffer_size() > self._sessions.limits.unread:
                self._sessions.observed.slow()
                transport.send_close(WSCloseCode.TRY_AGAIN_LATER, b"you read too slowly: connect again")
                transport.underlying_transport.abort()
                self._transport = None
                return
        transport.send(kind, content)


class _Gathered:
    """Answers of a GROUP, sent when all are there."""

    def __init__(self, socket: Socket, count: int) -> None:
        self._socket, self._left = socket, count
        self._works: list[Work] = []

    def add(self, work: Work) -> None:
        """Take the answer to one step."""
        if work.refused is None:
            self._works.append(work)
        else:
            self._socket.refuse_work(work)
        self.miss()

    def miss(self) -> None:
        """Expect one less."""
        self._left -= 1
        if not self._left and self._works:
            self._socket.gathered(self._works)
