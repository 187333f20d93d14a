"""Who may do what: tokens, each with its limits, and pages of which origins."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from recurra.errors import SettingError
from recurra.serve.faults import Fault, ServeError

_LEAST = 16  # characters of a token
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,64}")
NOBODY = "public"  # whose the sessions are where there are no tokens


class Guest:
    """Whoever has a token.

    Attributes:
        tenant: whose the sessions are; others do not see them.
        sessions: how many there may be.
        rate: steps a second, 0 for any number; a second's worth may come at once.
        admin: whether it may have models loaded anew.
    """

    def __init__(self, tenant: str = NOBODY, sessions: int = 1 << 62, rate: float = 0.0, admin: bool = False) -> None:
        self.tenant, self.sessions, self.rate, self.admin = tenant, sessions, rate, admin
        self.limited = rate > 0
        self._left, self._seen = rate, time.monotonic()

    def take(self, steps: int) -> None:
        """Count steps.

        Raises:
            ServeError: they are more than the token may do in this time.
        """
        now = time.monotonic()
        self._left = min(self.rate, self._left + (now - self._seen) * self.rate)
        self._seen = now
        if steps > self._left:
            raise ServeError(Fault.LIMITED, f"this token takes {self.rate:g} steps a second: slow down")
        self._left -= steps


class Access:
    """Who is let in.

    Args:
        guests: by their tokens; none where no token is needed.
        hosts: names by which the server is asked, beside its address.
        origins: of pages, beside the server's own, that may use it.
    """

    def __init__(self, guests: dict[str, Guest], hosts: Iterable[str] = (), origins: Sequence[str] = ()) -> None:
        self._guests = [(token.encode(), guest) for token, guest in guests.items()]
        self._anybody = Guest(admin=True)
        self._hosts, self._origins = {host.lower() for host in hosts}, set(origins)

    def guest(self, token: str) -> Guest:
        """Whose token it is; all are compared, each in constant time.

        Raises:
            ServeError: nobody's.
        """
        if not self._guests:
            return self._anybody
        found, given = None, token.encode()
        for known, guest in self._guests:
            if hmac.compare_digest(known, given):
                found = guest
        if found is None:
            raise ServeError(
                Fault.UNAUTHORIZED, "the token is missing or unknown, expected Authorization: Bearer TOKEN"
            )
        return found

    def sessions_of(self, tenant: str) -> int:
        """How many sessions a tenant may have."""
        return next((guest.sessions for _, guest in self._guests if guest.tenant == tenant), 1 << 62)

    def check_origin(self, host: str, origin: str) -> None:
        """Raise where a page of another origin asks, or one that has made its own name lead here.

        Raises:
            ServeError: it does.
        """
        name = host.lower().rsplit(":", 1)[0] if not host.endswith("]") else host.lower()
        if self._hosts and name not in self._hosts:
            raise ServeError(Fault.FORBIDDEN, f"this server is not called {name[:80]!r}: name it with --name")
        if origin and origin not in self._origins and origin.partition("://")[2].lower() != host.lower():
            raise ServeError(Fault.FORBIDDEN, f"a page of {origin[:80]!r} asks: allow it with --origin")


def read_tokens(path: Path) -> dict[str, Guest]:
    """Guests from a file: on each line a token, a name, where wanted `sessions=N`, `rate=N` and
    `admin`; # begins a comment.

    Raises:
        SettingError: a line is none, or a token is short or comes twice.
        OSError: it cannot be read.
    """
    guests: dict[str, Guest] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}: line {number}"
        if len(words) < 2 or len(words[0]) < _LEAST or not _NAME.fullmatch(words[1]):
            raise SettingError(f"{where}: expected a token of {_LEAST} characters or more and a name of letters")
        if words[0] in guests or any(words[1] == guest.tenant for guest in guests.values()):
            raise SettingError(f"{where}: the token or the name {words[1]!r} comes twice, expected it once")
        limits = dict(word.partition("=")[::2] for word in words[2:])
        admin = limits.pop("admin", None) == ""
        try:
            sessions, rate = int(limits.pop("sessions", str(1 << 62))), float(limits.pop("rate", "0"))
        except ValueError as error:
            raise SettingError(f"{where}: a limit is no number ({error}), expected sessions=N or rate=N") from None
        if limits or sessions < 1 or not 0 <= rate < float("inf"):
            raise SettingError(f"{where}: expected only admin, sessions=N and rate=N, N more than 0")
        guests[words[0]] = Guest(words[1], sessions, rate, admin)
    if not guests:
        raise SettingError(f"{path}: there is no token, expected one a line")
    return guests
