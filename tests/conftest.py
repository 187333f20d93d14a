"""Settings of every test: one thread unless a test says otherwise, and Hypothesis without chance or deadlines,
and compiled cells in a folder that goes when the tests end."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

from recurra import engine

settings.register_profile(
    "recurra", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("recurra")
engine.set_num_threads(1)
if "RECURRA_CACHE" not in os.environ:
    os.environ["RECURRA_CACHE"] = tempfile.mkdtemp(prefix="recurra-tests-")
    atexit.register(shutil.rmtree, os.environ["RECURRA_CACHE"], ignore_errors=True)
