"""`Generate`: what comes next in a text, symbol by symbol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recurra.data.batches import Batches, Lanes, Piece
from recurra.data.split import Split, split_sequences
from recurra.data.text.corpus import Corpus, NextSymbol, open_texts, read_corpus
from recurra.data.text.tokens import Tokenizer, tokenizer_of
from recurra.errors import DataError
from recurra.runtime.ops.affine import Affine
from recurra.runtime.ops.softmax import Softmax
from recurra.runtime.program import Program
from recurra.tasks.base import Floats, Task
from recurra.tasks.generation.beside import Mixed, beside, mixed
from recurra.tasks.generation.ngrams import Frequencies, KneserNey
from recurra.tasks.metrics import LogLoss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.data.transform import Transform
    from recurra.models.encoders import Encoder
    from recurra.runtime.model import Model
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.generation.live import LiveText

FEWEST = 30  # tokens of a single text, which is cut into parts
STRETCH = 200  # steps of the validation part in a row, at least
LANES = 32  # stretches side by side
MOST_UNTIED = 512  # symbols up to which the head has weights of its own
SAMPLE = 200  # symbols of a report's sample
RATIO = 100_000  # tokens by which characters of a token are counted


class Nats(LogLoss):
    """The mean of -log p of the symbol that came."""

    key, name, error = "nats", "nats a symbol", "-log of the probability of the symbol that came"


class Perplexity(LogLoss):
    """exp of the nats: among how many symbols it is as if one had to guess."""

    key, name, error = "perplexity", "perplexity", ""

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of some answers."""
        return math.exp(super().value(truth, answers))


class BitsPerCharacter(LogLoss):
    """Bits that a character would take, coded by the model; of words and subwords, those of their characters."""

    key, name, error = "bits_per_character", "bits a character", ""

    def value(self, truth: Floats, answers: Floats) -> float:
        """Of answers whose symbols are characters."""
        return super().value(truth, answers) / math.log(2)


