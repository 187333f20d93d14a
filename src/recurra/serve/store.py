"""`Store`: sessions on the disk, in one SQLite file: each one's snapshot, and the inputs since.

A row of `sessions` is a snapshot at some step; rows of `inputs` are the frames that were taken since. Inputs are small
and a state may not be, so a step writes its input, and now and then the session is folded: its snapshot is written anew
and its inputs go. A killed process loses nothing that was committed; a power failure may lose the last commits, as
SQLite is not asked to wait for the disk at each one, but never damages the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from recurra.errors import RecurraError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    key TEXT PRIMARY KEY, tenant TEXT NOT NULL, model TEXT NOT NULL, steps INTEGER NOT NULL, snapshot BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inputs (
    key TEXT NOT NULL, first INTEGER NOT NULL, inputs BLOB NOT NULL, PRIMARY KEY (key, first)
) WITHOUT ROWID;
"""


class Stored(NamedTuple):
    """One session: its snapshot, and the frames since, each with the sequence number of its first step."""

    model: str
    snapshot: bytes
    inputs: list[tuple[int, bytes]]


class Store:
    """The sessions that are not in memory, and of a durable server all of them.

    Args:
        path: the file, which need not exist; one process has it at a time.
        wait: seconds to wait for another process to leave it.

    Raises:
        RecurraError: it is in use, or no store.
        OSError: it cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], wait: float = 0.0) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(2, "there is no such folder", str(self.path.parent))
        until = time.monotonic() + wait
        while True:
            try:
                self._open()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise RecurraError(f"{path}: the store cannot be opened ({error})") from error
                if time.monotonic() > until:
                    raise RecurraError(
                        f"{path}: the store is in use by another process, expected one server for a store: end the "
                        "other, wait for it with --takeover, or name another file"
                    ) from error
                time.sleep(0.02)
            except sqlite3.DatabaseError as error:
                raise RecurraError(f"{path}: no store of sessions ({error}), expected one or no file") from error

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            for statement in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._db.execute(f"PRAGMA {statement}")
            with self.transaction():  # which takes the lock until the file is closed
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute("UPDATE sessions SET steps = steps WHERE key = ''")
        except BaseException:
            self._db.close()
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """What happens within is committed whole, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def put(self, rows: Iterable[tuple[str, str, str, int, bytes]]) -> None:
        """Write sessions, each (key, tenant, model, steps, snapshot), in place of what was there of them."""
        rows = list(rows)
        with self.transaction():
            self._db.executemany("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?)", rows)
            self._db.executemany("DELETE FROM inputs WHERE key = ?", [(row[0],) for row in rows])

    def log(self, frames: Iterable[tuple[str, int, bytes]]) -> None:
        """Append frames, each (key, first, inputs)."""
        with self.transaction():
            self._db.executemany("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?)", frames)

    def get(self, key: str) -> Stored | None:
        """A session; None where there is none of that key."""
        row = self._db.execute("SELECT model, snapshot FROM sessions WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        inputs = self._db.execute("SELECT first, inputs FROM inputs WHERE key = ? ORDER BY first", (key,))
        return Stored(row[0], row[1], inputs.fetchall())

    def has(self, key: str) -> bool:
        """Whether there is a session of that key."""
        return self._db.execute("SELECT 1 FROM sessions WHERE key = ?", (key,)).fetchone() is not None

    def delete(self, key: str) -> None:
        """Forget a session."""
        with self.transaction():
            self._db.execute("DELETE FROM sessions WHERE key = ?", (key,))
            self._db.execute("DELETE FROM inputs WHERE key = ?", (key,))

    def keys(self, prefix: str, after: str, most: int) -> list[tuple[str, str, int]]:
        """Sessions (key, model, steps) whose key begins so, in order, after one."""
        last = prefix + chr(0x10FFFF)
        rows = self._db.execute(
            "SELECT key, model, steps + coalesce((SELECT count(*) FROM inputs WHERE inputs.key = sessions.key), 0) "
            "FROM sessions WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
            (after, prefix, last, most),
        )
        return rows.fetchall()

    def tenants(self) -> dict[str, int]:
        """How many sessions there are of each tenant."""
        return dict(self._db.execute("SELECT tenant, count(*) FROM sessions GROUP BY tenant").fetchall())

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()
