"""`Recommend`: which item comes next in a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from recurra.data.batches import Batches, Lanes, Piece, in_batches
from recurra.data.split import Split, split_sequences
from recurra.errors import DataError
from recurra.runtime.model import Model
from recurra.runtime.ops.embedding import Embedding
from recurra.tasks.base import Floats, Task
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.recommendation.baselines import ItemRules, Popularity
from recurra.tasks.recommendation.metrics import HitRate, Ndcg, OfRanks, Ranks, ranks_of
from recurra.tasks.recommendation.ranking import Ranking, first, learn_rules, train_sessions
from recurra.tasks.recommendation.report import sections

if TYPE_CHECKING:
    from torch import Tensor

    from recurra.data.transform import Transform
    from recurra.models.encoders import Encoder
    from recurra.models.items import ItemHead

LAST = "last"  # the parts: the last item of each session is the test part, the one before it validation
ALL = 4096  # items up to which a loss is taken over all of them
DRAWN = 2048  # of more, so many in each update
WATCHED = 2000  # sessions of the validation part by which training is watched
SHARES = tuple(k / 10 for k in range(10))  # of the rules, to choose from
HALF = 0.5  # the one that is taken before it is chosen
REPEATED = 0.01  # share of next items that were there before, from which on items may come again


class Recommend(Task):
    """The items that are most probable to come next."""

    name = "recommend"
    metrics = (Ndcg(10), HitRate(10), Ndcg(5), HitRate(5))
    baselines = (Popularity, ItemRules)
    inputs = ("items",)
    whole = False
    noise = 0.0

    best: int = 10
    again: bool = False
    asked_again: bool | None = None
    negatives: int | None = None
    share: float = 0.0
    _head: Any = None
    _transform: Any = None

    def targets(self, found: Any) -> None:  # type: ignore[override]
        """They are the items themselves."""

    def split(self, sequences: Sequence[Any], parts: Any, seed: int) -> list[Split]:
        """The last item of each session, or session by session, by time where that is known."""
        if not (isinstance(parts, str) and parts == LAST):
            times = [s.time for s in sequences]
            known = None if np.isnan(times).any() else times
            return split_sequences([len(s) for s in sequences], parts, times=known, seed=seed)
        if not any(len(s) > 2 for s in sequences):
            raise DataError(
                "sessions: none has four items, expected two for validation and test and two to learn from: give "
                "parts, the shares of sessions"
            )
        lengths = (len(s) for s in sequences)
        return [Split(n - 2, n - 1, n) if n > 2 else Split(n, n, n) for n in lengths]

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """The items of the training part; whether they come again."""
        self._transform = super().transform(sequences, splits)
        if self.asked_again is None:
            known = [s.ids[: split.train_end + 1] for s, split in zip(sequences, splits, strict=True)]
            again = sum(len(ids) - len(np.unique(ids)) for ids in known)
            self.again = again > REPEATED * sum(map(len, known))
        else:
            self.again = self.asked_again
        return self._transform  # type: ignore[no-any-return]

    def head(self, width: int, transform: Transform, dropout: float) -> ItemHead:
        """A query, and its product with each item."""
        from recurra.models.items import ItemHead

        count, size = transform.tables[0], self.input.embedding  # type: ignore[attr-defined]
        negatives = self.negatives or (None if count <= ALL else DRAWN)
        self._head = ItemHead(width, size, count, dropout, negatives)
        return self._head  # type: ignore[no-any-return]

    def tie(self, encoder: Encoder, head: Any) -> None:
        """The items have one table."""
        table: Any = getattr(encoder, "table", None)
        if table is not None:
            head.tie(table.weight)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy over all items, or over some that are drawn."""
        loss: Tensor = self._head.loss(output, targets)
        return loss

    def batches(
        self, transform: Transform, pieces: Sequence[Piece], encoder: Encoder, batch: int | None, chunk: int, seed: int
    ) -> Batches:
        """Sessions one after the other, in lanes side by side."""
        return Lanes(transform, pieces, batch or 32, chunk, seed)

    def validation(self, bench: Bench, network: Any) -> Callable[[], dict[str, float]]:
        """The loss, and the first metric with rules, on some sessions of the validation part."""
        import torch

        pieces, metric, V = self.held(bench), self.metrics[0], bench.transform.tables[0]
        ranking = Ranking(V, learn_rules(train_sessions(bench), V), HALF, self.again)

        def validate() -> dict[str, float]:
            losses, errors = [], list[float]()
            with torch.no_grad():
                for group, batch in in_batches(bench.transform, pieces):
                    assert batch.wanted is not None
                    assert batch.lengths is not None
                    h, _ = network.encoder(torch.from_numpy(batch.rows), lengths=torch.from_numpy(batch.lengths))
                    wanted = torch.from_numpy(batch.wanted.T.copy())
                    output = network.head(h.transpose(0, 1)[wanted])
                    losses.append(float(self.loss(output, torch.from_numpy(batch.targets).T[wanted])) * len(output))
                    errors += self._errors(group, output.numpy(), ranking, metric)
            return {"valid_error": sum(losses) / max(1, len(errors)), f"valid_{metric.key}": float(np.nanmean(errors))}

        return validate

    def _errors(self, group: Sequence[Piece], output: Floats, ranking: Ranking, metric: OfRanks) -> list[float]:
        found, at = list[float](), 0
        for sequence, start, stop in group:
            ids = self._transform.numbers(sequence, 0, stop).astype(np.int64)
            rows = output[at : at + stop - start]
            at += stop - start
            scores = np.stack([ranking.scores(row, ids[: start + m + 1]) for m, row in enumerate(rows)])
            found += metric.units(self.truth(sequence, start, stop), scores).tolist()
        return found

    def held(self, bench: Bench) -> list[Piece]:
        """Some sessions, spread over all."""
        pieces = bench.pieces("valid")
        return pieces[:: max(1, len(pieces) // WATCHED)][:WATCHED]

    def to_model(self, bench: Bench, network: Any) -> Model:
        """Programs that make a query of items, scores of a query, and what goes with each item."""
        made: Model = super().to_model(bench, network)
        rules = learn_rules(train_sessions(bench), bench.transform.tables[0])
        programs = {"main": made.ops[:-1], "items": made.ops[-1:], "rules": [Embedding(rules, (len(rules),))]}
        return Model(programs=programs, preprocessing=made.preprocessing, parity=made.parity)

    def settle(self, bench: Bench, predictor: Any) -> None:
        """The share of the rules by which the validation part is ranked best."""
        pieces = self.held(bench)
        if pieces:
            ranking = predictor.ranking
            found = dict.fromkeys(SHARES, 0.0)
            for piece in pieces:
                output, ids = predictor.outputs(*piece)
                truth = self.truth(*piece)
                for share in SHARES:
                    ranking.share = share
                    scores = np.stack([ranking.scores(row, ids[: piece.start + m + 1]) for m, row in enumerate(output)])
                    found[share] += float(np.nansum(self.metrics[0].gain(ranks_of(truth, scores))))
            self.share = max(SHARES, key=lambda share: (round(found[share], 9), -share))

    def ranking(self, model: Model) -> Ranking:
        """How a model's items are ranked."""
        rules: Any = model.program("rules").ops[0]
        return Ranking(model.program("items").output_size, rules.W, self.share, self.again)

    def predictor(self, transform: Any, model: Model) -> ItemPredictor:
        """Scores of all items."""
        return ItemPredictor(self, transform, model)

    def decode(self, output: Floats, transform: Transform, name: str) -> Floats:
        """Outputs are scores by themselves: what they are with rules depends on the session, see `ItemPredictor`."""
        return output

    def truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The numbers of the items that came; 0 for one that was not in training."""
        found: Floats = self._transform.targets(sequence, start, stop).astype(np.float64)
        return found

    def ranks(self, predictor: Any, pieces: Sequence[Piece]) -> Ranks:
        """The places of the items that came; scores of all items are in memory for one session at a time."""
        return np.concatenate([ranks_of(self.truth(*piece), predictor.predict(*piece)) for piece in pieces])

    def measure(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> dict[str, float]:
        """Of the ranks among all items."""
        ranks = self.ranks(predictor, pieces)
        return {metric.key: metric.of_ranks(ranks) for metric in self.metrics}

    def mean_error(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> float:
        """1 - NDCG@10; of many sessions, of some."""
        some = pieces[:: max(1, len(pieces) // WATCHED)]
        return 1.0 - self.metrics[0].of_ranks(self.ranks(predictor, some))

    def suspicions(self, bench: Bench) -> list[str]:
        """Nothing is looked for: sessions may well be alike."""
        return []

    def described(self, bench: Bench) -> dict[str, Any]:
        """Sessions and items."""
        found = super().described(bench)
        pieces = bench.pieces("test")
        truth = np.concatenate([self.truth(*piece) for piece in pieces]) if pieces else np.zeros(0)
        notes = ["Items may come again." if self.again else "What is in a session is not recommended again."]
        if (truth == 0).any():
            notes.append(f"{(truth == 0).mean():.2%} of the items to be found in the test part were not in training.")
        return {
            "sessions": found["sequences"],
            "events": sum(len(s.ids) for s in bench.sequences),
            "items": bench.transform.tables[0] - 1,
            "parts": [{"name": p["name"], "sessions": p["sequences"]} for p in found["parts"]],
            "notes": notes,
        }

    def sections(self, bench: Bench, predictor: Any) -> list[dict[str, Any]]:
        """Sessions with what came and what was recommended; how it does with rare items; what a live answer costs."""
        return sections(self, bench, predictor)

    def cut(self, sequence: Any, end: int) -> Any:
        """See `Task`."""
        return replace(sequence, **self.input.cut(sequence, end))

    def read(self, X: Any, transform: Any, targets: bool = False, **given: Any) -> Sequence[Any]:
        """See `Task`."""
        self._transform = transform
        return super().read(X, transform, targets, **given)

    def to_dict(self) -> dict[str, Any]:
        """How many items an answer has, and how they are ranked."""
        return {**super().to_dict(), "best": self.best, "again": self.again, "share": self.share}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`."""
        self = super().from_dict(described)
        self.best, self.again, self.share = int(described["best"]), bool(described["again"]), float(described["share"])
        self.asked_again = self.again
        if not (0 < self.best <= 10_000 and 0 <= self.share < 1):
            raise ValueError(f"best {self.best}, share {self.share}")
        return self

    def check_model(self, model: Model, transform: Any) -> None:
        """Its programs are of the items that there are."""
        V, rules = transform.tables[0], model.program("rules").ops[0]
        items = model.program("items")
        if (model.input_size, model.output_size, items.output_size) != (1, items.input_size, V):
            raise ValueError(f"programs of {items.output_size} items, expected {V}")
        if not isinstance(rules, Embedding) or rules.W.shape[0] != V or rules.W.shape[1] % 2:
            raise ValueError(f"no rules of {V} items")
        of = rules.W[:, : rules.W.shape[1] // 2]
        if not ((of >= 0) & (of < V)).all():
            raise ValueError("rules of other items")

    def anew(self) -> Task:
        """The same settings."""
        made: Any = super().anew()
        made.best, made.asked_again, made.negatives = self.best, self.asked_again, self.negatives
        return made  # type: ignore[no-any-return]


class ItemPredictor(ModelPredictor):
    """A model's scores of all items after each step of a session, as a live session has them."""

    def __init__(self, task: Recommend, transform: Any, model: Model) -> None:
        layer: Any = next(op for op in model.ops if hasattr(op, "cell"))
        super().__init__(task, transform, model, f"{layer.cell.name.upper()} and rules")
        self.symbols = transform

    @cached_property
    def ranking(self) -> Ranking:
        """Of the model."""
        found: Ranking = self.task.ranking(self.model)  # type: ignore[attr-defined]
        return found

    def outputs(self, sequence: Any, start: int, stop: int) -> tuple[Floats, Any]:
        """The network's scores [M, V], and the numbers of all items up to `stop`."""
        rows = self.transform.rows(sequence, 0, stop)
        query = self.model.session().run(rows)[start:]
        return self.model.program("items").run(query), rows[:, 0].astype(np.int64)

    def scored(self, sequence: Any, start: int, stop: int) -> Iterator[Floats]:
        """[V] after each step."""
        output, ids = self.outputs(sequence, start, stop)
        for m, row in enumerate(output):
            yield self.ranking.scores(row, ids[: start + m + 1])

    def predict(self, sequence: Any, start: int, stop: int) -> Floats:
        """[M, V]."""
        return np.stack(list(self.scored(sequence, start, stop)))

    def best(self, sequence: Any, n: int) -> list[tuple[str, float]]:
        """The n best items after all of a session, each with its score."""
        (scores,) = self.scored(sequence, len(sequence) - 1, len(sequence))
        return [(self.symbols.vocabulary.symbols[k], float(scores[k])) for k in first(scores, n)]
