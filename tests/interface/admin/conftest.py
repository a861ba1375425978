"""People with and without permissions, and a browser that a test drives."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

VIEWER = (
    "view_pipelineexecution", "view_workflowcontrol", "view_worker", "view_cronschedule",
)  # fmt: skip
OPERATOR = (
    *VIEWER, "run_workflow", "pause_workflow", "retry_execution", "cancel_execution",
    "view_context", "drain_worker",
)  # fmt: skip
PLANNER = (*OPERATOR, "add_cronschedule", "change_cronschedule", "delete_cronschedule")
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--force-color-profile=srgb", "--font-render-hinting=none",
]  # fmt: skip


def strict_policy(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Send the strict Content-Security-Policy, as a careful site does."""

    def answer(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer


@pytest.fixture(autouse=True)
def _strict_site(settings: Any) -> None:
    settings.MIDDLEWARE = [f"{__name__}.strict_policy", *settings.MIDDLEWARE]
    settings.ALLOWED_HOSTS = ["*"]


def person(name: str, *codenames: str, is_superuser: bool = False) -> User:
    """Make somebody who may enter the admin."""
    user = User.objects.create_user(name, is_staff=True, is_superuser=is_superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def boss(transactional_db: None) -> Client:
    """A client of a superuser."""
    return logged_in(person("boss", is_superuser=True))


@pytest.fixture
def viewer(transactional_db: None) -> Client:
    """A client of somebody who may only look."""
    return logged_in(person("vera", *VIEWER))


@pytest.fixture
def operator(transactional_db: None) -> Client:
    """A client of somebody who may do everything to runs, workflows and workers."""
    return logged_in(person("otto", *OPERATOR))


@pytest.fixture
def planner(transactional_db: None) -> Client:
    """A client of an operator who may do everything to schedules too."""
    return logged_in(person("petra", *PLANNER))


# The browser


def chromium() -> str:
    """Return the path of a Chromium; empty when the machine has none."""
    known = (os.environ.get("CHROMIUM", ""), "/usr/bin/chromium")
    found = [path for path in known if path and os.path.exists(path)]
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(iter([*found, *filter(None, map(shutil.which, names))]), "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium for the tests of a file; in other files this thread has no event loop."""
    path = chromium()
    if not path:
        pytest.skip("no Chromium: install one, or name it in CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # Its synchronous calls run an event loop in this thread, where tests use the ORM as well.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Visit:
    """Pages of one person, and everything that went wrong on them."""

    def __init__(self, context: Any, base: str) -> None:
        self.context = context
        self.base = base
        self.problems: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.on("dialog", self._dialog)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, path: str) -> Any:
        """Open a path; it must be there."""
        answer = self.page.goto(f"{self.base}{path}")
        assert answer is not None, path
        assert answer.ok, (path, answer.status)
        return self.page

    def violations(self) -> list[str]:
        """Return what the policy refused on the open page."""
        found: list[str] = self.page.evaluate("window.__violations || []")
        return found

    def close(self) -> None:
        self.page.goto("about:blank")
        self.context.close()


WATCH = (
    "window.__violations = []; addEventListener('securitypolicyviolation', "
    "event => window.__violations.push(event.violatedDirective + ' ' + event.blockedURI))"
)


@pytest.fixture
def visit(browser: Any, live_server: Any) -> Iterator[Callable[..., Visit]]:
    """Return a function that opens the admin for a client; nothing may go wrong there."""
    made: list[Visit] = []

    def start(client: Client, **options: Any) -> Visit:
        facts = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB",
                 "timezone_id": "UTC", "reduced_motion": "reduce"}  # fmt: skip
        context = browser.new_context(**{**facts, **options})
        context.set_default_timeout(15_000)
        value = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": value, "url": live_server.url}])
        context.add_init_script(WATCH)
        context.route(
            "**/*",
            lambda route: (
                route.continue_()
                if route.request.url.startswith(live_server.url)
                else route.abort()
            ),
        )
        made.append(Visit(context, live_server.url))
        return made[-1]

    yield start
    for one in made:
        is_scripted = one.context is not None
        violations = one.violations() if is_scripted else []
        one.close()
        assert (one.problems, violations) == ([], [])
