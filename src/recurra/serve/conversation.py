"""`Conversation`: what a client has asked of a server, and what it was answered; without input or output.

Every step has a sequence number, so that asking again after a break counts once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from recurra.errors import DataError
from recurra.serve.faults import RETRY, Fault, ServeError

_FAULTS = {fault.word: fault for fault in Fault}


class Conversation:
    """What was asked on a connection and is not yet answered, and how to go on on another one."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}  # of each session: the sequence number of the last step that was asked
        self.fenced: set[str] = set()
        self._asked: dict[int, dict[str, Any]] = {}
        self._again: set[int] = set()  # tags that were asked on a connection before
        self._attaching: set[int] = set()  # opened, and there already
        self._tag = 0

    def ask(self, message: dict[str, Any]) -> tuple[int, bytes]:
        """A tag, by which the answer is known, and what is to be sent."""
        self._tag += 1
        self._asked[self._tag] = message | {"tag": self._tag}
        return self._tag, self.content(self._tag)

    def content(self, tag: int) -> bytes:
        """What is to be sent for a tag."""
        from recurra.serve.frames import to_json

        return to_json(self._asked[tag])

    def next(self, session: str, steps: int) -> int:
        """The sequence number of the first of as many steps."""
        if session in self.fenced:
            raise ServeError(Fault.FENCED, f"another connection has the session {session!r}: open it again")
        first = self.steps[session] + 1
        self.steps[session] += steps
        return first

    def resume(self) -> list[bytes]:
        """What is to be sent first on another connection: the sessions, then what was not answered."""
        from recurra.serve.frames import to_json

        opening = {self._asked[tag].get("id") for tag in self._asked if self._asked[tag]["op"] == "open"}
        again = [to_json({"op": "attach", "id": name}) for name in self.steps if name not in opening | self.fenced]
        self._again |= self._asked.keys()
        return again + [self.content(tag) for tag in sorted(self._asked)]

    def hear(self, content: bytes | str) -> tuple[int, dict[str, Any] | ServeError | float] | None:
        """A message of the server: a tag and its answer, why it is refused, or the seconds after which to ask again."""
        import msgspec

        said = msgspec.json.decode(content)
        if said.get("op") == "fenced":
            self.fenced.add(said["id"])
        tag = said.get("tag")
        if tag not in self._asked:
            return None
        asked = self._asked[tag]
        if said["op"] != "error":
            del self._asked[tag]
            self._again.discard(tag)
            return tag, said
        fault = _FAULTS.get(said["error"], Fault.INTERNAL)
        if fault is Fault.TAKEN and (asked["op"] == "open" or tag in self._again):
            asked["op"] = "attach"
            asked["id"] = asked.get("to") or asked["id"]
            return tag, 0.0
        if fault in RETRY:
            return tag, float(said.get("retry_after", 1)) / 10
        del self._asked[tag]
        if fault is Fault.NOT_FOUND and asked["op"] == "delete" and tag in self._again:
            return tag, said
        self._undo(asked, said)
        return tag, ServeError(fault, said["message"])

    def forget(self, tag: int) -> None:
        """Expect no answer to it."""
        self._asked.pop(tag, None)

    def _undo(self, asked: dict[str, Any], said: dict[str, Any]) -> None:
        """Steps that were refused have not been taken: the next one has the number of the first of them."""
        if asked["op"] in ("step", "run") and asked["id"] in self.steps:
            name = asked["id"]
            self.steps[name] = min(self.steps[name], max(asked["seq"], said.get("seq", 0)) - 1)


def input_of(x: Any) -> Any:
    """An input of a step, ready for JSON."""
    if isinstance(x, Mapping):
        return {name: input_of(value) for name, value in x.items()}
    if isinstance(x, (np.ndarray, np.generic)):
        x = x.tolist()
    if isinstance(x, (list, tuple)):
        return [input_of(value) for value in x]
    if isinstance(x, float) and math.isinf(x):
        raise DataError("an input is infinite, expected finite numbers, or NaN where one is missing")
    return x


def output_of(y: Any) -> Any:
    """An answer as a caller wants it: float32 [O] of a program, what the task answered of a task."""
    if isinstance(y, list):
        return np.array([np.nan if v is None else v for v in y], np.float32)
    return y
