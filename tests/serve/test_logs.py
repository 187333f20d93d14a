"""What a server logs: lines of JSON, and in none of them anything that a client sent."""

from __future__ import annotations

import json
import signal

import pytest
from served_models import saved, server

import recurra
from recurra.errors import RecurraError

pytest.importorskip("picows")

SECRET = "4111222233334444"
# Faults that say what they met: of a batch of steps, and of a request.
BREAK = (
    "from recurra.serve.program import Program; from recurra.serve.sessions import Sessions; "
    "Program.take = lambda self, works: float(str([[work.inputs, work.held.key] for work in works])); "
    "Sessions.fork = lambda self, tenant, held, name=None: float(name)"
)


def test_no_line_has_what_a_client_sent(tmp_path):
    with server(saved(tmp_path), "--log", "debug", before=BREAK) as (process, url):
        with recurra.connect(url) as client:
            session = client.session(f"s{SECRET}")
            with pytest.raises(RecurraError, match="step failed"):
                session.step([float(SECRET), 1.0, 2.0])
            with pytest.raises(RecurraError, match="at fault"):
                session.fork(f"f{SECRET}")
            with pytest.raises(RecurraError, match="does not fit"):
                session.step([float(SECRET)])
        process.send_signal(signal.SIGTERM)
        lines = process.communicate(timeout=20)[1].splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["exception"] for r in records if "exception" in r] == ["ValueError", "ValueError"]
    assert all({"time", "level", "logger", "event"} <= r.keys() for r in records)
    assert not [line for line in lines if SECRET in line or str(float(SECRET)) in line]
