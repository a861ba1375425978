"""The fixture that sites use."""

from __future__ import annotations

import pytest

import cloaca_django as cloaca
from cloaca_django.core import registry
from cloaca_django.testing import drain


@pytest.fixture(autouse=True)
def _own_workflows():
    with registry.isolated():
        with cloaca.WorkflowBuilder("greet"):

            @cloaca.task(retry_attempts=3, retry_delay_ms=60_000)
            def hello(context, handle):
                if handle.attempt < 2:
                    raise ConnectionError("not yet")
                context["greeting"] = f"hello {context['name']}"

        yield


def test_execute_returns_at_once_and_retries_do_not_sleep(cloaca_eager):
    result = cloaca.DefaultRunner().execute("greet", cloaca.Context({"name": "Ada"}))

    assert result.status == "Completed"
    assert result.final_context["greeting"] == "hello Ada"


def test_drain_runs_what_was_enqueued_in_the_tests_transaction(cloaca_eager):
    handle = cloaca.DefaultRunner().enqueue("greet", cloaca.Context({"name": "Grace"}))
    assert handle.status == "Pending"

    assert cloaca_eager.drain() == 1

    assert handle.result().final_context["greeting"] == "hello Grace"
    assert cloaca_eager.drain() == 0


@pytest.mark.django_db
def test_drain_works_without_the_setting(settings):
    handle = cloaca.DefaultRunner().enqueue("greet", cloaca.Context({"name": "Joan"}))

    drain()

    assert handle.result().status == "Completed"
