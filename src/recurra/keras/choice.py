"""Which backend Keras runs on, where nobody has said: one that is installed."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from recurra.errors import need


def choose() -> None:
    """Set `KERAS_BACKEND` if Keras is not imported yet, it is not set, and the one that Keras would take is missing.

    Raises:
        MissingExtraError: Keras is not installed, or none of the backends that it runs on.
    """
    need("recurra.keras", "keras", extra="keras")
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ:
        return
    if find_spec(_configured()) is None:
        found = next((name for name in ("torch", "jax", "tensorflow") if find_spec(name) is not None), None)
        if found is None:
            need("Keras", "torch", extra="keras")
        else:
            os.environ["KERAS_BACKEND"] = found


def _configured() -> str:
    """The backend of Keras' settings file, or its default."""
    file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        return str(json.loads(file.read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"
