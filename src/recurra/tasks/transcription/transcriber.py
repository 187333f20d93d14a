"""`Transcriber`: what is said in a recording; live, the words so far and which of them may still change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data.batches import Piece
from recurra.data.sequences import Sequences
from recurra.errors import DataError, need
from recurra.tasks.base import Floats, Task
from recurra.tasks.baselines import Baseline
from recurra.tasks.estimator import Estimator
from recurra.tasks.metrics import Metric
from recurra.tasks.transcription.ctc import Search
from recurra.tasks.transcription.listen import Listener, Segment
from recurra.tasks.transcription.ngram import NGram

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.tasks.bench import Bench, ModelPredictor

STRANGE = 1_000_000  # a letter that is not in training, as a target: this and its code
NONE = -1.0  # a target after the last letter
MOST_LETTERS = 4096
SHOWN = 12  # errors in the report
CURVES = 6  # letters in the picture of spikes
READING = {"stack": 3, "bins": 40, "speed": 0.1, "pause": 12}


def texts_of(truth: Floats, answers: Floats, letters: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """The texts that truth [M, 2] (letter, step) and answers [M, K + 1] of some recordings, one after the other, say.

    Without letters, number 1 is the blank between words and each other number stands for itself.
    """
    letters = letters or [" ", *(chr(0xF0000 + k) for k in range(2, answers.shape[-1]))]
    begins = np.flatnonzero(truth[:, 1] == 0)
    said, true = [], []
    for one, logs in zip(np.split(truth[:, 0], begins[1:]), np.split(answers, begins[1:]), strict=True):
        best = logs.argmax(-1)
        kept = best[(best != np.concatenate([[0], best[:-1]])) & (best > 0)]
        said.append(" ".join("".join(letters[k - 1] for k in kept).split()))
        true.append(_written(one, letters))
    return true, said


def _written(ids: Floats, letters: Sequence[str]) -> str:
    known = [int(k) for k in ids if k >= 0]
    return "".join(chr(k - STRANGE) if k >= STRANGE else letters[k - 1] for k in known)


class ErrorRate(Metric):
    """Edits (words or letters wrong, missing or too many) over those of the truth, by jiwer."""

    less, percent = True, True
    what: ClassVar[str]

    def value(self, truth: Floats, answers: Floats) -> float:
        """Over all recordings, each step's best letter taken."""
        return error_rate(self.what, *texts_of(truth, answers))

    def units(self, truth: Floats, answers: Floats) -> Floats:
        """For each word (letter) of the truth the mean of edits of its recording."""
        found = []
        for true, said in zip(*texts_of(truth, answers), strict=True):
            count = max(1, len(true.split() if self.what == "wer" else true))
            found.append(np.full(count, error_rate(self.what, [true], [said])))
        return np.concatenate(found)


class WordErrorRate(ErrorRate):
    """Of words."""

    key, name, error, what = "wer", "word error rate", "word error rate", "wer"


class CharacterErrorRate(ErrorRate):
    """Of letters."""

    key, name, error, what = "cer", "character error rate", "character error rate", "cer"


def error_rate(what: str, true: Sequence[str], said: Sequence[str]) -> float:
    """The word ("wer") or character ("cer") error rate of texts, by jiwer.

    >>> error_rate("wer", ["yes no yes"], ["yes yes"])
    0.3333333333333333
    """
    need("word error rates", "jiwer", extra="audio")
    import jiwer

    kept = [(t, s) for t, s in zip(true, said, strict=True) if t.strip()]
    if not kept:
        return float(any(s.strip() for s in said))
    return float(getattr(jiwer, what)([t for t, _ in kept], [s for _, s in kept]))


class Silent(Baseline):
    """Nothing was said, whatever was heard."""

    key, kind, words = "silent", "naive", "nothing was said"
    name = "nothing was said"

    def __init__(self, width: int) -> None:
        self.width = width

    @classmethod
    def fit(cls, bench: Bench, params: Mapping[str, Any] | None = None) -> Self:
        """Nothing to learn."""
        return cls(1 + len(bench.task.letters))  # type: ignore[attr-defined]

    def predict(self, sequence: Any, start: int, stop: int) -> NDArray[np.float64]:
        """[M, K + 1]."""
        found = np.full((stop - start, self.width), -30.0)
        found[:, 0] = 0.0
        return found


