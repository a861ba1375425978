"""Every error the package raises, and the text of each. Nothing here knows why it is raised.

    CloacaError
    ├── InvalidInput (ValueError)
    │   ├── InvalidDatabaseURL
    │   ├── InvalidSchemaName
    │   ├── InvalidCronExpression, InvalidTimezone, InvalidTimestamp
    │   ├── InvalidIdentifier, InvalidPage
    │   ├── InvalidConfig ── InvalidConfigType (TypeError), ConfigOutOfRange (OverflowError)
    │   ├── InvalidContext
    │   │   ├── InvalidContextType (TypeError), ContextTooLarge
    │   │   └── ContextKeyExists, MalformedContext, UnreadableContext
    │   ├── InvalidParams
    │   ├── InvalidDefinition
    │   │   ├── InvalidName, InvalidOption ── InvalidOptionType (TypeError), OptionOutOfRange
    │   │   ├── UnknownOption (TypeError), ConflictingOptions
    │   │   ├── InvalidTriggerRule, UnknownOperator
    │   │   ├── NoOpenBuilder, BuilderClosed, TaskNotFound, DuplicateWorkflow
    │   │   ├── ConstructorFailed
    │   │   └── InvalidTaskGraph ── EmptyWorkflow, DuplicateTask, UnknownDependency,
    │   │                           ForeignDependency, CircularDependency, UnrelatedRule
    │   ├── WorkflowNotFound, ScheduleNotFound
    │   └── IdempotencyConflict
    ├── ContextKeyNotFound (KeyError)
    ├── DatabaseUnreachable (ValueError, RuntimeError)
    ├── WaitTimeout (TimeoutError, ValueError)
    └── InvalidState (RuntimeError)
        ├── RunnerClosed (ValueError)
        └── WouldDeadlock, NotInTenant, InvalidTransition

An error owns its text: what was given, what is allowed, what to do. No text ever holds a
password or a context's value.
"""

from cloaca_django.errors.definitions import (
    BuilderClosed,
    CircularDependency,
    ConflictingOptions,
    ConstructorFailed,
    DuplicateTask,
    DuplicateWorkflow,
    EmptyWorkflow,
    ForeignDependency,
    InvalidName,
    InvalidOption,
    InvalidOptionType,
    InvalidTaskGraph,
    InvalidTriggerRule,
    NoOpenBuilder,
    OptionOutOfRange,
    TaskNotFound,
    UnknownChoice,
    UnknownDependency,
    UnknownOperator,
    UnknownOption,
    UnrelatedRule,
    WorkflowReplaced,
)
from cloaca_django.errors.inputs import (
    ConfigOutOfRange,
    ContextKeyExists,
    ContextKeyNotFound,
    ContextTooLarge,
    IdempotencyConflict,
    InvalidConfig,
    InvalidConfigType,
    InvalidContext,
    InvalidContextType,
    InvalidCronExpression,
    InvalidDatabaseURL,
    InvalidIdentifier,
    InvalidPage,
    InvalidParams,
    InvalidSchemaName,
    InvalidTimestamp,
    InvalidTimezone,
    MalformedContext,
    ScheduleNotFound,
    UnreadableContext,
    WorkflowNotFound,
)
from cloaca_django.errors.running import (
    DatabaseUnreachable,
    InvalidTransition,
    NotInTenant,
    RunnerClosed,
    WaitTimeout,
    WouldDeadlock,
)
from cloaca_django.errors.tree import (
    CloacaError,
    InvalidDefinition,
    InvalidInput,
    InvalidState,
    listed,
    nearest,
    shown,
)

__all__ = [
    "BuilderClosed",
    "CircularDependency",
    "CloacaError",
    "ConfigOutOfRange",
    "ConflictingOptions",
    "ConstructorFailed",
    "ContextKeyExists",
    "ContextKeyNotFound",
    "ContextTooLarge",
    "DatabaseUnreachable",
    "DuplicateTask",
    "DuplicateWorkflow",
    "EmptyWorkflow",
    "ForeignDependency",
    "IdempotencyConflict",
    "InvalidConfig",
    "InvalidConfigType",
    "InvalidContext",
    "InvalidContextType",
    "InvalidCronExpression",
    "InvalidDatabaseURL",
    "InvalidDefinition",
    "InvalidIdentifier",
    "InvalidInput",
    "InvalidName",
    "InvalidOption",
    "InvalidOptionType",
    "InvalidPage",
    "InvalidParams",
    "InvalidSchemaName",
    "InvalidState",
    "InvalidTaskGraph",
    "InvalidTimestamp",
    "InvalidTimezone",
    "InvalidTransition",
    "InvalidTriggerRule",
    "MalformedContext",
    "NoOpenBuilder",
    "NotInTenant",
    "OptionOutOfRange",
    "RunnerClosed",
    "ScheduleNotFound",
    "TaskNotFound",
    "UnknownChoice",
    "UnknownDependency",
    "UnknownOperator",
    "UnknownOption",
    "UnreadableContext",
    "UnrelatedRule",
    "WaitTimeout",
    "WorkflowNotFound",
    "WorkflowReplaced",
    "WouldDeadlock",
    "listed",
    "nearest",
    "shown",
]
