"""``cloaca_worker --processes N``: starts the processes, renews their leases, replaces the dead.

Processes are started anew, never forked: they inherit no connection, lock or thread. Orders go over
the tether only, and a process ends when it breaks; so nothing outlives its supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cloaca_django import clock, ids
from cloaca_django.dialect.rows import Tally
from cloaca_django.engine import meter, tether
from cloaca_django.engine.leases import Leases, Registered
from cloaca_django.engine.process import RECYCLE, Stint
from cloaca_django.engine.shift import Holding
from cloaca_django.engine.tether import Line, Message

logger = logging.getLogger("cloaca_django.worker")

# A process that dies younger than this is replaced with growing patience.
YOUNG_SECONDS = 10.0
MAX_DELAY_SECONDS = 30.0
# What a process may take beyond its grace to hand back its tasks.
MARGIN_SECONDS = 15.0


@dataclass(eq=False, slots=True)
class Child:
    """One process, and where and under which ids its worker has registered."""

    number: int
    process: subprocess.Popen[bytes]
    line: Line
    workers: set[Registered]
    started_at: float


@dataclass(slots=True)
class Place:
    """One of the N places for a process. It stays empty until ``next_at`` after a failure."""

    number: int
    child: Child | None = None
    failures: int = 0
    next_at: float = 0.0
    is_done: bool = False


@dataclass(slots=True)
class _Orders:
    """What was ordered so far. To renew is to finish too, but it is no signal."""

    signals: int = 0
    renews: bool = False
    passed_on: int = 0
    deadline: float = field(default=float("inf"))

    @property
    def level(self) -> int:
        """How far the stop has gone: 0 works, 1 finishes, 2 hands back now."""
        return max(self.signals, int(self.renews))


class Supervisor:
    """Keeps ``count`` processes running ``command``. ``interrupt`` is safe in a signal handler."""

    def __init__(
        self,
        alias: str,
        command: Sequence[str],
        *,
        count: int,
        stint: Stint,
        say: Callable[[str], object],
        tenants: bool = False,
    ) -> None:
        self._command = list(command)
        self._stint = stint
        self._say = say
        self._has_tenants = tenants
        self._leases = Leases(alias, tenants=tenants)
        self._places = [Place(number) for number in range(1, count + 1)]
        self._orders = _Orders()
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)

    def interrupt(self) -> None:
        """First call: let every process finish. Second: let them hand back now."""
        self._orders.signals = min(2, self._orders.signals + 1)
        self._wake()

    def renew(self) -> None:
        """Let every process finish, so that a fresh supervisor can go on. It is no signal."""
        self._orders.renews = True
        self._wake()

    @property
    def is_to_renew(self) -> bool:
        """Say whether a fresh supervisor is to go on; not if this one was told to stop."""
        return self._orders.renews and not self._orders.signals

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"!")

    def run(self) -> int:
        """Supervise until the end; returns the exit code."""
        self._leases.start()
        self._selector.register(self._wakened, selectors.EVENT_READ)
        try:
            while not self._is_over():
                self._fill_places()
                self._pass_on_orders()
                self._listen()
                self._reap()
                self._kill_late()
        finally:
            self._kill_all()
            self._leases.close()
            self._selector.close()
            self._waker.close()
            self._wakened.close()
        return 0

    def _is_over(self) -> bool:
        if any(place.child for place in self._places):
            return False
        return self._orders.level > 0 or all(place.is_done for place in self._places)

    # -- start

    def _fill_places(self) -> None:
        for place in self._places:
            is_wanted = not place.child and not place.is_done and not self._orders.level
            if is_wanted and clock.monotonic() >= place.next_at:
                place.child = self._start(place.number)

    def _start(self, number: int) -> Child:
        line, theirs = tether.pair()
        worker = ids.new_token()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - the command this process was started with
                self._command,
                env=tether.environment(theirs, worker),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Its own group: a key pressed at the terminal reaches the supervisor alone.
                start_new_session=True,
            )
        # One of many tenants says itself where it is registered.
        workers: set[Registered] = set() if self._has_tenants else {("", worker)}
        child = Child(number, process, line, workers, started_at=clock.monotonic())
        self._selector.register(line.socket, selectors.EVENT_READ, child)
        logger.info("process %d started", number, extra={"pid": process.pid})
        return child

    # -- talk

    def _pass_on_orders(self) -> None:
        orders = self._orders
        if orders.passed_on == orders.level:
            return
        orders.passed_on = orders.level
        grace = self._stint.grace if orders.level == 1 else 0.0
        orders.deadline = clock.monotonic() + grace + MARGIN_SECONDS
        self._say(
            f"Finishing, for {grace:g} s at most; a second signal hands everything back now"
            if orders.level == 1
            else "Handing everything back"
        )
        for child in self._children():
            child.line.send(stop=orders.level)

    def _listen(self) -> None:
        for key, _ in self._selector.select(timeout=0.2):
            if key.data is None:
                self._wakened.recv(64)
                continue
            received = key.data.line.receive()
            if received is None:
                # The process ends; its exit code is read below.
                self._selector.unregister(key.fileobj)
            for message in received or ():
                self._take(key.data, message)

    def _take(self, child: Child, message: Message) -> None:
        """Take in a report, or counts."""
        if "counted" in message:
            meter.put(message["counted"])
            return
        holdings = [
            Holding(
                schema, UUID(worker), {int(id): UUID(token) for id, token in live}, Tally(*tally)
            )
            for schema, worker, live, tally in message["holdings"]
        ]
        # Where it left nothing is owned: kept, they would be all that it ever had.
        child.workers = {(one.schema, one.worker) for one in holdings}
        self._leases.take_report(child.line, holdings)

    def _children(self) -> list[Child]:
        return [place.child for place in self._places if place.child]

    # -- end

    def _reap(self) -> None:
        for place in self._places:
            code = place.child.process.poll() if place.child else None
            if place.child and code is not None:
                self._bury(place.child, code)
                self._decide(place, place.child, code)
                place.child = None

    def _bury(self, child: Child, code: int) -> None:
        """Take back what a process left behind, and charge its tasks if it ended by itself."""
        if child.line.socket in self._selector.get_map():
            self._selector.unregister(child.line.socket)
            self._hear_out(child)
        child.line.close()
        is_orderly = code in (0, RECYCLE) or self._orders.level > 0
        self._leases.give_up(child.line, child.workers, charge=not is_orderly)

    def _hear_out(self, child: Child) -> None:
        """Take in what a process counted last; its reports are of no use any more."""
        while received := child.line.receive():
            for message in received:
                meter.put(message.get("counted", ()))

    def _decide(self, place: Place, child: Child, code: int) -> None:
        """Decide whether, and how soon, a process has a successor."""
        age = clock.monotonic() - child.started_at
        if code == 0 and (self._stint.burst or self._orders.level):
            place.is_done = True
            return
        if code in (0, RECYCLE) or age > YOUNG_SECONDS:
            place.failures, delay = 0, 0.0
        else:
            place.failures += 1
            delay = min(MAX_DELAY_SECONDS, 0.1 * 2**place.failures)
        place.next_at = clock.monotonic() + delay
        if not self._orders.level:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            again = f"; another one in {delay:.0f} s" if delay >= 1 else "; another one takes over"
            (logger.info if code in (0, RECYCLE) else logger.error)(
                "process %d %s%s", place.number, how, again, extra={"pid": child.process.pid}
            )

    def _kill_late(self) -> None:
        """Kill what does not end in time, and what cannot even end a task that is out of time."""
        is_late = clock.monotonic() > self._orders.deadline
        for child in self._children():
            is_hung = child.line in self._leases.hung
            if is_hung and child.process.poll() is None:
                logger.error(
                    "process %d is silent and a task in it is out of time: it is killed",
                    child.number, extra={"pid": child.process.pid},
                )  # fmt: skip
            if is_hung or is_late:
                child.process.kill()

    def _kill_all(self) -> None:
        """Leave nobody behind, whatever ended the loop."""
        for child in self._children():
            child.process.kill()
            child.process.wait()
            self._bury(child, 0)


def is_possible() -> bool:
    """Say whether this system can start processes that inherit a socket."""
    return os.name == "posix"
