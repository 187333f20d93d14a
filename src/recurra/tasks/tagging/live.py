"""`LiveTags`: tags of a text while it is typed, each as soon as it is certain; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.text.paths import Path
from recurra.tasks.live.base import Remembered
from recurra.tasks.live.stepwise import Steps
from recurra.tasks.live.text import LiveText, Reading


class LiveTags(LiveText):
    """Tags of a model of texts, for any number of texts side by side, while they are typed.

    An answer has the tokens that a piece made `certain`, with their tags, which nothing to come can change; and those
    that are `open`: as they would be tagged if the text ended here. All that were certain and the last that are open
    are the tags of `predict`, to the last one.

    A network of one direction looks ahead by nothing; a tag is open only as long as the scores of one tag after another
    may still change it. One of both directions reads the text so far anew with each piece, and all tags are open. Where
    the text has a label too, the answer has that of the text so far; as long as that may change, so may all tags.
    """

    task: Any

    def steps(self, observation: Any, series: str = "") -> Steps[dict[str, Any] | None]:
        """Take a piece of a text: see the class; None as long as it has no token.

        Raises:
            DataError: it is no text, or is no UTF-8; nothing has changed.
        """
        one = self._series.get(series) or self._begun(series)
        certain, pending = yield from self.outputs(one, observation)
        self._series[series] = one
        reading, known = one.rows, list[dict[str, str]]()
        if self.model.streams:
            for token, scores in certain:
                reading.open.append(token)
                done = reading.path.push(scores)
                known += self._tagged(reading.open, done)
                del reading.open[: len(done)]
            path, waiting, certain = reading.path.fork(), list(reading.open), []
        else:
            path, waiting = Path(self.task.moves), []
        places: list[int] = []
        for token, scores in [*certain, *pending]:
            waiting.append(token)
            places += path.push(scores)
        places += path.open()
        found = self._tagged(waiting, places)
        label = {"label": self.task.label_of(self.task.states[places[-1]])} if self.task.texts and places else {}
        return {"certain": known, "open": found, **label} if known or found else None

    def _tagged(self, tokens: list[str], path: list[int]) -> list[dict[str, str]]:
        tags = map(self.task.tag_of, self.task.states[path])
        return [{"token": token, "tag": tag} for token, tag in zip(tokens, tags, strict=False)]

    @property
    def fields(self) -> list[str]:
        """What is certain and what is open, `token/tag` each, and the label."""
        return ["certain", "open", *(["label"] if self.task.texts else [])]

    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """With blanks between."""
        said = [" ".join(f"{one['token']}/{one['tag']}" for one in answer[name]) for name in ("certain", "open")]
        return [*said, *([str(answer["label"])] if self.task.texts else [])]

    def _begun(self, name: str) -> Remembered:
        return Remembered(_Tagging(self._transform, self.task.moves), self.model.session())


class _Tagging(Reading):
    """What is remembered of a text, and the tags that are open."""

    def __init__(self, transform: Any, moves: Any) -> None:
        super().__init__(transform)
        self.path, self.open = Path(moves), list[str]()

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies, for `restore`."""
        tokens = np.frombuffer(b"\0" + "\0".join(self.open).encode(), np.uint8)
        return {**super().state(), **self.path.state(), "open": tokens}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        super().restore({name: a for name, a in state.items() if not name.startswith("path.") and name != "open"})
        self.path.restore(state)
        text = state["open"].tobytes()[1:].decode()
        self.open = text.split("\0") if self.path.scores is not None else []
