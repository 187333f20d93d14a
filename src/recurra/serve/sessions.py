"""`Sessions`: all sessions of a server, in memory or in its store, and what can be done with one."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from recurra.errors import SessionError
from recurra.serve.batcher import Batcher
from recurra.serve.faults import Fault, ServeError
from recurra.serve.held import Held, Work
from recurra.serve.limits import Limits
from recurra.serve.observed import Observed
from recurra.serve.order import Order
from recurra.serve.served import Served
from recurra.serve.store import Store
from recurra.serve.window import Window

_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_FOLD = 256  # steps that the store has of a session before its snapshot is written anew


class Sessions:
    """All sessions, by `tenant/name`.

    Args:
        served: the models, by name.
        store: where sessions go that are not used.
        limits: how much is taken.
        soon: of the event loop, as `Batcher` has it.
        observed: where it is counted.
        durable: whether every step is in the store before it is answered.
        most_of: how many sessions a tenant may have.
    """

    def __init__(
        self,
        served: dict[str, Served],
        store: Store,
        limits: Limits,
        soon: Callable[[Callable[[], None]], object],
        observed: Observed,
        durable: bool = False,
        most_of: Callable[[str], int] = lambda tenant: 1 << 62,
    ) -> None:
        self.served, self.store, self.limits, self.observed = served, store, limits, observed
        self.durable, self._most_of = durable, most_of
        self.live: dict[str, Held] = {}
        self.away: dict[str, tuple[Any, int]] = {}  # of those in the store, by their key: `Held.owner` and `handle`
        self._order = Order()
        self._of_tenant = Counter(store.tenants())
        self.batcher = Batcher(soon, limits.queue, observed, self._log if durable else lambda works: None)
        self.draining = False

    def __len__(self) -> int:
        return self._of_tenant.total()

    def create(self, tenant: str, model: str | None, name: str | None = None, snapshot: bytes | None = None) -> Held:
        """A new session, at its beginning or at a snapshot.

        Raises:
            ServeError: there is no such model, no place, a session of that name already, or the snapshot does not fit.
        """
        if self.draining:
            raise ServeError(Fault.DRAINING, "the server is going down: try again")
        served, key = self.model(model), self._new_key(tenant, name)
        if len(self) >= self.limits.sessions:
            raise ServeError(Fault.FULL, f"there are {len(self)} sessions, expected at most {self.limits.sessions}")
        if self._of_tenant[tenant] >= self._most_of(tenant):
            raise ServeError(Fault.LIMITED, f"this token has {self._of_tenant[tenant]} sessions, which is its limit")
        if snapshot is None:
            held = Held(key, served, served.begin(), Window(self.limits.window, served.size))
        else:
            held = Held.restored(key, served, snapshot, self.limits.window)
        self._make_room()
        self._of_tenant[tenant] += 1
        self._enter(held)
        if self.durable:
            self.fold(held)
        return held

    def model(self, name: str | None) -> Served:
        """The model of that name; of none, the only one.

        Raises:
            ServeError: there is none.
        """
        if name is None and len(self.served) == 1:
            return next(iter(self.served.values()))
        if name not in self.served:
            raise ServeError(
                Fault.NOT_FOUND, f"there is no model {str(name)[:80]!r}, expected {', '.join(self.served)}"
            )
        return self.served[name]

    def get(self, tenant: str, name: str) -> Held:
        """A session, from the store where it has gone there.

        Raises:
            ServeError: there is none, or it is of another model than the server has now.
        """
        key = f"{tenant}/{name}"
        held = self.live.get(key)
        if held is None:
            held = self._returned(key, name)
        while (served := held.served.successor) is not None:
            try:
                held.state = served.restore(held.served.snapshot(held.state), version=True)
            except SessionError as error:
                raise ServeError(Fault.MISMATCH, f"the new version cannot go on with this session: {error}") from None
            held.served = served
        held.used = time.monotonic()
        return held

    def replace(self, served: Served) -> None:
        """Let another version of a model, of the same architecture, go on with all sessions of the one of its name.

        A session goes over when it is next used. Its state is as it was, so that no step is lost and no stream ends.

        Raises:
            ServeError: there is none of that name, or its sessions do not fit; nothing has changed.
        """
        before = self.model(served.name)
        self.batcher.finish()
        own = [held for held in self.live.values() if held.served is before]
        try:
            if served.architecture != before.architecture:
                raise SessionError("its layers or what it takes are others")
            for held in own[:1]:
                served.restore(before.snapshot(held.state), version=True)
        except SessionError as error:
            raise ServeError(
                Fault.MISMATCH,
                f"the model {served.name!r} cannot take over the sessions of the one before ({error}), expected one of "
                "the same architecture: serve it under another name",
            ) from None
        if self.durable:  # what the store has of their steps was taken by the one before
            self.fold(*(held for held in own if held.logged))
        self.served[served.name], before.successor = served, served

    def submit(
        self, held: Held, first: int | None, inputs: bytes, reply: Callable[[Work], None], tag: Any = None
    ) -> None:
        """Let a frame of steps wait for its turn; `reply` is called when they have been taken.

        Args:
            held: the session.
            first: the sequence number of the first step; None for the next one.
            inputs: of the steps, as `Served.read` gives them.
            reply: called with the work.
            tag: for `reply`: `Work.tag`.

        Raises:
            ServeError: it cannot be taken; nothing has changed.
        """
        if self.draining:
            raise ServeError(Fault.DRAINING, "the server is going down: try again")
        if held.ended:
            raise ServeError(Fault.ENDED, f"the session {held.name!r} has ended: reset it, or begin another")
        next_, steps = held.queued + 1, held.served.count(inputs)
        if first is None or first == next_:
            self.batcher.add(Work(held, next_, inputs, steps, reply, tag))
            held.queued += steps
        else:
            self._submit_again(held, first, inputs, steps, reply, tag)

    def _submit_again(
        self, held: Held, first: int, inputs: bytes, steps: int, reply: Callable[[Work], None], tag: Any
    ) -> None:
        """A frame whose first steps, or all, have been taken before."""
        next_ = held.queued + 1
        if first > next_:
            raise ServeError(Fault.GAP, f"the next step is {next_}, got {first}: send those between", expected=next_)
        if first < held.window.first:
            raise ServeError(
                Fault.GONE,
                f"the answer to step {first} has left the replay window, which begins at {held.window.first}",
                expected=next_,
            )
        again = min(steps, next_ - first)
        left = held.served.cut(inputs, again) if again < steps else b""
        work = Work(held, first, left, steps - again, reply, tag)
        work.again = again
        self.batcher.add(work)
        held.queued += steps - again

    def reset(self, held: Held) -> None:
        """Go back to the beginning; the next step is 1 again."""
        self.batcher.finish(held)
        held.state, held.window = held.served.begin(), Window(self.limits.window, held.served.size)
        held.steps = held.queued = 0
        held.ended = False
        self._changed(held)

    def end(self, held: Held) -> None:
        """Take no more steps; what it has answered stays."""
        self.batcher.finish(held)
        held.ended = True
        self._changed(held)

    def snapshot(self, held: Held) -> bytes:
        """All of a session, for `restore` here or on another server of the same model."""
        self.batcher.finish(held)
        return held.snapshot()

    def restore(self, held: Held, snapshot: bytes) -> None:
        """Put a session where a snapshot is.

        Raises:
            ServeError: it does not fit; nothing has changed.
        """
        self.batcher.finish(held)
        other = Held.restored(held.key, held.served, snapshot, self.limits.window)
        for name in ("state", "window", "steps", "queued", "ended"):
            setattr(held, name, getattr(other, name))
        self._changed(held)

    def fork(self, tenant: str, held: Held, name: str | None = None) -> Held:
        """Another session in the same state, which goes its own way."""
        return self.create(tenant, held.served.name, name, self.snapshot(held))

    def delete(self, held: Held) -> None:
        """Forget a session."""
        self.batcher.finish(held)
        self.live.pop(held.key, None)
        held.gone()
        self.store.delete(held.key)
        self._of_tenant[held.key.partition("/")[0]] -= 1

    def list(self, tenant: str, after: str = "", most: int = 1000) -> list[dict[str, Any]]:
        """Sessions of a tenant by name, in order, after one."""
        prefix = f"{tenant}/"
        start = prefix + after
        found = {k: (model, steps, "stored") for k, model, steps in self.store.keys(prefix, start, most)}
        for key, held in self.live.items():
            if key.startswith(prefix) and key > start:
                found[key] = (held.served.name, held.steps, "live")
        names = sorted(found)[:most]
        return [
            {"id": key[len(prefix) :], "model": found[key][0], "steps": found[key][1], "state": found[key][2]}
            for key in names
        ]

    def evict(self, most: int, idle: float = 0.0) -> int:
        """Write sessions to the store that were used longest ago, at least `idle` seconds; how many."""
        gone = self._order.take(most, time.monotonic() - idle)
        if gone:
            try:
                self.store.put(self._row(held) for held in gone)
            except Exception:
                self._order.put_back(gone)
                raise
            for held in gone:
                del self.live[held.key]
                if held.owner is not None:
                    self.away[held.key] = (held.owner, held.handle)
                held.gone()
            self.observed.evicted(len(gone))
        return len(gone)

    def _enter(self, held: Held) -> None:
        self.live[held.key] = held
        self._order.add(held)

    def fold(self, *held: Held) -> None:
        """Write snapshots to the store in place of the inputs since."""
        self.store.put(self._row(one) for one in held)
        for one in held:
            one.logged = 0

    def drain(self) -> None:
        """Take what waits, and write all to the store."""
        self.draining = True
        self.batcher.finish()
        self.evict(len(self.live))

    def _make_room(self) -> None:
        """For one more in memory: some at once, so that the store is not asked for each."""
        if len(self.live) >= self.limits.live:
            self.evict(len(self.live) - self.limits.live + 1 + self.limits.live // 64)

    def _changed(self, held: Held) -> None:
        if self.durable:
            self.fold(held)

    def _log(self, works: Sequence[Work]) -> None:
        """Write what was taken to the store: small inputs as they are, of a session that has many the snapshot.

        Where that fails, the next work of the session writes its snapshot, though it asks for answers alone.
        """
        frames, many = [], []
        for work in works:
            held = work.held
            held.logged += work.done
            if held.logged > _FOLD or work.left:
                many.append(held)
            elif work.done:
                frames.append((held.key, held.steps - work.done + 1, work.inputs))
        try:
            if frames:
                self.store.log(frames)
            if many:
                self.fold(*many)
        except Exception:
            for work in works:
                work.held.logged = _FOLD + 1
            raise

    def _row(self, held: Held) -> tuple[str, str, str, int, bytes]:
        return held.key, held.key.partition("/")[0], held.served.name, held.steps, held.snapshot()

    def _returned(self, key: str, name: str) -> Held:
        stored = self.store.get(key) if _NAME.fullmatch(name) else None
        if stored is None:
            raise ServeError(Fault.NOT_FOUND, f"there is no session {name[:128]!r}")
        held = Held.restored(key, self.model(stored.model), stored.snapshot, self.limits.window, version=True)
        for first, inputs in stored.inputs:
            work = Work(held, first, inputs, held.served.count(inputs))
            while not work.ends:
                held.served.take([work])
            held.window.add(work.answers, work.done)
            held.queued = held.steps
            held.logged += work.done
        if not self.durable:
            self.store.delete(key)
        held.owner, held.handle = self.away.pop(key, (None, 0))
        self._make_room()
        self._enter(held)
        self.observed.returned()
        return held

    def _new_key(self, tenant: str, name: str | None) -> str:
        if name is None:
            return f"{tenant}/{secrets.token_urlsafe(12)}"
        if not _NAME.fullmatch(name):
            raise ServeError(
                Fault.INVALID, f"a session is called {name[:40]!r}, expected up to 128 letters, digits, ._~-"
            )
        key = f"{tenant}/{name}"
        if key in self.live or self.store.has(key):
            raise ServeError(Fault.TAKEN, f"there is a session {name!r} already")
        return key
