"""`Conventions`: parameters by name and tags, as scikit-learn's tools ask for them."""

from __future__ import annotations

import inspect
from typing import Any, Self

from recurra.errors import SettingError
from recurra.imports import when_imported


class _Base:
    """What `sklearn.base.BaseEstimator` takes the place of, as soon as somebody has imported it."""


class Conventions(_Base):
    """What an estimator's constructor takes, by name; each argument is kept under its own."""

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

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator; only it calls this."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        kind = getattr(self, "_estimator_type", None)
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=kind is not None),
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(three_d_array=True, allow_nan=True),
            non_deterministic=False,
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "model_")


def _take_base(sklearn: Any) -> None:
    """Be what scikit-learn calls an estimator, whose own methods stand behind those above."""
    Conventions.__bases__ = (sklearn.BaseEstimator,)


when_imported("sklearn.base", _take_base)
