"""`LiveRecommender`: an event in, the best items out; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from recurra.data.sessions import NextItem, item_name
from recurra.errors import DataError, SettingError
from recurra.runtime.model import Model
from recurra.tasks.live.stepwise import Steps, Stepwise, alone
from recurra.tasks.recommendation.ranking import Ranking, first


class LiveRecommender(Stepwise):
    """Recommendations for any number of users side by side, after each of their events.

    What a session remembers is the network's state and the numbers of its last items, a few hundred bytes. What
    `predict` says of a whole session is what this says after its last event, to the last bit. An item that was not in
    training is taken for an unknown one, which `notes` says once.

    Args:
        model, task, transform: of a `recurra.Recommender`.
    """

    def __init__(self, model: Model, task: Any, transform: NextItem) -> None:
        series = task.roles.get("series")
        super().__init__(model, transform, [] if series is None else [series], [task.roles.get("item", "item")])
        self.task, self.transform = task, transform
        self.ranking: Ranking = self.task.ranking(model)
        self._items = model.program("items").session()

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any]]:
        """Take an event: the best items to come next, with their scores.

        Args:
            observation: the name of an item, or a mapping with the columns of the model.
            series: the user, where it is not in a column.

        Raises:
            DataError: there is no item, or no user where a column names users; nothing has changed.
        """
        named: dict[str, Any] = {}
        if isinstance(observation, Mapping):
            if self.keys and not series:
                series = self._series_of(observation, self.keys[0])
                named = {self.keys[0]: series}
            observation = self._cell(observation, self.names[-1])
        yield from self._taken(observation, series)
        return named | self._answer((yield from self._best(self.task.best, series, ())))

    def take(self, item: Any, series: str = "") -> None:
        """Take an event, and recommend nothing yet.

        Raises:
            DataError: it is no item; nothing has changed.
        """
        alone(self._taken(item, series))

    def _taken(self, item: Any, series: str) -> Steps[None]:
        name = item_name(item)
        if not name:
            raise DataError("the item is missing, expected the name of one")
        if name not in self.transform.vocabulary.numbers and "unknown" not in self._said:
            self._said.add("unknown")
            self.notes.append(f"the item {name[:40]!r} was not in training: like others that were not, it is unknown")
        one = self._series.get(series) or self._begun(series)
        row = one.rows.push(name)
        self._series[series] = one
        one.rows.query = yield one.session, row

    def best(self, n: int | None = None, *, series: str = "", without: Iterable[Any] = ()) -> list[tuple[str, float]]:
        """The n best items to come next, the best first, each with its score.

        Args:
            n: how many; None: as the model was made for.
            series: the user.
            without: items that are not to be recommended, such as what is not in stock.

        Raises:
            SettingError: n is no whole number above 0.
            DataError: there was no event of this user.
        """
        n = self.task.best if n is None else n
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise SettingError(f"best: n={n!r}, expected a whole number from 1")
        return alone(self._best(int(n), series, without))

    def _best(self, n: int, series: str, without: Iterable[Any]) -> Steps[list[tuple[str, float]]]:
        one = self._series.get(series)
        if one is None:
            raise DataError(f"best: there was no event of {series[:40]!r}, expected one: take it first")
        scores = self.ranking.scores((yield self._items, one.rows.query), one.rows.ids)
        numbers = self.transform.vocabulary.numbers
        for item in without:
            scores[numbers.get(item_name(item), 0)] = 0.0
        symbols = self.transform.vocabulary.symbols
        return [(symbols[k], float(scores[k])) for k in first(scores, n)]

    def state_bytes(self, series: str = "") -> int:
        """What is remembered of a user, in bytes."""
        one = self._series.get(series)
        return (
            0 if one is None else sum(a.nbytes for a in [*self.states(series).values(), one.rows.ids, one.rows.query])
        )

    @staticmethod
    def _answer(found: list[tuple[str, float]]) -> dict[str, Any]:
        return {"items": [name for name, _ in found], "scores": [score for _, score in found]}

    @property
    def apart(self) -> str | None:
        """The column that names users, where there is one."""
        return self.keys[0] if self.keys else None

    def empty_line(self) -> bool:
        """End the session, where sessions have no names."""
        ends = not self.keys and bool(self._series)
        if ends:
            self.end()
        return ends

    @property
    def fields(self) -> list[str]:
        """The user, and the best items."""
        return [*self.keys, *(f"item.{k + 1}" for k in range(self.task.best))]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """See `Live`; where there are fewer items, the last are empty."""
        items = answer["items"] + [""] * (self.task.best - len(answer["items"]))
        return [*(str(answer[key]) for key in self.keys), *items]

    def to_dict(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as it is."""
        return dict(answer)
