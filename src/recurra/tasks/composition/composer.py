"""`Composer`: which notes sound next, together; live, pieces that go on, and accompaniment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from recurra.cells import Cell
from recurra.errors import SettingError
from recurra.tasks.composition.task import Compose
from recurra.tasks.estimator import Estimator
from recurra.train import Progress

if TYPE_CHECKING:
    from recurra.tasks.composition.live import LiveMusic


class Composer(Estimator):
    """Music of several notes at a time, frame by frame.

    A recurrent network reads which keys of a piano sound, and a joint head says which do next, each given those below
    it: of a chord, that counts for more than the cell. Beside it in the report are how often each note sounds, whether
    it did before, and a logistic regression on four frames.

    The arguments that are not here are those of `recurra.tasks.Estimator`; `reading` has the settings of
    `recurra.tasks.inputs.rolls.Rolls`: `{"steps": 4, "transposed": 6}`.

    Args:
        units: hidden units of the joint head; 0: notes are independent of one another.

    >>> import numpy as np, recurra
    >>> chords = np.array([[60, 64, 67], [60, 65, 69], [59, 62, 67], [60, 64, 67]])
    >>> model = recurra.Composer(hidden=16, units=8, epochs=2).fit([np.tile(chords, (4, 1))] * 12, evaluate=False)
    >>> live = model.live()
    >>> live.feed(model.task_.read([chords], model.transform_)[0].frames)
    >>> live.generate(3).shape
    (3, 88)
    """

    task = Compose
    bidirectional = False
    pool: str | None = None
    projection: int | None = None
    noise: float | None = None
    channels_first = False

    def __init__(
        self,
        cell: str | Cell = "gru",
        hidden: int = 128,
        layers: int = 1,
        units: int = 64,
        dropout: float = 0.3,
        refit: bool = False,
        epochs: int | None = None,
        batch: int | None = 8,
        learning_rate: float = 4e-3,
        clip: float = 1.0,
        patience: int | None = None,
        parts: Any = (0.70, 0.15, 0.15),
        seed: int = 0,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.units = units
        self.dropout = dropout
        self.refit = refit
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.clip = clip
        self.patience = patience
        self.parts = parts
        self.seed = seed
        self.reading = reading

    def make_task(self) -> Compose:
        """The task, with the size of its head."""
        if isinstance(self.units, bool) or not isinstance(self.units, int) or not 0 <= self.units <= 4096:
            raise SettingError(f"Composer: units={self.units!r}, expected a whole number from 0 to 4096")
        made: Any = super().make_task()
        made.units = self.units
        return made  # type: ignore[no-any-return]

    def fit(  # type: ignore[override]
        self,
        X: Any,
        *,
        groups: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[Progress], bool] | None = None,
        evaluate: bool = True,
    ) -> Self:
        """Train on pieces, and measure the result on those of the test part.

        Args:
            X: MIDI files or piano rolls, see `recurra.data.rolls.read_rolls`.
            groups: what each was taken from: no group is in two parts.
            checkpoint, resume, progress, stop, evaluate: as `Estimator.fit` has them.

        Raises:
            SettingError: a parameter is out of range.
            DataError: there are too few pieces, or one is no music; the message says which.
        """
        how = {"checkpoint": checkpoint, "resume": resume, "progress": progress, "stop": stop}
        self._fit(lambda task: task.examples(X, groups=groups), evaluate, **how)
        return self._of_source(X)

    def live(self) -> LiveMusic:
        """Pieces that go on: `feed`, `generate`, `accompany`."""
        self._check_fitted()
        found: LiveMusic = self.task_.live(self.model_, self.transform_)
        return found
