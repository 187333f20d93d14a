"""amazon_beauty: what does a user buy next? The last item of each user is the test, the one before it validation.

All 12,101 items are ranked, those that the user has bought left out; counts and networks see no validation item.
"""

from __future__ import annotations

import gzip
from typing import Any

import recurra
from benchmarks.answers.row import Metric, Row, shared
from recurra.data.sessions import read_sessions
from recurra.tasks.bench import Bench
from recurra.tasks.inputs.items import Items
from recurra.tasks.recommendation.baselines import ItemRules, Popularity
from recurra.tasks.recommendation.task import LAST, Recommend

KEYS = ("hr_10", "ndcg_10")


def read() -> list[list[str]]:
    """The items of each user."""
    with gzip.open(shared("amazon_beauty/Beauty.txt.gz"), "rt", encoding="utf-8") as file:
        return [line.split()[1:] for line in file]


def of(kind: Any) -> Any:
    """A baseline's answer."""

    def answer(sessions: list[list[str]]) -> tuple[float, ...]:
        task = Recommend()
        task.input = Items()
        found = read_sessions(sessions)[0].with_targets(None)
        splits = task.split(found, LAST, 0)
        bench = Bench(task, found, splits, task.transform(found, splits))
        measured = task.measure(bench, kind.fit(bench), bench.pieces("test"))
        return tuple(measured[key] for key in KEYS)

    return answer


def ours(sessions: list[list[str]]) -> tuple[float, ...]:
    """As it is made."""
    model = recurra.Recommender(refit=False).fit(sessions)
    return tuple(model.report_["table"][0][key] for key in KEYS)


ROW = Row(
    name="amazon_beauty",
    data="amazon_beauty, 22,363 users, 12,101 items",
    split="leave one out, all items ranked",
    metrics=(Metric("HR@10", reach=0.085, recurrent=0.028, less=False), Metric("NDCG@10", 0.050, 0.014, less=False)),
    read=read,
    naive=of(Popularity),
    simple=of(ItemRules),
    ours=ours,
)
