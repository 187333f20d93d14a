"""No line and no snapshot ends a stream in another way than by an error of recurra, and none makes a series deaf."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest

from recurra import Forecaster
from recurra.errors import DataError, SessionError
from recurra.runtime.sealed import seal, unseal
from recurra.serve import stream as streams
from recurra.serve.stream import stream
from recurra.tasks.forecasting.live import LiveForecaster

HOURS = np.datetime64("2025-01-01T00", "s") + np.arange(300) * np.timedelta64(3600, "s")


@pytest.fixture(scope="module")
def model():
    table = {"time": HOURS, "y": np.sin(np.arange(300) / 4) + 5}
    made = Forecaster(horizon=3, hidden=4, epochs=1, seasons=(24,))
    return made.fit(table, "y", time="time", evaluate=False).model_


def run(model, *lines: object, snapshot=None, out=None) -> tuple[list[str], str]:
    out, errors = out or io.StringIO(), io.StringIO()
    given = [line if isinstance(line, (str, bytes)) else json.dumps(line) + "\n" for line in lines]
    stream(LiveForecaster(model), given, out, errors, snapshot=snapshot)
    return out.getvalue().splitlines() if isinstance(out, io.StringIO) else [], errors.getvalue()


def row(hour: int, y: object = 5.0) -> dict:
    return {"time": str(np.datetime64("2026-01-01T00", "s") + np.timedelta64(hour, "h")), "y": y}


@pytest.mark.parametrize(
    "line",
    [
        '{"time": "2026-01-01T01:00", "y": ' + "9" * 400 + "}\n",
        '{"time": "2026-01-01T01:00", "y": -' + "9" * 4000 + "}\n",
        '{"time": ' + "9" * 400 + ', "y": 1}\n',
        '{"time": 1e400, "y": 1}\n',
        '{"time": "9999-12-31T23:59", "y": 1}\n',
        '{"time": "0001-01-01T00:00", "y": 1}\n',
        '{"time": [1], "y": 1}\n',
        '{"time": {}, "y": 1}\n',
        '{"time": null, "y": 1}\n',
        '{"time": "2026-01-01T01:00", "y": [1]}\n',
        '{"time": "2026-01-01T01:00", "y": {"a": 1}}\n',
        '{"time": "2026-01-01T01:00", "y": "\\ud800"}\n',
        '{"time": "2026-01-01T01:00", "y": 1e999}\n',
        "[" * 5000 + "\n",
        b"\xff\xfe\n",
    ],
)
def test_no_line_ends_a_stream(model, line) -> None:
    answers, said = run(model, row(0), line, row(1), row(2))
    assert len(answers) == 3
    assert said.startswith("line 2: ")


@pytest.mark.parametrize(
    "wrong", ["9999-12-31T00:00", "5999-12-31T00:00", "2031-01-01T00:00", "1970-01-01T00:00", "0001-01-01"]
)
def test_one_wrong_date_makes_no_series_deaf(model, wrong, tmp_path) -> None:
    lines = [{"time": wrong, "y": 5}, *map(row, range(4))]
    answers, _ = run(model, *lines, snapshot=tmp_path / "state")
    want, _ = run(model, *map(row, range(4)))
    assert answers[-4:] == want
    again, _ = run(model, row(4), snapshot=tmp_path / "state")  # the snapshot's lines are taken as they were
    assert again == run(model, *map(row, range(5)))[0][-1:]


def test_a_short_write_is_gone_on_with(model, tmp_path, monkeypatch) -> None:
    real = streams.os.write
    monkeypatch.setattr(streams.os, "write", lambda file, content: real(file, bytes(content)[:7]))
    with (tmp_path / "out").open("a", encoding="utf-8") as out:
        out.reconfigure(write_through=True)
        run(model, *map(row, range(3)), out=out)
    assert (tmp_path / "out").read_text().splitlines() == run(model, *map(row, range(3)))[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("said"),
        lambda about: about.update(said=5),
        lambda about: about.update(said=[[]]),
        lambda about: about.update(series=5),
        lambda about: about.update(series=[[]]),
        lambda about: about.update(series=["", "another"]),
    ],
)
def test_a_snapshot_that_is_sealed_and_wrong_is_refused(model, change) -> None:
    live = LiveForecaster(model)
    live.step(row(0))
    about, body = unseal(live.snapshot(), b"RcrF", live._owner())
    change(about)
    try:
        LiveForecaster(model).restore(seal(b"RcrF", live._owner(), body, **about))
    except SessionError:
        return
    assert about["said"] == [[]]  # any text may have been said


@pytest.mark.parametrize("tick", [2**62, -(2**62), 2**40])
def test_a_snapshot_of_no_time_is_refused(model, tick) -> None:
    live = LiveForecaster(model)
    live.step(row(0))
    state = live._series[""].rows.state()
    state["counters"][1] = tick
    with pytest.raises(DataError, match="eight thousand years"):
        LiveForecaster(model)._begun("").rows.restore(state)


@pytest.mark.parametrize("said", [b"[" * 5000, b"[]", b"5", b"\xff", b"{"])
def test_what_a_snapshot_says_of_itself_is_checked(model, said) -> None:
    session = model.session()
    rest = bytes.fromhex(model.fingerprint) + struct.pack("<IQ", len(said), 0) + said
    sealed = struct.pack("<4sHI", b"RcrS", 2, zlib.crc32(rest)) + rest
    with pytest.raises(SessionError):
        session.restore(sealed)
    with pytest.raises(SessionError, match="bytes of states"):
        session.restore(seal(b"RcrS", bytes.fromhex(model.fingerprint), b"1234", batch=None))


@pytest.mark.parametrize("key", ["format", "header", "separator", "pending", "size", "file"])
@pytest.mark.parametrize("value", [None, 5, [[]], "ab", {}])
def test_a_journal_that_is_sealed_and_wrong_is_refused_or_gone_on_from(model, key, value, tmp_path) -> None:
    path = tmp_path / "state"
    run(model, "time,y\n", "2026-01-01 00:00,5\n", snapshot=path)
    about, body = unseal(path.read_bytes(), b"RcrL", bytes(32))
    for changed in ({n: v for n, v in about.items() if n != key}, about | {key: value}):
        path.write_bytes(seal(b"RcrL", bytes(32), body, **changed))
        try:
            run(model, "time,y\n", "2026-01-01 01:00,5\n", snapshot=path)
        except SessionError:
            continue
        assert changed.get(key) == value
