"""What every test gets: how hard hypothesis tries, and a check that nothing of ours is left."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote

import hypothesis
import pytest

from cloaca_django import pytest_plugin

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=300, deadline=None, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

GRACE_SECONDS = 5.0


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugin that sites get; pytest finds it by itself once the package is installed."""
    if not config.pluginmanager.hasplugin("cloaca_django"):
        config.pluginmanager.register(pytest_plugin, "cloaca_django")


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
