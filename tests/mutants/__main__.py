"""`python -m mutants ROOM [WORD]`: which faults of a room (with this word in their name) nobody notices."""

from __future__ import annotations

import sys
from functools import partial

from mutants.rooms import unnoticed

room, word = [*sys.argv[1:], ""][:2]
lines = unnoticed(room, word, partial(print, file=sys.stderr, flush=True))
print(*lines, sep="\n")
sys.exit(bool(lines))
