"""Mutations of bytes, text, nested JSON and ONNX graphs, from a seeded generator."""

from __future__ import annotations

import copy
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

Rng = np.random.Generator

ODD: list[Any] = [None, True, False, -1, 0, 1, 2**31, 2**63, 2**70, 10**400, 1.5, float("nan"), float("inf"), -1e308]
ODD += ["", "x", "\x1b[31m", "9" * 500, "\ud800", [], [[]], [1, 2], {}, {"x": 1}, ["a"] * 3, [[[[0.0]]]]]
WORDS = [
    "",
    "0",
    "-1",
    "1e999",
    "nan",
    "9" * 400,
    '"',
    "'",
    "\n",
    "\t",
    ";",
    ",",
    "\0",
    "\x1b",
    "é",
    "\ufeff",
    "((",
    ")",
]
WORDS += [
    "9999-12-31",
    "0001-01-01",
    "24:00",
    "2025-02-30",
    "h",
    "x.n",
    "**",
    "lambda",
    "=",
    "  ",
    "{",
    "[",
    "1_0",
    "0x1",
]
SIZES = (0, 1, 127, 128, 255, 256, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def of_bytes(content: bytes, rng: Rng) -> bytes:
    """Some bytes changed, left out, repeated, or taken for a size."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, size = int(rng.integers(len(changed) + 1)), int(rng.integers(1, 17))
        kind = rng.integers(7)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << int(rng.integers(8))
        elif kind == 1 and changed:
            changed[at % len(changed)] = int(rng.integers(256))
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size]
        elif kind == 4:
            changed[at:at] = rng.bytes(size)
        elif kind == 5:
            width = int(rng.choice([1, 2, 4, 8]))
            value = SIZES[rng.integers(len(SIZES))] % 256**width
            changed[at : at + width] = value.to_bytes(width, "little")
        else:
            del changed[at:]
    return bytes(changed)


def of_text(content: bytes, rng: Rng) -> bytes:
    """Words of a text replaced by others, left out or repeated; seldom its bytes."""
    if rng.integers(8) == 0:
        return of_bytes(content, rng)
    words = re.split(rb"(\w+|\s+|[^\w\s])", content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(words)))
        other = words[rng.integers(len(words))]
        odd = WORDS[rng.integers(len(WORDS))].encode()
        words[at] = (other, odd, b"", words[at] * 3)[rng.integers(4)]
    return b"".join(words)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in nested JSON."""
    if at:
        yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def of_json(said: Any, rng: Rng) -> tuple[Any, ...]:
    """Change one value of nested JSON, leave it out, or say it twice; returns where."""
    found = list(places(said))
    *way, last = place = found[rng.integers(len(found))]
    for key in way:
        said = said[key]
    kind = rng.integers(4)
    if kind == 0:
        del said[last]
    elif kind == 1 and isinstance(said[last], list) and said[last]:
        said[last] = said[last] * 2
    else:
        said[last] = copy.deepcopy(ODD[rng.integers(len(ODD))])  # which may be changed itself
    return place


def of_json_text(content: bytes, rng: Rng) -> bytes:
    """The same of a text, whose own characters are changed now and then."""
    if rng.integers(6) == 0:
        return of_text(content, rng)
    said = {"": json.loads(content)}
    for _ in range(int(rng.integers(1, 3))):
        if said:
            of_json(said, rng)
    return json.dumps(said.get("")).encode()


def of_manifest(content: bytes, rng: Rng, key: str = "recurra") -> bytes:
    """A safetensors file whose manifest says something else, without a checksum; its arrays as they were."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    said = json.loads(header["__metadata__"][key])
    said.pop("checksum", None)  # files of before are read without one
    of_json(said, rng)
    header["__metadata__"][key] = json.dumps(said)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def of_graph(content: bytes, rng: Rng) -> bytes:
    """An ONNX model with some fields changed; seldom its bytes."""
    if rng.integers(6) == 0:
        return of_bytes(content, rng)
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(content)
    for _ in range(int(rng.integers(1, 4))):
        found = list(_fields(model))
        _change(*found[rng.integers(len(found))], rng)
    return bytes(model.SerializeToString())


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Each field that is set in a message and in those within it."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from _fields(one)


def _change(message: Any, field: Any, rng: Rng) -> None:
    if field.message_type is not None:
        if field.is_repeated and rng.integers(2):
            within = getattr(message, field.name)
            within.add().CopyFrom(within[rng.integers(len(within))])
            if rng.integers(2):
                del within[int(rng.integers(len(within)))]
        elif rng.integers(8) == 0:
            message.ClearField(field.name)
        return
    numbers: list[Any] = [0, 1, 2, 3, 7, 10, 16, -1, 2**31 - 1, 1 << 40, 2**62, -(2**62)]
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        numbers = [0.0, -1.5, 1e30, float("nan"), float("inf")]
    elif field.type == field.TYPE_BYTES:
        numbers = [b"", b"x", b"\xff" * 9, rng.bytes(16)]
    elif field.type == field.TYPE_STRING:
        numbers = ["", "x", "y", "LSTM", "Reshape", "Scan", "Tile", "h", "MatMul", "hidden_size", "axis"]
    value = numbers[rng.integers(len(numbers))]
    try:
        if field.is_repeated:
            within = getattr(message, field.name)
            within[rng.integers(len(within))] = value
        else:
            setattr(message, field.name, value)
    except (TypeError, ValueError):  # out of the field's range
        message.ClearField(field.name)
