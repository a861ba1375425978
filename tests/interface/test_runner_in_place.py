"""What task bodies change in place inside of lists and dicts of their context."""

from __future__ import annotations

import pytest

from cloaca_django import Context
from tests import workflows
from tests.interface.conftest import until


def append(context):
    context["items"].append({"n": len(context["items"])})


async def append_async(context):
    append(context)


def append_in_block(context, handle):
    append(context)
    with handle.completing():
        append(context)


def test_the_workflow_everybody_writes_first(runner):
    workflows.chain("w", append, append, append)
    result = runner.execute("w", Context({"items": []}))
    assert result.final_context.to_dict() == {"items": [{"n": 0}, {"n": 1}, {"n": 2}]}


KINDS = {
    "sync": (append, {}, 1),
    "async": (append_async, {}, 1),
    "atomic": (append, {"atomic": True}, 1),
    "completing": (append_in_block, {}, 2),
}


@pytest.fixture(params=["on threads", "at once"])
def any_runner(request, make_runner, settings):
    """A runner whose worker runs the tasks, or one that is EAGER."""
    settings.CLOACA = {"EAGER": request.param == "at once"}
    return make_runner(using="default")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_task_keeps_its_changes(any_runner, kind):
    body, facts, count = KINDS[kind]
    workflows.single("w", body, retry_attempts=1, **facts)
    given = Context({"items": [], "other": [1]})
    result = any_runner.execute("w", given)
    assert result.error_message is None
    assert len(result.final_context["items"]) == count
    assert given == {"items": [], "other": [1]}


def returns_dict(context):
    append(context)
    return {"x": 1}


def returns_copy(context):
    append(context)
    return context.copy()


def returns_another(context):
    append(context)
    return Context({"only": 1})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (returns_dict, {"items": [{"n": 0}], "x": 1}),
        (returns_copy, {"items": [{"n": 0}]}),
        (returns_another, {"only": 1}),
    ],
)
def test_what_a_body_returns_goes_together_with_it(runner, body, expected):
    workflows.single("w", body)
    result = runner.execute("w", Context({"items": []}))
    assert result.final_context.to_dict() == expected


def test_branches_change_what_is_only_theirs(runner):
    seen = []

    def left(context):
        context["sums"]["left"] = 1
        context["list"].append("left")

    def right(context):
        context["sums"]["right"] = 2
        context["list"].append("right")

    workflows.diamond("w", left=left, right=right, join=lambda c: seen.append(c.to_dict()))
    data = {"sums": {}, "list": ["top"]}
    expected = {"sums": {"left": 1, "right": 2}, "list": ["top", "left", "right"]}
    for _ in range(2):
        assert runner.execute("w", Context(data)).final_context == expected
    assert seen == [expected, expected]


def test_another_attempt_starts_from_what_the_first_one_received(runner):
    seen, held = [], []

    def body(context):
        seen.append(context.to_dict())
        held.append(context["items"])
        append(context)
        if len(seen) == 1:
            raise ValueError("again")

    workflows.chain("w", body, lambda context: held[1].clear(), retry_delay_ms=1)
    result = runner.execute("w", Context({"items": []}))
    assert seen == [{"items": []}, {"items": []}]
    assert result.final_context.to_dict() == {"items": [{"n": 0}]}


def puts_a_set(context):
    context["items"].append({1})


async def puts_a_set_async(context):
    puts_a_set(context)


def puts_a_set_in_block(context, handle):
    with handle.completing():
        puts_a_set(context)


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (puts_a_set, {}),
        (puts_a_set_async, {}),
        (puts_a_set, {"atomic": True}),
        (puts_a_set_in_block, {}),
        (lambda context: (puts_a_set(context), context.copy())[1], {}),
    ],
)
def test_what_json_cannot_hold_fails_the_task_and_names_its_place(any_runner, body, facts):
    workflows.single("w", body, retry_attempts=1, **facts)
    result = any_runner.execute("w", Context({"items": []}))
    assert result.status == "Failed"
    assert "InvalidContextType: Invalid context: $.items[0]: unsupported" in result.error_message
    assert result.final_context == {"items": []}


def test_callbacks_are_told_what_was_changed_in_place(runner):
    told = []
    workflows.single("w", append, on_success=lambda task, context: told.append(context.to_dict()))
    runner.execute("w", Context({"items": []}))
    assert told == [{"items": [{"n": 0}]}]


def test_changes_after_the_completing_block_are_lost_and_logged(runner, caplog):
    def body(context, handle):
        append_in_block(context, handle)
        append(context)

    workflows.single("w", body)
    result = runner.execute("w", Context({"items": []}))
    assert len(result.final_context["items"]) == 2
    # The run ended inside of the block, so execute() may be back before the body is.
    until(lambda: "changed its context or failed after it had completed" in caplog.text)


def test_a_result_is_not_changed_by_who_reads_it(runner):
    workflows.single("w", append)
    result = runner.execute("w", Context({"items": []}))
    result.final_context["items"].append(1)
    assert result.final_context == {"items": [{"n": 0}]}
