"""The public names: exactly what is importable, and all that the documentation promises."""

from __future__ import annotations

from types import ModuleType

import cloaca_django as cloaca

PROMISED = {
    "BackoffStrategy",
    "CloacaError",
    "Context",
    "DatabaseAdmin",
    "DefaultRunner",
    "DefaultRunnerConfig",
    "PipelineResult",
    "RetryCondition",
    "RetryPolicy",
    "RetryPolicyBuilder",
    "TaskHandle",
    "TaskNamespace",
    "TenantConfig",
    "TenantCredentials",
    "Workflow",
    "WorkflowBuilder",
    "WorkflowContext",
    "WorkflowResult",
    "all_of",
    "always",
    "any_of",
    "context_value",
    "none_of",
    "register_workflow_constructor",
    "task",
    "task_failed",
    "task_skipped",
    "task_success",
    "workflow_params",
}


def test_what_is_promised_is_public():
    assert set(cloaca.__all__) >= PROMISED


def test_every_public_name_can_be_imported():
    missing = [name for name in cloaca.__all__ if not hasattr(cloaca, name)]
    assert missing == []


def test_nothing_else_is_public():
    extra = [
        name
        for name, value in vars(cloaca).items()
        if not name.startswith("_") and name not in cloaca.__all__
        # Its modules show up as they are imported; names of other packages are not ours to offer.
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", "").startswith("cloaca_django")
    ]  # fmt: skip
    assert extra == []


def test_names_are_listed_once_and_shown_by_dir():
    assert sorted(set(cloaca.__all__)) == sorted(cloaca.__all__)
    assert set(cloaca.__all__) <= set(dir(cloaca))


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(cloaca, "nonsense")


def test_errors_say_they_come_from_the_package():
    for name in cloaca.__all__:
        value = getattr(cloaca, name)
        if isinstance(value, type):
            assert value.__module__.startswith("cloaca_django"), name
