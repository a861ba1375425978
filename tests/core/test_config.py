"""DefaultRunnerConfig: defaults, bounds, spellings."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from cloaca_django.core.config import DefaultRunnerConfig, settled
from cloaca_django.errors import ConfigOutOfRange, InvalidConfig, InvalidConfigType

DEFAULTS = {
    "max_concurrent_tasks": 4,
    "executor_poll_interval_ms": 100,
    "scheduler_poll_interval_ms": 100,
    "task_timeout_seconds": 300,
    "pipeline_timeout_seconds": 3600,
    "db_pool_size": 10,
    "enable_recovery": True,
    "enable_cron_scheduling": True,
    "cron_poll_interval_seconds": 30,
    "cron_max_catchup_executions": 100,
    "cron_enable_recovery": True,
    "cron_recovery_interval_seconds": 300,
    "cron_lost_threshold_minutes": 10,
    "cron_max_recovery_age_seconds": 86_400,
    "cron_max_recovery_attempts": 3,
    "durability": "full",
    "workflow_timeout_seconds": 3600,
}
INTEGERS = [name for name, value in DEFAULTS.items() if type(value) is int]
SWITCHES = [name for name, value in DEFAULTS.items() if type(value) is bool]


def test_defaults() -> None:
    assert DefaultRunnerConfig().to_dict() == DEFAULTS
    assert DefaultRunnerConfig.default().scheduler_poll_interval_ms == 100
    assert DefaultRunnerConfig.default() is not DefaultRunnerConfig.default()
    assert list(DefaultRunnerConfig().to_dict())[:3] == list(DEFAULTS)[:3]


def test_fields_are_given_by_keyword_by_position_or_afterwards() -> None:
    config = DefaultRunnerConfig(8, db_pool_size=20)
    config.task_timeout_seconds = 600
    assert (config.max_concurrent_tasks, config.db_pool_size) == (8, 20)
    assert config.to_dict() == {
        **DEFAULTS,
        "max_concurrent_tasks": 8,
        "db_pool_size": 20,
        "task_timeout_seconds": 600,
    }


def test_none_is_the_default_when_constructing_and_no_limit_when_set() -> None:
    config = DefaultRunnerConfig(max_concurrent_tasks=None, pipeline_timeout_seconds=None)
    assert config.to_dict() == DEFAULTS
    config.pipeline_timeout_seconds = None
    assert config.workflow_timeout_seconds is None
    assert config.to_dict()["pipeline_timeout_seconds"] is None
    with pytest.raises(TypeError):
        config.task_timeout_seconds = None  # type: ignore[assignment]


def test_the_timeout_of_runs_has_two_names_and_one_value() -> None:
    config = DefaultRunnerConfig(workflow_timeout_seconds=5)
    assert config.pipeline_timeout_seconds == 5
    config.workflow_timeout_seconds = 6
    assert config.pipeline_timeout_seconds == 6
    assert config.is_set("workflow_timeout_seconds")
    assert config.is_set("pipeline_timeout_seconds")


def test_it_knows_what_was_set() -> None:
    config = DefaultRunnerConfig(max_concurrent_tasks=4)
    config.enable_recovery = True
    assert config.is_set("max_concurrent_tasks")
    assert config.is_set("enable_recovery")
    assert not config.is_set("db_pool_size")
    with pytest.raises(AttributeError, match="no field 'nosuch'"):
        config.is_set("nosuch")


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [True, 1.5, "8", [], float("nan"), float("inf")])
def test_numbers_are_integers(name: str, value: Any) -> None:
    for refuse in (
        lambda: DefaultRunnerConfig(**{name: value}),
        lambda: setattr(DefaultRunnerConfig(), name, value),
    ):
        with pytest.raises(InvalidConfigType, match="must be an int") as caught:
            refuse()
        assert isinstance(caught.value, TypeError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [-1, 10**12])
def test_numbers_out_of_range_are_overflows_and_value_errors(name: str, value: int) -> None:
    for refuse in (
        lambda: DefaultRunnerConfig(**{name: value}),  # type: ignore[arg-type]
        lambda: setattr(DefaultRunnerConfig(), name, value),
    ):
        with pytest.raises(ConfigOutOfRange, match="Invalid configuration: ") as caught:
            refuse()
        assert isinstance(caught.value, OverflowError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_switches_are_bools(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be True or False"):
        setattr(DefaultRunnerConfig(), name, value)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_concurrent_tasks", 0, "max_concurrent_tasks must be > 0"),
        ("max_concurrent_tasks", 513, "must be <= 512"),
        ("db_pool_size", 0, "db_pool_size must be > 0"),
        ("scheduler_poll_interval_ms", 9, "must be >= 10"),
        ("task_timeout_seconds", 0, "an integer 1-604800"),
        ("task_timeout_seconds", 604_801, "must be <= 604800"),
        ("pipeline_timeout_seconds", 0, "pipeline_timeout_seconds must be > 0"),
        ("workflow_timeout_seconds", 0, "pipeline_timeout_seconds must be > 0"),
        ("cron_poll_interval_seconds", 0, "an integer 1-3600"),
        ("cron_poll_interval_seconds", 3601, "must be <= 3600"),
        ("cron_max_catchup_executions", 1001, "must be <= 1000"),
    ],
)
def test_bounds(name: str, value: int, rule: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        DefaultRunnerConfig(**{name: value})  # type: ignore[arg-type]
    assert rule in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("cron_max_catchup_executions", 0)])
def test_zero_is_fine_where_it_means_something(name: str, value: int) -> None:
    assert getattr(DefaultRunnerConfig(**{name: value}), name) == value  # type: ignore[arg-type]


def configured(**fields: Any) -> DefaultRunnerConfig:
    config = DefaultRunnerConfig()
    for name, value in fields.items():
        setattr(config, name, value)
    return config


@pytest.mark.parametrize(
    "config",
    [
        configured(task_timeout_seconds=600, pipeline_timeout_seconds=599),
        configured(workflow_timeout_seconds=1, task_timeout_seconds=2),
    ],
)
def test_a_run_is_given_as_much_time_as_a_task(config: DefaultRunnerConfig) -> None:
    with pytest.raises(InvalidConfig, match="must be at least task_timeout_seconds, which is"):
        settled(config)


@pytest.mark.parametrize(
    "config",
    [
        configured(pipeline_timeout_seconds=1),
        configured(task_timeout_seconds=7200),
        configured(task_timeout_seconds=7200, pipeline_timeout_seconds=7200),
        configured(task_timeout_seconds=7200, pipeline_timeout_seconds=None),
    ],
)
def test_what_is_not_set_contradicts_nothing(config: DefaultRunnerConfig) -> None:
    assert settled(config).to_dict() == config.to_dict()
    assert settled(config) is not config


def test_unknown_fields() -> None:
    with pytest.raises(TypeError):
        DefaultRunnerConfig(foo=1)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        DefaultRunnerConfig().foo = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        DefaultRunnerConfig().foo  # type: ignore[attr-defined]  # noqa: B018


def test_a_copy_is_independent() -> None:
    config = DefaultRunnerConfig(max_concurrent_tasks=2)
    twin = config.copy()
    config.max_concurrent_tasks = 3
    assert twin.max_concurrent_tasks == 2
    assert not twin.is_set("db_pool_size")
    assert pickle.loads(pickle.dumps(twin)).to_dict() == twin.to_dict()


def test_equality_is_identity_and_repr_is_upstreams() -> None:
    assert DefaultRunnerConfig() != DefaultRunnerConfig()
    assert repr(DefaultRunnerConfig()) == (
        "DefaultRunnerConfig(max_concurrent_tasks=4, enable_cron_scheduling=true, db_pool_size=10)"
    )
