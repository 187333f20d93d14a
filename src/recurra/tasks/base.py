"""`Task`: what one kind of problem adds to the machinery, which is the same for all.

A task is five parts, in the way in which a cell is a few lines: `examples` (what there is to learn from), `transform`
(numbers for the network), `head` (from features to outputs), `loss`, and `decode` (from outputs to an answer).
Splits, batches, training, baselines, metrics, the report, the model file, `predict`, the live session, the command
line, the comparison and the doctor follow from them.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recurra.data.batches import Batches, Lanes, Piece, Shuffled, Windows
from recurra.data.sequences import Sequences
from recurra.data.split import PARTS, Split, split_sequences
from recurra.data.transform import Transform
from recurra.errors import DataError, ModelFileError
from recurra.tasks.inputs import Input, input_from, input_of, kind_of
from recurra.tasks.inputs.numbers import Numbers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recurra.models.encoders import Encoder
    from recurra.runtime.model import Model
    from recurra.tasks.baselines import Baseline
    from recurra.tasks.bench import Bench, ModelPredictor
    from recurra.tasks.learn import Recipe
    from recurra.tasks.live.base import Live
    from recurra.tasks.metrics import Metric

Floats: TypeAlias = NDArray[np.floating[Any]]

# Modules of `recurra.tasks` with the task of that name.
BUILT_IN = {
    "forecast": "forecasting.forecaster",
    "classify": "classification.classifier",
    "regress": "regression.regressor",
    "detect": "detection.detector",
    "tag": "tagging.tagger",
    "transcribe": "transcription.transcriber",
    "transduce": "transcription.transducer",
    "generate": "generation.generator",
    "compose": "composition.composer",
    "recommend": "recommendation.recommender",
    "translate": "translation.translator",
    "summarize": "translation.translator",
    "caption": "captioning.captioner",
    "trade": "trading.trader",
}
TOGETHER = 384  # steps with targets in one update of what looks at windows
RUN = 48  # of them in a row
BATCH = 32  # whole sequences in an update


class Task(ABC):
    """One kind of problem.

    Letters: M steps at which an answer is wanted, O outputs of the network, H features.

    Attributes:
        name: the word in the model file and on the command line; a subclass is found by it.
        metrics: of errors; by the first one candidates are compared.
        baselines: what a network must beat, the naive ones first.
        whole: whether an answer is for a sequence as a whole, and live after every step; else one is for each step.
        noise: on inputs in training, in standard deviations, where nothing else is said.
        context: how many steps before those that are asked for are read; None: all.
        stretch: how many steps in a row count as one observation of the error, where it is of each step.
        inputs: the kinds of input that it takes, by their names; the first one that takes X is asked, the last one
            takes anything.
        input: the kind of what was read.
        tags: whether a text has a target for each of its tokens.
        updates: that training aims at where nobody says how many epochs.
        both: whether an answer for each step may come from a network of both directions, which has seen the whole.
        rivals: more, which other libraries have: in a comparison where they are installed, and where asked for.
        text_baselines: in place of `baselines` where the input is text.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    baselines: ClassVar[tuple[type[Baseline], ...]]
    rivals: ClassVar[tuple[type[Baseline], ...]] = ()
    whole: ClassVar[bool] = True
    noise: ClassVar[float] = 0.5
    stretch: int = 100
    inputs: ClassVar[tuple[str, ...]] = ("numbers",)
    tags: ClassVar[bool] = False
    text_baselines: ClassVar[tuple[type[Baseline], ...]] = ()
    context: ClassVar[int | None] = None
    updates: ClassVar[int] = 800
    both: ClassVar[bool] = False

    input: Input = Numbers()
    reading: Mapping[str, Any] | None = None  # settings of the input, where they are not the usual ones
    columns: tuple[str, ...] = ()  # the names of the I numbers of a step
    each: bool = False  # whether there is a target for each step of a sequence, and not one for the whole
    kept: ClassVar[tuple[str, ...]] = ()  # more of the report that a model file keeps
    roles: Mapping[str, str] = {}  # of the other columns of a table: series, time

    _known: ClassVar[dict[str, type[Task]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            Task._known[cls.name] = cls

    @staticmethod
    def named(name: str) -> type[Task]:
        """The task of that name.

        Raises:
            ModelFileError: there is none; a task of your own must be imported first.
        """
        if name in BUILT_IN:
            importlib.import_module(f"recurra.tasks.{BUILT_IN[name]}")
        if name not in Task._known:
            raise ModelFileError(
                f"the task is {str(name)[:40]!r}, expected one of {', '.join({*BUILT_IN, *Task._known})}: import the "
                "module that defines it"
            )
        return Task._known[name]

    def examples(self, X: Any, **given: Any) -> Sequence[Any]:
        """The sequences to learn from, with their targets; by default numbers, as `read_sequences` takes them.

        Raises:
            DataError: they cannot be used; the message says where.
        """
        found = self.opened(X, **given)
        made = found.with_targets(self.targets(found))
        self.each = self._one_form(made)
        return made

    @staticmethod
    def _one_form(sequences: Sequence[Any]) -> bool:
        """Whether all have a target for each step; False: one for the whole."""
        forms = [s.target.ndim for s in sequences]
        odd = next((i for i, form in enumerate(forms) if form != forms[0]), None)
        if odd is not None:
            words = ("one value", "a value for each step")
            raise DataError(
                f"y: number {odd} is {words[forms[odd]]}, and number 0 is {words[forms[0]]}, expected the same for all"
            )
        return bool(forms[0])

    def opened(self, X: Any, **given: Any) -> Sequences:
        """What X holds; of which kind it is, its columns and their roles are kept for what will be read later."""
        self.input = input_of(self.inputs, X, given, self.reading)
        return self.input.read(self, X, **given)

    def features(self, tokens: str) -> tuple[str, ...]:
        """What a row has of a token, where nothing else is said; `tokens` says what a text is cut into."""
        return ("small",) if tokens == "words" else ("token",)

    def targets(self, found: Sequences) -> list[Floats]:
        """A number for each sequence, or for each of its steps, of what was given with them.

        Raises:
            DataError: it was not given, or is no number.
        """
        if found.y is None:
            raise DataError("y is not given, expected a number for each sequence, or for each of its steps")
        return checked_targets(found.y, found)

    def transform(self, sequences: Sequence[Any], splits: Sequence[Split]) -> Transform:
        """What turns sequences into rows, learned from the training part; by default as the input has it."""
        return self.input.transform(self, sequences, splits)

    @abstractmethod
    def head(self, width: int, transform: Transform, dropout: float) -> nn.Module:
        """The layers from H = `width` features to O outputs: [..., H] to [..., O]; dropout is part of them."""

    def tie(self, encoder: Encoder, head: nn.Module) -> None:  # noqa: B027  (nothing, if it need not)
        """Let an encoder and a head that was made for it share what they are to share."""

    @abstractmethod
    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """One number, the mean over the targets that are there, of outputs [..., O] and targets as the transform's."""

    @abstractmethod
    def decode(self, output: Floats, transform: Transform, name: str) -> Floats:
        """What outputs [M, O] of a model file's network (after the link) say, in the units of the target, [M, ...]."""

    def answers(self, output: Floats, transform: Transform, sequence: Any, start: int) -> Floats:
        """The same of the steps of a sequence from `start` on; for a task whose answers depend on where they are."""
        return self.decode(output, transform, sequence.name)

    def link(self) -> nn.Module | None:
        """What follows the head in a model file, such as a softmax."""
        return None

    def answer(self, numbers: Floats) -> dict[str, Any]:
        """One decoded output as a reader wants it, ready for JSON."""
        return {"answer": numbers.tolist()}

    def live(self, model: Model, transform: Transform) -> Live:
        """A live session of a model of this task."""
        return self.input.live(self, model, transform)

    def windows(self, bench: Bench) -> tuple[int, ...]:
        """Steps to choose from for what sees a window, the fewest first: half and all of the longest."""
        longest = max(piece.stop for piece in bench.pieces("train"))
        return tuple(sorted({max(2, longest // 2), max(2, longest)}))

    def columns_of(self, answers: Floats) -> dict[str, NDArray[Any]]:
        """Decoded answers [M, ...] as columns of a table."""
        return {"answer": answers}

    def read(self, X: Any, transform: Any, targets: bool = False, **given: Any) -> Sequence[Any]:
        """Sequences to predict; or to evaluate, with their targets.

        Raises:
            DataError: they cannot be used, or have another width than those of training.
        """
        given = {name: value for name, value in given.items() if value is not None}
        found = self.input.again(self, X, transform, targets, **given)
        made = found.with_targets(self.targets(found) if targets else None)
        if self.each and targets:  # one that stays the same is one for each step, too
            made = [s if s.target.ndim else replace(s, target=np.full(len(s), float(s.target))) for s in made]
        return made

    def split(self, sequences: Sequence[Any], parts: Any, seed: int) -> list[Split]:
        """Training, validation and test; by default sequence by sequence, by time or group where these are known."""
        times = [s.time for s in sequences]
        return split_sequences(
            [len(s) for s in sequences],
            parts,
            groups=self.input.groups(sequences, parts),
            times=None if np.isnan(times).any() else times,
            labels=self.strata(sequences),
            seed=seed,
        )

    def by_steps(self, sequences: Sequence[Any]) -> bool:
        """Whether shares of parts are of the steps of each sequence, in their order, and not of the sequences."""
        return False

    def strata(self, sequences: Sequence[Any]) -> list[str] | None:
        """What is to be in all parts alike, by sequence; None where nothing is."""
        return None

    def steps(self, sequence: Any, split: Split, part: str) -> tuple[int, int]:
        """The first step and the end of those of a part at which an answer is wanted."""
        start, stop = split.part(part)
        return (max(start, stop - 1) if self.whole and not sequence.target.ndim else start), stop

    def truth(self, sequence: Any, start: int, stop: int) -> Floats:
        """The targets of some steps in their own units, as `decode` gives them; NaN where they are not known."""
        y = sequence.target
        return np.broadcast_to(y, stop - start) if y.ndim == 0 else y[start:stop]

    def errors(self, piece: Piece, answers: Floats, transform: Transform) -> Floats:
        """The error of each answer [M] of a piece, as a comparison counts them; the less, the better."""
        return self.metrics[0].units(self.truth(*piece), answers)

    def measure(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> dict[str, float]:
        """All metrics of the answers to some pieces, by their keys."""
        truth, answers = bench.predictions(predictor, pieces)
        return {metric.key: metric.value(truth, answers) for metric in self.metrics}

    @property
    def numeric(self) -> bool:
        """Whether metrics are of truth and answers side by side, as `Bench.predictions` gives them."""
        return type(self).measure is Task.measure

    def held(self, bench: Bench) -> list[Piece]:
        """The pieces of the validation part by which training is watched."""
        return bench.pieces("valid")

    def mean_error(self, bench: Bench, predictor: Any, pieces: Sequence[Piece]) -> float:
        """The mean error of the answers to some pieces, as the first metric has it; the less, the better."""
        return float(np.nanmean(self.metrics[0].units(*bench.predictions(predictor, pieces))))

    def error_name(self, bench: Bench) -> str:
        """What `errors` are, in words."""
        return self.metrics[0].error

    def suspicions(self, bench: Bench) -> list[str]:
        """What looks as if the data told what they should not, in words.

        Raises:
            LeakageError: they do.
        """
        return self.input.suspicions(bench)

    def batches(
        self, transform: Transform, pieces: Sequence[Piece], encoder: Encoder, batch: int | None, chunk: int, seed: int
    ) -> Batches:
        """What the network of an encoder is trained on; the same targets in an epoch, whatever the encoder."""
        if self.whole:
            return Shuffled(transform, pieces, batch or BATCH, seed)
        if encoder.context is None:
            return Lanes(transform, pieces, batch, chunk, seed)
        length = encoder.context if encoder.dense else RUN
        return Windows(transform, pieces, TOGETHER, length, 0 if encoder.dense else encoder.context - 1, seed)

    def network(self, bench: Bench, recipe: Recipe) -> Any:
        """The torch module to train, with weights of the recipe's seed; by default an encoder and the task's head."""
        from recurra.tasks.learn import recurrent_network

        return recurrent_network(bench, recipe)

    def losses(self, bench: Bench, network: Any, noise: float) -> Callable[[Any], Tensor]:
        """The loss of a batch."""
        from recurra.tasks.learn import loss_of

        return loss_of(bench, network, noise)

    def validation(self, bench: Bench, network: Any) -> Callable[[], dict[str, float]]:
        """How well a network in training does on the validation part: `valid_error`, and the first metric."""
        from recurra.tasks.learn import validate_of

        return validate_of(bench, network)

    def to_model(self, bench: Bench, network: Any) -> Model:
        """A trained network as a model of the runtime, with all that its file says."""
        from recurra.tasks.learn import to_runtime

        return to_runtime(bench, network)

    def predictor(self, transform: Any, model: Model) -> ModelPredictor:
        """A model's answers."""
        from recurra.runtime.ops.branches import every
        from recurra.tasks.bench import ModelPredictor

        layer = next((op for op in every(model.ops) if hasattr(op, "cell")), None)
        name = layer.cell.name if layer is not None else "model"
        return ModelPredictor(self, transform, model, name.upper() if len(name) < 6 else name)

    def check_model(self, model: Model, transform: Any) -> None:
        """Raise ValueError where a model cannot be of this task."""
        self.check_output(model.output_size)
        if model.input_size != transform.row_size:
            raise ValueError(
                f"the network takes {model.input_size} numbers a step and its transform gives {transform.row_size}"
            )

    def calibrate(self, network: Any, output: Tensor, targets: Tensor) -> None:  # noqa: B027  (nothing, if it need not)
        """Adjust a trained network to the validation part, where that makes answers more honest: [M, O], [M, ...]."""

    def settle(self, bench: Bench, predictor: ModelPredictor) -> None:  # noqa: B027  (nothing, if it need not)
        """Learn what only the answers of the finished model say, of the validation part: as an alarm's level."""

    def described(self, bench: Bench) -> dict[str, Any]:
        """What a reader wants to know of the data, ready for JSON."""
        lengths = [len(s) for s in bench.sequences]
        return {
            "sequences": len(lengths),
            "steps": sum(lengths),
            "lengths": [min(lengths), max(lengths)],
            "groups": len({s.group for s in bench.sequences}),
            "columns": list(getattr(bench.transform, "described", bench.transform.inputs)),
            "parts": [{"name": part, "sequences": len(bench.pieces(part))} for part in PARTS],
            "notes": [],
        }

    def example(self, bench: Bench, predictor: Any) -> dict[str, Any]:
        """One prediction of the test part, for a comparison's page."""
        return {}

    def sections(self, bench: Bench, predictor: ModelPredictor) -> list[dict[str, Any]]:
        """What a report shows of the test part besides the table of metrics, ready for JSON."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """What it has learned besides the transform, ready for JSON: part of a model file."""
        kind = {"input": self.input.to_dict()} if self.input.name != "numbers" else {}
        return {"roles": dict(self.roles), "each": self.each, **kind}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """From `to_dict`; may raise KeyError, TypeError or ValueError where that is something else."""
        self = cls()
        self.roles = {str(role): str(name) for role, name in dict(described.get("roles", {})).items()}
        self.each = bool(described.get("each", False))
        self.input = input_from(described.get("input"))
        return self

    def check_output(self, size: int) -> None:  # noqa: B027  (any, if it does not matter)
        """Raise ValueError where a network that gives so many numbers an answer cannot be for this task."""

    def anew(self) -> Task:
        """The same task with nothing learned."""
        made = type(self)()
        made.reading = self.reading
        return made

    def roles_of(self, transform: Any) -> dict[str, Any]:
        """What `examples` was given besides the table, to give it again."""
        return {**self.roles, "columns": transform.inputs}

    @classmethod
    def transform_from(cls, described: Mapping[str, Any]) -> Transform:
        """The transform of a model file."""
        return kind_of(str(described.get("input", "numbers"))).made(None).transform_from(described)

    def cut(self, sequence: Any, end: int) -> Any:
        """A sequence without the steps from `end` on, and without their targets."""
        y = sequence.target
        return replace(sequence, target=y[:end] if y.ndim else y, **self.input.cut(sequence, end))

    def pack(self, sequences: Sequence[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Sequences as arrays and JSON, for another process."""
        arrays, settings = self.input.pack(sequences)
        arrays |= {
            "lengths": np.array([len(s) for s in sequences], np.int64),
            "target": np.concatenate([np.ravel(s.target) for s in sequences]),
            "time": np.array([s.time for s in sequences]),
        }
        whole = all(s.target.ndim == 0 for s in sequences)
        settings |= {"names": [s.name for s in sequences], "groups": [s.group for s in sequences], "whole": whole}
        return arrays, settings | ({"input": self.input.name} if self.input.name != "numbers" else {})

    @staticmethod
    def unpack(arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Sequence[Any]:
        """From what `pack` gave."""
        cuts = np.cumsum(arrays["lengths"])[:-1]
        y = list(arrays["target"]) if settings["whole"] else np.split(arrays["target"], cuts)
        return kind_of(settings.get("input", "numbers")).made(None).unpack(arrays, settings).with_targets(y)


def checked_targets(values: Sequence[Any], sequences: Sequences) -> list[Floats]:
    """Targets as numbers, [] or [T] each.

    Raises:
        DataError: one is no number, or one for each step has another length than its sequence.
    """
    found: list[Floats] = []
    for i, value in enumerate(values):
        try:
            y = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise DataError(f"y: number {i} is {str(value)[:40]!r}, expected a number") from None
        if y.ndim > 1 or np.isinf(y).any() or np.isnan(y).all():
            raise DataError(f"y: number {i} is {str(value)[:40]}, expected a finite number: leave that sequence out")
        if y.ndim and len(y) != len(sequences.x[i]):
            raise DataError(
                f"y: number {i} has {len(y)} values for {len(sequences.x[i])} steps, expected one for each step"
            )
        found.append(y)
    return found
