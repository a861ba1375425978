"""Every example of the seed that concerns execution, schedules, configuration, URLs, errors and
life cycle.

Host and login of the PostgreSQL URLs become those of the test's server; without one, a file stands
in their place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

import cloaca_django
from cloaca_django import Context, DefaultRunner, WorkflowBuilder, task
from cloaca_django.clock import utc_now
from tests.interface.conftest import databases_in, server_url
from tests.interface.seed_page import BLOCKS, PAGE, SCHEDULES

HAS_SERVER = connection.vendor == "postgresql"
WAYS = ["as written", "everything on the server"] if HAS_SERVER else ["files in place of servers"]
URL = re.compile(r'"(?P<scheme>sqlite|postgresql)://(?P<address>[^"?]*)(?:\?(?P<query>[^"]*))?"')


def placed(code: str, way: str) -> str:
    """Return a block with its URLs on the databases that this test has."""

    def address(found: re.Match[str]) -> str:
        name = found["address"].rpartition("/")[2]
        if found["scheme"] == "sqlite":
            if way != "everything on the server" or ":memory:" in found[0]:
                return found[0]
            return f'"{server_url("app")}"'
        if way == "files in place of servers":
            return f'"sqlite:///{name}.db"'
        url = server_url(name)
        joint = "&" if "?" in url else "?"
        return f'"{url}{joint + found["query"] if found["query"] else ""}"'

    return URL.sub(address, code)


@pytest.fixture(scope="module")
def databases(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any
) -> Iterator[dict[str, str]]:
    """The databases that the page speaks of, by name."""
    folder = tmp_path_factory.mktemp("seed")
    with django_db_blocker.unblock(), databases_in(folder) as make:
        yield {name: make(name) for name in ("dbname", "database", "db", "app")}


@pytest.fixture
def page(
    own_databases: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, databases: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The names a reader of the page has by then, and the databases it speaks of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cloaca", cloaca_django)
    (tmp_path / "path" / "to").mkdir(parents=True)
    for name in ("my_workflow", "workflow", "worker_workflow", "daily_report"):
        with WorkflowBuilder(name):

            @task()
            def body(context):
                context["done"] = True

    made = _recorded(monkeypatch)
    yield {
        "cloaca": cloaca_django,
        "context": Context({"given": 1}),
        "database_url": databases["dbname"],
        # The seed's examples of statistics use them without an import.
        "datetime": datetime,
        "timedelta": timedelta,
    }
    for runner in made:
        runner.shutdown()


def _recorded(monkeypatch: pytest.MonkeyPatch) -> list[DefaultRunner]:
    """Keep every runner that is made: the page binds its name again without a shutdown."""
    made: list[DefaultRunner] = []
    construct = DefaultRunner.__init__

    def recording(self: DefaultRunner, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(DefaultRunner, "__init__", recording)
    return made


Read = Callable[[str], dict[str, Any]]


@pytest.fixture(params=WAYS)
def read(request: pytest.FixtureRequest, page: dict[str, Any]) -> Read:
    """Return a function that runs a block as it stands and gives the names it bound."""

    def run(name: str) -> dict[str, Any]:
        exec(compile(placed(BLOCKS[name], request.param), name, "exec"), page)
        return page

    return run


def test_every_block_was_found():
    assert len(BLOCKS) == PAGE.count("\n== ") == 23


def works(runner: DefaultRunner) -> bool:
    return runner.execute("workflow", Context({"i": 1})).final_context.to_dict() == {
        "i": 1,
        "done": True,
    }


def test_two_runners(read):
    assert works(read("two runners")["runner"])


def test_a_runner_with_a_configuration(read):
    assert works(read("a runner with a configuration")["runner"])


def test_execute(read, capsys):
    names = read("execute")
    assert names["final_data"] == {"user_id": 123, "done": True}
    assert capsys.readouterr().out == "Success!\n"


def test_execute_of_a_workflow_that_fails(read, capsys):
    with pytest.warns(UserWarning, match="replaces"), WorkflowBuilder("my_workflow"):

        @task(retry_attempts=1)
        def fails(context):
            raise ValueError("boom")

    read("execute")
    assert capsys.readouterr().out == "Failed: Task 'fails' failed: ValueError: boom\n"


def test_always_shut_down(read):
    names = read("always shut down")
    assert names["result"].status == "Completed"
    with pytest.raises(ValueError, match="shut down"):
        names["runner"].execute("workflow", Context())


def test_context_manager(read, capsys):
    names = read("context manager")
    assert capsys.readouterr().out == "Success!\n"
    assert names["result"].final_context.to_dict() == {"key": "value", "done": True}
    with pytest.raises(RuntimeError, match="shut down"):
        names["runner"].execute("workflow", Context())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", range(6))
def test_every_url_opens_a_database(page, way, at):
    url = [found[0] for found in URL.finditer(BLOCKS["URLs"])][at]
    with DefaultRunner(placed(url, way).strip('"')) as runner:
        assert works(runner)


def test_errors(read, page, capsys):
    with DefaultRunner("sqlite:///:memory:") as runner:
        page["runner"] = runner
        read("errors")
    assert_three_errors(capsys.readouterr().out.splitlines())


def assert_three_errors(lines: list[str]) -> None:
    first, second, third = lines
    assert first.startswith("Invalid database URL: Invalid database URL 'invalid://")
    assert second.startswith("Workflow not found: Workflow not found in registry: nonexistent_w")
    assert third.startswith(
        "Invalid cron expression: Invalid cron expression or timezone: expression 'invalid cron': "
        "needs 5 fields"
    )


def test_schedules_from_register_to_delete(read, capsys):
    for name in SCHEDULES:
        names = read(name)
    with pytest.raises(ValueError, match="Record not found"):
        names["runner"].get_cron_schedule(names["schedule_id"])
    assert_schedules(capsys.readouterr().out.splitlines(), names["schedule_id"])


def assert_schedules(lines: list[str], schedule_id: str) -> None:
    """Check what the blocks of schedules print: nothing has fired yet."""
    assert UUID(schedule_id)
    assert [re.sub(r"[\d-]{10}T", "", line) for line in lines] == [
        f"Scheduled with ID: {schedule_id}",
        "Schedule: daily_report - 0 2 * * *",
        "Workflow: daily_report",
        "Expression: 0 2 * * *",
        "Next run: 02:00:00+00:00",
        "Enabled: True",
        "Total executions: 0",
        "Successful: 0",
        "Success rate: 0.00%",
    ]


def test_the_lists_of_schedules_hold_what_was_registered(read):
    read("register a schedule")
    names = read("list schedules")
    wanted = [names["schedule_id"]]
    for found in ("schedules", "enabled_schedules", "recent_schedules"):
        assert [schedule["id"] for schedule in names[found]] == wanted
    names["runner"].set_cron_schedule_enabled(names["schedule_id"], False)
    assert read("list schedules")["enabled_schedules"] == []
    names["runner"].delete_cron_schedule(names["schedule_id"])


def test_an_update_plans_the_next_run_anew(read):
    read("register a schedule")
    read("update a schedule")
    names = read("get a schedule")
    assert names["schedule"]["cron_expression"] == "0 3 * * *"
    assert "T03:00:00+00:00" in names["schedule"]["next_run_at"]
    read("delete a schedule")


def test_history_and_statistics_of_times_that_have_fired(read, capsys):
    names = read("register a schedule")
    runner, now = names["runner"], utc_now()
    handles = runner.backfill(names["schedule_id"], now - timedelta(days=3), now)
    assert [handle.wait(timeout=30).status for handle in handles] == ["Completed"] * 3
    capsys.readouterr()
    history = read("history of a schedule")["history"]
    assert [one["scheduled_time"][11:] for one in history] == ["02:00:00+00:00"] * 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Scheduled", "Claimed", "Pipeline"] * 3
    assert lines[2] == f"Pipeline: {handles[-1].id}"
    read("statistics of schedules")
    assert capsys.readouterr().out.splitlines() == [
        "Total executions: 3", "Successful: 3", "Success rate: 100.00%",
    ]  # fmt: skip
    read("monitor schedules")["monitor_cron_schedules"](runner)
    assert capsys.readouterr().out == ""
    read("delete a schedule")


def test_monitoring_warns_of_schedules_that_did_not_fire(read, capsys):
    names = read("register a schedule")
    capsys.readouterr()
    read("monitor schedules")["monitor_cron_schedules"](names["runner"])
    assert capsys.readouterr().out.splitlines() == [
        "Warning: No recent executions for daily_report",
        "Warning: Low success rate: 0.00%",
    ]
    read("delete a schedule")


@pytest.mark.parametrize("name", ["pool size", "concurrency", "timeouts", "cron polling"])
def test_configuration(read, name):
    assert works(read(name)["runner"])


def test_resources(read):
    read("resources")


def test_execute_safely(read, page, capsys):
    safely = read("execute safely")["execute_workflow_safely"]
    with DefaultRunner(page["database_url"]) as runner:
        assert safely(runner, "workflow", Context()).to_dict() == {"done": True}
        assert safely(runner, "nope", Context()) is None
    assert safely(runner, "workflow", Context()) is None
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "Execution error",
        "Execution error",
    ]


def test_threads(read, capsys):
    read("threads")
    assert_all_threads_finished(capsys.readouterr().out)


def assert_all_threads_finished(printed: str) -> None:
    # Not by line: print() writes the text and the end of its line apart.
    said = [f"Thread {thread}, iteration {i}: Completed" for thread in range(4) for i in range(10)]
    assert [line for line in said if line not in printed] == []


SCRIPT = """
import sys
import cloaca_django