class Transcribe(Task):
    """A text for each recording: letters, by connectionist temporal classification."""

    name = "transcribe"
    baselines = (Silent,)
    inputs = ("audio",)
    noise = 0.2
    letters: tuple[str, ...] = ()
    metrics = (WordErrorRate(), CharacterErrorRate())
    reading = READING

    def targets(self, found: Sequences) -> list[Floats]:
        """The letters of each text in the first steps of its recording; in `fit` the letters are learned.

        Raises:
            DataError: a text is missing, or has more letters than its recording has steps.
        """
        recordings = getattr(found, "recordings", ())
        given = found.y if found.y is not None and any(v is not None for v in found.y) else None
        texts = [given[i] if given else one.text for i, one in enumerate(recordings)]
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"{found.names[i]}: there is no text, expected what is said in it: a manifest's `text`")
        texts = [" ".join(str(text).lower().split()) for text in texts]
        if not self.letters:
            self.letters = (" ", *sorted({letter for text in texts for letter in text} - {" "}))
            if not 1 < len(self.letters) <= MOST_LETTERS:
                raise DataError(f"texts: they have {len(self.letters)} different letters, expected 2 to {MOST_LETTERS}")
        numbers = {letter: float(k) for k, letter in enumerate(self.letters, 1)}
        made = []
        for name, x, text in zip(found.names, found.x, texts, strict=True):
            ids = [numbers.get(letter, float(STRANGE + ord(letter))) for letter in text]
            least = len(text) + sum(a == b for a, b in pairwise(text))
            if least > len(x):
                raise DataError(
                    f"{name}: its {len(x)} steps are fewer than the {least} that its text needs ({text[:40]!r}), "
                    "expected a longer recording of this text: correct it, leave it out, or give reading={'stack': 1}"
                )
            made.append(np.array(ids + [NONE] * (len(x) - len(ids))))
        return made

    def head(self, width: int, transform: Any, dropout: float) -> nn.Module:
        """A linear layer: nothing, or a letter."""
        from torch import nn

        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 1 + len(self.letters)))

    def link(self) -> nn.Module:
        """A softmax."""
        from torch import nn

        return nn.Softmax(-1)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Connectionist temporal classification, for each letter."""
        from torch.nn import functional

        steps = targets.isfinite().sum(0)
        there = targets >= 0
        labels = targets.T[there.T].long()
        labels = labels.clamp(max=output.shape[-1] - 1)
        lost = functional.ctc_loss(
            output.log_softmax(-1), labels, steps, there.sum(0), reduction="sum", zero_infinity=True
        )
        return lost / there.sum().clamp(min=1)

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """The logarithms of the probabilities, [M, K + 1]."""
        found: Floats = np.log(np.maximum(output.astype(np.float64), 1e-13))
        return found

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The letter of a step."""
        k = int(numbers.argmax())
        return {"letter": self.letters[k - 1] if k else "", "probability": float(np.exp(numbers[k]))}

    def truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, 2]: letters, and the number of the step."""
        return np.stack([sequence.target[start:stop], np.arange(start, stop, dtype=np.float64)], -1)

    def columns_of(self, answers: Floats) -> dict[str, Any]:
        """The letter of each step."""
        return {"letter": np.array([self.answer(one)["letter"] for one in answers], object)}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """Word error rates by speaker, and errors chosen by chance."""
        pairs, speakers = [], []
        for piece in bench.pieces("test"):
            true, said = texts_of(self.truth(*piece), predictor.predict(*piece), self.letters)
            pairs.append((true[0], said[0]))
            speakers.append(piece.sequence.group)
        rows = []
        for speaker in sorted(set(speakers)):
            own = [pair for pair, s in zip(pairs, speakers, strict=True) if s == speaker]
            true, said = [t for t, _ in own], [s for _, s in own]
            rows.append(
                [speaker, len(own), f"{error_rate('wer', true, said):.1%}", f"{error_rate('cer', true, said):.1%}"]
            )
        wrong = [pair for pair in pairs if pair[0] != pair[1]]
        order = np.random.default_rng(0).permutation(len(wrong))[:SHOWN]
        found: list[dict[str, Any]] = [
            {
                "kind": "table",
                "heading": "By speaker",
                "headings": ["speaker", "recordings", "WER", "CER"],
                "rows": rows,
            }
        ]
        if wrong:
            chosen = [list(wrong[int(i)]) for i in order]
            found.append(
                {"kind": "table", "heading": "Errors, chosen by chance", "headings": ["said", "heard"], "rows": chosen}
            )
        return [*found, self._spikes(bench, predictor)]

    def _spikes(self, bench: Bench, predictor: ModelPredictor) -> dict[str, Any]:
        """The probability of each letter of one recording, over time: the network speaks in spikes."""
        transform: Any = bench.transform
        piece = min(bench.pieces("test"), key=lambda piece: piece.stop)
        shares = np.exp(predictor.predict(*piece))
        seconds = (np.arange(len(shares)) * transform.milliseconds / 1000).round(3).tolist()
        most = [int(k) for k in np.argsort(-shares[:, 1:].max(0))[:CURVES] + 1]
        curves = {f"'{self.letters[k - 1]}'": [seconds, shares[:, k].round(4).tolist()] for k in sorted(most)}
        caption = f"The probability of letters while {piece.sequence.text.lower()!r} is heard."
        return {
            "kind": "lines",
            "heading": "Spikes",
            "caption": caption,
            "lines": curves,
            "x": "seconds",
            "y": "probability",
        }

    def to_dict(self) -> dict[str, Any]:
        """The letters."""
        return {**super().to_dict(), "letters": list(self.letters)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.letters = tuple(str(letter) for letter in described["letters"])
        if any(len(letter) != 1 for letter in self.letters) or self.letters[:1] != (" ",):
            raise ValueError("letters")
        return self

    def check_output(self, size: int) -> None:
        """A probability for each letter and one for none."""
        if size != len(self.letters) + 1:
            raise ValueError(f"{size} probabilities for {len(self.letters)} letters and none")


class Transcriber(Estimator):
    """What is said in recordings, letter by letter.

    A recurrent network reads steps of 30 ms and says at each which letter ended there, or none. `predict` gives texts;
    `transcribe` segments of words with times and confidence; `listen` the same while somebody speaks.

    The arguments are those of `recurra.tasks.Estimator`; X is a manifest with `path` and `text`, or a list of
    `recurra.data.audio.Recording`.
    """

    task = Transcribe

    def make_task(self) -> Task:
        """See `Estimator`."""
        made = self.task()
        made.reading = {**READING, **(getattr(self, "reading", None) or {})}
        return made

    def search(self, model: str | Path | NGram | None = None, hot: Sequence[str] = (), **settings: Any) -> Search:
        """How texts are looked for: with a language model (an ARPA file), hot words, and the settings of `Search`."""
        known = NGram.read(model) if isinstance(model, (str, Path)) else model
        return Search(model=known, hot={word.lower(): 2.0 for word in hot}, **settings)

    def listener(self, search: Search | None = None) -> Listener:
        """What makes segments of the network's outputs."""
        self._check_fitted()
        return Listener(self.task_.letters, self.transform_.milliseconds / 1000, search)

    def predict(
        self, X: Any, *, series: str | None = None, steps: str | None = None, search: Search | None = None
    ) -> Any:
        """The text of each recording, [N]; the same as `listen` comes to, to the last letter."""
        return np.array([" ".join(s.text for s in one) for one in self.transcribe(X, search)], object)

    def transcribe(self, X: Any, search: Search | None = None) -> list[list[Segment]]:
        """The segments of each recording."""
        self._check_fitted()
        found = []
        predictor = self._predictor()
        for sequence in self._read(X, None, None):
            listener = self.listener(search)
            ended = listener.take(predictor.predict(*Piece(sequence, 0, len(sequence))))
            found.append([*ended, *listener.finish()])
        return found

    def evaluate(
        self, X: Any, y: Any = None, *, series: str | None = None, search: Search | None = None
    ) -> dict[str, float]:
        """Word and character error rates of texts as `predict` has them."""
        sequences = self._read(X, y, series, targets=True)
        true = [_written(s.target, self.task_.letters) for s in sequences]
        said = []
        predictor = self._predictor()
        for s in sequences:
            listener = self.listener(search)
            ended = listener.take(predictor.predict(*Piece(s, 0, len(s))))
            said.append(" ".join(one.text for one in [*ended, *listener.finish()]))
        return {"wer": error_rate("wer", true, said), "cer": error_rate("cer", true, said)}

    def listen(self, search: Search | None = None) -> Hearer:
        """A live session: samples in, segments out."""
        return Hearer(self.live(), self.listener(search), self.task_, self.transform_)


class Hearer:
    """Somebody is listened to: `push` samples of any number.

    Attributes:
        seconds: of sound so far.
    """

    def __init__(self, live: Any, listener: Listener, task: Transcribe, transform: Any) -> None:
        self.live, self.listener, self.task, self.transform = live, listener, task, transform
        self.seconds = 0.0

    def push(self, samples: Any, rate: int | None = None) -> list[Segment]:
        """The segments that ended in these samples.

        Raises:
            DataError: they are no samples; nothing has changed.
        """
        outputs = self.live.outputs(samples, "", rate)
        self.seconds += np.size(samples) / (rate or self.transform.bank.rate)
        return self.listener.take(self.task.decode(outputs, self.transform, "")) if len(outputs) else []

    def partial(self) -> Segment:
        """The segment that has not ended; its first `settled` words will not change."""
        return self.listener.partial()

    def finish(self) -> list[Segment]:
        """The sound has ended: the last segment, if anything was said in it."""
        self.live.end()
        return self.listener.finish()
