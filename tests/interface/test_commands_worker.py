"""cloaca_worker: every option, every exit code, and when it ends by itself."""

from __future__ import annotations

import re
import signal
import threading
from datetime import timedelta

import pytest
from django.core.management import load_command_class

from cloaca_django import DefaultRunner, clock, databases
from cloaca_django.engine import process
from cloaca_django.models import PipelineExecution, TaskExecution, Worker
from tests import workflows
from tests.interface.commands import run
from tests.interface.conftest import never
from tests.worksite.process import status_of, task_of, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(child_environment, workflows_of_test):
    workflows.chain("two", workflows.nothing, workflows.nothing)
    workflows.single("one")
    with DefaultRunner(using="default") as runner:
        yield runner


def statuses():
    return sorted(PipelineExecution.objects.values_list("status", flat=True))


def tasks():
    return sorted(TaskExecution.objects.values_list("status", flat=True))


# What it serves


def test_one_line_says_what_is_served(site):
    ran = run("cloaca_worker", "--burst", "-c", "3", "-q", "mail", "-q", "default", "-q", "mail")
    first, last = ran.out.splitlines()
    assert first.startswith("cloaca_worker (pid ")
    assert first.endswith(
        ") serves 2 workflows (one, two); queues: mail, default; tasks at once: 3;"
        " database: default"
    )
    assert last == "Stopped after 0 tasks"


def test_a_site_without_workflows_is_told_where_they_are_looked_for(transactional_db):
    from cloaca_django.core import registry

    with registry.isolated():
        registry._workflows = {}
        ran = run("cloaca_worker", "--burst")
    assert "serves no workflow: none is registered; the workflows.py of each" in ran.out


def test_its_row_says_what_it_serves(site):
    run("cloaca_worker", "--burst", "--concurrency", "7", "--queue", "a", "--queue", "b")
    row = Worker.objects.get()
    assert (row.kind, row.state, row.concurrency) == ("worker", "Stopped", 7)
    assert (row.queues, row.workflows) == ("a,b", '["one", "two"]')


def test_only_the_given_workflows_are_served(site):
    site.enqueue("one")
    site.enqueue("two")
    ran = run("cloaca_worker", "--burst", "--workflow", "one")
    assert "serves 1 workflow (one)" in ran.out
    assert statuses() == ["Completed", "Pending"]
    run("cloaca_worker", "--burst", "-w", "one", "-w", "two")
    assert statuses() == ["Completed", "Completed"]


def test_only_the_given_queues_are_served(site):
    site.enqueue("one", queue="mail")
    site.enqueue("one")
    run("cloaca_worker", "--burst", "--queue", "mail")
    found = PipelineExecution.objects.filter(status="Completed")
    assert [row.queue for row in found] == ["mail"]


def test_settings_are_the_defaults(site, settings):
    settings.CLOACA = {"CONCURRENCY": 2, "QUEUES": ["mail"], "SHUTDOWN_TIMEOUT_SECONDS": 1}
    ran = run("cloaca_worker", "--burst")
    assert "queues: mail; tasks at once: 2;" in ran.out


# When it ends


def test_a_burst_ends_when_nothing_is_left(site):
    for _ in range(5):
        site.enqueue("two")
    ran = run("cloaca_worker", "--burst")
    assert ran.code == 0
    assert "Stopped after 10 tasks" in ran.out
    assert statuses() == ["Completed"] * 5


def test_a_burst_leaves_what_is_for_later(site):
    later = site.enqueue("one", start_at=_soon(hours=1))
    site.enqueue("one")
    assert run("cloaca_worker", "--burst").code == 0
    assert status_of(later.id) == "Pending"
    assert statuses() == ["Completed", "Pending"]


def test_a_burst_takes_what_has_become_due(site):
    due = site.enqueue("one", start_at=_soon(hours=1))
    TaskExecution.objects.update(due_at=_soon(hours=-1))
    run("cloaca_worker", "--burst")
    assert status_of(due.id) == "Completed"


def _soon(**delta):
    return clock.utc_now() + timedelta(**delta)


def test_a_burst_does_not_wait_for_what_it_cannot_run(site):
    from cloaca_django.core import registry

    with registry.isolated():
        workflows.single("foreign")
        site.enqueue("foreign")
    site.enqueue("one", queue="mail")
    site.enqueue("two")
    site.pause_workflow("two")
    assert run("cloaca_worker", "--burst").out.endswith("Stopped after 0 tasks\n")


def test_a_burst_runs_what_waits_for_a_place_one_after_the_other(site):
    workflows.single("limited", builder={"max_running": 1})
    for _ in range(3):
        site.enqueue("limited")
    run("cloaca_worker", "--burst")
    assert statuses() == ["Completed"] * 3


