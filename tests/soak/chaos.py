"""The faults of a soak: one at a time is chosen by a seeded chance; some last, and are undone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
from django.db import DatabaseError, connection, connections, transaction

from cloaca_django import clock
from cloaca_django.core.states import RUN_FINAL
from cloaca_django.dialect import open_session
from cloaca_django.models import PipelineExecution
from tests.crash.proxy import ALONE, Proxy
from tests.soak import recovery
from tests.soak.fleet import Fleet
from tests.soak.plan import FAULTS, Plan
from tests.soak.recovery import Loss
from tests.soak.sites import ALIAS, entered, schemas
from tests.soak.stage import SOAK, Stage

TICK_SECONDS = 0.1
# What a lasting fault of a worker holds: with one of them away the other one must be there.
WORKER = "worker"


class Chaos:
    """A thread that does harm, until it is ended; then everything is as it was."""

    def __init__(self, plan: Plan, stage: Stage, fleet: Fleet) -> None:
        self._plan, self._stage, self._fleet = plan, stage, fleet
        self._chance = random.Random(plan.seed)
        self.counts: Counter[str] = Counter()
        self.losses: list[Loss] = []
        self.violations: list[str] = []
        # When faults were on that keep others from working, too.
        self.spans: list[tuple[datetime, datetime]] = []
        self._undo: list[tuple[float, Callable[[], None]]] = []
        # What a lasting fault holds: two at once would be one that lasts longer.
        self._busy: set[str] = set()
        self._out = threading.Event()
        self._log = (fleet.logs / "chaos.log").open("w", buffering=1)
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)
        self._faults: dict[str, Callable[[], bool]] = {
            "kill": self._kill, "kill child": self._kill_child,
            "kill supervisor": self._kill_supervisor, "kill driver": self._kill_driver,
            "freeze": self._freeze, "terminate": lambda: self._signal("pg_terminate_backend"),
            "cancel": lambda: self._signal("pg_cancel_backend"),
            "lose commits": self._lose_commits, "lose replies": self._lose_replies,
            "silence": self._silence, "slow": self._slow, "restart": self._restart,
            "full disk": self._fill_disk, "lock": self._lock,
        }  # fmt: skip
        self.wanted = [name for name in plan.faults if name != "full disk" or stage.disk.is_small]

    def start(self) -> None:
        """Start doing harm."""
        self._thread.start()

    def end(self) -> None:
        """Undo what lasts, and end."""
        self._out.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive(), "the chaos does not end"

    def _run(self) -> None:
        try:
            self._harm()
        except Exception as error:
            # A soak without faults must not pass for one with them.
            self.violations.append(f"the chaos ended by itself: {type(error).__name__}: {error}")
        finally:
            self._undo_due(float("inf"))
            connections.close_all()
            self._log.close()

    def _harm(self) -> None:
        next_at = clock.monotonic() + self._pause()
        while not self._out.wait(TICK_SECONDS):
            self._undo_due(clock.monotonic())
            self._fleet.tend()
            if self.wanted and clock.monotonic() >= next_at:
                self._strike()
                next_at = clock.monotonic() + self._pause()

    def _pause(self) -> float:
        return self._chance.uniform(0.3, 1.7) * self._plan.interval

    def _strike(self) -> None:
        weights = [FAULTS[name] for name in self.wanted]
        (name,) = self._chance.choices(self.wanted, weights)
        try:
            if self._faults[name]():
                self.counts[name] += 1
                self._note(name)
        except (psycopg.Error, DatabaseError) as error:
            # It met another fault that is going on.
            self._note(f"{name} failed: {error}")
            connections.close_all()

    def _note(self, what: str) -> None:
        """Write what happened and when, for whoever looks for the cause of something."""
        self._log.write(f"{clock.utc_now():%H:%M:%S.%f} {what}\n")

    def _undo_due(self, now: float) -> None:
        due = [undo for at, undo in self._undo if at <= now]
        self._undo = [(at, undo) for at, undo in self._undo if at > now]
        for undo in due:
            undo()

    def _last(
        self, name: str, seconds: float, undo: Callable[[], None], since: datetime | None = None
    ) -> None:
        """Let a fault last for some seconds."""
        self._busy.add(name)
        began = since or clock.utc_now()

        def end() -> None:
            undo()
            self._busy.discard(name)
            self.spans.append((began, clock.utc_now()))
            self._note(f"the end of what {name} suffered")

        self._undo.append((clock.monotonic() + seconds, end))

    # -- processes

    def _kill(self) -> bool:
        if not self._fleet.single.is_up:
            return False
        now = clock.utc_now()
        self._lose("killed worker", [self._fleet.kill(self._fleet.single)], now)
        return True

    def _kill_child(self) -> bool:
        seat = self._fleet.pair
        children = sorted(seat.command.children()) if seat.is_up and seat.command else []
        if not children:
            return False
        child, now = self._chance.choice(children), clock.utc_now()
        # Before: its supervisor takes it all back at once.
        self._lose("killed child", [child], now)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return True

    def _kill_supervisor(self) -> bool:
        if not self._fleet.pair.is_up or not self._fleet.pair.command:
            return False
        pids, now = self._fleet.pair.command.children(), clock.utc_now()
        self._fleet.kill_supervisor()
        self._lose("killed supervisor", pids, now)
        return True

    def _kill_driver(self) -> bool:
        if not self._fleet.driver.is_up:
            return False
        self._fleet.kill(self._fleet.driver)
        return True

    def _freeze(self) -> bool:
        seat = self._chance.choice(self._fleet.workers)
        if not seat.is_up or WORKER in self._busy:
            return False
        now = clock.utc_now()
        self._fleet.freeze(seat)
        seconds = self._plan.lease_seconds * self._chance.uniform(1.1, 1.8)
        self._last(WORKER, seconds, lambda: self._fleet.thaw(seat), now)
        self._lose("frozen worker", seat.frozen, now)
        return True

    def _lose(self, how: str, pids: Any, now: Any) -> None:
        """Note what processes held; the connection may be one of before a restart."""
        for _ in range(2):
            try:
                self.losses += recovery.losses(how, pids, now)
            except DatabaseError:
                connections.close_all()
            else:
                return

    # -- the server

    def _direct(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._stage.url, autocommit=True, connect_timeout=5)

    def _signal(self, function: str) -> bool:
        with self._direct() as own:
            pids = own.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY pid", [SOAK]
            ).fetchall()
            for (pid,) in self._chance.sample(pids, min(3, len(pids))):
                own.execute(f"SELECT {function}(%s)", [pid])
        return bool(pids)

    def _restart(self) -> bool:
        if self._stage.server is None or "disk" in self._busy:
            # On a full disk it would not start, and nobody could free it meanwhile.
            return False
        began = clock.utc_now()
        self._stage.server.crash()
        self._out.wait(self._chance.uniform(0.1, 2.0))
        self._stage.server.start()
        self.spans.append((began, clock.utc_now()))
        return True

    def _fill_disk(self) -> bool:
        if "disk" in self._busy:
            return False
        self._stage.disk.fill()
        self._last("disk", self._chance.uniform(1.0, 4.0), self._free_disk)
        return True

    def _free_disk(self) -> None:
        self._stage.disk.free()
        server = self._stage.server
        if server is not None and not server.is_up():
            self.counts["server gave up at a full disk"] += 1
            server.start()

    # -- the way to it

    def _proxy(self) -> Proxy:
        proxy = self._chance.choice(self._fleet.seats).proxy
        assert proxy is not None
        return proxy

    def _lose_commits(self) -> bool:
        self._proxy().lose(self._chance.randint(1, 3))
        return True

    def _lose_replies(self) -> bool:
        self._proxy().lose(self._chance.randint(1, 3), ALONE)
        return True

    def _silence(self) -> bool:
        """Let everything a worker sends vanish, for less and for more than its lease."""
        seat = self._chance.choice(self._fleet.workers)
        if not seat.is_up or seat.proxy is None or WORKER in self._busy:
            return False
        seat.proxy.fall_silent()
        seconds = self._plan.lease_seconds * self._chance.choice((0.3, 1.5))
        self._last(WORKER, seconds, seat.proxy.speak_again)
        return True

    def _slow(self) -> bool:
        proxy = self._proxy()
        if "slow" in self._busy:
            return False
        proxy.delay = 0.2

        def undo() -> None:
            proxy.delay = 0.0

        self._last("slow", self._chance.uniform(2.0, 8.0), undo)
        return True

    def proxies(self) -> list[Proxy]:
        """Return the ways that there are to a server."""
        seats = (*self._fleet.workers, self._fleet.driver)
        return [seat.proxy for seat in seats if seat.proxy is not None]

    # -- rows

    def _lock(self) -> bool:
        """Hold the locks of some open runs, or the file, as a careless transaction does."""
        if "lock" in self._busy:
            return False
        self._busy.add("lock")
        thread = threading.Thread(target=self._hold, args=[self._chance.uniform(0.5, 8.0)])
        thread.start()
        self._undo.append((clock.monotonic() + 9.0, thread.join))
        return True

    def _hold(self, seconds: float) -> None:
        began = clock.utc_now()
        try:
            with entered(self._chance.choice(schemas())), _locking():
                self._out.wait(seconds)
        except DatabaseError as error:
            self._note(f"a lock was lost: {error}")
        finally:
            self._busy.discard("lock")
            self.spans.append((began, clock.utc_now()))
            connections.close_all()


@contextlib.contextmanager
def _locking() -> Any:
    if connection.vendor == "sqlite":
        with contextlib.closing(open_session(ALIAS)) as session, session.transaction():
            yield
        return
    with transaction.atomic():
        list(
            PipelineExecution.objects.exclude(status__in=RUN_FINAL)
            .select_for_update(skip_locked=True)
            .order_by("-id")[:5]
        )
        yield
