"""This project's own workflows; every body is a no-op that adds one key."""

from __future__ import annotations

import cloaca_django as cloaca


def add_task(key: str, dependencies: list[str]) -> None:
    """Inside an open builder: one task that sets the key."""

    @cloaca.task(id=key, dependencies=dependencies)
    def body(context: cloaca.Context) -> cloaca.Context:
        context.set(key, 1)
        return context


def add_chain(length: int) -> None:
    with cloaca.WorkflowBuilder(f"chain{length}"):
        for i in range(length):
            add_task(f"s{i}", [f"s{i - 1}"] if i else [])


def add_fan(width: int) -> None:
    leaves = [f"leaf{i}" for i in range(width)]
    with cloaca.WorkflowBuilder(f"fan{width}"):
        add_task("root", [])
        for leaf in leaves:
            add_task(leaf, ["root"])
        add_task("join", leaves)


with cloaca.WorkflowBuilder("one"):
    add_task("a", [])
with cloaca.WorkflowBuilder("busy"):

    @cloaca.task(id="compute")
    def compute(context: cloaca.Context) -> cloaca.Context:
        """Some five milliseconds."""
        context.set("sum", sum(number * number for number in range(60_000)))
        return context


add_chain(3)
add_chain(20)
add_chain(100)
add_fan(100)