def test_a_burst_waits_for_the_task_that_it_runs(site):
    pause = threading.Event()

    def body(context):
        pause.wait(0.5)

    workflows.single("slow", body)
    site.enqueue("slow")
    run("cloaca_worker", "--burst")
    assert statuses() == ["Completed"]


def test_once_claims_one_time_and_starts_no_successor(site):
    for _ in range(5):
        site.enqueue("two")
    ran = run("cloaca_worker", "--once", "--concurrency", "2")
    assert ran.code == 0
    assert "Stopped after 2 tasks" in ran.out
    assert tasks() == ["Completed"] * 2 + ["Pending"] * 3 + ["Ready"] * 5


def test_once_ends_at_once_when_nothing_is_ready(site):
    assert run("cloaca_worker", "--once").code == 0


def test_once_takes_what_has_become_due(site):
    due = site.enqueue("one", start_at=_soon(hours=1))
    TaskExecution.objects.update(due_at=_soon(hours=-1))
    run("cloaca_worker", "--once")
    assert status_of(due.id) == "Completed"


@pytest.mark.parametrize("count", [1, 3, 7])
def test_max_tasks_is_exact(site, count):
    for _ in range(10):
        site.enqueue("one")
    ran = run("cloaca_worker", "--max-tasks", str(count))
    assert ran.code == 0
    assert f"Stopped after {count} task" in ran.out
    assert statuses() == ["Completed"] * count + ["Pending"] * (10 - count)


def test_max_tasks_ends_a_burst_too(site):
    for _ in range(3):
        site.enqueue("two")
    run("cloaca_worker", "--burst", "--max-tasks", "4")
    assert tasks().count("Completed") == 4


def test_a_process_with_too_many_abandoned_threads_asks_to_be_replaced(worksite):
    worker = worksite.worker(settings={"MAX_ABANDONED_THREADS": 1})
    run_id = worksite.enqueue("overdue")
    assert worker.wait() == process.RECYCLE
    assert status_of(run_id) == "Failed"


def test_after_a_burst_nothing_of_it_is_left(site):
    """No signal handler, no thread, no open claim."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    run("cloaca_worker", "--burst")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert Worker.objects.get().state == "Stopped"


def test_a_thread_may_run_the_command_too(site, together):
    site.enqueue("one")
    (ran,) = together(lambda: run("cloaca_worker", "--burst"))
    assert ran.code == 0
    assert statuses() == ["Completed"]


# What it refuses


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--concurrency", "0"], "--concurrency must be from 1 to 512, not 0"),
        (["--concurrency", "513"], "--concurrency must be from 1 to 512"),
        (["--processes", "0"], "--processes must be from 1 to 64"),
        (["--processes", "500"], "--processes must be from 1 to 64, not 500"),
        (["--queue", ""], "--queue '' is no queue name"),
        (["--queue", "a b"], "--queue 'a b' is no queue name"),
        (["--workflow", "oen"], "did you mean 'one'"),
        (["--max-tasks", "0"], "--max-tasks must be from 1"),
        (["--shutdown-timeout", "-1"], "--shutdown-timeout must be from 0 to 86400"),
        (["--shutdown-timeout", "nan"], "--shutdown-timeout must be from 0 to 86400"),
        (["--once", "--burst"], "--once goes with neither --burst nor --processes"),
        (["--once", "--processes", "2"], "--once goes with neither --burst nor --processes"),
        (["--database", "nix"], "--database 'nix' is not in DATABASES"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_bad_arguments_end_with_2(site, arguments, words):
    # "=" so that no value looks like an option.
    pairs = ["=".join(arguments)] if len(arguments) == 2 and arguments[1][:2] != "--" else arguments
    ran = run("cloaca_worker", *pairs)
    assert ran.code == 2
    assert words in ran.err
    assert not Worker.objects.exists()


def test_bad_settings_end_with_2(site, settings):
    settings.CLOACA = {"LEASE_SECONDS": 1, "HEARTBEAT_SECONDS": 5}
    ran = run("cloaca_worker", "--burst")
    assert ran.code == 2
    assert "cloaca.E003" in ran.err


def test_risky_settings_are_said_and_do_not_stop_it(site, monkeypatch):
    from cloaca_django import checks

    monkeypatch.setattr(
        checks, "CHECKS", [checks.Check("W999", "DATABASES", lambda: ["risky"], "take care")]
    )
    ran = run("cloaca_worker", "--burst")
    assert ran.code == 0
    assert "(cloaca.W999) risky" in ran.err


def test_unapplied_migrations_end_with_3_and_are_named(site, monkeypatch):
    monkeypatch.setattr(databases, "_checked", set())
    monkeypatch.setattr(databases, "unapplied", lambda alias, schema: ["0009_later", "0010_last"])
    ran = run("cloaca_worker", "--burst")
    assert ran.code == 3
    assert "lacks the migrations 0009_later, 0010_last" in ran.err


def test_help_lists_every_exit_code():
    help_text = load_command_class("cloaca_django", "cloaca_worker").create_parser(
        "manage.py", "cloaca_worker"
    ).format_help()  # fmt: skip
    words = re.findall(r"^  (\d+) ", help_text[help_text.index("exit codes:") :], re.MULTILINE)
    assert words == ["0", "1", "2", "3", "75"]


# --reload


def soon(condition):
    """Say whether something comes true within two looks of Django's reloader."""
    end = clock.monotonic() + 3
    while not condition() and clock.monotonic() < end:
        threading.Event().wait(0.05)
    return condition()


