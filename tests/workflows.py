"""Small workflows that many tests run. Each function registers one and returns it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from cloaca_django import WorkflowBuilder, task
from cloaca_django.core import registry
from cloaca_django.core.workflow import Workflow

Body = Callable[..., Any]


def nothing(context: Any) -> None:
    """Do nothing: the body of tasks whose place in the graph is all that matters."""


def boom(context: Any) -> None:
    """Fail, always in the same words."""
    raise ValueError("boom")


def writes(key: str, value: Any) -> Body:
    """Return a body that sets one key."""

    def body(context: Any) -> None:
        context[key] = value

    return body


def rests(seconds: float) -> Body:
    """Return a body that takes its time."""

    def body(context: Any) -> None:
        threading.Event().wait(seconds)

    return body


def define(name: str, *tasks: tuple[str, Body, dict[str, Any]], **options: Any) -> Workflow:
    """Register a workflow of ``(id, body, options of @task)`` triples."""
    with WorkflowBuilder(name, **options):
        for id, body, facts in tasks:
            task(id=id, **facts)(body)
    return registry.find(name)


def single(name: str, body: Body = nothing, *, builder: Any = None, **facts: Any) -> Workflow:
    """Register a workflow of one task, ``a``; ``builder`` holds the workflow's own options."""
    return define(name, ("a", body, facts), **(builder or {}))


def chain(name: str, *bodies: Body, **facts: Any) -> Workflow:
    """Register tasks ``a``, ``b``, ``c``, ... that follow each other."""
    names = "abcdefghijklmnopqrstuvwxyz"[: len(bodies)]
    tasks = [
        (id, body, {**facts, "dependencies": list(names[at - 1 : at])} if at else facts)
        for at, (id, body) in enumerate(zip(names, bodies, strict=True))
    ]
    return define(name, *tasks)


def diamond(
    name: str,
    *,
    left: Body = nothing,
    right: Body = nothing,
    top: Body = nothing,
    join: Body = nothing,
    **facts: Any,
) -> Workflow:
    """Register ``top``, then ``left`` and ``right``, then ``join``."""
    return define(
        name,
        ("top", top, facts),
        ("left", left, {**facts, "dependencies": ["top"]}),
        ("right", right, {**facts, "dependencies": ["top"]}),
        ("join", join, {**facts, "dependencies": ["left", "right"]}),
    )


def fan(name: str, width: int, body: Body = nothing, *, join: Body = nothing) -> Workflow:
    """Register ``root``, ``width`` leaves ``leaf0`` ... and ``join``."""
    leaves = [f"leaf{at}" for at in range(width)]
    return define(
        name,
        ("root", nothing, {}),
        *((leaf, body, {"dependencies": ["root"]}) for leaf in leaves),
        ("join", join, {"dependencies": leaves}),
    )


def many(names: Sequence[str], body: Body = nothing) -> None:
    """Register a one-task workflow per name."""
    for name in names:
        single(name, body)
