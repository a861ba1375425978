"""``cloaca_worker --metrics-port``: a worker that tells what it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandParser

from cloaca_django import metrics
from cloaca_django.engine import meter
from cloaca_django.errors import MissingExtra
from cloaca_django.management import command

LOOPBACK = "127.0.0.1"


def add_options(parser: CommandParser) -> None:
    """Add where the metrics are."""
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT",
        help="serve what the worker counts at this port, for Prometheus; with --processes what all"
        " of them count (needs cloaca_django[metrics])",
    )  # fmt: skip
    parser.add_argument(
        "--metrics-host", metavar="ADDRESS",
        help=f"listen at this address, 0.0.0.0 for all of the host's; {LOOPBACK} if not given",
    )  # fmt: skip


def check(options: dict[str, Any]) -> None:
    """Refuse a port that is none, and one without the library."""
    port = options["metrics_port"]
    if port is None:
        if options["metrics_host"] is not None:
            raise command.refused("--metrics-host goes with --metrics-port only")
        return
    if not 1 <= port <= 65_535:
        raise command.refused(f"--metrics-port must be from 1 to 65535, not {port}")
    try:
        metrics.require_library()
    except MissingExtra as error:
        raise command.refused(f"--metrics-port: {error}") from error


@contextmanager
def counting(
    options: dict[str, Any], say: Callable[[str], object], *, is_supervised: bool
) -> Iterator[None]:
    """Count while the block runs, and serve the counts; a supervised process does not serve."""
    port = options["metrics_port"]
    if port is None:
        yield
        return
    counts = meter.switch_on()
    try:
        if is_supervised:
            yield
            return
        host = options["metrics_host"] or LOOPBACK
        end = _served(counts, host, port)
        say(f"Metrics are at http://{host}:{port}/metrics")
        try:
            yield
        finally:
            end()
    finally:
        meter.switch_off()


def _served(counts: meter.Meter, host: str, port: int) -> Callable[[], None]:
    try:
        return metrics.serve(counts, host=host, port=port)
    except OSError as error:
        raise command.refused(f"--metrics-port: cannot listen at {host}:{port}: {error}") from error
