"""Chorales: in quarters, as a piano roll, with independent notes and jointly; and in sixteenths, voice by voice.

Boulanger-Lewandowski 2012, in its three parts. Of a roll it is nats a frame, each given those before; of voices nats a
note, those of a step in their order.
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np

import recurra
from benchmarks.answers.row import Metric, Row, shared
from recurra.data.music import voices_tokens
from recurra.data.rolls import read_rolls
from recurra.tasks.bench import Bench
from recurra.tasks.composition.baselines import KeyFrequencies, LinearOnFrames
from recurra.tasks.composition.task import Compose
from recurra.tasks.generation.ngrams import Frequencies, KneserNey
from recurra.tasks.generation.task import Generate
from recurra.tasks.inputs.rolls import Rolls

PARTS = ("train", "valid", "test")
KEYS_UP = range(-5, 7)  # semitones by which voices are moved in training
Pieces = dict[str, list[Any]]
HOW: dict[str, Any] = {"hidden": 256, "epochs": 200, "dropout": 0.15}
ALONE: dict[str, Any] = {"cell": "lstm", "hidden": 256, "epochs": 160, "dropout": 0.3}  # of independent notes
TRIED = (
    "on validation: a GRU 8.41 at the best of 200 epochs with .15 dropped, 8.42 with .3, 8.44 with 100 epochs and .4, "
    "8.42 with 512 units and .5; an LSTM 8.37 with 100 epochs and .3, 8.21 with 160"
)


def read() -> Pieces:
    """The frames [T, 88] of each piece, by their parts."""
    from scipy.io import loadmat

    found = loadmat(shared("polyphonic/JSB_Chorales.mat"))
    return {part: [np.asarray(one) > 0 for one in found[f"{part}data"][0]] for part in PARTS}


def listed(pieces: Pieces) -> tuple[list[Any], list[str]]:
    """All pieces, and the part of each."""
    return [one for part in PARTS for one in pieces[part]], [part for part in PARTS for _ in pieces[part]]


def of(kind: Any) -> Callable[[Pieces], tuple[float]]:
    """The nats a frame of a baseline."""

    def answer(pieces: Pieces) -> tuple[float]:
        task = Compose()
        task.input = Rolls()
        rolls, parts = listed(pieces)
        found = read_rolls(rolls).with_targets(None)
        splits = task.split(found, parts, 0)
        bench = Bench(task, found, splits, task.transform(found, splits))
        return (bench.error(kind.fit(bench), "test"),)

    return answer


def composed(units: int) -> Callable[[Pieces], tuple[float]]:
    """A composer with so many units in its joint head."""

    def answer(pieces: Pieces) -> tuple[float]:
        rolls, parts = listed(pieces)
        model = recurra.Composer(units=units, parts=parts, **(HOW if units else ALONE)).fit(rolls, evaluate=False)
        return (model.evaluate(pieces["test"])["nats_frame"],)

    return answer


def row(name: str, units: int, reach: float, recurrent: float, said: str) -> Row:
    """One head."""
    return Row(
        name=name,
        data=f"JSB chorales, 88 keys, {said}",
        split="229, 76 and 77 pieces",
        metrics=(Metric("nats a frame", reach=reach, recurrent=recurrent),),
        read=read,
        naive=of(KeyFrequencies),
        simple=of(LinearOnFrames),
        ours=composed(units),
        tried="" if units else TRIED,
    )


ROW_ALONE = row("jsb_independent", 0, 8.40, 8.45, "independent notes")
ROW = row("jsb", 128, 5.5, 5.56, "notes that sound together")


def read_voices() -> Pieces:
    """The pitches [T, 4] of each piece, by their parts."""
    found: Pieces = {part: [] for part in PARTS}
    with tarfile.open(shared("jsb_16th/jsb_chorales.tgz")) as archive:
        for name in sorted(n for n in archive.getnames() if n.endswith(".csv")):
            file: Any = archive.extractfile(name)
            lines = csv.reader(io.TextIOWrapper(file, "utf-8"))
            next(lines)
            found[name.split("/")[0]].append(np.array([[int(cell) for cell in line] for line in lines]))
    return found


def moved(voices: Any, by: int) -> Any:
    """In another key; rests stay."""
    return np.where(voices > 0, voices + by, 0)


def by_counts(kind: Any, params: dict[str, Any] | None = None) -> Callable[[Pieces], tuple[float]]:
    """The nats a note of a model without a network."""

    def answer(pieces: Pieces) -> tuple[float]:
        voices, parts = listed(pieces)
        task = Generate(tokens="words")
        sequences = task.examples([voices_tokens(one) for one in voices])
        splits = task.split(sequences, parts, 0)
        bench = Bench(task, sequences, splits, task.transform(sequences, splits))
        return (task.mean_error(bench, kind.fit(bench, params), bench.pieces("test")),)

    return answer


def in_voices(pieces: Pieces) -> tuple[float]:
    """A generator of notes, which has heard each piece of the training part in twelve keys."""
    train = [voices_tokens(moved(one, by)) for one in pieces["train"] for by in KEYS_UP]
    valid = [voices_tokens(one) for one in pieces["valid"]]
    parts = ["train"] * len(train) + ["valid"] * len(valid)
    how: dict[str, Any] = {"hidden": 256, "embedding": 32, "batch": 64, "chunk": 128, "epochs": 13, "patience": None}
    model = recurra.Generator("words", parts=parts, **how).fit(train + valid, evaluate=False)
    return (model.evaluate([voices_tokens(one) for one in pieces["test"]])["nats"],)


ROW_16TH = Row(
    name="jsb_16th",
    data="JSB chorales, four voices in sixteenths",
    split="229, 76 and 77 pieces",
    metrics=(Metric("nats a note", reach=0.45),),
    read=read_voices,
    naive=by_counts(Frequencies),
    simple=by_counts(KneserNey, {"order": 6}),
    ours=in_voices,
)
