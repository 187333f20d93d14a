"""Which network for my data? A comparison at matched parameters and matched tuning, naive baselines in the table.

    recurra.compare(table, target="Demand", horizon=48, budget="10m")      a forecast
    recurra.compare(sequences, labels, budget="10m")                       labels of sequences

The package itself can be called, as above; `forecasters`, `classifiers` and `regressors` are those tasks by name, and
`of_task` takes any other.

>>> import recurra
>>> list(recurra.compare.CANDIDATES)[:6]
['last', 'seasonal', 'linear', 'trees', 'ets', 'theta']
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from recurra.compare.api import classifiers, compare, forecasters, of_task, regressors
from recurra.compare.candidates import CANDIDATES
from recurra.compare.results import Comparison
from recurra.compare.settings import Settings

__all__ = [
    "CANDIDATES",
    "Comparison",
    "Settings",
    "classifiers",
    "compare",
    "forecasters",
    "of_task",
    "regressors",
]


class _Callable(ModuleType):
    """This module, which can be called as `compare`."""

    def __call__(self, *args: Any, **options: Any) -> Comparison:
        return compare(*args, **options)


sys.modules[__name__].__class__ = _Callable
