"""`Fault`: all that a server refuses, by one word each, and `ServeError`, which says why."""

from __future__ import annotations

from enum import Enum
from typing import Any

from recurra.errors import RecurraError


class Fault(Enum):
    """Why a request is refused: a word, which is the same in REST and in a stream, and an HTTP status.

    >>> Fault.ENDED.status
    412
    """

    INVALID = "invalid", 422  # it cannot be read, or a step's input cannot be taken; nothing has changed
    UNAUTHORIZED = "unauthorized", 401  # no token, or an unknown one
    FORBIDDEN = "forbidden", 403  # a page of another origin asks
    NOT_FOUND = "not_found", 404  # no such session, model or path
    METHOD = "method", 405  # the path takes other methods
    TAKEN = "taken", 409  # a session of that name is there already
    FENCED = "fenced", 409  # another socket has taken the session over
    GAP = "gap", 409  # a sequence number beyond the next one: the steps between are missing
    GONE = "gone", 410  # answers that have left the replay window
    ENDED = "ended", 412  # the session has ended and takes no more steps
    MISMATCH = "mismatch", 412  # a snapshot or a stored session of another model
    TOO_LARGE = "too_large", 413  # a body or a frame beyond the limit
    LIMITED = "limited", 429  # a token's own limit
    INTERNAL = "internal", 500  # a fault of the server's own
    FULL = "full", 503  # no place for another session, or in the queue
    DRAINING = "draining", 503  # the server is going down; another takes the sessions over

    @property
    def word(self) -> str:
        """What an answer calls it."""
        return self.value[0]

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return self.value[1]


RETRY = {Fault.FULL: 1, Fault.DRAINING: 2, Fault.LIMITED: 1}  # seconds after which it may be tried again


class ServeError(RecurraError):
    """A request that is not done; what was there is unchanged.

    Attributes:
        fault: which of the enum.
        about: what else an answer says, such as `expected`, the next sequence number.
    """

    def __init__(self, fault: Fault, message: str, **about: Any) -> None:
        super().__init__(message)
        self.fault, self.about = fault, about

    def to_dict(self) -> dict[str, Any]:
        """As an answer has it."""
        return {"error": self.fault.word, "message": " ".join(str(self).split())[:500], **self.about}
