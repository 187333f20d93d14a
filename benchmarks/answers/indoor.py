"""Indoor movement: whether a walk ends in another room, by the radio of four anchors (Bacciu 2014, UCI 348).

The published network is an echo state network, trained in two buildings and tested in the third.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier

from benchmarks.answers.row import Metric, Row, shared
from benchmarks.answers.sequences import TRIED, Data, Labelled, by, classifier, most_frequent, summaries


def read() -> Data:
    with zipfile.ZipFile(shared("indoor_movement/IndoorMovement.zip")) as archive:

        def table(name: str) -> np.ndarray:
            return np.loadtxt(io.TextIOWrapper(archive.open(name)), delimiter=",", ndmin=2)

        building = table("groups/MovementAAL_DatasetGroup.csv").astype(int)[:, 1]
        number, label = table("dataset/MovementAAL_target.csv").astype(int).T
        walks = [table(f"dataset/MovementAAL_RSS_{n}.csv") for n in number]
    parts = np.flatnonzero(building < 3), np.flatnonzero(building == 3)
    return Data(*(Labelled([walks[i] for i in part], label[part]) for part in parts))


ROW = Row(
    name="indoor",
    data="indoor movement, same or other room",
    split="buildings 1 and 2, building 3: 210 and 104",
    metrics=(Metric("accuracy", reach=0.90, recurrent=0.895, less=False),),
    read=read,
    naive=most_frequent,
    simple=by(GradientBoostingClassifier(n_estimators=200, random_state=0), summaries),
    ours=classifier,
    tried=f"{TRIED}; the test part is another building, and what tells buildings apart was not found in two",
)
