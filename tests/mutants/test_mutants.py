"""Every planted fault turns the tests that it names red, which are green without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants.planting import planted
from mutants.rooms import ROOMS, faults_of, unnoticed


@pytest.mark.long
@pytest.mark.parametrize("room", ROOMS)
def test_every_fault_is_noticed(room: str) -> None:
    assert unnoticed(room) == []


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [fault.name for room in ROOMS for fault in faults_of(room)]
    assert len(set(names)) == len(names) >= 120


def test_a_fault_that_nobody_can_see_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner itself: a change without a meaning is not noticed, and one that crashes is not accepted."""
    (tmp_path / "faults").mkdir()
    monkeypatch.setattr("mutants.rooms.HERE", tmp_path)
    test = "test_weights.py::test_weights_round_trip_by_name"
    entry = "[[fault]]\nname = '{}'\nfile = 'weights.py'\nold = '(self.U.shape[1])'\nnew = '{}'\ntests = ['{}']\n"
    faults = [("harmless", "(self.U.shape[-1])"), ("crash", "(self.nothing)")]
    text = "".join(entry.format(name, new, test) for name, new in faults)
    (tmp_path / "faults" / "some.toml").write_text(text)
    harmless, crash = unnoticed("some")
    assert harmless == f"harmless: {test} does not notice"
    assert crash.startswith(f"crash: {test} crashes: AttributeError")


def test_text_that_is_gone_is_an_error() -> None:
    with pytest.raises(LookupError, match="is there 0 times, expected once"), planted("engine.py", "no such text", ""):
        pass
