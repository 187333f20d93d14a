"""`Translator`: another text for each text: a translation, a summary, a pronunciation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from recurra.cells import Cell
from recurra.cells.trace import get
from recurra.data.batches import Batch, Examples, Piece, Shuffled
from recurra.data.forecasting.clock import Clock
from recurra.data.text.pairs import BEGIN, END, PairSymbols
from recurra.errors import DataError, SettingError
from recurra.runtime.beam import Hypothesis, Limits
from recurra.runtime.model import Model
from recurra.runtime.writer import Writer
from recurra.tasks.base import Floats, Task
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.estimator import Estimator
from recurra.tasks.learn import Recipe, preprocessing_of
from recurra.tasks.translation.baselines import Nearest
from recurra.tasks.translation.metrics import Bleu, Edits, Exact, sequences

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.models.sequence_to_sequence import SequenceToSequence
    from recurra.tasks.baselines import Baseline

SMOOTHING = 0.1  # of the labels, as Vaswani et al. 2017 have it
WATCHED = 100  # pairs of the validation part that are written after each epoch
LOOKED = 12  # examples in a report
LONGER = 2  # what is written is at most so many times as long as the longest in training
PARITY = 8  # pairs on which the model is held against its network


class PairExamples(Examples):
    """Pairs side by side; targets are [T + 1, B]: what is written with its begin and end, then NaN."""

    def batch(self, some: Any, rng: np.random.Generator | None = None) -> Batch:
        """These pairs; with `rng`, what is read as it might have been, where the transform can say so."""
        return batch_of(self.transform, [self.pieces[int(i)].sequence for i in some], rng)


class PairBatches(Shuffled):
    """Pairs in another order in each epoch, those of about one length together."""

    def __init__(self, transform: PairSymbols, pieces: Sequence[Piece], batch: int, seed: int) -> None:
        super().__init__(transform, pieces, batch, seed)
        self.examples = PairExamples(transform, pieces)


def batch_of(transform: Any, pairs: Sequence[Any], rng: np.random.Generator | None = None) -> Batch:
    """Some pairs side by side; with `rng`, what is read as it might have been."""
    lengths = np.array([len(pair) for pair in pairs], np.int64)
    rows = np.zeros((lengths.max(), len(pairs), transform.row_size), np.float32)
    written = [transform.written(pair) for pair in pairs]
    targets = np.full((1 + max(map(len, written)), len(pairs)), np.nan, np.float32)
    targets[0] = BEGIN
    for b, pair in enumerate(pairs):
        varied = None if rng is None else transform.varied(pair, len(pair), rng)
        rows[: lengths[b], b] = transform.rows(pair, 0, len(pair)) if varied is None else varied[0]
        targets[1 : 1 + len(written[b]), b] = written[b]
    return Batch(rows, targets, lengths)


class Translate(Task):
    """From texts to texts, by an encoder and a decoder that looks at what it made of each token."""

    name = "translate"
    metrics = (Edits(), Exact(), Bleu())
    baselines: ClassVar[tuple[type[Baseline], ...]] = (Nearest,)
    inputs = ("pairs",)
    noise = 0.0
    beam: int = 4
    most: int = 100
    penalty: float = 1.0

    def targets(self, found: Any) -> list[Any] | None:  # type: ignore[override]
        """They are part of each pair."""
        return None

    def head(self, width: int, transform: Any, dropout: float) -> nn.Module:
        """From what the decoder has and what it found, `width` features, to a score for each symbol."""
        from torch import nn

        size = self.input.embedding  # type: ignore[attr-defined]
        symbols = nn.Linear(size, len(transform.vocabulary))
        return nn.Sequential(nn.Linear(width, size), nn.Tanh(), nn.Dropout(dropout), symbols)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy of the symbols that are there, labels smoothed: outputs [T, B, V], targets [T, B]."""
        from torch.nn import functional

        wanted = targets.nan_to_num(-1).long().flatten()
        return functional.cross_entropy(output.flatten(0, 1), wanted, ignore_index=-1, label_smoothing=SMOOTHING)

    def decode(self, output: Floats, transform: Any, name: str) -> Floats:
        """The most probable symbol of each step [M]; whole texts are found by a search: see `TextWriter`."""
        found: Floats = output.argmax(-1).astype(np.float64)
        return found

    def reader(self, transform: Any, cell: Cell, recipe: Recipe) -> nn.Module:
        """What reads: both directions of a text."""
        from recurra.models.sequence_to_sequence import TextReader

        size = self.input.embedding  # type: ignore[attr-defined]
        return TextReader(cell, transform.tables[0], size, recipe.hidden, recipe.layers, recipe.dropout)

    def network(self, bench: Bench, recipe: Recipe) -> SequenceToSequence:
        """A reader, and a decoder with attention."""
        import torch

        from recurra.models.sequence_to_sequence import SequenceToSequence

        cell, kind = get(recipe.cell), self.input
        transform: Any = bench.transform
        if cell.projection is not None:
            raise SettingError(f"{self.name}: cell={cell.name!r} projects its output, expected a cell that does not")
        self.most = LONGER * max(len(pair.written) for pair in self.pairs(bench.pieces("train"))) + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return SequenceToSequence(
                self.reader(transform, cell, recipe),
                cell,
                len(transform.vocabulary),
                kind.embedding,  # type: ignore[attr-defined]
                recipe.hidden,
                self.head(2 * recipe.hidden, transform, recipe.dropout),  # type: ignore[arg-type]
                recipe.layers,
                recipe.dropout,
                kind.heads,  # type: ignore[attr-defined]
                kind.score,  # type: ignore[attr-defined]
                kind.longest,  # type: ignore[attr-defined]
            )

    def batches(self, transform: Any, pieces: Sequence[Piece], encoder: Any, batch: Any, chunk: int, seed: int) -> Any:
        """Pairs in another order in each epoch."""
        return PairBatches(transform, [Piece(pair, 0, len(pair)) for pair in self.pairs(pieces)], batch or 64, seed)

    def pairs(self, pieces: Sequence[Piece]) -> list[Any]:
        """What is read, each with one text that is to be written."""
        return [piece.sequence for piece in pieces]

    def losses(self, bench: Bench, network: Any, noise: float) -> Callable[[Batch], Tensor]:
        """The decoder is told what stands before each symbol (teacher forcing)."""
        import torch

        def loss(batch: Batch) -> Tensor:
            targets, lengths = torch.from_numpy(batch.targets), torch.from_numpy(batch.lengths)
            before = targets[:-1].nan_to_num(END).unsqueeze(-1)
            return self.loss(network(torch.from_numpy(batch.rows), lengths, before), targets[1:])

        return loss

    def validation(self, bench: Bench, network: Any) -> Callable[[], dict[str, float]]:
        """The mean loss, and the errors of what is written for some, the most probable symbol at every step."""
        import torch

        pieces, loss = bench.pieces("valid"), self.losses(bench, network, 0.0)
        pairs = self.pairs(pieces)
        metric = self.metrics[0]
        transform: Any = bench.transform

        def validate() -> dict[str, float]:
            total = count = 0.0
            with torch.no_grad():
                for at in range(0, len(pairs), 256):
                    batch = batch_of(transform, pairs[at : at + 256])
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

        network.eval()
        model: Model = network.model()
        transform: Any = bench.transform
        model.preprocessing = preprocessing_of(bench)
        pairs = self.pairs(bench.pieces("train")[:PARITY])
        batch = batch_of(transform, pairs)
        before = np.nan_to_num(batch.targets[:-1], nan=END)[..., None]
        with torch.no_grad():
            given = map(torch.from_numpy, (batch.rows, batch.lengths, before))
            want = network(*given).softmax(-1).numpy()
        writer, most = Writer(model), 0.0
        for b, pair in enumerate(pairs):
            session = writer.decoder.session()
            session.state |= writer.begins(batch.rows[: len(pair), b])
            most = max(most, float(np.abs(session.run(np.ascontiguousarray(before[:, b])) - want[:, b]).max()))
        together = TextWriter(self, transform, model)
        alone = [together.found([pair])[0][0] for pair in pairs]
        company = [one[0] for one in together.found(pairs)]
        differ = sum(a.symbols != c.symbols or a.score != c.score for a, c in zip(alone, company, strict=True))
        from recurra.engine import isa

        model.parity = {"torch_difference": most, "differing": {"a text alone": differ}, "isa": isa()}
        return model

    def predictor(self, transform: Any, model: Model) -> ModelPredictor:
        """A beam search."""
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
        """Texts of the test part that are in training, too."""
        known = {s.tokens for s, split in zip(bench.sequences, bench.splits, strict=True) if split.train_end}
        test = [piece.sequence for piece in bench.pieces("test")]
        twice = sum(s.tokens in known for s in test)
        return [f"{twice} of {len(test)} texts of the test part are in training, too."] if twice else []

    def sections(self, bench: Bench, predictor: Any) -> list[dict[str, Any]]:
        """What is written for some texts of the test part, chosen by chance, and where it looked."""
        transform: Any = bench.transform
        pieces = bench.pieces("test")
        chosen = np.random.default_rng(0).permutation(len(pieces))[:LOOKED]
        pairs = [pieces[int(i)].sequence for i in chosen]
        shown = []
        for pair, found in zip(pairs, predictor.found(pairs), strict=True):
            made = transform.tokens(found[0].symbols, pair.tokens, found[0].looked)
            looked = [] if found[0].looked is None else found[0].looked.round(3).tolist()
            shown.append({"read": pair.tokens, "wanted": pair.written, "written": made, "looked": looked})
        return [{"kind": "written", "examples": shown}]

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """As JSON; their numbers as one array, of which a fingerprint is made."""
        arrays, settings = self.input.pack(sequences)
        text = repr([(s.tokens, s.written) for s in sequences]).encode()
        arrays["hash"] = np.frombuffer(hashlib.sha256(text).digest(), np.uint8)
        arrays["time"] = np.array([s.time for s in sequences])
        return arrays, settings | {"names": [s.name for s in sequences], "groups": [s.group for s in sequences]}

    def to_dict(self) -> dict[str, Any]:
        """How it searches."""
        return {**super().to_dict(), "beam": self.beam, "most": self.most, "penalty": self.penalty}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.beam, self.most, self.penalty = int(described["beam"]), int(described["most"]), float(described["penalty"])
        if not (0 < self.beam <= 1000 and 0 < self.most <= 100_000 and 0 <= self.penalty <= 100):
            raise ValueError(f"beam {self.beam}, most {self.most}, penalty {self.penalty}")
        return self

    def check_model(self, model: Model, transform: Any) -> None:
        """Its programs take what the transform makes, and give symbols of its vocabulary."""
        writer = Writer(model)
        found, wanted = (writer.encoder.input_size, writer.decoder.output_size), len(transform.vocabulary)
        if found != (transform.row_size, wanted):
            raise ValueError(f"programs of {found}, expected {(transform.row_size, wanted)}")


