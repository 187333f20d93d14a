"""`seal` and `unseal`: the one form of a snapshot, whatever it is of.

4 bytes: the kind; 2: the version; 4: a checksum of all that follows; 32: the fingerprint of whose it is;
4 and 8: the sizes of what follows: a JSON object that describes the payload, and the payload.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

from recurra.errors import SessionError

VERSION = 2
_HEAD = struct.Struct("<4sHI32sIQ")
_CHECKED = 10  # bytes before those that the checksum is of


def seal(kind: bytes, owner: bytes, payload: bytes, /, **about: Any) -> bytes:
    """A payload with all that is needed to refuse it where it does not belong.

    Args:
        kind: four bytes that say what it is of.
        owner: the fingerprint, 32 bytes, of what can go on from it; zeros where that is found out otherwise.
        payload: any bytes.
        about: what describes them, ready for JSON.

    >>> unseal(seal(b"Note", bytes(32), b"text", language="en"), b"Note", bytes(32))
    ({'language': 'en'}, b'text')
    """
    described = json.dumps(about).encode()
    rest = owner + struct.pack("<IQ", len(described), len(payload)) + described + payload
    return struct.pack("<4sHI", kind, VERSION, zlib.crc32(rest)) + rest


def unseal(
    sealed: bytes,
    kind: bytes,
    owner: bytes | None,
    *,
    where: str = "restore",
    cure: str = "take an older one, or start anew",
) -> tuple[dict[str, Any], bytes]:
    """What describes a payload, and the payload.

    Args:
        sealed: what `seal` gave.
        kind, owner: as they were given to it; no owner: whoever's it is.
        where, cure: the beginning and the end of a message.

    Raises:
        SessionError: it is no snapshot of this kind, damaged, of another version or of another owner.
    """
    size = sealed_size(sealed, kind, where=where, cure=cure)
    _, _, checksum, whose, described, _ = _HEAD.unpack_from(sealed)
    if len(sealed) != size or zlib.crc32(memoryview(sealed)[_CHECKED:]) != checksum:
        raise SessionError(f"{where}: the snapshot is damaged or cut short: {cure}")
    if owner is not None and whose != owner:
        raise SessionError(
            f"{where}: the snapshot is of another model, {whose.hex()[:12]}, expected {owner.hex()[:12]}: load the "
            "model that it was taken from"
        )
    at = _HEAD.size + int(described)
    try:
        about = json.loads(sealed[_HEAD.size : at])
    except (ValueError, RecursionError) as error:
        raise SessionError(f"{where}: what the snapshot says of itself is no JSON ({error}): {cure}") from error
    if not isinstance(about, dict):
        raise SessionError(f"{where}: what the snapshot says of itself is a {type(about).__name__}: {cure}")
    return about, sealed[at:]


def sealed_size(content: bytes, kind: bytes, *, where: str, cure: str) -> int:
    """How many bytes of a content are a sealed payload, with which it begins.

    Raises:
        SessionError: it begins with none of this kind, or with one of another version.
    """
    if not content.startswith(kind):
        raise SessionError(f"{where}: {len(content)} bytes that are no snapshot of this kind: {cure}")
    version = int.from_bytes(content[4:6], "little")
    if version != VERSION:
        what = "update recurra" if version > VERSION else f"an earlier recurra wrote it; {cure}"
        raise SessionError(f"{where}: the snapshot has version {version}, expected {VERSION}: {what}")
    if len(content) < _HEAD.size:
        raise SessionError(f"{where}: the snapshot is damaged or cut short: {cure}")
    described, payload = _HEAD.unpack_from(content)[-2:]
    return _HEAD.size + int(described) + int(payload)
