"""Every error the package raises, and the text of each. Nothing here knows why it is raised.

    CloacaError
    ├── InvalidInput (ValueError)
    │   ├── InvalidDatabaseURL (RuntimeError)
    │   ├── InvalidSchemaName ── InvalidSchemaNameType (TypeError)
    │   ├── InvalidCronExpression, InvalidTimezone, InvalidTimestamp
    │   ├── InvalidIdentifier ── InvalidIdentifierType (TypeError)
    │   ├── InvalidPage ── InvalidPageType (TypeError)
    │   ├── InvalidConfig ── InvalidConfigType (TypeError), ConfigOutOfRange (OverflowError)
    │   ├── InvalidContext
    │   │   ├── InvalidContextType (TypeError), ContextTooLarge
    │   │   └── ContextKeyExists, MalformedContext, UnreadableContext
    │   ├── InvalidParams
    │   ├── InvalidDefinition
    │   │   ├── InvalidName ── InvalidNameType (TypeError)
    │   │   ├── InvalidNamespace
    │   │   ├── InvalidOption ── InvalidOptionType (TypeError), UnknownChoice,
    │   │   │                    OptionOutOfRange (OverflowError)
    │   │   ├── UnknownOption (TypeError), ConflictingOptions, InvalidReference
    │   │   ├── InvalidBody (TypeError)
    │   │   ├── InvalidTriggerRule, UnknownOperator
    │   │   ├── NoOpenBuilder, BuilderClosed, TaskNotFound, DuplicateWorkflow
    │   │   ├── ConstructorFailed, DuplicateSchedule
    │   │   └── InvalidTaskGraph ── EmptyWorkflow, DuplicateTask, UnknownDependency,
    │   │                           ForeignDependency, AmbiguousDependency,
    │   │                           CircularDependency, UnrelatedRule
    │   ├── WorkflowNotFound, VersionNotFound, ScheduleNotFound, RunNotFound, TenantNotFound
    │   └── IdempotencyConflict, ScheduleExists, NothingToImport
    ├── ContextKeyNotFound (KeyError)
    ├── DatabaseUnreachable (ValueError, RuntimeError) ── SchemaUnusable
    ├── WaitTimeout (TimeoutError, ValueError)
    ├── UnexpectedResult (TypeError), TaskCancelled, TaskFenced, TransactionLeftOpen
    ├── WorkflowsNotImported (ImportError), MissingExtra (ImportError)
    └── InvalidState (RuntimeError)
        ├── RunnerClosed, HandleConsumed, CronDisabled, NoDatabase (ValueError)
        ├── WouldDeadlock, OperationFailed, NotInTenant, InvalidTransition, RunNotFinished,
        │   NotMigrated
        └── ProvisioningFailed ── InvalidTenant (ValueError)

An error owns its text: what was given, what is allowed, what to do. No text ever holds a
password or a context's value.
"""

from cloaca_django.errors.definitions import (
    AmbiguousDependency,
    BuilderClosed,
    CircularDependency,
    ConflictingOptions,
    ConstructorFailed,
    DuplicateSchedule,
    DuplicateTask,
    DuplicateWorkflow,
    EmptyWorkflow,
    ForeignDependency,
    InvalidBody,
    InvalidName,
    InvalidNamespace,
    InvalidNameType,
    InvalidOption,
    InvalidOptionType,
    InvalidReference,
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
from cloaca_django.errors.execution import (
    HandleConsumed,
    NotMigrated,
    RunNotFinished,
    RunNotFound,
    TaskCancelled,
    TaskFenced,
    TransactionLeftOpen,
    UnexpectedResult,
    WorkflowsNotImported,
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
    InvalidIdentifierType,
    InvalidPage,
    InvalidPageType,
    InvalidParams,
    InvalidSchemaName,
    InvalidSchemaNameType,
    InvalidTimestamp,
    InvalidTimezone,
    MalformedContext,
    NothingToImport,
    ScheduleExists,
    ScheduleNotFound,
    TenantNotFound,
    UnreadableContext,
    VersionNotFound,
    WorkflowNotFound,
)
from cloaca_django.errors.running import (
    CronDisabled,
    DatabaseUnreachable,
    InvalidTenant,
    InvalidTransition,
    MissingExtra,
    NoDatabase,
    NotInTenant,
    OperationFailed,
    ProvisioningFailed,
    RunnerClosed,
    SchemaUnusable,
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
    "AmbiguousDependency",
    "BuilderClosed",
    "CircularDependency",
    "CloacaError",
    "ConfigOutOfRange",
    "ConflictingOptions",
    "ConstructorFailed",
    "ContextKeyExists",
    "ContextKeyNotFound",
    "ContextTooLarge",
    "CronDisabled",
    "DatabaseUnreachable",
    "DuplicateSchedule",
    "DuplicateTask",
    "DuplicateWorkflow",
    "EmptyWorkflow",
    "ForeignDependency",
    "HandleConsumed",
    "IdempotencyConflict",
    "InvalidBody",
    "InvalidConfig",
    "InvalidConfigType",
    "InvalidContext",
    "InvalidContextType",
    "InvalidCronExpression",
    "InvalidDatabaseURL",
    "InvalidDefinition",
    "InvalidIdentifier",
    "InvalidIdentifierType",
    "InvalidInput",
    "InvalidName",
    "InvalidNameType",
    "InvalidNamespace",
    "InvalidOption",
    "InvalidOptionType",
    "InvalidPage",
    "InvalidPageType",
    "InvalidParams",
    "InvalidReference",
    "InvalidSchemaName",
    "InvalidSchemaNameType",
    "InvalidState",
    "InvalidTaskGraph",
    "InvalidTenant",
    "InvalidTimestamp",
    "InvalidTimezone",
    "InvalidTransition",
    "InvalidTriggerRule",
    "MalformedContext",
    "MissingExtra",
    "NoDatabase",
    "NoOpenBuilder",
    "NotInTenant",
    "NotMigrated",
    "NothingToImport",
    "OperationFailed",
    "OptionOutOfRange",
    "ProvisioningFailed",
    "RunNotFinished",
    "RunNotFound",
    "RunnerClosed",
    "ScheduleExists",
    "ScheduleNotFound",
    "SchemaUnusable",
    "TaskCancelled",
    "TaskFenced",
    "TaskNotFound",
    "TenantNotFound",
    "TransactionLeftOpen",
    "UnexpectedResult",
    "UnknownChoice",
    "UnknownDependency",
    "UnknownOperator",
    "UnknownOption",
    "UnreadableContext",
    "UnrelatedRule",
    "VersionNotFound",
    "WaitTimeout",
    "WorkflowNotFound",
    "WorkflowReplaced",
    "WorkflowsNotImported",
    "WouldDeadlock",
    "listed",
    "nearest",
    "shown",
]
