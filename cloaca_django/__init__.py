"""Durable workflows inside a Django site: ``import cloaca_django as cloaca``.

The names that touch a database resolve on first use, so that this module may be imported before
Django's apps are ready, and without any settings at all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloaca_django.core.builder import WorkflowBuilder
from cloaca_django.core.conditions import RetryCondition
from cloaca_django.core.config import DefaultRunnerConfig
from cloaca_django.core.context import Context
from cloaca_django.core.decorator import task
from cloaca_django.core.namespace import TaskNamespace, WorkflowContext
from cloaca_django.core.params import workflow_params
from cloaca_django.core.registry import register_workflow_constructor
from cloaca_django.core.result import PipelineResult, WorkflowResult
from cloaca_django.core.retry import (
    BackoffStrategy,
    RetryPolicy,
    RetryPolicyBuilder,
)
from cloaca_django.core.rules import (
    all_of,
    always,
    any_of,
    context_value,
    none_of,
    task_failed,
    task_skipped,
    task_success,
)
from cloaca_django.core.scheduling import schedule
from cloaca_django.core.workflow import Workflow
from cloaca_django.errors import CloacaError

if TYPE_CHECKING:
    from cloaca_django.engine.handle import AsyncTaskHandle, TaskHandle
    from cloaca_django.handles import RunHandle
    from cloaca_django.provisioning import DatabaseAdmin, TenantConfig, TenantCredentials
    from cloaca_django.runner import DefaultRunner
    from cloaca_django.tenant_calls import for_each_tenant

VERSION = __version__ = "0.1.0"

_LAZY = {
    "AsyncTaskHandle": "cloaca_django.engine.handle",
    "DatabaseAdmin": "cloaca_django.provisioning",
    "DefaultRunner": "cloaca_django.runner",
    "RunHandle": "cloaca_django.handles",
    "TaskHandle": "cloaca_django.engine.handle",
    "TenantConfig": "cloaca_django.provisioning",
    "TenantCredentials": "cloaca_django.provisioning",
    "for_each_tenant": "cloaca_django.tenant_calls",
}

__all__ = [
    "AsyncTaskHandle",
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
    "RunHandle",
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
    "for_each_tenant",
    "none_of",
    "register_workflow_constructor",
    "schedule",
    "task",
    "task_failed",
    "task_skipped",
    "task_success",
    "workflow_params",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Models load only in a configured Django; a plain script gets settings of ours.
    import_module("cloaca_django.databases").prepare_site()
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
