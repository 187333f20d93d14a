"""`Transcribe`: a text for each recording, by connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from recurra.data.batches import Piece, Shuffled
from recurra.data.sequences import Sequences
from recurra.errors import DataError
from recurra.tasks.base import Floats, Task
from recurra.tasks.transcription.baselines import Silent
from recurra.tasks.transcription.listen import Listener
from recurra.tasks.transcription.metrics import CharacterErrorRate, WordErrorRate, error_rate
from recurra.tasks.transcription.report import sections
from recurra.tasks.transcription.units import (
    NONE,
    fewest,
    greedy_text,
    letters_of,
    numbers_of,
    pieces_of,
    plain,
    written,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.runtime.model import Model
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.learn import Recipe
    from recurra.tasks.transcription.ctc import Search
    from recurra.tasks.transcription.live import LiveTranscript

READING = {"stack": 3, "after": 0.24, "copies": 6, "pause": 10, "pad": 0.4}
READING |= {"tempo": 0.0, "gain": 6.0, "colour": 0.0, "hiss": 15.0}  # a running mean and long texts need less
TOGETHER = 8  # batches of recordings of about one length


class Transcribe(Task):
    """A text for each recording: letters or pieces of words, by connectionist temporal classification.

    Attributes:
        letters: of the outputs from number 1 on; number 0 is the blank.
        pieces: how many to learn of words; 0: letters.
        strides: of the convolutions before the recurrent layers.
        thinned: steps of the transform for one output.
    """

    name = "transcribe"
    baselines = (Silent,)
    inputs = ("audio",)
    noise = 0.2
    updates = 6000
    both: ClassVar[bool] = True
    metrics = (WordErrorRate(), CharacterErrorRate())
    reading = READING
    letters: tuple[str, ...] = ()
    pieces: int = 0
    strides: tuple[int, ...] = ()
    thinned: int = 1

    def anew(self) -> Transcribe:
        """See `Task`."""
        made = type(self)()
        made.reading, made.pieces, made.strides = self.reading, self.pieces, self.strides
        return made

    def targets(self, found: Sequences) -> list[Floats]:
        """The letters of each text in the first steps of its recording; in `fit` the letters are learned.

        Raises:
            DataError: a text is missing, or has more letters than its recording has outputs.
        """
        recordings = getattr(found, "recordings", ())
        given = found.y if found.y is not None and any(v is not None for v in found.y) else None
        texts = [given[i] if given else one.text for i, one in enumerate(recordings)]
        for name, text in zip(found.names, texts, strict=True):
            if not isinstance(text, str):
                raise DataError(f"{name}: there is no text, expected what is said in it: a manifest's `text`")
        texts = [plain(text) for text in texts]
        if not self.letters:
            self.letters = pieces_of(texts, self.pieces) if self.pieces else letters_of(texts)
            self.thinned = int(np.prod(self.strides, dtype=int))
        after, made = int(getattr(found, "after", 0)), list[Floats]()
        for name, x, text in zip(found.names, found.x, texts, strict=True):
            ids, steps = numbers_of(text, self.letters), len(x) + after
            if self.least(ids) > self.outputs(steps) or len(ids) > steps:
                raise DataError(
                    f"{name}: its {self.outputs(steps)} outputs are fewer than the {self.least(ids)} that its text "
                    f"needs ({text[:40]!r}), expected a longer recording of this text: correct it, leave it out, or "
                    "give reading={'stack': 1}"
                )
            made.append(np.array(ids + [NONE] * (steps - len(ids))))
        return made

    def least(self, numbers: Sequence[float]) -> int:
        """How many outputs a text needs."""
        return fewest(numbers)

    def outputs(self, steps: Any) -> Any:
        """Of so many steps."""
        return -(-steps // self.thinned)

    def head(self, width: int, transform: Any, dropout: float) -> nn.Module:
        """A linear layer: nothing, or a letter."""
        from torch import nn

        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 1 + len(self.letters)))

    def link(self) -> nn.Module:
        """A softmax."""
        from torch import nn

        return nn.Softmax(-1)

    def network(self, bench: Bench, recipe: Recipe) -> nn.Module:
        """Recurrent layers with normalisations between, after convolutions where there are strides."""
        import torch

        from recurra.tasks.learn import network_of

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return network_of(bench, self.encoder(bench, recipe), recipe.dropout)

    def encoder(self, bench: Bench, recipe: Recipe) -> Any:
        """What hears."""
        from recurra.cells.trace import get
        from recurra.models.speech import SpeechEncoder

        projection = (recipe.projection or max(1, recipe.hidden // 2)) if get(recipe.cell).projection else 0
        sizes = [recipe.hidden] * recipe.layers
        both, width = recipe.bidirectional, bench.transform.input_size
        return SpeechEncoder(recipe.cell, width, sizes, recipe.dropout, both, projection, self.strides)

    def batches(
        self, transform: Any, pieces: Sequence[Piece], encoder: Any, batch: int | None, chunk: int, seed: int
    ) -> Shuffled:
        """Recordings of about one length together; in the first epoch the short ones first (Amodei et al. 2016)."""
        return Shuffled(transform, pieces, batch or 16, seed, by_length=True)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Connectionist temporal classification, for each letter: outputs [T, B, K + 1], letters [T', B]."""
        from torch.nn import functional

        there = targets >= 0
        labels = targets.T[there.T].long().clamp(max=output.shape[-1] - 1)
        steps = targets.isfinite().sum(0)
        steps = steps if len(output) == len(targets) else self.outputs(steps)
        logs = output.log_softmax(-1)
        lost = functional.ctc_loss(logs, labels, steps, there.sum(0), reduction="sum", zero_infinity=True)
        return lost / there.sum().clamp(min=1)

    def validation(self, bench: Bench, network: Any) -> Callable[[], dict[str, float]]:
        """The loss of a letter, and the word error rate of each step's best letter."""
        import torch

        from recurra.tasks.bench import outputs

        pieces = self.held(bench)
        true = [self.text(piece.sequence) for piece in pieces]

        def validate() -> dict[str, float]:
            total, letters, said = 0.0, 0.0, list[str]()
            for group, batch, output in outputs(network, bench.transform, pieces):
                targets = torch.from_numpy(batch.targets)
                count = float((targets >= 0).sum())
                total, letters = total + float(self.loss(output, targets)) * count, letters + count
                lengths = self.outputs(batch.lengths)
                said += [greedy_text(output[: lengths[b], b].numpy(), self.letters) for b in range(len(group))]
            return {"valid_error": total / max(1.0, letters), "valid_wer": error_rate("wer", true, said)}

        return validate

    def text(self, sequence: Any) -> str:
        """What was said in a recording."""
        return written(sequence.target, self.letters)

    def said(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> tuple[list[str], list[str]]:
        """The texts of some recordings, and what was heard."""
        heard = [self.heard(predictor.predict(*piece)) for piece in pieces]
        return [self.text(piece.sequence) for piece in pieces], heard

    def heard(self, answers: Floats) -> str:
        """The text of the answers to one whole recording; of none at all, nothing."""
        return greedy_text(answers, self.letters) if answers.size else ""

    def spikes(self, answers: Floats) -> Floats:
        """The probability of each letter at each output, [M, K + 1]."""
        return np.asarray(np.exp(answers))

    def measure(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> dict[str, float]:
        """See `Task`."""
        texts = self.said(bench, predictor, pieces)
        return {metric.key: metric.value(*texts) for metric in self.metrics}

    def mean_error(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> float:
        """See `Task`."""
        return float(self.metrics[0].value(*self.said(bench, predictor, pieces)))

    def errors(self, piece: Piece, answers: Floats, transform: Any) -> Floats:
        """See `Task`."""
        return self.metrics[0].units([self.text(piece.sequence)], [self.heard(answers)])

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """The logarithms of the probabilities, [M, K + 1]."""
        found: Floats = np.log(np.maximum(output.astype(np.float64), 1e-13))
        return found

    def listener(self, model: Model, transform: Any, search: Search | None = None) -> Listener:
        """What makes segments of the network's outputs."""
        return Listener(self.letters, self.seconds(transform), search)

    def seconds(self, transform: Any) -> float:
        """From output to output."""
        return float(transform.milliseconds * self.thinned / 1000)

    def live(self, model: Model, transform: Any) -> LiveTranscript:
        """Samples in, segments out, and what is being said."""
        from recurra.tasks.transcription.live import LiveTranscript

        return LiveTranscript(model, self, transform)

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The letter of a step."""
        k = int(numbers.argmax())
        return {"letter": self.letters[k - 1] if k else "", "probability": float(np.exp(numbers[k]))}

    def columns_of(self, answers: Floats) -> dict[str, Any]:
        """The letter of each step."""
        return {"letter": np.array([self.answer(one)["letter"] for one in answers], object)}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """See `recurra.tasks.transcription.report`."""
        return sections(self, bench, predictor)

    def to_dict(self) -> dict[str, Any]:
        """The letters, and the steps for an output."""
        return {**super().to_dict(), "letters": list(self.letters), "thinned": self.thinned}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.letters = tuple(str(letter) for letter in described["letters"])
        self.thinned = int(described.get("thinned", 1))
        if not all(self.letters) or self.letters[:1] != (" ",) or self.thinned < 1:
            raise ValueError("letters")
        return self

    def check_output(self, size: int) -> None:
        """A probability for each letter and one for none."""
        if size != len(self.letters) + 1:
            raise ValueError(f"{size} probabilities for {len(self.letters)} letters and none")