class TextWriter(ModelPredictor):
    """A model that writes texts.

    Args:
        task, transform, model: of what an estimator made.
        beam: hypotheses; None: as the task has it.
    """

    def __init__(self, task: Translate, transform: Any, model: Model, beam: int | None = None) -> None:
        layer = next(op for op in model.program("decoder").ops if hasattr(op, "cell"))
        super().__init__(task, transform, model, f"{layer.cell.name.upper()} with attention")
        self.pairs, self.beam, self.search = transform, beam or task.beam, task

    @cached_property
    def writer(self) -> Writer:
        """The programs at work."""
        return Writer(self.model)

    def limits(self, **changed: Any) -> Limits:
        """Of the search."""
        own = {"beam": self.beam, "penalty": self.search.penalty, "most": self.search.most}
        return Limits(BEGIN, END, **own | changed)

    def found(self, pairs: Sequence[Any], **changed: Any) -> list[list[Hypothesis]]:
        """Hypotheses for each text, the best first."""
        return self.writer.write([self.pairs.rows(p, 0, len(p)) for p in pairs], self.limits(**changed))

    def answers(self, pairs: Sequence[Any]) -> Any:
        """The tokens of the best one for each text, as objects."""
        found = self.found(pairs)
        return sequences(
            [self.pairs.tokens(h[0].symbols, p.tokens, h[0].looked) for p, h in zip(pairs, found, strict=True)]
        )

    def predict(self, sequence: Any, start: int, stop: int) -> Any:
        """What is written, as one object."""
        return self.answers([sequence])

    def many(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Any]]:
        """Of some texts at once, with the same bits."""
        answers = self.answers([piece.sequence for piece in pieces])
        for i, piece in enumerate(pieces):
            yield piece, answers[i : i + 1]


