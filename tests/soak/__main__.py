"""Run one soak and print its table. Ends with 1 if a promise was broken."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.soak import plan as plans
from tests.soak.plan import Plan
from tests.soak.stage import Stage, open_stage

if TYPE_CHECKING:
    from tests.soak.chaos import Chaos
    from tests.soak.fleet import Fleet
    from tests.soak.gauge import Gauge
    from tests.soak.watch import Watch

LOOK_SECONDS = 5.0
TELL_SECONDS = 60.0


def main(arguments: list[str]) -> int:
    """Run the soak that a command line asks for."""
    plan = plans.parse(arguments)
    # As Ctrl-C does: nothing is left behind, neither a process nor a mount.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(open_stage(plan))
        lines, violations = _soak(plan, stage, stack)
    _print(plan, lines, violations)
    return 1 if violations else 0


def _soak(
    plan: Plan, stage: Stage, stack: contextlib.ExitStack
) -> tuple[list[tuple[str, str]], list[str]]:
    # Only now: Django is set up.
    from tests.soak import diary, recovery, report
    from tests.soak.chaos import Chaos
    from tests.soak.fleet import Fleet
    from tests.soak.gauge import Gauge
    from tests.soak.watch import Watch

    if "full disk" in plan.faults and not stage.disk.is_small:
        _say("no small disk can be mounted here: 'full disk' is left out")
    fleet = Fleet(plan, stage, stack)
    chaos, watch = Chaos(plan, stage, fleet), Watch(plan)
    gauge = Gauge(stage, fleet, longest_idle=3 * plan.lease_seconds + 10)
    fleet.begin()
    _under_load(plan, chaos, watch, gauge)
    _come_to_rest(fleet, chaos, watch)
    notes = diary.read(fleet.diaries)
    watch.check_all(notes)
    watch.findings.add(fleet.violations)
    watch.findings.add(chaos.violations)
    watch.findings.add(gauge.wrong)
    violations = list(watch.findings.lines)
    if plan.output is not None:
        fleet.keep_outputs(plan.output.with_suffix(".logs"))
    more = [
        (
            "acts of operators",
            f"{len(notes[diary.ACTED]):,}, {len(notes[diary.REFUSED]):,} refused",
        ),
        ("calls that failed and were repeated", f"{len(notes[diary.TROUBLE]):,}"),
        ("processes started", str(fleet.starts)),
        ("looks of the checker during it", str(watch.looks)),
        *gauge.lines(),
    ]
    delays = recovery.delays(
        chaos.losses, chaos.spans, window=plan.lease_seconds + plan.sweep_seconds
    )
    lines = report.rows(
        plan, report.count(), counts=_counts(chaos), delays=delays, more=more,
        violations=violations,
    )  # fmt: skip
    return lines, violations


def _under_load(plan: Plan, chaos: Chaos, watch: Watch, gauge: Gauge) -> None:
    from cloaca_django import clock

    rest = threading.Event()
    began, told = clock.monotonic(), 0.0
    chaos.start()
    while (age := clock.monotonic() - began) < plan.seconds:
        rest.wait(min(LOOK_SECONDS, plan.seconds - age))
        watch.look()
        gauge.take(age)
        if age - told >= TELL_SECONDS:
            told = age
            faults, found = sum(chaos.counts.values()), len(watch.findings.lines)
            _say(f"{age:.0f} s: {faults} faults, {found} violations")


def _come_to_rest(fleet: Fleet, chaos: Chaos, watch: Watch) -> None:
    """Let nothing more be asked and nothing more go wrong: all that was asked must be done."""
    from tests.soak import watch as watching

    rest = threading.Event()

    def pause() -> None:
        rest.wait(0.5)
        fleet.tend()

    chaos.end()
    fleet.stop_driver()
    watching.resume_all()
    watch.drain(watching.overdue_schedules, "a schedule is left due", pause)
    watching.disable_schedules()
    watch.drain(watching.open_runs, "runs are left open", pause)
    fleet.stop_workers()


def _counts(chaos: Chaos) -> dict[str, int]:
    lost: dict[str, int] = {}
    for proxy in chaos.proxies():
        for what, number in proxy.lost.items():
            name = f"replies lost to {what}"
            lost[name] = lost.get(name, 0) + number
    return {**chaos.counts, **lost}


def _print(plan: Plan, lines: Iterable[tuple[str, str]], violations: Iterable[str]) -> None:
    from tests.soak.report import table

    text = table(lines)
    found = "\n".join(violations)
    _say(text)
    if found:
        _say(f"\n{found}")
    if plan.output is not None:
        plan.output.write_text(f"{text}\n" + (f"\n{found}\n" if found else ""))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
