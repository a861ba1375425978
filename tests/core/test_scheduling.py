"""``@schedule`` and ``WorkflowBuilder.schedule``: declared in code, checked at once."""

from __future__ import annotations

import pytest

from cloaca_django import Context, WorkflowBuilder, schedule, task
from cloaca_django.core import registry
from cloaca_django.errors import (
    BuilderClosed,
    InvalidCronExpression,
    InvalidName,
    InvalidOption,
    InvalidOptionType,
    InvalidTimezone,
    NoOpenBuilder,
    UnknownOption,
)


def declared_of(workflow_name):
    """Return name and expression of what a workflow declares, in order."""
    schedules = registry.find(workflow_name).schedules
    return [(one.name, one.facts["cron_expression"]) for one in schedules]


def test_a_plain_function_becomes_a_workflow_of_one_task():
    @schedule("0 2 * * *", timezone="Europe/Berlin", priority=3, context=Context({"a": 1}))
    def nightly(context):
        return context

    workflow = registry.find("nightly")
    assert [(one.name, one.function) for one in workflow.tasks] == [("nightly", nightly)]
    assert declared_of("nightly") == [("nightly", "0 2 * * *")]
    facts = workflow.schedules[0].facts
    assert (facts["timezone"], facts["priority"]) == ("Europe/Berlin", 3)
    assert facts["context"] == Context({"a": 1})


def test_the_function_is_returned_unchanged():
    def body(context):
        """Do nothing."""

    assert schedule("@daily")(body) is body


def test_a_coroutine_function_will_do():
    @schedule("@hourly")
    async def tick(context):
        pass

    assert registry.find("tick").tasks[0].is_async


def test_stacked_decorators_are_schedules_of_one_workflow():
    @schedule("0 12 * * *", name="noon")
    @schedule("0 0 * * *")
    def twice(context):
        pass

    assert len(registry.find("twice").tasks) == 1
    assert declared_of("twice") == [("twice", "0 0 * * *"), ("noon", "0 12 * * *")]


def test_stacked_decorators_need_names():
    with pytest.raises(InvalidOption, match="name must be given and differ"):

        @schedule("0 12 * * *")
        @schedule("0 0 * * *")
        def twice(context):
            pass


def test_inside_a_block_it_is_a_schedule_of_that_workflow():
    with WorkflowBuilder("w"):

        @schedule("0 2 * * *")
        @task()
        def a(context):
            pass

        @task(dependencies=["a"])
        def b(context):
            pass

    assert registry.names() == ["w"]
    assert [one.name for one in registry.find("w").tasks] == ["a", "b"]
    assert declared_of("w") == [("w", "0 2 * * *")]


def test_inside_a_block_the_order_of_the_decorators_does_not_matter():
    with WorkflowBuilder("w"):

        @task()
        @schedule("0 2 * * *")
        def a(context):
            pass

    assert declared_of("w") == [("w", "0 2 * * *")]


def test_a_builder_declares_as_many_as_it_is_told():
    with WorkflowBuilder("w") as builder:
        builder.schedule("0 2 * * *")
        builder.schedule("0 3 * * 1", timezone="Asia/Tokyo", name="weekly", catchup_policy="skip")
        task(id="a")(lambda context: None)
        with pytest.raises(InvalidOption, match="another schedule of this workflow has this one"):
            builder.schedule("0 4 * * *")
        with pytest.raises(InvalidOption, match="name must be given"):
            builder.schedule("0 4 * * *", name="weekly")
    assert declared_of("w") == [("w", "0 2 * * *"), ("weekly", "0 3 * * 1")]


def test_a_task_of_a_registered_workflow_can_be_scheduled_afterwards():
    with WorkflowBuilder("w"):

        @task()
        def a(context):
            pass

    schedule("@daily", name="late")(a)
    assert registry.names() == ["w"]
    assert declared_of("w") == [("late", "@daily")]


def test_the_name_is_that_under_which_the_workflow_is_registered():
    with WorkflowBuilder("made", workflow="known") as builder:
        builder.schedule("@daily")
        task(id="a")(lambda context: None)
    assert declared_of("known") == [("known", "@daily")]


def test_schedules_are_no_part_of_the_version():
    def define(*expressions):
        with WorkflowBuilder("w") as builder:
            for at, expression in enumerate(expressions):
                builder.schedule(expression, name=f"s{at}")
            task(id="a")(lambda context: None)
        return registry.find("w")

    plain, scheduled, other = define(), define("@daily"), define("@hourly", "@weekly")
    assert plain.version == scheduled.version == other.version
    assert plain.graph_text() == scheduled.graph_text()


def test_defining_a_workflow_again_replaces_its_schedules():
    for expression in ("0 1 * * *", "0 2 * * *"):

        @schedule(expression)
        def nightly(context):
            pass

    assert declared_of("nightly") == [("nightly", "0 2 * * *")]


def test_a_workflow_under_another_name_keeps_its_schedules():
    @schedule("@daily")
    def nightly(context):
        pass

    renamed = registry.find("nightly").renamed("other")
    assert renamed.schedules == registry.find("nightly").schedules


BAD = [
    (("nope",), {}, InvalidCronExpression),
    (("0 0 30 2 *",), {}, InvalidCronExpression),
    (("@daily",), {"timezone": "Mars/X"}, InvalidTimezone),
    (("@daily",), {"name": ""}, InvalidOption),
    (("@daily",), {"enabled": "no"}, InvalidOptionType),
    (("@daily",), {"catchup": "all"}, UnknownOption),
]


@pytest.mark.parametrize(("given", "facts", "kind"), BAD)
def test_a_bad_declaration_is_an_error_where_it_is_made_and_registers_nothing(given, facts, kind):
    with pytest.raises(kind) as caught:

        @schedule(*given, **facts)
        def broken(context):
            pass

    assert "broken" not in registry.names()
    if kind not in {InvalidCronExpression, InvalidTimezone}:
        assert "schedule of workflow 'broken'" in str(caught.value)
    with pytest.raises(kind), WorkflowBuilder("w") as builder:
        builder.schedule(*given, **facts)
    assert registry.names() == []


def test_what_is_no_named_function_is_refused():
    with pytest.raises(InvalidName):
        schedule("@daily")(lambda context: None)
    with pytest.raises((InvalidName, TypeError)):
        schedule("@daily")(7)
    assert registry.names() == []


def test_a_body_that_cannot_be_called_is_refused():
    with pytest.raises(ValueError, match=r"body|argument"):

        @schedule("@daily")
        def takes_nothing():
            pass

    assert registry.names() == []


def test_a_finished_builder_takes_no_schedule():
    with WorkflowBuilder("w") as builder:
        task(id="a")(lambda context: None)
    with pytest.raises(BuilderClosed):
        builder.schedule("@daily")


def test_a_task_outside_of_a_block_is_still_refused():
    with pytest.raises(NoOpenBuilder):

        @schedule("@daily")
        @task()
        def nightly(context):
            pass
