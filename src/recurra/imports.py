"""What is to be done once another library is there, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


def when_imported(name: str, action: Action) -> None:
    """Call `action` with a module: now, if it is imported already, or else right after it has been.

    >>> when_imported("math", lambda module: print(module.sqrt(4)))
    2.0
    """
    if name in sys.modules:
        action(sys.modules[name])
    else:
        finder: Any = _Watch(name, action)
        sys.meta_path.insert(0, finder)


class _Watch:
    """Finds a module as the others do, once, with a loader that acts when it has loaded it."""

    def __init__(self, name: str, action: Action) -> None:
        self.name, self.action = name, action

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """What the other finders say."""
        if fullname != self.name:
            return None
        from importlib.util import find_spec  # which a light import has no need of

        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.action(module)

            loader.exec_module = exec_module
        return spec
