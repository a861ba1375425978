"""The harness: starts the server, goes round the peers, writes the report.

Every round measures each workload on each peer, one after the other, before the next round
begins, and each round starts with another peer: whatever slows the machine for a while slows all.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import catalogue, machine, report
from benchmarks import plan as plans
from benchmarks.catalogue import Entry
from benchmarks.figures import Record
from benchmarks.server import SETTINGS, Server


@dataclass
class Results:
    """Everything one run found."""

    facts: dict[str, Any]
    entries: list[Entry]
    workloads: list[str]
    records: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # peers that could not be installed


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)  # so that the server is stopped on the way out
    order = json.loads(sys.argv[1])
    cache = Path(order["cache"])
    plan = getattr(plans, order["size"])
    if order["rounds"]:
        plan = replace(plan, rounds=order["rounds"])
    with Server(cache) as server:
        results = Results(
            facts(order, plan, server),
            [catalogue.entry(key) for key in order["peers"]],
            order["workloads"],
            failures=order["failures"],
        )
        start = time.monotonic()
        try:
            for number in range(plan.rounds):
                go_round(order, number, plan, server, results)
        except SystemExit:
            _say("interrupted: what was measured is written")
            measured = {workload for workload, _ in results.records}
            results.workloads = [name for name in results.workloads if name in measured]
        results.facts["minutes"] = round((time.monotonic() - start) / 60, 1)
        results.facts["workloads"] = list(results.workloads)
    write(order, results)


def write(order: dict[str, Any], results: Results) -> None:
    """The page and the records, with those of the earlier run that the order names."""
    cache = Path(order["cache"])
    if order["add_to"]:
        add_earlier(json.loads(Path(order["add_to"]).read_text(encoding="utf-8")), results)
    output = Path(order["output"] or cache / "results.md")
    as_json = Path(order["json"] or cache / "results.json")
    report.write(results, output, as_json)
    print(output.read_text(encoding="utf-8"))
    _say(f"written: {output} and {as_json}")


def go_round(
    order: dict[str, Any], number: int, plan: plans.Plan, server: Server, results: Results
) -> None:
    """One round. A peer that failed at a workload is not asked again."""
    for workload in results.workloads:
        module = importlib.import_module(f"benchmarks.workloads.{workload}")
        rounds = getattr(module, "ROUNDS", plan.rounds)
        if number >= rounds:
            continue
        shift = number % len(results.entries)
        for entry in results.entries[shift:] + results.entries[:shift]:
            place = (workload, entry.key)
            if entry.key not in order["pythons"] or place in results.errors:
                continue
            if entry.key not in getattr(module, "ONLY", (entry.key,)):
                continue
            if entry.peer != catalogue.OWN and rounds == 1 < plan.rounds and not plan.counts_peers:
                continue
            start = time.monotonic()
            answer = measurement(order, entry, workload, server)
            _keep(answer, place, results)
            note = answer.get("error", f"{time.monotonic() - start:.0f} s")
            _say(f"round {number + 1}: {workload} {entry.key}: {note}")


def measurement(
    order: dict[str, Any], entry: Entry, workload: str, server: Server
) -> dict[str, Any]:
    """The answer of one process in the peer's environment: a record, or an error."""
    with scratch(Path(order["cache"])) as folder:
        answer = folder / "answer.json"
        log = Path(order["cache"]) / "logs" / f"{entry.key.replace(':', '-')}.log"
        log.parent.mkdir(exist_ok=True)
        details = {
            "entry": entry.key,
            "workload": workload,
            "size": order["size"],
            "server": {
                "url": server.url,
                "pid": server.pid,
                "log": str(server.log),
                "programs": str(server.programs),
            },
            "folder": str(folder),
            "log": str(log),
            "answer": str(answer),
        }
        _run([order["pythons"][entry.key], "-m", "benchmarks.measure", json.dumps(details)], log)
        if not answer.exists():
            return {"error": f"ended without an answer; see {log.name} in the cache folder"}
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def add_earlier(earlier: dict[str, Any], results: Results) -> None:
    """Take over the workloads of another run, those that were not measured in this one."""
    taken = [name for name in earlier["measurements"] if name not in results.workloads]
    keys = {key for name in taken for key in earlier["measurements"][name]}
    present = {entry.key for entry in results.entries}
    order = [*catalogue.FULL_PEERS, *sorted(keys | present)]
    entries = [catalogue.entry(key) for key in keys - present] + results.entries
    results.entries = sorted(entries, key=lambda entry: order.index(entry.key))
    for name in taken:
        for key, found in earlier["measurements"][name].items():
            results.records[name, key] = found["rounds"]
    for name, key, text in earlier["errors"]:
        if name in taken:
            results.errors[name, key] = text
    every = [name for name in catalogue.FULL_WORKLOADS if name in {*taken, *results.workloads}]
    results.workloads = every
    results.versions = earlier["versions"] | results.versions
    results.facts["earlier"] = list(_parts(earlier["facts"], taken))


def _parts(facts: dict[str, Any], taken: list[str]) -> Iterator[dict[str, Any]]:
    """The facts of each run that a workload was taken from, newest first."""
    left = list(taken)
    for part in (facts, *facts.get("earlier", ())):
        own = [name for name in left if name in part["workloads"]]
        left = [name for name in left if name not in own]
        if own:
            yield {**part, "workloads": own, "earlier": []}


def facts(order: dict[str, Any], plan: plans.Plan, server: Server) -> dict[str, Any]:
    """When, where and on what the figures were taken."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "size": order["size"].lower(),
        "command": order["command"],
        "plan": asdict(plan),
        "machine": machine.describe(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "postgresql": server.version(),
        "settings": {key: value for key, value in SETTINGS.items() if not key.startswith("log")},
        "file_system": server.file_system(),
        "revision": _revision(),
    }


@contextlib.contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="work-", dir=cache) as folder:
        yield Path(folder)


def _run(command: list[str], log: Path) -> None:
    """Run to the end; on the way out of an interrupted run the process ends its worker first."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            process.wait(900)
        except BaseException:  # the interrupt or the time-out itself goes on upwards
            process.terminate()
            process.wait(30)
            raise


def _keep(answer: dict[str, Any], place: tuple[str, str], results: Results) -> None:
    if "error" in answer:
        results.errors[place] = answer["error"]
        return
    results.records.setdefault(place, []).append(answer["record"])
    results.versions[place[1]] = answer["versions"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _revision() -> str:
    """Of the measured tree; "-dirty" when it has changes that are not committed."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--tags"],
        cwd=catalogue.PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _end(number: int, frame: FrameType | None) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):  # the shell's and the harness's: one is enough
        signal.signal(again, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