class Generate(Task):
    """The probability of each symbol to come next."""

    name = "generate"
    whole = False
    noise = 0.0
    context = 2000
    stretch = 500
    metrics = (Nats(), Perplexity(), BitsPerCharacter())
    baselines = (Frequencies, KneserNey)
    settings: ClassVar[dict[str, Any]] = {
        "tokens": "characters",
        "lower": False,
        "size": 4000,
        "min_count": 1,
        "most": None,
        "tied": None,
        "ngrams": True,
    }

    def __init__(self, **settings: Any) -> None:
        self.asked = {**Generate.settings, **settings}
        self.tokenizer: Tokenizer | None = None
        self.mixed: Mixed | None = None  # once it was found what n-grams are worth

    def examples(self, X: Any, **given: Any) -> Sequence[Corpus]:
        """Texts, as `recurra.data.text.corpus.open_texts` takes them.

        Raises:
            DataError: there are none, or too short ones.
        """
        texts = open_texts(X, given.get("y") if isinstance(given.get("y"), str) else None)
        self.tokenizer = tokenizer_of(
            self.asked["tokens"], self._to_learn_from(texts), lower=self.asked["lower"], size=self.asked["size"]
        )
        found = read_corpus(texts, self.tokenizer)
        if len(found) == 1 and len(found[0]) < FEWEST:
            raise DataError(f"corpus: it has {len(found[0])} tokens, expected at least {FEWEST}: give more text")
        return found

    def _to_learn_from(self, texts: Sequence[Any]) -> Any:
        """What subwords are learned from: the texts but their last tenth, or of one text but its last pieces."""
        kept = texts[: max(1, len(texts) * 9 // 10)]
        for _, pieces in kept:
            for piece in pieces():
                for one in [piece] if isinstance(piece, str) else piece:
                    yield one if len(texts) > 1 else one[: len(one) * 9 // 10]

    def split(self, sequences: Sequence[Corpus], parts: Any, seed: int) -> list[Split]:
        """A single text by its places, several text by text."""
        if not self.by_steps(sequences) or isinstance(parts[0], str):
            return split_sequences([len(s) for s in sequences], parts, seed=seed)
        split_sequences([1] * 1000, parts)  # which checks the shares
        ends = np.round(np.cumsum(parts) * len(sequences[0])).astype(int)
        return [Split(int(ends[0]), int(ends[1]), len(sequences[0]))]

    def by_steps(self, sequences: Sequence[Corpus]) -> bool:
        """Of a single text."""
        return len(sequences) == 1

    def transform(self, sequences: Sequence[Corpus], splits: Sequence[Split]) -> NextSymbol:
        """The vocabulary of the training part."""
        assert self.tokenizer is not None
        asked = self.asked
        learned = NextSymbol.learn(self.tokenizer, sequences, splits, asked["min_count"], asked["most"])
        self._transform = learned
        return learned

    def head(self, width: int, transform: Transform, dropout: float) -> nn.Module:
        """A linear layer; where there are many symbols, by way of the table of the input (Press and Wolf 2017)."""
        from torch import nn

        self._transform = transform
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, transform.tables[0]))

    def tie(self, encoder: Encoder, head: nn.Module) -> None:
        """Let the head's rows be those of the table, where there are many symbols or it was asked for."""
        from torch import nn

        table: Any = getattr(encoder, "table", None)
        parts: Any = head
        V = parts[-1].out_features
        tied = self.asked["tied"]
        if table is None or not (V > MOST_UNTIED if tied is None else tied):
            return
        size = table.weight.shape[1]
        nn.init.normal_(table.weight, std=size**-0.5)
        width, last = parts[-1].in_features, nn.Linear(size, V)
        last.weight = table.weight
        parts[-1] = nn.Linear(width, size)
        parts.append(last)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy."""
        import torch
        from torch.nn import functional

        wanted = torch.where(targets.isnan(), -100.0, targets).long()
        return functional.cross_entropy(output.flatten(0, -2), wanted.flatten(), ignore_index=-100)

    def decode(self, output: Floats, transform: Transform, name: str) -> Floats:
        """The probability of each symbol, by the runtime's softmax."""
        found: Floats = softmax_of(output.shape[-1]).run(np.ascontiguousarray(output, np.float32))
        return found

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """The number of the most probable symbol; `LiveText` names it."""
        return {"number": int(numbers.argmax()), "probability": float(numbers.max())}

    def to_model(self, bench: Bench, network: Any) -> Model:
        """With n-grams behind the network, where they are wanted and the validation part says that they help; then they
        count that part too."""
        pieces = bench.pieces("valid")
        if self.asked["ngrams"] and self.mixed is None and pieces:
            alone: Model = super().to_model(bench, network)
            predictor = self.predictor(bench.transform, alone)
            said = [p for piece in pieces for p in self._of_truth(bench, predictor, *piece)]
            self.mixed = mixed(bench, np.concatenate(said))
            if not self.mixed.helps:
                return alone
        if self.mixed is not None and self.mixed.helps:
            from recurra.torch import NGrams

            counted = KneserNey.of_parts(bench, self.mixed.order, "train", "valid")
            network.link = NGrams(beside(counted, self.mixed.mix))
        return super().to_model(bench, network)

    def predictor(self, transform: Any, model: Model) -> ModelPredictor:
        """The model's answers, by the name of its cell and of what stands beside it."""
        found = super().predictor(transform, model)
        if any(op.kind == "ngrams" for op in model.ops):
            found.name += " and n-grams"
        return found

    def live(self, model: Model, transform: Any) -> LiveText:
        """A text that goes on."""
        from recurra.tasks.generation.live import LiveText

        return LiveText(model, self, transform)

    def batches(
        self, transform: Transform, pieces: Sequence[Piece], encoder: Encoder, batch: int | None, chunk: int, seed: int
    ) -> Batches:
        """Stretches side by side whose states are carried."""
        return Lanes(transform, pieces, batch or LANES, chunk, seed)

    def truth(self, sequence: Corpus, start: int, stop: int) -> Floats:
        """The numbers of the tokens that came: `measure` reads them of the transform, which has the vocabulary."""
        found: Floats = self._transform.targets(sequence, start, stop).astype(np.float64)
        return found

    _transform: Any

    def held(self, bench: Bench) -> list[Piece]:
        """The validation part as stretches that are read side by side."""
        found = []
        for sequence, start, stop in bench.pieces("valid"):
            size = max(STRETCH, -(-(stop - start) // LANES))
            found += [Piece(sequence, at, min(at + size, stop)) for at in range(start, stop, size)]
        return found

    def measure(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> dict[str, float]:
        """Piece by piece: the probabilities of a large vocabulary would not fit into memory."""
        nats = self.mean_error(bench, predictor, pieces)
        return {
            "nats": nats,
            "perplexity": math.exp(min(nats, 700.0)),
            "bits_per_character": nats / math.log(2) / self._characters(bench.transform, pieces),
        }

    def mean_error(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> float:
        """The mean nats, piece by piece."""
        total, count = 0.0, 0
        for sequence, start, stop in pieces:
            for p in self._of_truth(bench, predictor, sequence, start, stop):
                total -= float(np.log(np.maximum(p, 1e-12)).sum())
                count += len(p)
        return total / max(1, count)

    def _of_truth(self, bench: Bench, predictor: Any, sequence: Corpus, start: int, stop: int) -> Any:
        """The probabilities of the symbols that came, a part after the other."""
        transform: Any = bench.transform
        if hasattr(predictor, "of_truth"):
            yield predictor.of_truth(sequence, start, stop)
            return
        whole = not hasattr(predictor, "parts")
        parts = [(start, predictor.predict(sequence, start, stop))] if whole else predictor.parts(sequence, start, stop)
        for first, answers in parts:
            truth = transform.numbers(sequence, first, first + len(answers)).astype(np.int64)
            yield answers[np.arange(len(truth)), truth]

    def _characters(self, transform: Any, pieces: Sequence[Piece]) -> float:
        """How many characters a token has, on the average."""
        tokens, left = list[str](), RATIO
        for sequence, start, stop in pieces:
            tokens += [sequence.symbols[i] for i in sequence.ids[start : min(stop, start + left)]]
            left = RATIO - len(tokens)
            if left <= 0:
                break
        return max(1, len(transform.tokenizer.join(tokens))) / max(1, len(tokens))

    def suspicions(self, bench: Bench) -> list[str]:
        """Nothing is looked for: texts may well say a thing twice."""
        return []

    def described(self, bench: Bench) -> dict[str, Any]:
        """Tokens and symbols."""
        transform: Any = bench.transform
        unknown = self._unknown(bench)
        parts = [
            {"name": part, "tokens": sum(p.stop - p.start for p in bench.pieces(part))}
            for part in ("train", "valid", "test")
        ]
        notes = ["Texts are in Unicode's normal form C."]
        if self.mixed is not None and self.mixed.helps:
            notes.append(str(self.mixed))
        if unknown:
            notes.append(f"{unknown:.2%} of the tokens of the test part are unknown, and counted as one symbol.")
        return {
            "texts": len(bench.sequences),
            "tokens": sum(len(s) for s in bench.sequences),
            "kind_of_tokens": transform.tokenizer.kind,
            "symbols": len(transform.vocabulary) - 1,
            "parts": parts,
            "notes": notes,
        }

    def _unknown(self, bench: Bench) -> float:
        transform: Any = bench.transform
        found = [transform.numbers(s, a, min(b, a + RATIO)) == 0 for s, a, b in bench.pieces("test")[:100]]
        return float(np.concatenate(found).mean()) if found else 0.0

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """What it writes by itself."""
        live = self.live(predictor.model, bench.transform)
        pieces = bench.pieces("test")
        start = "".join(self._shown(bench, pieces[0], 40)) if pieces else ""
        rows = []
        for temperature in (0.5, 0.8, 1.0):
            one = live.fork()
            if start:
                one.feed(start)
            rows.append([f"{temperature:g}", one.generate(SAMPLE, temperature=temperature, seed=0)])
        heading = f"What it writes after {start!r}, from the test part"
        headings = ["temperature", "text"]
        return [{"kind": "table", "heading": heading, "headings": headings, "rows": rows, "texts": True}]

    def _shown(self, bench: Bench, piece: Piece, count: int) -> str:
        transform: Any = bench.transform
        sequence, start, stop = piece
        tokens = [sequence.symbols[i] for i in sequence.ids[start : min(start + count, stop)]]
        text: str = transform.tokenizer.join(tokens)
        return text

    def cut(self, sequence: Corpus, end: int) -> Corpus:
        """The text without the tokens from `end` on."""
        return Corpus(sequence.name, sequence.ids[:end], sequence.symbols)

    def pack(self, sequences: Sequence[Corpus]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The numbers of all tokens, and the symbols."""
        ids = sequences[0].ids if len(sequences) == 1 else np.concatenate([s.ids for s in sequences])
        arrays = {"ids": ids, "lengths": np.array([len(s.ids) for s in sequences], np.int64)}
        return arrays, {"names": [s.name for s in sequences], "symbols": list(sequences[0].symbols)}

    @staticmethod
    def unpack(arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Sequence[Corpus]:
        """From what `pack` gave."""
        symbols = list(settings["symbols"])
        parts = np.split(arrays["ids"], np.cumsum(arrays["lengths"])[:-1])
        return [Corpus(name, ids, symbols) for name, ids in zip(settings["names"], parts, strict=True)]

    def read(self, X: Any, transform: Any, targets: bool = False, **given: Any) -> Sequence[Corpus]:
        """Texts to go on with, or to measure it by."""
        self._transform = transform
        return read_corpus(open_texts(X), transform.tokenizer, open_end=not targets)

    def to_dict(self) -> dict[str, Any]:
        """The settings that it was made with."""
        return {**super().to_dict(), "asked": self.asked}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`; files that were written before it had settings have the usual ones."""
        asked = dict(described.get("asked", {}))
        if not set(asked) <= set(cls.settings):
            raise ValueError(f"settings {sorted(asked)}")
        self = super().from_dict(described)
        self.asked |= asked
        return self

    @classmethod
    def transform_from(cls, described: Mapping[str, Any]) -> NextSymbol:
        """The vocabulary of a model file."""
        return NextSymbol.from_dict(described)

    def check_output(self, size: int) -> None:
        """Anything that chooses among symbols."""
        if size < 2:
            raise ValueError(f"{size} symbols")

    def anew(self) -> Task:
        """The same settings."""
        return type(self)(**self.asked)


_SOFTMAX: dict[int, Program] = {}


def softmax_of(V: int) -> Program:
    """The runtime's softmax of V numbers: the same bits on every machine."""
    if V not in _SOFTMAX:
        _SOFTMAX[V] = Program([Affine(np.ones(V, np.float32), np.zeros(V, np.float32)), Softmax()])
    return _SOFTMAX[V]
