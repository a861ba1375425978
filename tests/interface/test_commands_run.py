"""cloaca_run: what it submits, how it waits, what it prints, and how it ends."""

from __future__ import annotations

import io
import json
import threading
from contextlib import suppress

import pytest

from cloaca_django import Context, DefaultRunner
from cloaca_django.core.states import TaskStatus
from cloaca_django.management import progress, waiting
from cloaca_django.management.progress import TaskView, chosen
from cloaca_django.models import PipelineExecution, TaskExecution, Worker
from tests import workflows
from tests.interface.commands import a_worker, run

pytestmark = pytest.mark.django_db(transaction=True)

NOBODY = "No live worker serves this workflow: this process runs it itself"


@pytest.fixture(autouse=True)
def flows(transactional_db, workflows_of_test):
    workflows.chain("two", workflows.writes("a", 1), workflows.writes("b", 2))
    workflows.chain("bad", workflows.boom, workflows.nothing, retry_attempts=1)


def test_a_run_is_submitted_and_its_id_printed():
    ran = run("cloaca_run", "two", "--context", '{"x": [1, 2.5]}')
    row = PipelineExecution.objects.get()
    assert ran.code == 0
    assert ran.out == f"Run {row.pk} of 'two' is submitted\n"
    assert json.loads(row.context) == {"x": [1, 2.5]}
    assert (row.origin, row.priority, row.queue) == ("command", 0, "default")
    assert row.created_by


def test_options_reach_the_run():
    run(
        "cloaca_run", "two", "--priority", "-7", "--queue", "mail", "--idempotency-key", "k"
    )  # fmt: skip
    row = PipelineExecution.objects.get()
    assert (row.priority, row.queue, row.idempotency_key) == (-7, "mail", "k")


def test_who_submits_for_nobody_is_told():
    assert "No live worker serves 'two' in queue 'default'" in run("cloaca_run", "two").err
    a_worker(workflows=["two"])
    assert run("cloaca_run", "two").err == ""
    assert "in queue 'mail'" in run("cloaca_run", "two", "-q", "mail").err


def test_json_without_waiting_is_the_id_and_the_status():
    ran = run("cloaca_run", "two", "--format", "json")
    row = PipelineExecution.objects.get()
    assert ran.data == {"id": str(row.pk), "workflow": "two", "status": "Pending"}


def test_a_key_that_a_run_holds_gives_that_run():
    arguments = ("cloaca_run", "two", "--idempotency-key", "k", "--format", "json")
    assert run(*arguments).data["id"] == run(*arguments).data["id"]
    ran = run(*arguments, "--context", '{"other": 1}')
    assert ran.code == 2
    assert "Idempotency key 'k'" in ran.err
    assert PipelineExecution.objects.count() == 1


