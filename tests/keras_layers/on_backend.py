"""All that runs in one process for one backend, which `KERAS_BACKEND` names: our checks, then Keras' own tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OPTIONS = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", str(HERE / "backend.ini"), "-W", "ignore"]


def main() -> int:
    """Both, whatever the first says."""
    names = ["checks_layers.py", "checks_models.py", "checks_conformance.py"]
    if os.environ["KERAS_BACKEND"] == "jax":
        names.append("checks_jax.py")  # the operator of torch has tests of its own
    checks = [str(HERE / name) for name in names]
    status = int(pytest.main([*OPTIONS, f"--rootdir={HERE}", *checks]))
    import keras_suite

    return status or keras_suite.main(OPTIONS)


if __name__ == "__main__":
    sys.exit(main())
