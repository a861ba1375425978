"""The processes of a soak: started, watched, killed and frozen, and started again when they end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cloaca_django import clock
from tests.crash.proxy import Proxy
from tests.soak import diary
from tests.soak.plan import Plan
from tests.soak.stage import Stage
from tests.worksite.process import Command, until

# What a process may end with by itself: told to stop, or the database was away when it started.
ORDERLY = {0, 75}
AGAIN_SECONDS = 0.5
# What a worker says first, when it listens to signals; a driver says nothing.
SERVES = "serves"
# How soon the processes of a killed supervisor must be gone: they hand back what they hold, and
# the database may be away meanwhile.
ORPHAN_SECONDS = 45.0
STOP_SECONDS = 60.0
BEGIN_SECONDS = 180.0


@dataclass(eq=False)
class Seat:
    """One place for a process, and the way by which it reaches the database."""

    name: str
    arguments: Callable[[int], list[str]]
    environment: dict[str, str]
    proxy: Proxy | None = None
    starts: int = 0
    command: Command | None = None
    next_at: float = 0.0
    frozen: list[int] = field(default_factory=list)
    is_expected_to_end: bool = False

    @property
    def is_up(self) -> bool:
        """Whether its process lives and is not frozen."""
        return not self.frozen and self.command is not None and self.command.process.poll() is None


class Fleet:
    """A supervised pair of worker processes, a single worker, and a driver."""

    def __init__(self, plan: Plan, stage: Stage, stack: contextlib.ExitStack) -> None:
        self._plan = plan
        self.diaries = stage.folder / "diaries"
        self.diaries.mkdir()
        self.logs = stage.folder / "logs"
        self.logs.mkdir()
        self.violations: list[str] = []
        self.starts = 0
        facts = ["--shutdown-timeout", "10"]
        pair = ["cloaca_worker", "--processes", "2", "--concurrency", "3", *facts]
        single = ["cloaca_worker", "--concurrency", "4", *facts]
        acts = min(2.0, plan.rate / 3)
        driver = ["soak_drive", "--rate", str(plan.rate), "--acts", str(acts)]
        self.pair = self._seat("pair", stage, stack, lambda _: pair)
        self.single = self._seat("single", stage, stack, lambda _: single)
        self.driver = self._seat(
            "driver", stage, stack,
            lambda at: [*driver, "--name", f"{plan.seed}-{at}", "--folder", str(self.diaries)],
        )  # fmt: skip
        self.workers = (self.pair, self.single)
        self._is_driven = True
        stack.callback(self.end)

    def _seat(self, name: str, stage: Stage, stack: contextlib.ExitStack, arguments: Any) -> Seat:
        environment, proxy = stack.enter_context(stage.way())
        return Seat(name, arguments, {**os.environ, **environment}, proxy)

    @property
    def seats(self) -> list[Seat]:
        """The places that are to be filled now."""
        return [*self.workers, *([self.driver] if self._is_driven else [])]

    def tend(self) -> None:
        """Start whoever is not there; note who ended and should not have."""
        for seat in self.seats:
            if seat.command is None:
                if clock.monotonic() >= seat.next_at:
                    self._start(seat)
            elif seat.command.process.poll() is not None:
                self._take_leave(seat)

    def _start(self, seat: Seat) -> None:
        seat.starts += 1
        self.starts += 1
        seat.is_expected_to_end = False
        seat.command = Command(
            seat.environment, *seat.arguments(seat.starts), settings=self._plan.settings
        )

    def _take_leave(self, seat: Seat) -> None:
        assert seat.command is not None
        code = seat.command.process.poll()
        if code not in ORDERLY and not seat.is_expected_to_end:
            last = seat.command.output[-2_000:]
            self.violations.append(f"I16 the {seat.name} ended with code {code}: {last}")
        self._drop(seat)
        seat.next_at = clock.monotonic() + AGAIN_SECONDS

    def _drop(self, seat: Seat) -> None:
        assert seat.command is not None
        (self.logs / f"{seat.name}-{seat.starts}.log").write_text(seat.command.output)
        seat.command.end()
        seat.command, seat.frozen = None, []

    def begin(self) -> None:
        """Start everybody, and wait until they are at work."""
        self.tend()
        until(self._is_begun, seconds=BEGIN_SECONDS, what="the first run, and who works on it")

    def _is_begun(self) -> bool:
        answered = diary.read(self.diaries)[diary.ANSWERED]
        outputs = [seat.command.output for seat in self.workers if seat.command]
        return bool(answered) and all(SERVES in output for output in outputs)

    # -- what is done to them

    def kill(self, seat: Seat) -> int:
        """Kill the first process of a seat; returns which one that was."""
        assert seat.command is not None
        seat.is_expected_to_end = True
        pid = seat.command.pid
        seat.command.signal(signal.SIGKILL)
        seat.command.wait()
        return pid

    def kill_supervisor(self) -> None:
        """Kill the supervisor: the others must notice, and end."""
        command = self.pair.command
        assert command is not None
        self.kill(self.pair)
        try:
            until(lambda: not command.family(), seconds=ORPHAN_SECONDS, what="the orphans' end")
        except AssertionError as error:
            self.violations.append(f"I16 processes outlive their supervisor: {error}")

    def freeze(self, seat: Seat) -> None:
        """Stop all processes of a seat where they are."""
        assert seat.command is not None
        seat.frozen = sorted(seat.command.family())
        for pid in seat.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self, seat: Seat) -> None:
        """Let them go on as if nothing had happened."""
        for pid in seat.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        seat.frozen = []

    # -- the end

    def stop_driver(self) -> None:
        """Let nothing more be submitted."""
        self._is_driven = False
        self._stop(self.driver)

    def stop_workers(self) -> None:
        """Tell the workers to stop; they must, and leave nobody behind."""
        for seat in self.workers:
            self._stop(seat)

    def _stop(self, seat: Seat) -> None:
        command = seat.command
        if command is None:
            return
        seat.is_expected_to_end = True
        command.signal(signal.SIGTERM)
        try:
            code = command.wait(STOP_SECONDS)
            # It had not yet begun to listen.
            is_early = code == -signal.SIGTERM and SERVES not in command.output
            if code not in ORDERLY and not is_early:
                self.violations.append(f"I16 the {seat.name} was told to stop: code {code}")
            if left := command.family():
                self.violations.append(f"I16 the {seat.name} left {len(left)} processes behind")
        except AssertionError as error:
            self.violations.append(f"I16 the {seat.name} does not stop: {error}"[:2_000])
        self._drop(seat)

    def end(self) -> None:
        """Leave nobody behind, whatever happened."""
        for seat in (*self.workers, self.driver):
            if seat.command is not None:
                self._drop(seat)

    # -- what they use

    def processes(self) -> list[psutil.Process]:
        """Return the workers' processes that live and move."""
        found = []
        for seat in self.workers:
            for pid in seat.command.family() if seat.command and not seat.frozen else ():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(pid))
        return found

    def outputs(self) -> dict[str, str]:
        """Return what each process printed that has ended."""
        return {file.stem: file.read_text() for file in sorted(self.logs.glob("*.log"))}

    def keep_outputs(self, folder: Path) -> None:
        """Copy what they printed to where somebody can look at it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.outputs().items():
            (folder / f"{name}.log").write_text(text)
