"""JapaneseVowels: which of nine men says two vowels, by 12 coefficients in 7 to 29 steps (Kudo 1999)."""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.answers.row import Metric, Row
from benchmarks.answers.sequences import TRIED, Data, by, classifier, from_aeon, most_frequent, summaries


def read() -> Data:
    from aeon.datasets import load_japanese_vowels

    return from_aeon(load_japanese_vowels)


ROW = Row(
    name="vowels",
    data="JapaneseVowels, 9 speakers",
    split="the archive's, 270 and 370",
    metrics=(Metric("accuracy", reach=0.987, less=False),),
    read=read,
    naive=most_frequent,
    simple=by(make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), summaries),
    ours=classifier,
    tried=TRIED,
)
