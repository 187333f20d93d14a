"""The conventions of scikit-learn's estimators, without scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any, Self

from recurra.errors import SettingError


class Estimator:
    """Parameters are the constructor's arguments, kept as they were given; `fit` checks them.

    A subclass stores each argument under its own name and does nothing else in its constructor. `sklearn.base.clone`
    and searches over parameters take it.
    """

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name; `deep` is there for scikit-learn, no parameter has parameters."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """Change parameters.

        Raises:
            SettingError: there is none of this name; none has changed.
        """
        known = self._names()
        for name in params:
            if name not in known:
                raise SettingError(
                    f"{type(self).__name__}: there is no parameter {name!r}, expected one of {', '.join(known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        changed = [f"{n}={v!r}" for n, v in self.get_params().items() if repr(v) != repr(defaults[n])]
        return f"{type(self).__name__}({', '.join(changed)})"
