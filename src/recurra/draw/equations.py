"""The equations of a cell as lines for a picture, and for a terminal."""

from __future__ import annotations

import re

from recurra.cells.cell import Cell
from recurra.draw.fonts import measure

# A weighted sum in brackets, as a term or an argument.
_AFFINE = re.compile(
    r"(?:^|(?<=\()|(?<=\+ ))\((?P<sum>[WU]_\{[^{}]*\} (?:[^()]|\([^()]*\))*? \+ [a-z]_\{[^{}]*\})\)(?=$|\)| \+)"
)


def equations_of(cell: Cell) -> list[tuple[str, str]]:
    """Left and right side of each equation, in LaTeX.

    A weighted sum within a sum or a function needs no brackets of its own.

    >>> from recurra.cells import rnn
    >>> equations_of(rnn)
    [('h_t', '\\\\tanh(W_{n} x_t + b_{n} + U_{n} h_{t-1} + d_{n})')]
    """
    rows = cell.latex().splitlines()[1:-1]
    sides = [row.removesuffix(r" \\").split(" &= ", 1) for row in rows]
    return [(left, _AFFINE.sub(r"\g<sum>", right)) for left, right in sides]


def wrapped(latex: str, size: float, width: float) -> list[str]:
    """A right side in lines of at most that width, where it can be broken before an operator or after a comma."""
    pieces = _breakable(latex)
    lines = [pieces[0]]
    for piece in pieces[1:]:
        longer = f"{lines[-1]} {piece}"
        if measure(f"${longer}$", size).width <= width:
            lines[-1] = longer
        else:
            lines.append(piece)
    return lines


def _breakable(latex: str) -> list[str]:
    """Pieces that are LaTeX each: no brace and no \\left is open between them."""
    pieces: list[str] = []
    piece, braces, tall = "", 0, 0
    for word in latex.split(" "):
        operator = word in ("+", "-", "/", r"\odot", ">") or piece.endswith(",")
        if operator and braces == 0 and tall == 0 and piece:
            pieces.append(piece)
            piece = word
        else:
            piece = f"{piece} {word}" if piece else word
        braces += word.count("{") - word.count("}")
        tall += word.count(r"\left") - word.count(r"\right")
    return [*pieces, piece]
