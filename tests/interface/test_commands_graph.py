"""cloaca_graph: graphs of the code, of stored versions and of runs."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from cloaca_django import Context, DefaultRunner
from cloaca_django.core import registry
from cloaca_django.models import WorkflowDefinition
from tests import workflows
from tests.interface.commands import run


@pytest.fixture
def site(transactional_db, workflows_of_test):
    with DefaultRunner(using="default") as runner:
        yield runner


def test_a_workflow_of_the_code_is_drawn_without_a_database(workflows_of_test):
    workflow = workflows.chain("two", workflows.nothing, workflows.nothing)
    ran = run("cloaca_graph", "two")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        f"two  version {workflow.version}",
        "",
        "  1  a",
        "  2  b  after a",
    ]


@pytest.mark.parametrize(
    ("format", "start"),
    [("text", "two  version"), ("dot", 'digraph "two" {'), ("mermaid", "flowchart LR"),
     ("svg", "<svg xmlns=")],
)  # fmt: skip
def test_every_format_is_printed(workflows_of_test, format, start):
    workflows.chain("two", workflows.nothing, workflows.nothing)
    ran = run("cloaca_graph", "two", "--format", format)
    assert ran.out.startswith(start)
    assert ran.out.endswith("\n")
    assert not ran.out.endswith("\n\n")


def test_an_unknown_workflow_is_refused_with_the_nearest_name(workflows_of_test):
    workflows.single("report")
    ran = run("cloaca_graph", "reprot")
    assert ran.code == 2
    assert "did you mean 'report'" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [[], ["two", "--run", "x"], ["--run", "x", "--version", "y"], ["--version", "y"]],
    ids=" ".join,
)
def test_arguments_that_do_not_go_together_are_refused(arguments):
    assert run("cloaca_graph", *arguments).code == 2


def test_a_stored_version_is_drawn_by_the_start_of_its_name(site):
    old = workflows.chain("two", workflows.nothing, workflows.nothing)
    site.execute("two", Context())
    with pytest.warns(UserWarning, match="replaces a different one"):
        workflows.single("two")
    ran = run("cloaca_graph", "two", "--version", old.version[:8])
    assert ran.out.startswith(f"two  version {old.version}\n")
    assert "  2  b  after a" in ran.out


def test_a_version_that_is_not_stored_or_not_the_only_one_is_refused(site):
    for version in ("abc1", "abc2"):
        WorkflowDefinition.objects.create(
            name="two", version=version, graph='{"tasks": []}', first_seen_at="2026-01-01T00:00Z"
        )
    for version in ("nix", "abc"):
        ran = run("cloaca_graph", "two", "--version", version)
        assert ran.code == 2
        assert "Stored: abc2, abc1" in ran.err


def test_a_run_is_drawn_with_the_states_of_its_tasks(site):
    workflows.chain("two", workflows.boom, workflows.nothing, retry_attempts=2, retry_delay_ms=0)
    done = site.execute("two", Context())
    ran = run("cloaca_graph", "--run", done.execution_id)
    assert ran.out.startswith(f"two  run {done.execution_id}, Failed, version ")
    first, second = ran.out.splitlines()[2:]
    assert first.split()[:3] == ["1", "a", "Failed"]
    assert "attempt 2" in first
    assert second.split()[:5] == ["2", "b", "Skipped", "after", "a"]
    assert "Dependency 'a' failed" in second


def test_a_run_is_drawn_as_it_was_though_its_workflow_is_gone(site, workflows_of_test):
    with registry.isolated():
        workflows.chain("gone", workflows.nothing, workflows.nothing)
        run_id = str(site.enqueue("gone").id)
    svg = ElementTree.fromstring(run("cloaca_graph", "--run", run_id, "--format", "svg").out)
    names = [
        element.text
        for element in svg.iter("{http://www.w3.org/2000/svg}text")
        if element.get("class") == "name"
    ]
    assert names == ["a", "b"]


@pytest.mark.parametrize("value", ["nix", "00000000-0000-7000-8000-000000000000"])
def test_a_run_that_is_not_there_is_refused(site, value):
    ran = run("cloaca_graph", "--run", value)
    assert ran.code == 2
    assert value in ran.err