@dataclass(frozen=True)
class Translation:
    """One text that was written.

    Attributes:
        text: it.
        tokens: its tokens.
        score: by which it was ranked: log p over its length to the power of `length_penalty`.
        log_probability: log p.
        complete: whether it came to its end before `longest`.
        attention: [tokens, n], the share of each token that was read, as its symbol was written.
    """

    text: str
    tokens: tuple[str, ...]
    score: float
    log_probability: float
    complete: bool
    attention: Floats | None


class WritingEstimator(Estimator):
    """What estimators share whose answers are texts."""

    def _written(self, tokens: Sequence[str]) -> str:
        return str(self.transform_.tokenizer.join(tokens))

    def predictions(self, X: Any, origins: str | None = None) -> tuple[dict[str, Any], Clock]:
        """As `Estimator.predictions`: what is written, as text."""
        columns, clock = super().predictions(X, origins)
        return columns | {"answer": self._given(columns["answer"])}, clock

    def _given(self, answers: Any) -> Any:
        """As texts, [N]."""
        return np.array([self._written(tokens) for tokens in answers], object)

    def _hypotheses(self, pairs: Sequence[Any], n: int, beam: int | None, **limits: Any) -> list[list[Any]]:
        """The n best texts for each of what was read, as `Translation`; limits that are None are those of `predict`.

        Raises:
            DataError: n is more than the hypotheses that are kept.
        """
        writer: Any = self._predictor()
        beam = beam or max(n, writer.beam)
        if not 1 <= n <= beam:
            raise DataError(f"{self.task.name}: n={n}, expected 1 to {beam}, the hypotheses that are kept")
        changed = {"beam": beam} | {k: v for k, v in limits.items() if v is not None}
        result = []
        for pair, found in zip(pairs, writer.found(pairs, **changed), strict=True):
            made = []
            for h in found[:n]:
                tokens = self.transform_.tokens(h.symbols, pair.tokens, h.looked)
                numbers = (h.score, h.log_probability, h.ended)
                made.append(Translation(self._written(tokens), tokens, *numbers, h.looked))
            result.append(made)
        return result


