"""Which peers and workloads exist, read from their files without importing them.

A peer's file starts with constants (``TITLE``, ``REQUIREMENTS``, ``VARIANTS``); they are read as
text, so that the harness need not have the peer's library installed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
OWN = "cloaca_django"
PEERS = (OWN, "procrastinate", "chancy", "dbos", f"{OWN}:sqlite", "huey", "dbos:sqlite")
FULL_PEERS = (*PEERS, "django_tasks_db", "django_q2", "celery", "celery:volatile")
WORKLOADS = (
    *("limits", "drain", "live", "latency", "bare", "graphs"),
    *("processes", "threads", "bulk", "large", "sql", "idle"),
)
FULL_WORKLOADS = (*WORKLOADS, "growth", "memory", "due")  # `due` waits for a full minute each time


@dataclass(frozen=True)
class Entry:
    """One column of the report: a peer in one configuration."""

    peer: str
    variant: str
    title: str
    settings: str
    requirements: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.peer}:{self.variant}" if self.variant else self.peer

    @property
    def database(self) -> str:
        """Where it keeps its runs: ``postgresql`` or ``sqlite``."""
        return str(self.options.get("database", "postgresql"))


def constants(path: Path) -> dict[str, Any]:
    """The module's literal upper-case constants."""
    found: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper():
                try:
                    found[name] = ast.literal_eval(node.value)
                except ValueError:
                    continue
    return found


def peer_names() -> list[str]:
    return sorted(path.stem for path in (HERE / "peers").glob("[a-z]*.py"))


def taking_part(size: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The peers and the workloads of a run that names neither."""
    if size == "FULL":
        return FULL_PEERS, FULL_WORKLOADS
    return PEERS, WORKLOADS


def workload_names() -> list[str]:
    return sorted(path.stem for path in (HERE / "workloads").glob("[a-z]*.py"))


def entry(key: str) -> Entry:
    """The entry named ``peer`` or ``peer:variant``."""
    peer, _, variant = key.partition(":")
    if peer not in peer_names():
        raise SystemExit(f"unknown peer {peer!r}; there are {', '.join(peer_names())}")
    facts = constants(HERE / "peers" / f"{peer}.py")
    variants = facts["VARIANTS"]
    if variant not in variants:
        known = ", ".join(name for name in variants if name)
        raise SystemExit(f"unknown variant {variant!r} of {peer}; there are {known or 'none'}")
    settings, options = variants[variant]
    title = f"{facts['TITLE']}, {variant}" if variant else facts["TITLE"]
    return Entry(peer, variant, title, settings, tuple(facts["REQUIREMENTS"]), options)


def workload_keys(names: str) -> list[str]:
    """The workloads of a comma list, each checked."""
    chosen = [name for name in names.split(",") if name]
    for name in chosen:
        if name not in workload_names():
            raise SystemExit(f"unknown workload {name!r}; there are {', '.join(workload_names())}")
    return chosen
