"""What the worker processes run. Bodies tell the test where they are by files in a folder."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cloaca_django import Context, TaskHandle, WorkflowBuilder, task
from cloaca_django.engine import tether

PATIENCE = 60.0


def tell(context: Context, what: str) -> Path:
    """Write a file that names this process; a test waits for it."""
    folder = Path(context["folder"])
    number = len(list(folder.glob(f"{what}-*")))
    (folder / f"{what}-{os.getpid()}-{number}-{threading.get_ident()}").touch()
    return folder


def wait_for(file: Path) -> None:
    """Wait until the test makes a file; never for ever."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if file.exists():
            return
        pause.wait(0.01)


with WorkflowBuilder("quick"):

    @task(id="first")
    def first(context: Context) -> None:
        context["first"] = os.getpid()

    @task(id="second", dependencies=[first])
    def second(context: Context) -> None:
        context["second"] = os.getpid()


with WorkflowBuilder("gated"):

    @task(id="gate", retry_attempts=1)
    def gate(context: Context) -> None:
        wait_for(tell(context, "began") / "open")
        tell(context, "ended")


with WorkflowBuilder("gated_handle"):

    @task(id="gate", retry_attempts=1)
    def gate_with_handle(context: Context, handle: TaskHandle) -> None:
        folder = tell(context, "began")
        pause = threading.Event()
        while not handle.cancelled and not (folder / "open").exists():
            pause.wait(0.01)
        tell(context, "cancelled" if handle.cancelled else "ended")


with WorkflowBuilder("gated_chain"):

    @task(id="gate", retry_attempts=1)
    def chain_gate(context: Context) -> None:
        wait_for(tell(context, "began") / "open")

    @task(id="after", dependencies=[chain_gate])
    def after_gate(context: Context) -> None:
        tell(context, "after")


with WorkflowBuilder("killer"):

    @task(id="kill", retry_attempts=1)
    def kill(context: Context) -> None:
        tell(context, "began")
        how = context.get("how", "SIGKILL")
        if how == "_exit":
            os._exit(3)
        os.kill(os.getpid(), getattr(signal, how))


with WorkflowBuilder("greedy"):

    @task(id="compute", retry_attempts=1)
    def compute(context: Context) -> None:
        """Hold the interpreter: one C call that lets no other Python thread run."""
        tell(context, "began")
        power: Any = 7 ** int(context["exponent"])
        tell(context, "ended")
        context["bits"] = power.bit_length()


with WorkflowBuilder("hungry"):

    @task(id="eat", retry_attempts=1)
    def eat(context: Context) -> None:
        """Ask for a block of memory that there is not."""
        context["eaten"] = len(bytearray(int(context["size"])))


with WorkflowBuilder("pooled"):

    @task(id="pool", retry_attempts=1)
    def pool(context: Context) -> None:
        """Leave a pool behind whose thread the interpreter would wait for at its exit."""
        executor = ThreadPoolExecutor(1)
        folder = tell(context, "began")
        executor.submit(wait_for, folder / "open").result()


with WorkflowBuilder("overdue"):

    @task(id="late", timeout_seconds=1, retry_attempts=1)
    def late(context: Context) -> None:
        wait_for(tell(context, "began") / "open")


if "WORKSITE_BREAKS_CHILDREN" in os.environ and tether.is_supervised():
    raise ImportError("this process is not to start")
