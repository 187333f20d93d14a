"""`WritingEstimator`: what estimators share whose answers are texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.data.forecasting.clock import Clock
from recurra.errors import DataError
from recurra.tasks.estimator import Estimator
from recurra.tasks.translation.writing import Translation


class WritingEstimator(Estimator):
    """What estimators share whose answers are texts."""

    def _written(self, tokens: Sequence[str]) -> str:
        return str(self.transform_.tokenizer.join(tokens))

    def predictions(self, X: Any, origins: str | None = None) -> tuple[dict[str, Any], Clock]:
        """As `Estimator.predictions`: what is written, as text."""
        columns, clock = super().predictions(X, origins)
        return columns | {"answer": self._given(columns["answer"])}, clock

    def _given(self, answers: Any) -> Any:
        """As texts, [N]."""
        return np.array([self._written(tokens) for tokens in answers], object)

    def _hypotheses(self, pairs: Sequence[Any], n: int, beam: int | None, **limits: Any) -> list[list[Any]]:
        """The n best texts for each of what was read, as `Translation`; limits that are None are those of `predict`.

        Raises:
            DataError: n is more than the hypotheses that are kept.
        """
        writer: Any = self._predictor()
        beam = beam or max(n, writer.beam)
        if not 1 <= n <= beam:
            raise DataError(f"{self.task.name}: n={n}, expected 1 to {beam}, the hypotheses that are kept")
        changed = {"beam": beam} | {k: v for k, v in limits.items() if v is not None}
        result = []
        for pair, found in zip(pairs, writer.found(pairs, **changed), strict=True):
            made = []
            for h in found[:n]:
                tokens = self.transform_.tokens(h.symbols, pair.tokens, h.looked)
                numbers = (h.score, h.log_probability, h.ended)
                made.append(Translation(self._written(tokens), tokens, *numbers, h.looked))
            result.append(made)
        return result
