"""Some 20,000 mutations of what comes in, the same ones every time, at every door: whoever enters gets what he asked
for or an error of recurra's, of one line, and soon. `python -m benchmarks.fuzz` has others while there is time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.fuzz import mutate
from benchmarks.fuzz.doors import Door, doors
from benchmarks.fuzz.enter import enter

from recurra.errors import DataError, RecurraError

COUNT, SEED = 20_000, 5
HARMLESS = ("lines",)  # what a stream cannot take it reports


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras' own
def test_no_door_lets_anything_else_out(tmp_path) -> None:
    entered = 0
    for door in doors(tmp_path):
        for seed in door.seeds:
            door.enter(seed)  # what is right is let in
        refused: list[bytes] = []
        count = COUNT * door.share // 1000
        found = list(enter(watched(door, refused), count, SEED))
        assert not found, [(f.kind, f.says) for f in found[:3]]
        assert len(refused) > count / 20 or door.name.startswith(HARMLESS), (door.name, len(refused))
        entered += count
    assert entered > 0.95 * COUNT


def watched(door: Door, refused: list[bytes]) -> Door:
    """A door that keeps what it has refused."""

    def enter(content: bytes) -> None:
        try:
            door.enter(content)
        except RecurraError:
            refused.append(content)
            raise

    return replace(door, enter=enter)


def test_what_should_not_be_is_found() -> None:
    def wrong(content: bytes) -> None:
        if b"7" in content:
            raise KeyError("raw")
        raise DataError("of two\nlines" if b"8" in content else "refused")

    door = Door("a door", [b"123456789"], mutate.of_bytes, wrong, 1)
    kinds = [finding.kind for finding in enter(door, 40, 0)]
    assert any("KeyError" in kind for kind in kinds)
    assert any("several lines" in kind for kind in kinds)
    assert len(kinds) < 40
    assert kinds == [finding.kind for finding in enter(door, 40, 0)]
