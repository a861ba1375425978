"""Every example of the seed that concerns execution, configuration, URLs, errors and life cycle.

The blocks are the seed's own text. Only their indentation is restored, and host and login of the
PostgreSQL URLs become those of the test's server; without one, a file stands in their place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

import cloaca_django
from cloaca_django import Context, DefaultRunner, WorkflowBuilder, task
from tests.interface.conftest import databases_in, server_url

PAGE = '''
== two runners
import cloaca

# SQLite
runner = cloaca.DefaultRunner("sqlite:///app.db")

# PostgreSQL
runner = cloaca.DefaultRunner("postgresql://user:pass@localhost:5432/dbname")

== a runner with a configuration
import cloaca

# Custom configuration
config = cloaca.DefaultRunnerConfig()
config.max_concurrent_tasks = 8
config.task_timeout_seconds = 600

runner = cloaca.DefaultRunner.with_config(
    "postgresql://user:pass@localhost:5432/dbname",
    config
)

== execute
import cloaca

runner = cloaca.DefaultRunner("sqlite:///app.db")

# Execute workflow
context = cloaca.Context({"user_id": 123})
result = runner.execute("my_workflow", context)

if result.status == "Completed":
    print("Success!")
    final_data = result.final_context.to_dict()
else:
    print(f"Failed: {result.error_message}")

== always shut down
runner = cloaca.DefaultRunner("sqlite:///app.db")
try:
    # Use runner
    result = runner.execute("workflow", context)
finally:
    # Always shutdown
    runner.shutdown()

== context manager
import cloaca

# Automatic cleanup
with cloaca.DefaultRunner("sqlite:///app.db") as runner:
    context = cloaca.Context({"key": "value"})
    result = runner.execute("my_workflow", context)

    if result.status == "Completed":
        print("Success!")

# runner.shutdown() called automatically

== URLs
# File database
"sqlite:///path/to/database.db"

# In-memory database (testing only)
"sqlite:///:memory:"

# With options
"sqlite:///app.db?mode=rwc&_journal_mode=WAL"

# Basic connection
"postgresql://username:password@localhost:5432/database"

# With SSL and options
"postgresql://user:pass@host:5432/db?sslmode=require"

# Connection pooling (handled automatically)
"postgresql://user:pass@host:5432/db?application_name=my_app"

== errors
import cloaca

try:
    runner = cloaca.DefaultRunner("invalid://connection/string")
except ValueError as e:
    print(f"Invalid database URL: {e}")

try:
    result = runner.execute("nonexistent_workflow", context)
except ValueError as e:
    print(f"Workflow not found: {e}")

== pool size
# Tune pool size based on workload
config = cloaca.DefaultRunnerConfig()
config.db_pool_size = 20  # For high-concurrency PostgreSQL

runner = cloaca.DefaultRunner.with_config(database_url, config)

== concurrency
# Adjust concurrent task limit
config = cloaca.DefaultRunnerConfig()
config.max_concurrent_tasks = 16  # For CPU-intensive tasks

runner = cloaca.DefaultRunner.with_config(database_url, config)

== timeouts
# Configure timeouts
config = cloaca.DefaultRunnerConfig()
config.task_timeout_seconds = 1800  # 30 minutes per task
config.pipeline_timeout_seconds = 7200  # 2 hours per workflow

runner = cloaca.DefaultRunner.with_config(database_url, config)

== cron polling
# Tune cron polling
config = cloaca.DefaultRunnerConfig()
config.cron_poll_interval_seconds = 30  # Check every 30 seconds
config.cron_max_catchup_executions = 10  # Catch up to 10 missed runs

runner = cloaca.DefaultRunner.with_config(database_url, config)

== resources
# Always use context manager or explicit shutdown
with cloaca.DefaultRunner(database_url) as runner:
    # Workflow execution
    pass
# Automatic cleanup

# Or explicit cleanup
runner = cloaca.DefaultRunner(database_url)
try:
    # Workflow execution
    pass
finally:
    runner.shutdown()

== execute safely
def execute_workflow_safely(runner, workflow_name, context):
    """Execute workflow with comprehensive error handling."""
    try:
        result = runner.execute(workflow_name, context)

        if result.status == "Completed":
            return result.final_context
        else:
            print(f"Workflow failed: {result.error_message}")
            return None

    except Exception as e:
        print(f"Execution error: {e}")
        return None

== threads
import threading
import cloaca

runner = cloaca.DefaultRunner("postgresql://user:pass@host/db")

def worker_thread(thread_id):
    """Worker thread that executes workflows."""
    for i in range(10):
        context = cloaca.Context({"thread_id": thread_id, "iteration": i})
        result = runner.execute("worker_workflow", context)
        print(f"Thread {thread_id}, iteration {i}: {result.status}")

# Start multiple worker threads
threads = []
for i in range(4):
    thread = threading.Thread(target=worker_thread, args=(i,))
    threads.append(thread)
    thread.start()

# Wait for completion
for thread in threads:
    thread.join()

runner.shutdown()
'''

BLOCKS = dict(re.findall(r"^== (.+)\n((?:(?!== ).*\n)+)", PAGE, re.MULTILINE))

# Part of later work: the blocks of schedules (register, list, get, update, enable, delete, history,
# statistics, monitor_cron_schedules, the third of the errors). Those of tenants: tests/tenancy.

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
    for name in ("my_workflow", "workflow", "worker_workflow"):
        with WorkflowBuilder(name):

            @task()
            def body(context):
                context["done"] = True

    made = _recorded(monkeypatch)
    yield {
        "cloaca": cloaca_django,
        "context": Context({"given": 1}),
        "database_url": databases["dbname"],
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
    assert len(BLOCKS) == PAGE.count("\n== ") == 14


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
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Invalid database URL: Invalid database URL 'invalid://")
    assert second.startswith("Workflow not found: Workflow not found in registry: nonexistent_w")


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

for name in ("my_workflow", "workflow", "worker_workflow"):
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
    *_, first, second = printed.splitlines()
    assert first.startswith("Invalid database URL: ")
    assert second.startswith("Workflow not found: ")
