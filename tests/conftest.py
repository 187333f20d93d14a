"""Settings of every test: one thread unless a test says otherwise, and Hypothesis without chance or deadlines,
and compiled cells in a folder that goes when the tests end."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from recurra import engine

settings.register_profile(
    "recurra", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("recurra")
engine.set_num_threads(1)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes that tests start find bytecode, as a user's do
sys.dont_write_bytecode = False  # and so does the next run of the tests
if "RECURRA_CACHE" not in os.environ:
    os.environ["RECURRA_CACHE"] = tempfile.mkdtemp(prefix="recurra-tests-")
    atexit.register(shutil.rmtree, os.environ["RECURRA_CACHE"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that none is left for one process at the end while another has nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
