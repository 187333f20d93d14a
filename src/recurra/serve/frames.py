"""What a stream is made of: JSON messages, and binary frames for numbers.

A binary frame begins with 16 bytes, little-endian: its kind (1 byte), 3 of zeros, a handle (4), a sequence number (8).
The handle is the number that this socket got for a session when it opened or attached it.

    kind 1, STEPS: inputs of one or more steps; the number is that of the first, 0 for the next one
    kind 2, GROUP: one step of each of N sessions; the handle's place has N; then N handles (4 bytes each), zeros up to
        a multiple of 8, N sequence numbers (8 each), and N inputs

Answers have the same form. Inputs and answers are rows of float32 (whole numbers of 8 bytes where the model takes
those), or of a model of a task a JSON list. A refusal is a JSON message.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from recurra.serve.faults import Fault, ServeError

HEAD = struct.Struct("<B3xIQ")
STEPS, GROUP = 1, 2
OPS = ("open", "attach", "step", "run", "reset", "fork", "end", "delete", "detach", "states", "ping")


class Message(msgspec.Struct, omit_defaults=True):
    """A message of a client: what to do, with which session, and with what.

    `op` is one of `OPS`. `tag` comes back with the answer.
    """

    op: str
    id: str | None = None
    handle: int | None = None
    model: str | None = None
    seq: int | None = None  # of the first step
    x: Any = None  # of a step
    xs: list[Any] | None = None  # of a run
    to: str | None = None  # what a fork is called
    after: int | None = None  # of an attach: the last answer that the client has
    tag: Any = None


_ENCODER, _DECODER = msgspec.json.Encoder(), msgspec.json.Decoder(Message)


def message(content: bytes) -> Message:
    """A message of JSON.

    Raises:
        ServeError: it is none.
    """
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ServeError(Fault.INVALID, f'no message ({error}), expected JSON such as {{"op": "step"}}') from None


def to_json(value: Any) -> bytes:
    """Anything plain as JSON; what is no number is null."""
    return _ENCODER.encode(value)


def group_of(content: bytes, count: int) -> tuple[list[int], list[int], bytes]:
    """Handles, sequence numbers and inputs of a GROUP.

    Raises:
        ServeError: they are cut short.
    """
    numbers = HEAD.size + 4 * count + 4 * (count % 2)
    inputs = numbers + 8 * count
    if not 0 < count <= len(content) or len(content) < inputs:
        raise ServeError(
            Fault.INVALID, f"a group of {count} sessions has {len(content)} bytes, expected {inputs} or more"
        )
    handles = struct.unpack_from(f"<{count}I", content, HEAD.size)
    return list(handles), list(struct.unpack_from(f"<{count}Q", content, numbers)), content[inputs:]


def group_head(handles: list[int], firsts: list[int]) -> bytes:
    """The beginning of a GROUP, up to its inputs or answers.

    >>> group_of(group_head([7], [1]) + b"input", 1)
    ([7], [1], b'input')
    """
    count = len(handles)
    pad = bytes(4 * (count % 2))
    head, numbers = HEAD.pack(GROUP, count, 0), struct.pack(f"<{count}Q", *firsts)
    return head + struct.pack(f"<{count}I", *handles) + pad + numbers
