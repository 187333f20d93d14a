"""`Limits`: how much a server takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much a server takes.

    Attributes:
        sessions: in memory and in the store together.
        live: in memory; beyond it, those that were used longest ago go to the store.
        queue: steps that wait.
        frame: bytes of a frame or a body.
        window: answers of a session that are kept for a client that comes back.
        idle: seconds after which an unused session goes to the store.
        sockets: open at once.
        unread: bytes that wait for a slow reader.
    """

    sessions: int = 100_000
    live: int = 20_000
    queue: int = 200_000
    frame: int = 1 << 20
    window: int = 32
    idle: float = 300.0
    sockets: int = 4096
    unread: int = 1 << 20
