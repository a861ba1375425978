"""What one soak is to be: how long, how much, on which database, under which faults."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SQLITE, POSTGRESQL = "sqlite", "postgresql"

# How likely each fault is beside the others.
FAULTS = {
    "kill": 22, "kill child": 8, "kill supervisor": 4, "kill driver": 3, "freeze": 6,
    "terminate": 14, "cancel": 8, "lose commits": 14, "lose replies": 8, "silence": 5, "slow": 4,
    "restart": 4, "full disk": 3, "lock": 6,
}  # fmt: skip
# A file has no server and no network.
ONLY_OF_A_SERVER = {
    "terminate", "cancel", "lose commits", "lose replies", "silence", "slow", "restart",
}  # fmt: skip
NONE = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """One soak. ``lease`` None: the engine's own settings; else all its intervals follow it."""

    seed: int
    seconds: float
    runs: int
    database: str
    faults: tuple[str, ...]
    interval: float
    lease: float | None = None
    output: Path | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the workers find in ``CLOACA``."""
        if self.lease is None:
            return {}
        return {
            "HEARTBEAT_SECONDS": self.lease / 6, "LEASE_SECONDS": self.lease,
            "SWEEP_SECONDS": self.lease / 3,
        }  # fmt: skip

    @property
    def lease_seconds(self) -> float:
        """How long a worker may be silent."""
        return 30.0 if self.lease is None else self.lease

    @property
    def sweep_seconds(self) -> float:
        """How long until somebody looks."""
        return self.lease_seconds / 3

    @property
    def rate(self) -> float:
        """How many runs are submitted a second. Tasks and schedules start further ones."""
        return self.runs / self.seconds


def parse(arguments: list[str]) -> Plan:
    """Read a command line; ends the process with an explanation if it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Let real workers work under all faults, and check every promise. Prints a"
        " table; the exit code is 1 if a promise was broken.",
    )
    add = parser.add_argument
    add("--database", choices=(SQLITE, POSTGRESQL), default=POSTGRESQL)
    add("--seconds", type=float, default=240, help="how long runs are submitted (%(default)s)")
    add("--runs", type=int, default=2_000, help="how many, spread over the time (%(default)s)")
    add("--seed", type=int, default=1, help="of all that is random in the faults (%(default)s)")
    add(
        "--faults", type=_faults, default=tuple(FAULTS), metavar="A,B",
        help=f"which ones, or {NONE!r}; all if not given: {', '.join(FAULTS)}",
    )  # fmt: skip
    add("--interval", type=float, default=3, help="seconds between faults (%(default)s)")
    add("--lease", type=float, help="LEASE_SECONDS; heartbeat and sweep follow; 30 if not given")
    add("--output", type=Path, help="a file for the table, beside the terminal")
    options = vars(parser.parse_args(arguments))
    for name in ("seconds", "runs", "interval"):
        if options[name] <= 0:
            parser.error(f"--{name} is {options[name]}; it must be more than 0")
    if options["lease"] is not None and options["lease"] < 1:
        parser.error(f"--lease is {options['lease']}; it must be 1 or more")
    if options["database"] == SQLITE:
        options["faults"] = tuple(f for f in options["faults"] if f not in ONLY_OF_A_SERVER)
    return Plan(**options)


def _faults(text: str) -> tuple[str, ...]:
    given = () if text == NONE else tuple(word.strip() for word in text.split(","))
    if unknown := [word for word in given if word not in FAULTS]:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)}; there are {', '.join(FAULTS)}, or {NONE!r}"
        )
    return given
