"""`Transducer`: a transcriber whose network also knows what it has written (RNN-T, Graves 2012)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.data.batches import Batch, Piece, in_batches
from recurra.errors import SessionError
from recurra.runtime.model import Model
from recurra.tasks.base import Floats
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.learn import Recipe, preprocessing_of
from recurra.tasks.transcription.ctc import Search
from recurra.tasks.transcription.listen import Listener
from recurra.tasks.transcription.metrics import error_rate
from recurra.tasks.transcription.task import Transcribe
from recurra.tasks.transcription.transcriber import Transcriber
from recurra.tasks.transcription.transduced import MOST, TransducerBeam
from recurra.tasks.transcription.units import plain

if TYPE_CHECKING:
    from torch import Tensor

JOINED = 128  # features in which what is heard and what is written meet


class Transduce(Transcribe):
    """A text for each recording, each letter in the light of those before.

    Answers [M, n, 2] are the letters that were written at each step, n at most, and how likely they were.
    """

    name = "transduce"

    def least(self, numbers: Sequence[float]) -> int:
        """See `Transcribe`: a few letters may be written at one step."""
        return -(-len(numbers) // MOST)

    def network(self, bench: Bench, recipe: Recipe) -> Any:
        """See `recurra.models.transducer.Transducer`."""
        import torch

        from recurra.models.transducer import Transducer as Network

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            encoder = self.encoder(bench, recipe)
            hidden = min(recipe.hidden, JOINED)
            return Network(encoder, len(self.letters), recipe.cell, hidden, JOINED, recipe.dropout)

    def losses(self, bench: Bench, network: Any, noise: float) -> Callable[[Batch], Tensor]:
        """The loss of a batch, for each letter."""
        import torch

        from recurra.models.transducer import transducer_loss

        def loss(batch: Batch) -> Tensor:
            rows, targets = torch.from_numpy(batch.rows), torch.from_numpy(batch.targets)
            lengths = torch.from_numpy(batch.lengths)
            rows = rows + noise * torch.randn_like(rows) if noise and network.training else rows
            counts = (targets >= 0).sum(0)
            labels = targets[: int(counts.max())].nan_to_num(0).clamp(0, len(self.letters)).long()
            scores = network(rows, lengths, labels)
            lost = transducer_loss(scores, labels, self.outputs(lengths), counts)
            return lost.sum() / counts.sum().clamp(min=1)

        return loss

    def validation(self, bench: Bench, network: Any) -> Callable[[], dict[str, float]]:
        """The loss of a letter, and the word error rate of the most likely letters."""
        import torch

        pieces, loss = self.held(bench), self.losses(bench, network, 0.0)

        def validate() -> dict[str, float]:
            total = letters = 0.0
            with torch.no_grad():
                for _, batch in in_batches(bench.transform, pieces, 16):
                    count = float((batch.targets >= 0).sum())
                    total, letters = total + float(loss(batch)) * count, letters + count
            predictor = TransducerPredictor(self, bench.transform, network.model())
            wer = error_rate("wer", *self.said(bench, predictor, pieces))
            return {"valid_error": total / max(1.0, letters), "valid_wer": wer}

        return validate

    def to_model(self, bench: Bench, network: Any) -> Model:
        """Its programs, held against the network on a recording."""
        import torch

        from recurra.engine import isa

        network.eval()
        model: Model = network.model()
        model.preprocessing = preprocessing_of(bench)
        piece = min(bench.pieces("train"), key=lambda piece: piece.stop)
        rows = bench.transform.rows(*piece)
        ids = [int(k) for k in piece.sequence.target[: piece.stop] if 0 < k <= len(self.letters)]
        with torch.no_grad():
            labels = torch.tensor(ids, dtype=torch.long)[:, None]
            given = torch.from_numpy(rows)[:, None], torch.tensor([len(rows)]), labels
            want = network(*given).softmax(-1).numpy()[:, 0]
        session = model.session(program="written")
        written = np.stack([session.step(k) for k in [0, *ids]])
        joined = (model.run(rows)[:, None] + written[None]).reshape(-1, written.shape[1])
        found = model.program("join").run(joined).reshape(want.shape)
        model.parity = {"torch_difference": float(np.abs(found - want).max()), "differing": {}, "isa": isa()}
        return model

    def predictor(self, transform: Any, model: Model) -> ModelPredictor:
        """The most likely letter until that is none."""
        return TransducerPredictor(self, transform, model)

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """What is heard at each step, as it is."""
        return output

    def heard(self, answers: Floats) -> str:
        """See `Transcribe`."""
        ids = answers[..., 0].reshape(-1) if answers.size else np.zeros(0)
        return plain("".join(self.letters[int(k) - 1] for k in ids if k > 0))

    def spikes(self, answers: Floats) -> Floats:
        """See `Transcribe`."""
        shares = np.zeros((len(answers), len(self.letters) + 1))
        for t, letters in enumerate(answers):
            for k, share in letters:
                shares[t, int(k)] = share if k else 0.0
        return shares

    def listener(self, model: Model, transform: Any, search: Search | None = None) -> Listener:
        """See `Transcribe`; without a search four texts are kept."""
        return TransducerListener(self.letters, self.seconds(transform), search or Search(beam=4), model)

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """There is none for a step.

        Raises:
            SessionError: always.
        """
        raise SessionError(
            "a transducer says what is heard only by a search over texts, expected Transducer.listen, or recurra "
            "transcribe"
        )

    def check_model(self, model: Model, transform: Any) -> None:
        """Its programs fit each other, the letters and the rows."""
        written, join = model.program("written"), model.program("join")
        sizes = model.input_size, written.vocabulary_size, join.output_size, model.output_size, join.input_size
        letters = len(self.letters) + 1
        wanted = transform.row_size, letters, letters, written.output_size, written.output_size
        if sizes != wanted:
            raise ValueError(f"programs of {sizes}, expected {wanted}")


class TransducerPredictor(ModelPredictor):
    """A transducer that writes the most likely letters."""

    def __init__(self, task: Transduce, transform: Any, model: Model) -> None:
        layer: Any = next(op for op in model.ops if hasattr(op, "cell"))
        super().__init__(task, transform, model, f"{layer.cell.name.upper()} transducer")
        self.letters = task.letters

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, n, 2]."""
        steps = super().predict(sequence, start, stop)
        beam = TransducerBeam(self.letters, Search(beam=1), self.model)
        for step in steps:
            beam.push(step)
        found = np.zeros((len(steps), MOST, 2))
        for letter, t, sure in beam.text(False):
            found[t, int((found[t, :, 0] > 0).sum())] = letter, np.exp(sure)
        return found


class TransducerListener(Listener):
    """Segments of what a transducer writes.

    Args:
        model: the transducer.
    """

    def __init__(self, letters: Sequence[str], seconds: float, search: Search | None, model: Model) -> None:
        self.model = model
        super().__init__(letters, seconds, search)

    def _searching(self) -> Any:
        return TransducerBeam(self.letters, self.search, self.model)

    def _silent(self, step: Any) -> bool:
        return not self.beam.grew


class Transducer(Transcriber):
    """What is said in recordings, by a network that also knows what it has written so far (Graves 2012).

    Its loss is exact, and a few letters may be written at one step. Arguments and methods are those of `Transcriber`.
    """

    task = Transduce

    def _outputs(self, predictor: Any, piece: Piece) -> Floats:
        found: Floats = ModelPredictor.predict(predictor, *piece)
        return found
