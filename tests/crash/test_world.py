"""The world itself: without a fault, everything ends as it should and the checker is content."""

from __future__ import annotations

from tests.crash.graphs import Node, chain, diamond


def test_runs_without_faults_satisfy_every_invariant(world):
    world.define("chain", chain("a", "b", "c"))
    world.define("diamond", diamond(atomic=True))
    world.define("flaky", {"x": Node((), {"retry_attempts": 3}), "y": Node(("x",))})
    world.failing = {"x": 2}
    worker = world.worker()
    asked = world.ask(worker, "chain")
    for name in ("chain", "diamond", "flaky"):
        world.submit(name)
    world.drain()
    assert world.violations() == []
    assert world.loop_errors == []
    assert asked.done.result(0).status == "Completed"
