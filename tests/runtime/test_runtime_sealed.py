"""A sealed payload comes back as it was, or is refused for a reason that is said."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import SessionError
from recurra.runtime.sealed import VERSION, seal, sealed_size, unseal
from runtime.networks import forecaster

KIND, OWNER = b"Test", bytes(range(32))
ABOUT = st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.floats(0, 1))))


@given(st.binary(max_size=200), ABOUT, st.binary(max_size=20))
def test_what_is_sealed_comes_back(payload, about, more) -> None:
    sealed = seal(KIND, OWNER, payload, **about)
    assert unseal(sealed, KIND, OWNER) == (about, payload)
    assert sealed_size(sealed + more, KIND, where="", cure="") == len(sealed)


def test_the_layout() -> None:
    """By hand, so that another program may write it."""
    about, payload = b'{"a": 1}', b"xyz"
    rest = OWNER + struct.pack("<IQ", len(about), len(payload)) + about + payload
    sealed = b"Test" + struct.pack("<HI", VERSION, zlib.crc32(rest)) + rest
    assert sealed == seal(KIND, OWNER, payload, a=1)


@given(st.data())
def test_any_damage_is_seen(data) -> None:
    good = seal(KIND, OWNER, b"a payload", batch=None)
    at, cut = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, len(good) - 1))
    flipped = bytearray(good)
    flipped[at] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(flipped), good[:cut], good + b"\0"):
        with pytest.raises(SessionError, match="restore: ") as error:
            unseal(bad, KIND, OWNER)
        assert "another model" not in str(error.value)  # where it is damaged, it does not matter whose it says it is


REFUSED = {
    "4 bytes that are no snapshot of this kind: start anew": b"Test"[::-1],
    "the snapshot has version 1, expected 2: an earlier recurra wrote it; start anew": b"Test\x01\0" + bytes(60),
    "the snapshot has version 3, expected 2: update recurra": b"Test\x03\0" + bytes(60),
    "the snapshot is damaged or cut short: start anew": seal(KIND, OWNER, b"")[:-1],
    "the snapshot is of another model, 000000000000, expected 000102030405: load": seal(KIND, bytes(32), b""),
}


@pytest.mark.parametrize("message", REFUSED)
def test_each_reason_has_its_words(message) -> None:
    with pytest.raises(SessionError) as error:
        unseal(REFUSED[message], KIND, OWNER, where="s.state", cure="start anew")
    assert str(error.value).startswith(f"s.state: {message}")


def test_a_session_of_the_first_version_is_refused_in_words() -> None:
    model = forecaster()
    states = bytes(4 * sum(model.state_widths().values()))
    old = struct.pack("<4sHxxI32sI", b"RcrS", 1, 0, bytes.fromhex(model.fingerprint), zlib.crc32(states)) + states
    with pytest.raises(SessionError, match="has version 1, expected 2: an earlier recurra wrote it"):
        model.session().restore(old)
