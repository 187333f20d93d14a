"""AN4: people spell names and addresses, say numbers and commands (Acero 1993); what is said, live and by letters.

948 utterances to learn from, the last 100 of them to validate on, 130 to test. The language model is a bigram of the
training part's words, as that of the recogniser that stands in the column of simple answers: pocketsphinx 5.1 with
AN4's words and such a bigram has a word error rate of 13.7 %. Weights of the search are those of `Search`.
"""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.answers.row import Metric, Row, shared
from recurra.data.audio import Recording
from recurra.tasks.transcription.ngram import NGram
from recurra.tasks.transcription.transcriber import Transcriber

VALID = 100
POCKETSPHINX = 0.137
SETTINGS = {
    "epochs": 70,
    "noise": 0.1,
    "learning_rate": 3e-3,
    "reading": {"stack": 4, "copies": 4, "pause": 6},
}


class Data(NamedTuple):
    """Recordings with their texts."""

    train: list[Recording]
    test: list[Recording]


def read() -> Data:
    """Both parts, in the order of their lists."""
    import soundfile

    with tarfile.open(shared("an4/an4_etc.tar.gz")) as archive:

        def lines(name: str) -> list[str]:
            file = archive.extractfile(f"etc/{name}")
            assert file is not None
            return file.read().decode().splitlines()

        lists = [(lines(f"an4_{part}.fileids"), lines(f"an4_{part}.transcription")) for part in ("train", "test")]
    with zipfile.ZipFile(shared("an4/an4_wav_as_flac.zip")) as sounds:

        def recording(path: str, line: str) -> Recording:
            samples, rate = soundfile.read(io.BytesIO(sounds.read(f"wav/{path}.flac")), dtype="float32")
            assert rate == 16_000
            text = re.sub(r"</?s>|\([^)]*\)", " ", line).lower()
            return Recording(path, samples, " ".join(text.split()), speaker=path.split("/")[1])

        return Data(*([recording(*one) for one in zip(*part, strict=True)] for part in lists))


def model_of(data: Data, **settings: object) -> Transcriber:
    """Trained on what is not held out for validation."""
    parts = ["train"] * (len(data.train) - VALID) + ["valid"] * VALID
    model = Transcriber(**{**SETTINGS, "parts": parts, **settings})  # type: ignore[arg-type]
    return model.fit(data.train, evaluate=False)


def nothing(data: Data) -> tuple[float, float, float]:
    """Nothing was said."""
    return 1.0, 1.0, 1.0


def pocketsphinx(data: Data) -> tuple[float, float, float]:
    """Measured with pocketsphinx 5.1, which is not installed with Recurra; it has no letters."""
    return POCKETSPHINX, float("nan"), POCKETSPHINX


def transcriber(data: Data) -> tuple[float, float, float]:
    """`recurra.Transcriber` as it listens, and one of both directions; with the bigram of an ARPA file."""
    causal, both = rates(model_of(data), data), rates(model_of(data, bidirectional=True), data)
    return *causal, both[0]


def rates(model: Transcriber, data: Data) -> tuple[float, float]:
    """Word and character error rates on the test part."""
    with tempfile.TemporaryDirectory() as folder:
        arpa = Path(folder, "an4.arpa")
        NGram.learn([one.text or "" for one in data.train[:-VALID]], 2).write(arpa)
        found = model.evaluate(data.test, search=model.search(arpa))
    return found["wer"], found["cer"]


ROW = Row(
    name="utterances",
    data="AN4, what is said",
    split="the usual, 848, 100 and 130",
    metrics=(
        Metric("WER, causal", reach=0.095, recurrent=0.096),
        Metric("CER, causal", reach=0.047),
        Metric("WER, both directions", reach=0.074, recurrent=0.096),
    ),
    read=read,
    naive=nothing,
    simple=pocketsphinx,
    ours=transcriber,
)
