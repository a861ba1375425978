"""What every test gets: how hard hypothesis tries, and a check that nothing of ours is left."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest

from cloaca_django import clock, pytest_plugin
from tests.crash import account

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=300, deadline=None, derandomize=True, print_blob=True
)
# For a person who looks for defects: some minutes for each property.
hypothesis.settings.register_profile(
    "fuzz",
    max_examples=20_000,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# A site with tenants has other apps, so it has its tests apart. Asked by name, they say so.
_TENANTS = os.environ.get("TEST_DATABASE") == "tenants"
collect_ignore = [
    path.name
    for path in Path(__file__).parent.iterdir()
    if path.is_dir() and (path.name == "tenants") is not _TENANTS
]

GRACE_SECONDS = 5.0
REAL_CLOCK = clock.monotonic, clock.utc_now


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugin that sites get; pytest finds it by itself once the package is installed."""
    if not config.pluginmanager.hasplugin("cloaca_django"):
        config.pluginmanager.register(pytest_plugin, "cloaca_django")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Let what a test logs travel to another process, even what no encoding can hold."""
    report: Any = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what this process went through to the one that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["reliability"] = account.packed()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take in what one of several processes went through."""
    account.unpack(getattr(node, "workeroutput", {}).get("reliability", "{}"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests of reliability met."""
    lines = list(account.lines())
    if lines:
        terminalreporter.section("reliability")
    for line in lines:
        terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """Fail a test that leaves its own clock behind: the next one would wait for ever."""
    result = yield
    left = clock.monotonic, clock.utc_now
    clock.monotonic, clock.utc_now = REAL_CLOCK
    assert left == REAL_CLOCK, "a test left its clock behind"
    return result


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Fail a test after which a thread of the engine is alive that was not there before."""
    before = set(threading.enumerate())
    yield
    ours = [t for t in threading.enumerate() if t.name.startswith("cloaca") and t not in before]
    for thread in ours:
        thread.join(GRACE_SECONDS)
    left = [thread.name for thread in ours if thread.is_alive()]
    assert not left, f"threads of ours are still alive: {left}"


@pytest.fixture
def together() -> Callable[..., list[object]]:
    """Return a function that runs callables at the same moment, one thread each.

    It returns what they returned, or the exceptions they raised, in order.
    """
    return _together


def _together(*functions: Callable[[], object], timeout: float = 30.0) -> list[object]:
    from django.db import connections

    barrier = threading.Barrier(len(functions))
    outcomes: list[object] = [None] * len(functions)

    def run(at: int, function: Callable[[], object]) -> None:
        try:
            barrier.wait(timeout)
            outcomes[at] = function()
        except BaseException as error:  # handed to the test, which knows which ones are right
            outcomes[at] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return outcomes


@pytest.fixture
def child_environment(transactional_db: None) -> dict[str, str]:
    """The environment of a child process that works on this test's database."""
    from django.db import connection

    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{settings['NAME']}"
    else:
        login = f"{quote(settings['USER'])}:{quote(settings['PASSWORD'], safe='')}"
        place = f"localhost:{settings['PORT'] or 5432}"
        url = f"postgresql://{login}@{place}/{settings['NAME']}?host={settings['HOST']}"
    return {
        **os.environ,
        "CLOACA_TESTS_URL": url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
