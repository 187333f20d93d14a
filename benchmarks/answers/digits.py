"""Free Spoken Digit Dataset: which of ten digits was said, by a speaker who was not in training (Jakobovski 2017).

The official split, by number, has every speaker in both parts and is saturated (0.993 by a support vector machine).
Here one of the six speakers is left out at a time; the numbers are the mean accuracy over them, and that of the worst.
Settings were chosen by three of them (jackson, nicolas, theo), for networks that had heard four others.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import recurra
from benchmarks.answers.row import Metric, Row, shared
from benchmarks.answers.sequences import summaries
from recurra.data.audio import FilterBank, Recording

RATE = 8000
READING = {"rate": RATE, "bins": 24, "stack": 2, "bands": 0, "pauses": 0, "copies": 4}


def read() -> Sequence[Recording]:
    """All 3,000, with label and speaker."""
    import soundfile

    found = []
    with zipfile.ZipFile(shared("fsdd/fsdd_wav_as_flac.zip")) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".flac")):
            samples, rate = soundfile.read(io.BytesIO(archive.read(name)), dtype="float32")
            assert rate == RATE
            digit, speaker, _ = name.split("/")[-1].split("_")
            found.append(Recording(name, samples, label=digit, speaker=speaker))
    return found


def over_speakers(answer: Callable[[Sequence[Recording], Sequence[Recording]], NDArray[Any]]) -> Any:
    """The mean and the least accuracy of answers for each speaker in turn, learned from the others."""

    def measure(data: Sequence[Recording]) -> tuple[float, float]:
        right = []
        for speaker in sorted({one.speaker for one in data if one.speaker}):
            train = [one for one in data if one.speaker != speaker]
            test = [one for one in data if one.speaker == speaker]
            labels = np.array([one.label for one in test])
            right.append(float((answer(train, test) == labels).mean()))
        return float(np.mean(right)), min(right)

    return measure


def naive(train: Sequence[Recording], test: Sequence[Recording]) -> NDArray[Any]:
    """All digits are as frequent: the first."""
    return np.array(["0"] * len(test))


def machine(train: Sequence[Recording], test: Sequence[Recording]) -> NDArray[Any]:
    """A support vector machine on summaries of cepstra."""
    bank = FilterBank("mfcc", 13, RATE)

    def rows(some: Sequence[Recording]) -> NDArray[Any]:
        return summaries([bank.frames(one.samples) for one in some])

    model = make_pipeline(StandardScaler(), SVC(C=10.0))
    return np.asarray(model.fit(rows(train), [one.label for one in train]).predict(rows(test)))


def classifier(train: Sequence[Recording], test: Sequence[Recording]) -> NDArray[Any]:
    """`recurra.Classifier`; it validates on every twentieth recording, whoever speaks, and chooses nothing by it."""
    parts = ["valid" if i % 20 == 0 else "train" for i in range(len(train))]
    settings = {"hidden": 128, "epochs": 18, "batch": 64, "dropout": 0.3, "noise": 0.1, "refit": False, "parts": parts}
    model = recurra.Classifier(**settings, reading=READING)
    return np.asarray(model.fit(train, evaluate=False).predict(test))


ROW = Row(
    name="digits",
    data="FSDD, spoken digits",
    split="one speaker left out, six times 2,500 and 500",
    metrics=(Metric("accuracy, mean", reach=0.87, less=False), Metric("accuracy, worst", reach=0.75, less=False)),
    read=read,
    naive=over_speakers(naive),
    simple=over_speakers(machine),
    ours=over_speakers(classifier),
)
