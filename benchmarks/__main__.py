"""``python -m benchmarks``: builds the environments, then hands over to the harness in its own."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from benchmarks import catalogue, environments

FILES = {"--output", "--json", "--add-to", "--cache", "--rebuild"}


def main() -> None:
    arguments = parser().parse_args()
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    peers, by_size = catalogue.taking_part(arguments.size)
    entries = [catalogue.entry(key) for key in (arguments.peers or ",".join(peers)).split(",")]
    workloads = catalogue.workload_keys(arguments.workloads or ",".join(by_size))
    harness = environments.environment(
        cache, "harness", environments.HARNESS, rebuild=arguments.rebuild
    )
    pythons: dict[str, str] = {}
    failures: dict[str, str] = {}
    for entry in entries:
        try:
            python = environments.environment(
                cache, entry.peer, entry.requirements, rebuild=arguments.rebuild
            )
            pythons[entry.key] = str(python)
        except environments.InstallError as error:
            failures[entry.key] = f"not installable here: {str(error).splitlines()[-1]}"
            print(f"{entry.key}: {error}")
    path = str(environments.import_path(cache))
    runtime = cache / "runtime"  # sockets and locks of the wheel's server
    runtime.mkdir(mode=0o700, exist_ok=True)
    handed_over = json.dumps(
        {
            "peers": [entry.key for entry in entries],
            "workloads": workloads,
            "pythons": pythons,
            "failures": failures,
            "cache": str(cache),
            "size": arguments.size,
            "command": shlex.join(["python", "-m", "benchmarks", *shown(sys.argv[1:])]),
            "rounds": arguments.rounds,
            "output": str(arguments.output.resolve()) if arguments.output else "",
            "add_to": str(arguments.add_to.resolve()) if arguments.add_to else "",
            "json": str(arguments.json.resolve()) if arguments.json else "",
        }
    )
    variables = {"XDG_RUNTIME_DIR": str(runtime), **os.environ, "PYTHONPATH": path}
    os.execve(harness, [str(harness), "-m", "benchmarks.rounds", handed_over], variables)


def shown(options: list[str]) -> list[str]:
    """The options that say what was measured, without those that say where files go."""
    return [option for option in options if "/" not in option and option not in FILES]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = made.add_mutually_exclusive_group()
    size.add_argument("--full", dest="size", action="store_const", const="FULL")
    size.add_argument("--smoke", dest="size", action="store_const", const="SMOKE")
    made.set_defaults(size="SUBSET")
    made.add_argument(
        "--peers", default="", help="comma list, peer[:variant]; default: what the size has"
    )
    made.add_argument("--workloads", default="", help="comma list; default: what the size has")
    made.add_argument("--rounds", type=int, default=0, help="default: 3, with --full 5")
    made.add_argument("--output", type=Path, help="Markdown; default: <cache>/results.md")
    made.add_argument("--json", type=Path, help="default: <cache>/results.json")
    made.add_argument(
        "--add-to", type=Path, help="JSON of an earlier run, whose other workloads are taken over"
    )
    made.add_argument("--cache", type=Path, default=environments.default_cache())
    made.add_argument("--rebuild", action="store_true", help="reinstall every peer's newest")
    return made


if __name__ == "__main__":
    main()
