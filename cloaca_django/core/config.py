"""DefaultRunnerConfig: what a runner may be told, with bounds. Values only."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from cloaca_django.core.options import FULL, RELAXED
from cloaca_django.errors import ConfigOutOfRange, InvalidConfig, InvalidConfigType

V = TypeVar("V")

HOUR = 3_600
DAY = 24 * HOUR
YEAR = 365 * DAY


class _Field(Generic[V]):
    """One setting: a typed attribute that refuses wrong values."""

    def __init__(self, default: V) -> None:
        self.default = default
        self.name = ""

    def __set_name__(self, owner: type[DefaultRunnerConfig], name: str) -> None:
        self.name = name
        owner.fields[name] = self

    def __get__(self, config: DefaultRunnerConfig, owner: type) -> V:
        value: V = config._given.get(self.name, self.default)
        return value

    def __set__(self, config: DefaultRunnerConfig, value: V) -> None:
        config._given[self.name] = self.checked(value)

    def checked(self, value: Any) -> V:
        """Return ``value``. Raises InvalidConfig, by name and with what is allowed."""
        raise NotImplementedError


class _Switch(_Field[bool]):
    def checked(self, value: Any) -> bool:
        if type(value) is not bool:
            raise InvalidConfigType(self.name, value, "must be True or False")
        return value


class _Integer(_Field[int]):
    def __init__(self, default: int, *, low: int, high: int) -> None:
        super().__init__(default)
        self.low = low
        self.high = high

    def checked(self, value: Any) -> int:
        return _checked_integer(self.name, value, low=self.low, high=self.high)


class _Word(_Field[str]):
    """One of a few words."""

    def __init__(self, default: str, *, accepted: tuple[str, ...]) -> None:
        super().__init__(default)
        self.accepted = accepted

    def checked(self, value: Any) -> str:
        rule = "must be " + " or ".join(map(repr, self.accepted))
        if not isinstance(value, str):
            raise InvalidConfigType(self.name, value, rule)
        if value not in self.accepted:
            raise InvalidConfig(self.name, value, rule)
        return value


class _Limit(_Field["int | None"]):
    """A number of seconds, or None for no limit."""

    def __init__(self, default: int, *, low: int, high: int) -> None:
        super().__init__(default)
        self.low = low
        self.high = high

    def checked(self, value: Any) -> int | None:
        if value is None:
            return None
        return _checked_integer(self.name, value, low=self.low, high=self.high)


def _checked_integer(name: str, value: Any, *, low: int, high: int) -> int:
    rule = f"(an integer {low}-{high})"
    if type(value) is not int:
        raise InvalidConfigType(name, value, f"must be an int {rule}")
    if low <= value <= high:
        return value
    if value > high:
        raise ConfigOutOfRange(name, value, f"must be <= {high} {rule}")
    error = ConfigOutOfRange if value < 0 else InvalidConfig
    # Upstream's phrases, which programs may match on.
    bound = "> 0" if low == 1 else f">= {low}"
    raise error(name, value, f"must be {bound} {rule}")


class DefaultRunnerConfig:
    """Settings of one runner. A field that was not set has its default; see ``is_set``.

    Given to the constructor, ``None`` means the default; set as an attribute, ``None`` means no
    limit and only ``pipeline_timeout_seconds`` takes it. A runner reads its config once.
    """

    __slots__ = ("_given",)

    _given: dict[str, Any]
    fields: ClassVar[dict[str, _Field[Any]]] = {}

    max_concurrent_tasks = _Integer(4, low=1, high=512)
    executor_poll_interval_ms = _Integer(100, low=1, high=HOUR * 1_000)
    scheduler_poll_interval_ms = _Integer(100, low=10, high=HOUR * 1_000)
    task_timeout_seconds = _Integer(300, low=1, high=7 * DAY)
    pipeline_timeout_seconds = _Limit(3_600, low=1, high=YEAR)
    db_pool_size = _Integer(10, low=1, high=1_000)
    enable_recovery = _Switch(True)
    enable_cron_scheduling = _Switch(True)
    cron_poll_interval_seconds = _Integer(30, low=1, high=HOUR)
    cron_max_catchup_executions = _Integer(100, low=0, high=1_000)
    # The rest is accepted so that programs written for upstream run: a fire and its run are
    # one transaction here, so there is nothing to recover.
    cron_enable_recovery = _Switch(True)
    cron_recovery_interval_seconds = _Integer(300, low=1, high=DAY)
    cron_lost_threshold_minutes = _Integer(10, low=0, high=YEAR // 60)
    cron_max_recovery_age_seconds = _Integer(86_400, low=0, high=YEAR)
    cron_max_recovery_attempts = _Integer(3, low=0, high=1_000)
    durability = _Word(FULL, accepted=(FULL, RELAXED))

    def __init__(  # noqa: PLR0917 - upstream's order of fields
        self,
        max_concurrent_tasks: int | None = None,
        executor_poll_interval_ms: int | None = None,
        scheduler_poll_interval_ms: int | None = None,
        task_timeout_seconds: int | None = None,
        pipeline_timeout_seconds: int | None = None,
        db_pool_size: int | None = None,
        enable_recovery: bool | None = None,
        enable_cron_scheduling: bool | None = None,
        cron_poll_interval_seconds: int | None = None,
        cron_max_catchup_executions: int | None = None,
        cron_enable_recovery: bool | None = None,
        cron_recovery_interval_seconds: int | None = None,
        cron_lost_threshold_minutes: int | None = None,
        cron_max_recovery_age_seconds: int | None = None,
        cron_max_recovery_attempts: int | None = None,
        *,
        workflow_timeout_seconds: int | None = None,
        durability: str | None = None,
    ) -> None:
        # The first statement, so these are the arguments and nothing else.
        given = {name: value for name, value in locals().items() if value is not None}
        self._given = {}
        del given["self"]
        for name, value in given.items():
            setattr(self, name, value)

    @staticmethod
    def default() -> DefaultRunnerConfig:
        """Return a config in which nothing is set."""
        return DefaultRunnerConfig()

    @property
    def workflow_timeout_seconds(self) -> int | None:
        """The other spelling of ``pipeline_timeout_seconds``."""
        return self.pipeline_timeout_seconds

    @workflow_timeout_seconds.setter
    def workflow_timeout_seconds(self, value: int | None) -> None:
        self.pipeline_timeout_seconds = value

    def is_set(self, name: str) -> bool:
        """Whether a field was given a value, be it the default's."""
        if name == "workflow_timeout_seconds":
            name = "pipeline_timeout_seconds"
        if name not in self.fields:
            raise AttributeError(f"DefaultRunnerConfig has no field {name!r}")
        return name in self._given

    def copy(self) -> DefaultRunnerConfig:
        """Return an independent config with the same fields set."""
        twin = DefaultRunnerConfig()
        twin._given = dict(self._given)
        return twin

    def to_dict(self) -> dict[str, Any]:
        """Return every field, the timeout of runs under both its names."""
        values = {name: getattr(self, name) for name in self.fields}
        return {**values, "workflow_timeout_seconds": self.pipeline_timeout_seconds}

    def __repr__(self) -> str:
        return (
            f"DefaultRunnerConfig(max_concurrent_tasks={self.max_concurrent_tasks}, "
            f"enable_cron_scheduling={str(self.enable_cron_scheduling).lower()}, "
            f"db_pool_size={self.db_pool_size})"
        )


def settled(config: DefaultRunnerConfig) -> DefaultRunnerConfig:
    """Return a copy for a runner to keep. Raises InvalidConfig when fields contradict each other.

    Only now: while they are set one after the other, the order is the caller's.
    """
    run, task = config.pipeline_timeout_seconds, config.task_timeout_seconds
    is_given = config.is_set("pipeline_timeout_seconds") and config.is_set("task_timeout_seconds")
    if is_given and run is not None and run < task:
        rule = f"must be at least task_timeout_seconds, which is {task}"
        raise InvalidConfig("pipeline_timeout_seconds", run, rule)
    return config.copy()
