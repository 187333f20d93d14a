"""`Translate`: from texts to texts, by an encoder and a decoder that looks at what it made of each token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from recurra.cells import Cell
from recurra.cells.trace import get
from recurra.data.batches import Batch, Piece
from recurra.errors import SettingError
from recurra.runtime.model import Model
from recurra.runtime.writer import Writer
from recurra.tasks.base import Floats, Task
from recurra.tasks.baselines import Baseline
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.learn import Recipe, preprocessing_of
from recurra.tasks.metrics import Metric
from recurra.tasks.translation.baselines import Lead, Nearest
from recurra.tasks.translation.batches import PairBatches, batch_of, before
from recurra.tasks.translation.metrics import ROUGE, Bleu, Edits, Exact, sequences
from recurra.tasks.translation.settings import MOST_TOKENS, Writing
from recurra.tasks.translation.suspicions import suspicions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.models.sequence_to_sequence import SequenceToSequence
    from recurra.torch import Readout

WATCHED = 100  # pairs of the validation part that are written after each epoch
LOOKED = 12  # examples in a report
SEARCHED, WRONG = 200, 6  # texts among which it looks for errors, and those with one that it shows besides
LONGER = 2  # what is written is at most so many times as long as the longest in training
PARITY = 8  # pairs on which the model is held against its network


class Translate(Task):
    """From texts to texts, by an encoder and a decoder that looks at what it made of each token."""

    name = "translate"
    metrics: ClassVar[tuple[Metric, ...]] = (Edits(), Exact(), Bleu())
    baselines: ClassVar[tuple[type[Baseline], ...]] = (Nearest,)
    inputs = ("pairs",)
    noise = 0.0
    usual: ClassVar[Writing] = Writing()

    def __init__(self, **asked: Any) -> None:
        self.asked = {name: value for name, value in asked.items() if value is not None}
        if self.asked.get("wait") and "beam" not in self.asked:
            self.asked["beam"] = 1
        self.writing = replace(self.usual, **self.asked).checked(SettingError)

    def anew(self) -> Task:
        """The same task with nothing learned."""
        made = type(self)(**self.asked)
        made.reading = self.reading
        return made

    def targets(self, found: Any) -> list[Any] | None:  # type: ignore[override]
        """They are part of each pair."""
        return None

    def head(self, width: int, transform: Any, dropout: float) -> Readout:
        """From what the decoder has and what it found, `width` features, to a score for each symbol."""
        from recurra.torch import Readout

        kind: Any = self.input
        copies, feeds = kind.longest if self.writing.copy else 0, self.writing.feeding
        return Readout(width, kind.embedding, len(transform.vocabulary), copies=copies, feeds=feeds, dropout=dropout)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy of the symbols that are there, labels smoothed: outputs [T, B, V], targets [T, B]."""
        from torch.nn import functional

        wanted = targets.nan_to_num(-1).long().flatten()
        smoothing = self.writing.smoothing
        return functional.cross_entropy(output.flatten(0, 1), wanted, ignore_index=-1, label_smoothing=smoothing)

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """The most probable symbol of each step [M]; whole texts are found by a search: see `TextWriter`."""
        found: Floats = output.argmax(-1).astype(np.float64)
        return found

    def network(self, bench: Bench, recipe: Recipe) -> SequenceToSequence:
        """A reader, and a decoder with attention."""
        import torch

        from recurra.models.sequence_to_sequence import SequenceToSequence

        cell, transform, how, kind = get(recipe.cell), bench.transform, self.writing, self.input
        if cell.projection is not None:
            raise SettingError(f"{self.name}: cell={cell.name!r} projects its output, expected a cell that does not")
        if not how.most:
            longest = max(len(pair.written) for pair in self.pairs(bench.pieces("train")))
            self.writing = replace(how, most=max(how.least, min(LONGER * longest + 1, MOST_TOKENS)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return SequenceToSequence(
                self.reader(transform, cell, recipe),
                cell,
                len(transform.vocabulary),  # type: ignore[attr-defined]
                kind.embedding,  # type: ignore[attr-defined]
                recipe.hidden,
                self.head(2 * recipe.hidden, transform, recipe.dropout),
                recipe.layers,
                recipe.dropout,
                kind.heads,  # type: ignore[attr-defined]
                kind.score,  # type: ignore[attr-defined]
                kind.longest,  # type: ignore[attr-defined]
                how.coverage,
                how.wait,
                how.sampling,
            )

    def reader(self, transform: Any, cell: Cell, recipe: Recipe) -> nn.Module:
        """What reads: both directions of a text, or one where it waits."""
        from recurra.models.sequence_to_sequence import TextReader

        size, both = self.input.embedding, not self.writing.wait  # type: ignore[attr-defined]
        return TextReader(cell, transform.tables[0], size, recipe.hidden, recipe.layers, recipe.dropout, both)

    def pairs(self, pieces: Sequence[Piece]) -> list[Any]:
        """What is read, each with one text that is to be written."""
        return [piece.sequence for piece in pieces]

    def batches(self, transform: Any, pieces: Sequence[Piece], encoder: Any, batch: Any, chunk: int, seed: int) -> Any:
        """Pairs in another order in each epoch."""
        pairs = [Piece(pair, 0, len(pair)) for pair in self.pairs(pieces)]
        return PairBatches(transform, pairs, batch or 64, seed, self.writing.copy)

    def losses(self, bench: Bench, network: Any, noise: float) -> Callable[[Batch], Tensor]:
        """The decoder is told what stands before each symbol (teacher forcing); with coverage, what it looks at twice
        is added (See et al. 2017, eq. 13)."""
        import torch

        symbols = len(bench.transform.vocabulary)  # type: ignore[attr-defined]

        def loss(batch: Batch) -> Tensor:
            given = map(torch.from_numpy, (batch.rows, batch.lengths, before(batch.targets, symbols)))
            targets = torch.from_numpy(batch.targets[1:])
            scores, twice = network.taught(*given)
            found = self.loss(scores, targets)
            return found + twice[targets.isfinite()].mean() if self.writing.coverage else found

        return loss

    def validation(self, bench: Bench, network: Any) -> Callable[[], dict[str, float]]:
        """The mean loss, and the errors of what is written for some, the most probable symbol at every step."""
        import torch

        from recurra.tasks.translation.writing import TextWriter

        pieces, loss = bench.pieces("valid"), self.losses(bench, network, 0.0)
        pairs, metric, transform = self.pairs(pieces), self.metrics[0], bench.transform

        def validate() -> dict[str, float]:
            total = count = 0.0
            with torch.no_grad():
                for at in range(0, len(pairs), 256):
                    batch = batch_of(transform, pairs[at : at + 256], self.writing.copy)
                    there = float(np.isfinite(batch.targets[1:]).sum())
                    total, count = total + float(loss(batch)) * there, count + there
            some = pieces[:: max(1, len(pieces) // WATCHED)][:WATCHED]
            writer = TextWriter(self, transform, network.model(), beam=1)
            truth = np.concatenate([self.truth(*piece) for piece in some])
            wrong = float(metric.units(truth, writer.answers([piece.sequence for piece in some])).mean())
            return {"valid_error": total / max(1.0, count), f"valid_{metric.key}": wrong}

        return validate

    def to_model(self, bench: Bench, network: Any) -> Model:
        """Its four programs, held against the network on some pairs; and a pair alone against the same in company."""
        import torch

        from recurra.engine import isa
        from recurra.tasks.translation.writing import TextWriter

        network.eval()
        model: Model = network.model()
        transform: Any = bench.transform
        model.preprocessing = preprocessing_of(bench)
        pairs = self.pairs(bench.pieces("train")[:PARITY])
        batch = batch_of(transform, pairs, self.writing.copy)
        given = before(batch.targets, len(transform.vocabulary))
        with torch.no_grad():
            want = network(*map(torch.from_numpy, (batch.rows, batch.lengths, given))).softmax(-1).numpy()
        writer = TextWriter(self, transform, model)
        found = [writer.followed(pair, given[:, b, 0])[:, : want.shape[-1]] for b, pair in enumerate(pairs)]
        most = max(float(np.abs(p - want[:, b]).max()) for b, p in enumerate(found))
        alone = [writer.found([pair])[0][0] for pair in pairs]
        company = [one[0] for one in writer.found(pairs)]
        differ = sum(a.symbols != c.symbols or a.score != c.score for a, c in zip(alone, company, strict=True))
        model.parity = {"torch_difference": most, "differing": {"a text alone": differ}, "isa": isa()}
        return model

    def predictor(self, transform: Any, model: Model) -> ModelPredictor:
        """A beam search."""
        from recurra.tasks.translation.writing import TextWriter

        return TextWriter(self, transform, model)

    def truth(self, sequence: Any, start: int, stop: int) -> Any:
        """What is to be written, as one object."""
        return sequences([sequence.written])

    def steps(self, sequence: Any, split: Any, part: str) -> tuple[int, int]:
        """The last one: a text is read whole."""
        start, stop = split.part(part)
        return max(start, stop - 1), stop

    def columns_of(self, answers: Any) -> dict[str, Any]:
        """What is written, as text."""
        return {"answer": answers}

    def described(self, bench: Bench) -> dict[str, Any]:
        """How many pairs, and how long they are."""
        transform: Any = bench.transform
        read, written = ([len(s) for s in bench.sequences], [len(s.written) for s in bench.sequences])
        return {
            "pairs": len(read),
            "tokens": [sum(read), sum(written)],
            "longest": [max(read), max(written)],
            "symbols": [transform.tables[0], len(transform.vocabulary)],
            "parts": [{"name": part, "pairs": len(bench.pieces(part))} for part in ("train", "valid", "test")],
            "notes": self.suspicions(bench),
        }

    def suspicions(self, bench: Bench) -> list[str]:
        """What looks as if the pairs were not what they should be."""
        return suspicions(bench)

    def sections(self, bench: Bench, predictor: Any) -> list[dict[str, Any]]:
        """What is written for some texts of the test part, chosen by chance, and where it looked; and some of those
        that have an error."""
        transform: Any = bench.transform
        pieces = bench.pieces("test")
        chosen = np.random.default_rng(0).permutation(len(pieces))[:SEARCHED]
        pairs = [pieces[int(i)].sequence for i in chosen]
        shown = []
        for pair, found in zip(pairs, predictor.found(pairs), strict=True):
            made = transform.tokens(found[0].symbols, pair.tokens, found[0].looked)
            looked = [] if found[0].looked is None else found[0].looked.round(3).tolist()
            shown.append({"read": pair.tokens, "wanted": pair.written, "written": made, "looked": looked})
        wrong = [one for one in shown[LOOKED:] if tuple(one["written"]) != tuple(one["wanted"])][:WRONG]
        return [{"kind": "written", "examples": shown[:LOOKED], "wrong": wrong}]

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """As JSON; their numbers as one array, of which a fingerprint is made."""
        arrays, settings = self.input.pack(sequences)
        text = repr([(s.tokens, s.written) for s in sequences]).encode()
        arrays["hash"] = np.frombuffer(hashlib.sha256(text).digest(), np.uint8)
        arrays["time"] = np.array([s.time for s in sequences])
        return arrays, settings | {"names": [s.name for s in sequences], "groups": [s.group for s in sequences]}

    def to_dict(self) -> dict[str, Any]:
        """How it writes."""
        return {**super().to_dict(), **asdict(self.writing)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`; what files of earlier versions do not say is as it was."""
        self = super().from_dict(described)
        said = {f.name: described[f.name] for f in fields(Writing) if f.name in described}
        self.writing = Writing(**said).checked(ValueError)
        return self

    def check_model(self, model: Model, transform: Any) -> None:
        """Its programs take what the transform makes, and give symbols of its vocabulary."""
        if not self.writing.most:
            raise ValueError("what it writes has no most")
        writer = Writer(model)
        found, wanted = (writer.encoder.input_size, writer.symbols), (transform.row_size, len(transform.vocabulary))
        if found != wanted:
            raise ValueError(f"programs of {found}, expected {wanted}")


class Summarize(Translate):
    """A short text for a long one, which may copy from it."""

    name = "summarize"
    metrics = (*ROUGE, Exact())
    baselines = (Lead, Nearest)
    usual = Writing(copy=True, coverage=True, no_repeat=3)
