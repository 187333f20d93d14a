"""Another build of the native module in the place of the package's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def load(folder: Path) -> None:
    """Take the native module of this folder, before that of the package is imported."""
    (path,) = folder.glob("_native*.so")
    spec = importlib.util.spec_from_file_location("recurra._native", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["recurra._native"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