def test_inputs_come_from_a_file_or_from_standard_input(tmp_path, monkeypatch):
    file = tmp_path / "inputs.json"
    file.write_text('{"from": "file ü"}', encoding="utf-8")
    run("cloaca_run", "two", "--context-file", str(file))
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "stdin"}'))
    run("cloaca_run", "two", "--context-file", "-")
    found = PipelineExecution.objects.order_by("id").values_list("context", flat=True)
    assert [json.loads(text)["from"] for text in found] == ["file ü", "stdin"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nix"], "Workflow not found in registry: nix"),
        (["two", "--context", "{"], "Failed to deserialize from JSON"),
        (["two", "--context", "[1]"], "a JSON object is needed"),
        (["two", "--context", '{"a": NaN}'], "a number that JSON does not have"),
        (["two", "--context", "{}", "--context-file", "x"], "exclude each other"),
        (["two", "--context-file", "/nix/nix"], "--context-file /nix/nix"),
        (["two", "--context-file", "/"], "--context-file /"),
        (["two", "--priority", "32768"], "from -32768 to 32767"),
        (["two", "--queue", "a b"], "letters, digits"),
        (["two", "--idempotency-key", ""], "1 to 255 characters"),
        (["two", "--timeout", "3"], "--timeout goes with --wait"),
        (["two", "--wait", "--timeout", "0"], "--timeout must be above 0"),
        (["two", "--wait", "--timeout", "nan"], "--timeout must be above 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_end_with_2_and_nothing_is_written(arguments, words):
    ran = run("cloaca_run", *arguments)
    assert ran.code == 2
    assert words in ran.err
    assert not PipelineExecution.objects.exists()


def test_inputs_that_the_workflow_does_not_take_are_refused():
    from cloaca_django import WorkflowBuilder, task, workflow_params

    with WorkflowBuilder("strict"):
        workflow_params(count=int)(task(id="a")(workflows.nothing))
    ran = run("cloaca_run", "strict", "--context", '{"count": "x"}')
    assert ran.code == 2
    assert "count" in ran.err
    assert not PipelineExecution.objects.exists()


# With --wait


def test_without_a_worker_the_command_runs_the_run_itself_and_says_so():
    ran = run("cloaca_run", "two", "--wait")
    assert ran.code == 0
    assert NOBODY in ran.out
    assert "  a: Completed after 0.0 s" in ran.out
    assert "  b: Completed after 0.0 s" in ran.out
    assert "Completed in " in ran.out
    assert ran.out.endswith('{\n  "a": 1,\n  "b": 2\n}\n')
    assert list(Worker.objects.values_list("kind", "state")) == [("embedded", "Stopped")]


def test_the_commands_own_worker_leaves_the_runs_of_others_alone():
    other = DefaultRunner(using="default")
    other.enqueue("two")
    run("cloaca_run", "two", "--wait")
    assert sorted(PipelineExecution.objects.values_list("status", flat=True)) == [
        "Completed", "Pending",
    ]  # fmt: skip


def test_with_a_live_worker_the_command_only_waits(make_runner):
    runner = make_runner(scheduler_poll_interval_ms=50)
    ran = run("cloaca_run", "two", "--wait")
    assert ran.code == 0
    assert NOBODY not in ran.out
    runner.shutdown()
    assert list(Worker.objects.values_list("kind", flat=True)) == ["runner"]


def test_when_the_last_worker_goes_away_the_command_takes_over(monkeypatch):
    monkeypatch.setattr(waiting, "ASK_SECONDS", 0.05)
    a_worker(workflows=["two"], lease=0.3)
    ran = run("cloaca_run", "two", "--wait", "--timeout", "20")
    assert ran.code == 0
    assert ran.out.index("  a: Ready") < ran.out.index(NOBODY)


def test_json_with_waiting_is_one_document_with_everything():
    ran = run("cloaca_run", "two", "--wait", "--format", "json", "--context", '{"token": "t"}')
    assert ran.code == 0
    assert NOBODY in ran.err
    row = PipelineExecution.objects.get()
    data = ran.data
    assert data["id"] == str(row.pk)
    assert (data["status"], data["error_message"]) == ("Completed", None)
    assert data["final_context"] == {"token": "t", "a": 1, "b": 2}
    assert data["tasks"] == [
        {"name": "a", "status": "Completed", "attempts": 1, "error": None},
        {"name": "b", "status": "Completed", "attempts": 1, "error": None},
    ]
    assert data["duration"] >= 0


def test_secrets_of_the_context_are_not_printed_for_people():
    out = run("cloaca_run", "two", "--wait", "--context", '{"api_token": "t0p"}').out
    assert "t0p" not in out
    assert '"api_token": "***"' in out


def test_a_long_context_is_cut():
    out = run(
        "cloaca_run", "two", "--wait", "--context", json.dumps({f"k{at}": at for at in range(90)})
    ).out
    assert out.endswith("... 54 more lines; --format json has all\n")


def test_a_failed_run_ends_with_1_and_names_the_first_failure():
    ran = run("cloaca_run", "bad", "--wait")
    assert ran.code == 1
    assert "Task 'a' failed: ValueError: boom" in ran.out
    assert "  a: Failed after 0.0 s (ValueError: boom)" in ran.out
    assert "  b: Skipped (Dependency 'a' failed)" in ran.out


def test_json_counts_no_attempt_of_a_task_that_never_began():
    ran = run("cloaca_run", "bad", "--wait", "--format", "json")
    assert {task["name"]: task["attempts"] for task in ran.data["tasks"]} == {"a": 1, "b": 0}


def test_a_cancelled_run_ends_with_1(gate):
    workflows.single("held", lambda context: gate.pass_through())

    def cancel():
        gate.await_arrival()
        with DefaultRunner(using="default") as runner:
            runner.cancel(PipelineExecution.objects.get().pk, by="ops")
        gate.open()

    thread = threading.Thread(target=in_thread(cancel))
    thread.start()
    ran = run("cloaca_run", "held", "--wait")
    thread.join(20)
    assert ran.code == 1
    assert "Cancelled by ops" in ran.out


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_wait_that_takes_too_long_ends_with_124_and_hands_back_what_it_ran(gate, format):
    workflows.single("held", lambda context: gate.pass_through())
    opener = threading.Thread(target=in_thread(lambda: open_later(gate)))
    opener.start()
    ran = run("cloaca_run", "held", "--wait", "--timeout", "0.3", "--format", format)
    opener.join(20)
    assert ran.code == 124
    row = PipelineExecution.objects.get()
    assert f"Run {row.pk} has not ended after 0.3 s; it goes on" in ran.err
    assert TaskExecution.objects.get().status == "Ready"
    assert TaskExecution.objects.get().attempt == 1
    if format == "json":
        assert ran.data["id"] == str(row.pk)


def in_thread(function):
    """Close the connections of a thread of the test's own."""
    from django.db import connections

    def call():
        try:
            function()
        finally:
            connections.close_all()

    return call


def open_later(gate):
    """Let the task end when it has been handed back, so that no thread is left."""
    gate.await_arrival()
    for _ in range(400):
        if TaskExecution.objects.filter(status="Ready").exists():
            break
        threading.Event().wait(0.05)
    gate.open()


def test_a_run_with_a_limit_on_its_workflow_is_admitted_and_run():
    workflows.single("limited", builder={"max_running": 1})
    assert run("cloaca_run", "limited", "--wait", "--timeout", "20").code == 0


def test_retries_are_shown_as_they_happen():
    tries = []

    def body(context):
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("not yet")

    workflows.single("flaky", body, retry_attempts=3, retry_delay_ms=300, retry_jitter=False)
    out = run("cloaca_run", "flaky", "--wait").out
    assert "  a: Scheduled (attempt 2, ConnectionError: not yet)" in out
    assert "  a: Completed after 0.0 s (attempt 2)" in out


# On a terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown_on_terminal(*arguments, **options):
    from django.core.management import call_command

    out = Terminal()
    with suppress(SystemExit):
        call_command(
            "cloaca_run", *arguments, "--wait", stdout=out, stderr=io.StringIO(), **options
        )
    return out.getvalue()


def test_a_terminal_gets_a_live_table(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = shown_on_terminal("two")
    assert "2 of 2 tasks have ended" in out
    assert "Task" in out
    assert "\x1b[" in out
    assert NOBODY in out


def test_names_and_errors_are_no_markup_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    def body(context):
        raise ValueError("[bold]not markup[/nix]")

    workflows.single("odd", body, retry_attempts=1)
    assert "[bold]not markup[/nix]" in shown_on_terminal("odd")


def test_no_colour_on_a_terminal_when_told_so(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = shown_on_terminal("two", no_color=True)
    assert "\x1b[32m" not in out


def test_without_rich_a_terminal_gets_lines(monkeypatch):
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    assert "  a: Completed after 0.0 s" in shown_on_terminal("two")


def view(name, status):
    return TaskView(name, status, 1, None, "")


def test_a_small_terminal_shows_what_runs_and_what_failed_first():
    tasks = [view(f"d{at}", TaskStatus.COMPLETED) for at in range(10)]
    tasks += [view("bad", TaskStatus.FAILED), view("now", TaskStatus.RUNNING)]
    tasks += [view(f"p{at}", TaskStatus.PENDING) for at in range(10)]
    assert [task.name for task in chosen(tasks, room=4)] == ["d8", "d9", "bad", "now"]
    assert chosen(tasks, room=50) == tasks


def test_a_run_that_is_deleted_while_it_is_waited_for_is_reported(monkeypatch):
    a_worker(workflows=["two"])
    original = waiting.Wait._tasks

    def tasks(self):
        found = original(self)
        TaskExecution.objects.all().delete()
        PipelineExecution.objects.all().delete()
        return found

    monkeypatch.setattr(waiting.Wait, "_tasks", tasks)
    ran = run("cloaca_run", "two", "--wait")
    assert ran.code == 1
    assert "There is no run" in ran.err


def test_an_eager_site_runs_it_at_once(settings):
    settings.CLOACA = {"EAGER": True}
    ran = run("cloaca_run", "two", "--wait")
    assert ran.code == 0
    assert NOBODY not in ran.out
    assert Context.from_json(ran.out[ran.out.index("{") :]).to_dict() == {"a": 1, "b": 2}
