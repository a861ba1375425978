"""``@task``: what it accepts, what it refuses and what it leaves alone."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cloaca_django.core import registry
from cloaca_django.core.builder import WorkflowBuilder
from cloaca_django.core.conditions import RetryCondition
from cloaca_django.core.decorator import task
from cloaca_django.core.retry import BackoffStrategy, RetryPolicy
from cloaca_django.core.rules import all_of, always, task_success
from cloaca_django.core.task import Policy, Task
from cloaca_django.errors import (
    InvalidBody,
    InvalidName,
    InvalidOption,
    InvalidOptionType,
    InvalidReference,
    InvalidTriggerRule,
    NoOpenBuilder,
    OptionOutOfRange,
    UnknownChoice,
    UnknownOption,
)


def body(context: Any) -> None:
    pass


def declared(function: Callable[..., Any] = body, **options: Any) -> Task:
    """Declare one task, with the tasks ``x`` and ``y`` before it, and return it."""
    with registry.isolated():
        with WorkflowBuilder("w"):
            for name in ("x", "y"):
                task(id=name)(lambda context: None)
            assert task(**options)(function) is function
        return next(one for one in registry.find("w").tasks if one.name not in {"x", "y"})


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"id": ""}, InvalidName, "Invalid task name '': 1 to 255 letters"),
    ({"id": "a" * 256}, InvalidName, "1 to 255 letters"),
    ({"id": "a/b"}, InvalidName, "letters, digits, '_', '-' and '.'"),
    ({"id": "a::b"}, InvalidName, "Invalid task name 'a::b'"),
    ({"id": "a\n"}, InvalidName, "Invalid task name 'a\\n'"),
    ({"id": "\U0001f600"}, InvalidName, "Invalid task name"),
    ({"id": "a b"}, InvalidName, "Invalid task name"),
    ({"id": "-a"}, InvalidName, "starting with a letter"),
    ({"id": 1}, TypeError, "Invalid task name 1"),
    ({"retry_attempts": -1}, OptionOutOfRange, "must be an integer 0-1000, not -1"),
    ({"retry_attempts": -1}, OverflowError, "retry_attempts must be an integer"),
    ({"retry_attempts": 10**9}, OptionOutOfRange, "must be an integer 0-1000"),
    ({"retry_attempts": True}, InvalidOptionType, "must be an integer 0-1000, not True"),
    ({"retry_attempts": 1.5}, TypeError, "must be an integer 0-1000"),
    ({"retry_attempts": "3"}, TypeError, "must be an integer 0-1000"),
    ({"retry_backoff": "zzz"}, UnknownChoice, "unknown retry_backoff 'zzz'"),
    (
        {"retry_backoff": "exponentail"},
        UnknownChoice,
        'expected one of "fixed", "linear", "exponential"; did you mean \'exponential\'?',
    ),
    ({"retry_backoff": 1}, TypeError, "retry_backoff must be one of"),
    ({"retry_condition": "alll"}, UnknownChoice, 'expected one of "never", "transient", "all"'),
    ({"retry_condition": int}, TypeError, "retry_condition must be one of"),
    ({"retry_condition": []}, InvalidOption, "retry_condition needs exception classes"),
    ({"retry_condition": [int]}, TypeError, "must be exception classes"),
    ({"retry_delay_ms": -1}, OptionOutOfRange, "retry_delay_ms must be an integer 0-604800000"),
    ({"retry_delay_ms": 0.5}, TypeError, "retry_delay_ms must be an integer"),
    ({"retry_max_delay_ms": 10**12}, OptionOutOfRange, "retry_max_delay_ms"),
    ({"retry_jitter": "yes"}, TypeError, "retry_jitter must be a bool, not 'yes'"),
    ({"retry_jitter": 1}, InvalidOptionType, "retry_jitter must be a bool"),
    ({"retry": "fixed"}, InvalidOptionType, "retry must be a RetryPolicy"),
    ({"timeout_seconds": 0}, OptionOutOfRange, "timeout_seconds must be a number 1-604800"),
    ({"timeout_seconds": -1}, OptionOutOfRange, "must be a number 1-604800"),
    ({"timeout_seconds": float("inf")}, OptionOutOfRange, "must be a number 1-604800"),
    ({"timeout_seconds": float("nan")}, OptionOutOfRange, "must be a number 1-604800"),
    ({"timeout_seconds": 365 * 86_400}, OptionOutOfRange, "must be a number 1-604800"),
    ({"timeout_seconds": True}, InvalidOptionType, "must be a number"),
    ({"timeout_seconds": "5"}, TypeError, "must be a number"),
    ({"atomic": 1}, InvalidOptionType, "atomic must be a bool"),
    ({"on_success": "f"}, InvalidOptionType, "on_success must be a function"),
    ({"on_failure": 1}, TypeError, "on_failure must be a function"),
    ({"dependencies": "a"}, InvalidOptionType, "use ['a']"),
    ({"dependencies": {"a"}}, TypeError, "must be a list of task ids or functions"),
    ({"dependencies": [1]}, InvalidReference, "Dependency 0 must be either a string or a function"),
    ({"trigger_rules": "always"}, InvalidTriggerRule, "invalid trigger rule"),
    ({"trigger_rules": {"type": "Nope"}}, InvalidTriggerRule, "unknown type 'Nope'"),
    ({"retries": 3}, UnknownOption, "unexpected argument 'retries'; did you mean 'retry_attempts'"),
    ({"timeout": 3}, UnknownOption, "did you mean 'timeout_seconds'"),
    ({"retry_policy": 3}, TypeError, "did you mean 'retry'"),
    ({"dependancies": []}, UnknownOption, "did you mean 'dependencies'"),
    ({"invokes": 1}, UnknownOption, "unexpected argument 'invokes'"),
]


@pytest.mark.parametrize(("options", "kind", "fragment"), REFUSED)
def test_a_bad_option_is_refused_where_it_is_written(
    options: dict[str, Any], kind: type[Exception], fragment: str
) -> None:
    with pytest.raises(kind) as caught:
        task(**options)
    assert isinstance(caught.value, ValueError)
    assert fragment in str(caught.value)


def test_an_error_names_the_task() -> None:
    with pytest.raises(OptionOutOfRange, match="task 'load': retry_attempts"):
        task(id="load", retry_attempts=-1)


def test_a_policy_excludes_the_single_keywords() -> None:
    with pytest.raises(ValueError, match=r"cannot be combined .*got: retry_attempts.* not both"):
        task(retry=RetryPolicy.default(), retry_attempts=2)


def test_it_takes_keywords_only() -> None:
    with pytest.raises(TypeError, match="options must be given by keyword"):
        task(body)


def test_it_needs_an_open_builder() -> None:
    with pytest.raises(NoOpenBuilder, match="No workflow context available"):
        task(id="a")(body)


def test_builders_of_other_threads_are_not_open() -> None:
    caught: list[Exception] = []

    def declare_elsewhere() -> None:
        try:
            task(id="a")(body)
        except NoOpenBuilder as error:
            caught.append(error)

    with WorkflowBuilder("w"):
        task()(body)
        thread = threading.Thread(target=declare_elsewhere)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_the_function_is_returned_as_it_is_and_gives_the_id() -> None:
    assert declared().name == "body"
    assert declared(id="other").name == "other"
    assert declared(id="ünïcode.1-2_3").name == "ünïcode.1-2_3"


def test_options_become_the_policy() -> None:
    found = declared(
        retry_attempts=5,
        retry_backoff="linear",
        retry_delay_ms=500,
        retry_max_delay_ms=7000,
        retry_condition="transient",
        retry_jitter=False,
        timeout_seconds=2,
        atomic=True,
    ).policy
    retry = RetryPolicy(
        max_attempts=5,
        backoff=BackoffStrategy("linear"),
        initial_delay=0.5,
        max_delay=7,
        condition=RetryCondition.transient_only(),
        with_jitter=False,
    )
    assert found == Policy(retry, 2.0, atomic=True)
    assert declared().policy == Policy()


@pytest.mark.parametrize("option", sorted(task.__kwdefaults__ or ()))
def test_none_is_as_if_an_option_were_not_given(option: str) -> None:
    assert declared(**{option: None}).policy == Policy()


def test_an_object_that_never_answers_is_a_task_with_an_id_or_refused() -> None:
    class Mute:
        def fail(self, *given: object) -> Any:
            raise RuntimeError

        __eq__ = __repr__ = __bool__ = __call__ = fail
        __hash__ = None  # type: ignore[assignment]

    with WorkflowBuilder("w"):
        task(id="a")(Mute())
        with pytest.raises(InvalidOptionType, match="id must be given"):
            task()(Mute())


def test_a_strategy_can_be_given_as_a_value() -> None:
    strategy = BackoffStrategy.linear(2)
    assert declared(retry_backoff=strategy).policy.retry.backoff == strategy


def test_a_whole_policy_and_exception_classes_are_accepted() -> None:
    policy = RetryPolicy(max_attempts=1)
    assert declared(retry=policy).policy.retry is policy
    for given in (OSError, (OSError,), [OSError], RetryCondition.exceptions(OSError)):
        condition = declared(retry_condition=given).policy.retry.condition
        assert condition == RetryCondition.exceptions(OSError)


def test_dependencies_are_ids_or_functions() -> None:
    with WorkflowBuilder("w"):

        @task()
        def plain(context: Any) -> None:
            pass

        @task(id="renamed")
        def other(context: Any) -> None:
            pass

        task(id="end", dependencies=[plain, other, "renamed", "public::embedded::w::plain"])(body)
    assert registry.find("w").task("end").dependencies == ("plain", "renamed")


def test_a_wrapped_function_is_found_by_its_name() -> None:
    with WorkflowBuilder("w"):
        task()(body)

        @functools.wraps(body)
        def wrapper(context: Any) -> None:
            pass

        task(id="end", dependencies=(wrapper,))(lambda context: None)
    assert registry.find("w").task("end").dependencies == ("body",)


def test_rules_are_read_in_the_builders_namespace() -> None:
    rule = declared(
        dependencies=["x", "y"],
        trigger_rules=all_of(task_success("public::embedded::w::x"), task_success("y")),
    ).rule
    assert rule is not None
    assert rule.task_names() == {"x", "y"}
    assert declared(trigger_rules=always()).rule is not None
    assert declared().rule is None


class Callable_:  # noqa: N801 - a test double
    def __call__(self, context: Any) -> None:
        pass

    def method(self, context: Any) -> None:
        pass


class AsyncCallable:
    async def __call__(self, context: Any) -> None:
        pass


@pytest.mark.parametrize(
    "function",
    [
        lambda context: None,
        functools.partial(body),
        Callable_(),
        Callable_().method,
        functools.lru_cache(body),
        print,
        dict,
    ],
)
def test_what_has_no_name_of_its_own_needs_an_id(function: Any) -> None:
    with WorkflowBuilder("w"):
        with pytest.raises(InvalidOptionType, match="id must be given"):
            task()(function)
        task(id="named")(function)
    assert registry.find("w").task("named").function is function
    assert registry.find("w").task("named").place


def test_only_functions_can_be_tasks() -> None:
    with WorkflowBuilder("w"):
        task()(body)
        with pytest.raises(TypeError, match="must be a function"):
            task(id="a")("not a function")  # type: ignore[type-var]


def test_a_body_must_take_the_context() -> None:
    def without() -> None:
        pass

    def too_much(context: Any, other: Any) -> None:
        pass

    def keyword(context: Any, *, other: Any) -> None:
        pass

    with WorkflowBuilder("w"):
        task()(body)
        for function in (without, too_much, keyword):
            with pytest.raises(InvalidBody, match=r"must take the context, as in `def body"):
                task()(function)


def test_a_handle_is_given_to_whoever_names_it() -> None:
    def first(context: Any, handle: Any) -> None:
        pass

    def second(context: Any, task_handle: Any) -> None:
        pass

    def third(context: Any, handle: Any = None, other: int = 1) -> None:
        pass

    def not_asked(context: Any, other: Any = None, handle: Any = None) -> None:
        pass

    def by_keyword(context: Any, *, handle: Any = None) -> None:
        pass

    assert [declared(one).wants_handle for one in (first, second, third)] == [True] * 3
    assert [declared(one).wants_handle for one in (not_asked, by_keyword, body)] == [False] * 3


def test_async_bodies_are_known_and_cannot_be_atomic() -> None:
    async def coroutine(context: Any) -> None:
        pass

    assert declared(coroutine).is_async
    assert declared(AsyncCallable(), id="a").is_async
    assert not declared().is_async
    with WorkflowBuilder("w"):
        task()(body)
        with pytest.raises(InvalidOption, match="atomic must be False for an async function"):
            task(atomic=True)(coroutine)


class Yields:
    def __call__(self, context: Any) -> Any:
        yield 1


def yields(context: Any) -> Any:
    yield 1


def yields_with_handle(context: Any, handle: Any) -> Any:
    yield 1


async def yields_async(context: Any) -> Any:
    yield 1


@pytest.mark.parametrize(
    "body", [yields, yields_with_handle, yields_async, Yields(), partial(yields)]
)
def test_a_generator_is_no_body(body: Any) -> None:
    with WorkflowBuilder("w"):
        task(id="good")(lambda context: None)
        with pytest.raises(InvalidBody, match="return when its work is done: it has a yield") as e:
            task(id="bad")(body)
    assert isinstance(e.value, TypeError)
    assert [one.name for one in registry.find("w").tasks] == ["good"]
