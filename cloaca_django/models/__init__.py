"""Tables, constraints and indexes. Nothing here writes: rows move through ``engine`` only."""

from cloaca_django.models.runs import PipelineExecution, TaskAttempt, TaskExecution, TaskLog
from cloaca_django.models.schedules import CronExecution, CronSchedule
from cloaca_django.models.workflows import Worker, WorkflowControl, WorkflowDefinition

__all__ = [
    "CronExecution",
    "CronSchedule",
    "PipelineExecution",
    "TaskAttempt",
    "TaskExecution",
    "TaskLog",
    "Worker",
    "WorkflowControl",
    "WorkflowDefinition",
]
