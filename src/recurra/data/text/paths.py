"""`Path`: the most probable sequence of tags, found as the tokens come; NumPy only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]

NEVER = np.float32(-1e4)  # the score of a move that is not allowed
MOST_OPEN = 512  # tags that wait for what comes; the oldest is then decided by what is there
_SPAN = re.compile(r"([BI])-(.+)", re.DOTALL)


def are_spans(labels: Sequence[str]) -> bool:
    """Whether tags mark spans: O outside, B-X where one begins, I-X inside.

    >>> are_spans(["O", "B-city", "I-city"]), are_spans(["NOUN", "VERB"])
    (True, False)
    """
    return any(_SPAN.fullmatch(t) for t in labels) and all(t == "O" or _SPAN.fullmatch(t) for t in labels)


def repaired(tags: Sequence[str]) -> list[str]:
    """Tags in which each span begins with B: an I-X that follows no span of X becomes one.

    >>> repaired(["I-a", "I-a", "I-b", "O"])
    ['B-a', 'I-a', 'B-b', 'O']
    """
    found: list[str] = []
    for tag in tags:
        inside = tag.startswith("I-") and (not found or found[-1][1:] != tag[1:])
        found.append(f"B{tag[1:]}" if inside else tag)
    return found


def allowed(labels: Sequence[str], of: Sequence[Any] | None = None) -> NDArray[np.bool_]:
    """Which tag may follow which [K + 1, K]; the last row is for the first token. Of spans, I-X follows B-X or I-X.

    Args:
        labels: the tags.
        of: what each belongs to, such as a label of the whole text: only one of the same follows.

    >>> allowed(["B-a", "I-a", "O"]).astype(int).tolist()
    [[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1]]
    >>> allowed(["O", "O"], of=[0, 1]).astype(int).tolist()
    [[1, 0], [0, 1], [1, 1]]
    """
    found = np.ones((len(labels) + 1, len(labels)), bool)
    if are_spans(labels):
        for j, tag in enumerate(labels):
            if tag.startswith("I-"):
                found[:, j] = [before[1:] == tag[1:] and before != "O" for before in labels] + [False]
    if of is not None:
        found[:-1] &= np.equal.outer(of, of)
    return found


class Path:
    """The best path through tags so far.

    A tag is certain once all paths that may still win agree on it; that depends on no cut of the text, so the certain
    tags and then the open ones are those of the whole, found at once.

    Args:
        moves: scores [K + 1, K] of a tag after another; the last row is for the first token.

    >>> moves = np.zeros((3, 2), np.float32)
    >>> moves[0, 1] = NEVER
    >>> path = Path(moves)
    >>> path.push(np.array([1, 0], np.float32)), path.push(np.array([0, 3], np.float32)), path.open()
    ([], [], [1, 1])
    """

    def __init__(self, moves: F32) -> None:
        self.moves, self.after = moves[-1], np.ascontiguousarray(moves[:-1].T)  # [to, from]
        self.scores: F32 | None = None
        self.back: list[NDArray[np.int64]] = []  # of each open token but the first, the best tag before each tag

    def push(self, scores: F32) -> list[int]:
        """Take what the network says of the next token [K]; returns the tags that are certain now."""
        self.follow(scores)
        if not self.back:
            return []
        at = self.back[-1]
        for k in range(len(self.back) - 1, -1, -1):  # back to where all paths meet
            at = at if k == len(self.back) - 1 else self.back[k][at]
            if (at == at[0]).all():
                return self._decided(k, int(at[0]))
        return self._decided(0, self.open()[0]) if len(self.back) >= MOST_OPEN else []

    def follow(self, scores: F32) -> None:
        """Take the next token, and leave open what is certain."""
        if self.scores is None:
            self.scores = self.moves + scores
            return
        ways = self.after + self.scores
        best = ways.argmax(1)
        given = ways[np.arange(len(best)), best] + scores
        self.scores = given - given.max()  # so that they stay small however long the text
        self.back.append(best)

    def _decided(self, k: int, tag: int) -> list[int]:
        """The tags up to the one before back[k], which is `tag`; paths that disagree with it are dropped."""
        found = [tag]
        for back in reversed(self.back[:k]):
            found.append(int(back[found[-1]]))
        at = np.arange(len(self.back[0]))
        for back in reversed(self.back[k:]):
            at = back[at]
        assert self.scores is not None
        self.scores = np.where(at == tag, self.scores, self.scores + NEVER).astype(np.float32)
        self.back = self.back[k + 1 :]
        return found[::-1]

    def open(self) -> list[int]:
        """The tags that are not certain, as they would be if the text ended here."""
        if self.scores is None:
            return []
        found = [int(self.scores.argmax())]
        for back in reversed(self.back):
            found.append(int(back[found[-1]]))
        return found[::-1]

    def fork(self) -> Path:
        """Another one that goes its own way."""
        other = Path.__new__(Path)
        other.moves, other.after, other.scores, other.back = self.moves, self.after, self.scores, list(self.back)
        return other

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies, for `restore`."""
        if self.scores is None:
            return {}
        back = {"path.back": np.stack(self.back)} if self.back else {}
        return {"path.scores": self.scores.copy(), **back}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        scores = state.get("path.scores")
        self.scores = None if scores is None else scores.copy()
        self.back = [row.copy() for row in state.get("path.back", [])]


def best_path(moves: F32, scores: F32) -> list[int]:
    """The tags of a whole text whose tokens have scores [T, K]."""
    path, found = Path(moves), list[int]()
    for row in scores:
        if len(scores) <= MOST_OPEN:  # nothing is decided before the end, and what is certain needs no search
            path.follow(row)
        else:
            found += path.push(row)
    return found + path.open()
