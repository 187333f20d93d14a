"""The comparison with torch.nn that is shared by everybody: all of its cases, where it is at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[3] / "shared" / "conformance" / "torch_suite.py"


@pytest.mark.long
@pytest.mark.skipif(not SUITE.exists(), reason="the shared suite is not here")
def test_every_case_passes() -> None:
    done = subprocess.run([sys.executable, SUITE, "recurra.torch"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.rstrip().endswith("passed, 0 failed")
    assert int(done.stdout.rstrip().splitlines()[-1].split()[0]) >= 986