sys.modules["cloaca"] = cloaca = cloaca_django
database_url = {database_url!r}
context = cloaca.Context({{"given": 1}})

from datetime import datetime, timedelta

for name in ("my_workflow", "workflow", "worker_workflow", "daily_report"):
    with cloaca.WorkflowBuilder(name):
        @cloaca.task()
        def body(context):
            context["done"] = True
"""


@pytest.mark.parametrize("way", WAYS)
def test_the_whole_page_is_one_plain_script(page, run_alone, tmp_path, way):
    blocks = [placed(code, way) for name, code in BLOCKS.items() if name != "errors"]
    # The errors come last: that block needs a runner that was not shut down.
    last = f'runner = cloaca.DefaultRunner("sqlite:///app.db")\n{placed(BLOCKS["errors"], way)}'
    script = SCRIPT.format(database_url=page["database_url"]) + "\n".join([*blocks, last])
    printed = run_alone(script, tmp_path)
    assert printed.startswith("Success!\nSuccess!\n")
    assert_all_threads_finished(printed)
    *lines, first, second, third = printed.splitlines()
    assert_three_errors([first, second, third])
    at = next(at for at, line in enumerate(lines) if line.startswith("Scheduled with ID: "))
    assert_schedules(lines[at : at + 9], lines[at].rpartition(" ")[2])