@pytest.fixture
def reloading(worksite, tmp_path):
    """A worker that watches a module of its own; ``write`` puts a version of it in place."""

    class Reloading:
        file = tmp_path / "reloaded" / "workflows.py"

        def write(self, version: str) -> None:
            self.file.write_text(
                "from cloaca_django import WorkflowBuilder, task\n"
                "with WorkflowBuilder('changing'):\n"
                "    @task(id='a', retry_attempts=1)\n"
                "    def a(context):\n"
                f"        context['version'] = {version}\n"
            )

        def write_until(self, version: str, condition) -> None:
            """Write it again and again: what changes before the first look is not seen."""

            def is_seen() -> bool:
                self.write(version)
                return soon(condition)

            until(is_seen)

        def start(self, *arguments: str, **environment: str):
            return worksite.worker(
                *arguments,
                environment={
                    "PYTHONPATH": str(tmp_path), "WORKSITE_APPS": "reloaded", **environment,
                },
            )  # fmt: skip

        def result(self) -> object:
            workflows.single("changing")
            with DefaultRunner(using="default") as runner:
                result = runner.enqueue("changing").wait(20)
            return result.final_context.to_dict().get("version", result.error_message)

    made = Reloading()
    made.file.parent.mkdir()
    made.file.with_name("__init__.py").touch()
    made.write("1")
    return made


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_change_of_the_code_starts_the_worker_anew(reloading, processes):
    worker = reloading.start("--reload", "--processes", processes)
    assert reloading.result() == 1
    reloading.write_until("2", lambda: worker.output.count("serves") > 1)
    assert reloading.result() == 2
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert worker.family() == set()


@pytest.fixture(params=["1", "2"])
def drained(request, reloading, worksite):
    """A worker, of one process and of two, that finishes a task before it starts anew."""
    worker = reloading.start("--reload", "--processes", request.param, "--shutdown-timeout", "600")
    run_id = worksite.enqueue("gated")
    worksite.await_told("began")
    reloading.write_until("2", lambda: worker.says("Finishing"))
    return worker, run_id


def test_the_first_signal_after_a_change_of_the_code_is_the_first(worksite, drained):
    worker, run_id = drained
    worker.signal(signal.SIGTERM)
    never(lambda: task_of(run_id).status != "Running", 1.0)
    worksite.open()
    assert worker.wait() == 0
    assert (status_of(run_id), worker.family()) == ("Completed", set())
    assert worker.output.count("serves") == 1


def test_the_second_hands_back_and_nothing_starts_anew(drained):
    worker, run_id = drained
    worker.signal(signal.SIGTERM)
    never(lambda: task_of(run_id).status != "Running", 0.5)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert (task_of(run_id).status, worker.family()) == ("Ready", set())
    assert worker.output.count("serves") == 1


def test_code_that_does_not_load_is_said_and_the_old_goes_on(reloading):
    worker = reloading.start("--reload")
    reloading.write_until("1\n    oops oops", lambda: worker.says("SyntaxError"))
    assert "The changed code does not load; the old code goes on:" in worker.output
    assert reloading.result() == 1
    reloading.write_until("3", lambda: worker.output.count("serves") > 1)
    assert reloading.result() == 3


@pytest.mark.parametrize(
    ("arguments", "debug", "expected"),
    [
        ([], "1", True),
        ([], "0", False),
        (["--no-reload"], "1", False),
        (["--reload"], "0", True),
        (["--burst"], "1", False),
        (["--once"], "1", False),
    ],
)
def test_reload_is_on_if_debug_is(settings, arguments, debug, expected):
    from cloaca_django.management.commands import cloaca_worker

    settings.DEBUG = debug == "1"
    parser = cloaca_worker.Command().create_parser("manage.py", "cloaca_worker")
    options = vars(parser.parse_args(arguments))
    assert cloaca_worker._reloads(options) is expected
