"""`Estimator`: fit, predict, evaluate, save, load and live, the same for every task, as scikit-learn has them."""

from __future__ import annotations

import inspect
import os
import time as clock
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from recurra.cells import Cell, from_text
from recurra.data.batches import Piece
from recurra.data.forecasting.clock import Clock
from recurra.data.split import Split
from recurra.data.transform import Transform
from recurra.errors import ModelFileError, NotFittedError, SettingError, need
from recurra.runtime import Model, load
from recurra.tasks.backtest import Backtest, Fold, backtest
from recurra.tasks.base import Floats, Task
from recurra.tasks.bench import Bench, ModelPredictor
from recurra.tasks.checks import check_parameters
from recurra.tasks.conventions import Conventions
from recurra.tasks.cost import cost_of
from recurra.tasks.learn import Recipe, learn, learn_again
from recurra.tasks.members import joined
from recurra.tasks.opening import opened
from recurra.tasks.report import build_report, card_of, parameters_of, without_measurements
from recurra.train import History, Progress

if TYPE_CHECKING:
    from recurra.tasks.live.base import Live

RECIPE = tuple(Recipe.__dataclass_fields__)


class Estimator(Conventions):
    """A recurrent network for a task.

    Parameters are the constructor's arguments, kept as they were given; `fit` checks them. A subclass names its
    `task`; it stores each argument of its own constructor under its own name and does nothing else there.
    `sklearn.base.clone`, searches over parameters, `cross_val_score` and pipelines take it, and where scikit-learn is
    imported it is a `sklearn.base.BaseEstimator`; what is fitted can be pickled and copied.

    Args:
        cell: a cell or the name of one in the zoo.
        hidden: H, of each layer.
        layers: recurrent layers.
        bidirectional: whether layers read from the end too; such a network cannot run live.
        pool: what of the outputs over time the head sees: "last", "mean", "max", "attention", or "all": the last, the
            mean and the max side by side; None: all, or the last where there is a target for every step.
        projection: the size of the output, for a cell that projects it; None: half of hidden.
        dropout: the share dropped in training.
        noise: added to the numbers of each step in training, in standard deviations of their column; None: as the task
            has it, 0.5 for labels and 0.3 for numbers.
        refit: whether, once the report is made, the network is trained again on all sequences, for as many epochs; the
            report is of the network that had not seen the test part. "all" is True, "train" is False.
        epochs: at most so many; None: about 800 updates, but 12 epochs at least and 200 at most.
        batch: sequences (or parallel stretches of long ones) in an update; None: 32 (up to 16).
        chunk: steps of truncated back-propagation, where states are carried.
        learning_rate, clip: see `recurra.train.Settings`.
        patience: epochs without a better validation error before training stops; None: it goes to the end, since small
            validation parts say little of when to stop.
        parts: the shares of training, validation and test, the last of which may be 0; or the name of its part
            ("train", "valid", "test") for each sequence.
        channels_first: whether arrays are [N, I, T].
        seed: of all chance.
        members: how many networks, of this seed and those after it, are trained, each by itself, and averaged before
            the link: so many times the training and the cost of a step, for less chance in the answer. They are one
            model.
        reading: settings of inputs that are no numbers, by name: see `recurra.tasks.inputs.text.Text`.

    Attributes:
        model_: a `recurra.runtime.Model`: `model_.session()` steps.
        task_, transform_: with what they have learned of the data.
        history_: of training, epoch by epoch; of several members the mean.
        report_: how well it does on the test part beside the baselines, as plain lists and numbers.
        n_features_in_: I.
    """

    task: ClassVar[type[Task]]
    model_: Model
    task_: Any
    transform_: Any
    history_: History
    report_: dict[str, Any]
    n_features_in_: int

    def __init__(
        self,
        cell: str | Cell = "gru",
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        pool: str | None = None,
        projection: int | None = None,
        dropout: float = 0.2,
        noise: float | None = None,
        refit: bool | str = True,
        epochs: int | None = None,
        batch: int | None = None,
        chunk: int = 24,
        learning_rate: float = 3e-3,
        clip: float = 1.0,
        patience: int | None = None,
        parts: Any = (0.70, 0.15, 0.15),
        channels_first: bool = False,
        seed: int = 0,
        members: int = 1,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.pool = pool
        self.projection = projection
        self.dropout = dropout
        self.noise = noise
        self.refit = refit
        self.epochs = epochs
        self.batch = batch
        self.chunk = chunk
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.parts = parts
        self.channels_first = channels_first
        self.seed = seed
        self.members = members
        self.reading = reading

    _known: ClassVar[dict[str, type[Estimator]]] = {}
    _fold: Fold | None = None  # of a backtest

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "task" in cls.__dict__:
            Estimator._known[cls.task.name] = cls

    def make_task(self) -> Task:
        """The task, with nothing learned yet."""
        made = self.task()
        made.reading = getattr(self, "reading", None)
        return made

    def fit(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        times: Any = None,
        series: str | None = None,
        time: str | None = None,
        inputs: Sequence[str] | None = None,
        text: str | None = None,
        events: tuple[str, str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[Progress], bool] | None = None,
        evaluate: bool = True,
    ) -> Self:
        """Train on sequences, and measure the result on those of the test part.

        Ctrl-C ends training with the best weights so far; `history_.ended` then says "interrupted".

        Args:
            X, y, groups, times, series, time: as `recurra.data.read_sequences` takes them.
            inputs: the columns of a table to learn from; None: all that have no other role.
            text: the column of a table that has texts; where X is texts, it is as `recurra.data.text.read_texts` takes
                it.
            events: the columns of a table of events that have the variable and its value; `time` has the time of one,
                and X may be a folder or an archive of such tables, one a history.
            checkpoint: a file that is written after every epoch; of several members each has its own, the others
                with .2, .3 and so on behind its name.
            resume: go on from it, where it is there: the end is the same, to the last bit.
            progress: called after every update and validation, with the best naive error on the validation part.
            stop: asked as often whether to end.
            evaluate: whether to compare with baselines on the test part; without, `report_` has no table.

        Raises:
            SettingError: a parameter is out of range.
            DataError: the sequences or targets cannot be used; the message says which.
            TrainingError, CheckpointError: see `recurra.train`.
        """
        given = {"y": y, "groups": groups, "times": times, "series": series, "time": time, "columns": inputs}
        given |= {name: value for name, value in (("text", text), ("events", events)) if value is not None}
        how = {"checkpoint": checkpoint, "resume": resume, "progress": progress, "stop": stop}
        self._fit(lambda task: task.examples(X, channels_first=self.channels_first, **given), evaluate, **how)
        return self._of_source(X)

    def _of_source(self, source: Any) -> Self:
        """Name the file of the data in the report."""
        if isinstance(source, (str, Path)):
            self.report_["data"]["source"] = Path(source).name
        return self

    def _fit(self, examples: Callable[[Any], Sequence[Any]], evaluate: bool, **how: Any) -> Self:
        began = clock.perf_counter()
        check_parameters(self)
        need("training", "torch", extra="train")
        task = self.make_task()
        if evaluate:  # what comes after training is not to fail for that
            for baseline in task.baselines:
                need(f"the {baseline.key} baseline", *baseline.packages, extra="train")
        sequences, parts = examples(task), self.parts
        if self._fold is not None:
            sequences, parts = self._fold.parts(task, sequences, parts, int(self.seed))
        splits = task.split(sequences, parts, int(self.seed))
        bench = Bench(task, sequences, splits, task.transform(sequences, splits))
        naive = _best_naive(bench)
        identity = {"parameters": parameters_of(self), "data": bench.fingerprint}
        recipe = self.recipe()
        if bench.every and recipe.bidirectional and not (task.tags or task.both):
            raise SettingError(
                f"{type(self).__name__}: y has a number for each step, and a network of both directions has seen what "
                "comes after it, expected bidirectional=False"
            )
        network, histories, held = learn(bench, recipe, baseline=naive, identity=identity, **how)
        trained = clock.perf_counter()
        self.history_ = history = joined(histories)
        self._take(task.to_model(bench, network), task, bench.transform)
        task.settle(bench, self._predictor())
        self.model_.preprocessing |= task.to_dict()
        # From here on nothing may take away what training has cost: what fails is said, and the model stays.
        try:
            self.report_ = self._report(bench, network, evaluate)
        except (Exception, KeyboardInterrupt) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self.report_ = without_measurements(bench, self._predictor(), history, why)
        self.report_ |= {"baseline_error": naive, "refit": False, "cost": cost_of(bench, network, history)}
        if self._fold is not None:
            self._fold.keep(bench, self._predictor())
        if self.refit in (True, "all") and history.ended in ("complete", "early"):
            again = learn_again(bench, recipe, histories, held, how["progress"], how["stop"])
            if again is not None:
                everything, network = again
                trained = clock.perf_counter()
                self._take(task.to_model(everything, network), task, everything.transform)
                self.report_["refit"] = True
        self.report_["seconds"] = {"training": trained - began, "total": clock.perf_counter() - began}
        self.model_.card = card_of(self, bench)
        return self

    def _report(self, bench: Bench, network: Any, evaluate: bool) -> dict[str, Any]:
        """What `report_` has."""
        tested = evaluate and bool(bench.pieces("test"))
        return build_report(bench, self._predictor(), bench.baselines() if tested else [], self.history_, self.recipe())

    def recipe(self) -> Recipe:
        """The parameters that say how the network is made and trained, as Python's own numbers."""
        return Recipe(**{name: _plain(getattr(self, name, _DEFAULTS.get(name))) for name in RECIPE})

    def predict(self, X: Any, *, series: str | None = None, steps: str | None = None) -> Any:
        """The answers of the task, computed by the model of the runtime, so that a live session has the same bits.

        Args:
            X, series: as `fit` takes them.
            steps: "last": the answer after the last step of each sequence, [N, ...]; "all": a list of the answers after
                each step, [T, ...] for each sequence; None: as y was in `fit`.

        Raises:
            NotFittedError: before `fit` or `load`.
            DataError: the sequences cannot be used, or have another width than those of `fit`.
            SettingError: `steps` is something else.
        """
        return self._given(self._decoded(X, series, steps)[1])

    @property
    def series_column(self) -> str | None:
        """The column of a table that names the sequence of each row; None where a sequence is another thing, or where
        its answer depends on the others."""
        return self.task_.roles.get("series") if self.task_.input.name == "numbers" else None

    def predictions(self, X: Any, origins: str | None = None) -> tuple[dict[str, Any], Any]:
        """The answers to the sequences of a table, column by column, and the clock of its times.

        With "all" answers the column `step` counts the rows of each sequence from 1.
        """
        sequences, answers = self._decoded(X, None, origins)
        names = np.array([s.name for s in sequences], object)
        if not isinstance(answers, list):
            return {"series": names, **self.task_.columns_of(answers)}, Clock("count")
        counts = [len(one) for one in answers]
        step = np.concatenate([np.arange(1, n + 1) for n in counts])
        columns = self.task_.columns_of(np.concatenate(answers))
        return {"series": np.repeat(names, counts), "step": step, **columns}, Clock("count")

    def evaluate(self, X: Any, y: Any = None, *, series: str | None = None) -> dict[str, float]:
        """All metrics of the task on other sequences, by their keys; of a table, `fit` knows the column of targets."""
        sequences = self._read(X, y, series, targets=True)
        bench = Bench(self.task_, sequences, [Split(0, 0, len(s)) for s in sequences], self.transform_)
        truth, answers = bench.predictions(self._predictor(), bench.pieces("test"))
        return {metric.key: metric.value(truth, answers) for metric in self.task_.metrics}

    @property
    def evaluated(self) -> list[dict[str, Any]]:
        """The metrics that `evaluate` gives, for whoever shows them."""
        found: list[dict[str, Any]] = self.report_["metrics"]
        return found

    def backtest(self, X: Any, y: Any = None, groups: Any = None, *, folds: int = 5, **how: Any) -> Backtest:
        """Fit it anew in each of some folds, and measure it, and its baselines, on what that fold had not seen.

        Sequences whose times are known are judged by those before them alone; others are dealt, each label into all
        folds and each group into one. Streams are cut by time. This estimator stays as it is.

        Args:
            X, y, groups: as `fit` takes them.
            folds: K, 2 at least.
            how: what else `fit` takes.

        Raises:
            SettingError, DataError, TrainingError: as `fit`, or there are too few sequences for so many folds.

        >>> import numpy as np, recurra
        >>> X = np.random.default_rng(0).normal(size=(30, 8, 1)) + (np.arange(30) % 2)[:, None, None]
        >>> tested = recurra.Classifier(hidden=4, epochs=1).backtest(X, np.arange(30) % 2, folds=3)
        >>> tested.answers.shape, tested.by_fold("accuracy").shape
        ((30, 2), (3,))
        """
        return backtest(self, (X,) if y is None and groups is None else (X, y, groups), folds, **how)

    def score(self, X: Any, y: Any = None) -> float:
        """The first metric on other sequences, with a sign so that more is better."""
        metric = self.task.metrics[0]
        value = self.evaluate(X, y)[metric.key]
        return -value if metric.less else value

    def live(self) -> Live:
        """A live session: one step in, an answer out, for any number of sequences side by side."""
        self._check_fitted()
        found: Live = self.task_.live(self.model_, self.transform_)
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, for `load`, `recurra.load` and the command line.

        Raises:
            NotFittedError: before `fit` or `load`.
            OSError: the file cannot be written; what was there is untouched.
        """
        self._check_fitted()
        self.model_.save(path)
        if "model_file" in self.report_:
            self.report_["model_file"] = Path(path).name

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """From a model file; torch is not imported.

        Raises:
            ModelFileError: it is none, or of another task.
        """
        return cls.of_model(load(path), str(path))

    @classmethod
    def of_model(cls, model: Model, source: str = "the model") -> Self:
        """From a model of the runtime that an estimator made; `source` names it in messages."""
        task, transform = opened(model, source)
        if not isinstance(task, cls.task):
            raise ModelFileError(
                f"{source}: the model's task is {task.name!r}, expected {cls.task.name!r}: load it with the class for "
                "that task, or recurra.open_model"
            )
        parameters = model.card.get("parameters", {})
        if not isinstance(parameters, dict):
            raise ModelFileError(f"{source}: its card's parameters are {str(parameters)[:80]!r}: save the model again")
        known = {name: _tuples(value) for name, value in parameters.items() if name in cls._names()}
        if isinstance(known.get("cell"), str) and known["cell"].lstrip().startswith("def "):
            known["cell"] = from_text(known["cell"])
        self = cls(**known)
        self._take(model, task, transform)
        self.report_ = dict(model.card)
        return self

    def _take(self, model: Model, task: Task, transform: Transform) -> None:
        """Have the model and what belongs to it."""
        self.model_, self.task_, self.transform_ = model, task, transform
        self.n_features_in_ = len(transform.inputs)

    def _decoded(
        self, X: Any, series: str | None = None, steps: str | None = None
    ) -> tuple[Sequence[Any], Floats | list[Floats]]:
        """The sequences, and the decoded answers: see `predict`."""
        self._check_fitted()
        if steps not in (None, "last", "all"):
            raise SettingError(f"{type(self).__name__}: steps={steps!r}, expected 'last', 'all' or None")
        every = steps == "all" or (steps is None and self.task_.each)
        if every and not (self.model_.streams or self.task_.tags):
            raise SettingError(
                f"{type(self).__name__}: steps='all', but the network reads both ways and answers whole "
                "sequences only, expected steps='last'"
            )
        sequences, predictor = self._read(X, None, series), self._predictor()
        pieces = [Piece(s, 0, len(s)) if every else self._piece(s) for s in sequences]
        found = [answers for _, answers in predictor.many(pieces)]
        return sequences, found if every else np.concatenate(found)

    def _given(self, answers: Any) -> Any:
        """Decoded answers as `predict` gives them."""
        return answers

    def _read(self, X: Any, y: Any, series: str | None, targets: bool = False) -> Sequence[Any]:
        self._check_fitted()
        given = {"y": y, "series": series, "channels_first": self.channels_first}
        found: Sequence[Any] = self.task_.read(X, self.transform_, targets, **given)
        return found

    def _piece(self, sequence: Any) -> Piece:
        return Piece(sequence, len(sequence) - 1 if self.task_.whole else 0, len(sequence))

    def _predictor(self) -> ModelPredictor:
        found: ModelPredictor = self.task_.predictor(self.transform_, self.model_)
        return found

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            name = type(self).__name__
            raise NotFittedError(f"{name}: there is no model yet, expected one: call fit, or {name}.load")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("task_", "transform_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "model_" in state:
            self._take(self.model_, *opened(self.model_))


_DEFAULTS = {name: p.default for name, p in inspect.signature(Estimator).parameters.items()}


def open_model(path: str | os.PathLike[str]) -> Any:
    """The estimator in a model file, whatever its task is: a Forecaster, a Classifier, a Regressor or one of your own.

    Raises:
        ModelFileError: the file is none, or has no task, or one whose module was not imported.
    """
    model = load(path)
    task, _ = opened(model, str(path))
    if task.name not in Estimator._known:
        raise ModelFileError(f"{path}: no estimator has the task {task.name!r}: import the module that defines one")
    return Estimator._known[task.name].of_model(model, str(path))


def _best_naive(bench: Bench) -> float | None:
    """The least error of a naive answer on the validation part."""
    kinds = [kind for kind in bench.task.input.baselines(bench.task) if kind.kind == "naive"]
    fitted = [one for kind in kinds for one in kind.each(bench)]
    return min((bench.error(one, "valid") for one in fitted), default=None)


def _tuples(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's own."""
    return value.item() if isinstance(value, np.generic) else value