class Translator(WritingEstimator):
    """Another text for each text: a translation, a summary, a pronunciation.

    A recurrent network reads a text in both directions; another one writes, and looks at what the first made of each
    token (Bahdanau 2015, Luong 2015). What is written is found by beam search, in the native runtime; the same alone
    and in company. The arguments are those of `recurra.tasks.Estimator`; `reading` has the settings of
    `recurra.tasks.inputs.pairs.Pairs`, such as `{"tokens": "characters"}`.

    >>> import recurra
    >>> read = [f"{a} {b}" for a in "abcd" for b in "abcd"] * 8
    >>> model = recurra.Translator(hidden=16, epochs=20, batch=16, learning_rate=0.01, refit=False)
    >>> model = model.fit(read, [t[::-1] for t in read])
    >>> str(model.predict(["c d"])[0])
    'd c'
    """

    task = Translate

    def translate(
        self,
        texts: Sequence[str] | str,
        *,
        n: int = 1,
        beam: int | None = None,
        length_penalty: float | None = None,
        longest: int | None = None,
        least: int = 0,
        no_repeat: int = 0,
    ) -> list[list[Translation]]:
        """The n best texts for each, the best first.

        Args:
            texts: strings, or lists of tokens; one string is one text.
            n: how many of each, at most `beam`.
            beam: hypotheses that are kept; 1: the most probable symbol at every step; None: as in `predict`.
            length_penalty: by what power of its length log p is divided; 0 prefers short texts.
            longest, least: tokens.
            no_repeat: no so many tokens in a row come twice; 0: they may.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: a text is empty, or longer than what the network remembers.
            ShapeError: the limits contradict one another.
        """
        limits = {"penalty": length_penalty, "most": longest, "least": least, "no_repeat": no_repeat}
        return self._hypotheses(self._read(texts, None, None), n, beam, **limits)
