"""Spans as OpenTelemetry has them. Its API is used if the site does, and nowhere else.

Knows nothing of runs. A trace's context travels as text, the ``traceparent`` of W3C Trace Context.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cloaca_django import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

Attributes = Mapping[str, str | int | bool]

SEND = "send"
PROCESS = "process"
_HEADER = "traceparent"
# The instrumentations of drivers look for this key, and keep silent.
_SILENCE = "suppress_instrumentation"


class Quiet:
    """The span of whoever does not trace: a block in which nothing is noted."""

    traceparent: str | None = None
    context: SpanContext | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def say(self, attributes: Attributes) -> None:
        """Add attributes."""

    def fail(self, kind: str, message: str, trace: str = "") -> None:
        """Note an exception, as texts, and that the span failed with it."""

    def end(self) -> None:
        """End before the block does: what comes after is not of interest any more."""


QUIET = Quiet()


class Recorded(Quiet):
    """A span that was begun, current while its block runs, and ended with it."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.context = span.get_span_context()
        self.traceparent = _text_of(span)

    def __enter__(self) -> Self:
        from opentelemetry import context, trace  # noqa: PLC0415 - see the module's first line

        self._mark = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        from opentelemetry import context  # noqa: PLC0415 - see the module's first line

        context.detach(self._mark)
        if kind is not None:
            self.fail(kind.__qualname__, str(error))
        self.end()

    def say(self, attributes: Attributes) -> None:
        if self._span.is_recording():
            self._span.set_attributes(attributes)

    def fail(self, kind: str, message: str, trace: str = "") -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see the module's first line

        if self._span.is_recording():
            said = {"exception.type": kind, "exception.message": message}
            self._span.add_event(
                "exception", said | ({"exception.stacktrace": trace} if trace else {})
            )
            self._span.set_attribute("error.type", kind)
            self._span.set_status(StatusCode.ERROR, message)

    def end(self) -> None:
        # Two threads may come to this: one ends it, and an ended one records nothing.
        if self._span.is_recording():
            self._span.end()


def is_on() -> bool:
    """Say whether the site traces: it has set a tracer provider."""
    api = _api()
    return api is not None and not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider)


def begun(
    operation: str,
    name: str,
    attributes: Attributes,
    *,
    parent: str | None = None,
    links: Iterable[SpanContext] = (),
) -> Quiet:
    """Begin a span of an operation, as a block to enter.

    ``parent`` is a traceparent; without one it is the span that is current. Precondition: is_on().
    """
    from opentelemetry import trace  # noqa: PLC0415 - see the module's first line

    kind = trace.SpanKind.PRODUCER if operation == SEND else trace.SpanKind.CONSUMER
    tracer = trace.get_tracer("cloaca_django", VERSION)
    said = {
        "messaging.system": "cloaca",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    span = tracer.start_span(
        f"{operation} {name}", _context_of(parent), kind, {**said, **attributes},
        [trace.Link(context) for context in links],
    )  # fmt: skip
    return Recorded(span)


def silence() -> None:
    """Keep instrumented drivers from making spans of what this thread asks for from now on.

    A thread of the engine's own asks all the time, and each answer would be a trace by itself.
    """
    if _api() is not None:
        from opentelemetry import context  # noqa: PLC0415 - see the module's first line

        context.attach(context.set_value(_SILENCE, True))


def flush(seconds: float) -> None:
    """Let what was recorded be exported, for a process that ends without its exit handlers."""
    if is_on():
        # Of the SDK; the API knows nothing of exporters.
        force: Any = getattr(_api().get_tracer_provider(), "force_flush", None)
        if force is not None:
            force(int(seconds * 1000))


def _api() -> Any:
    """Return the API if somebody imported it, as whoever sets a provider has; else None.

    While it is being imported by another thread it is not there yet.
    """
    api = sys.modules.get("opentelemetry.trace")
    return api if hasattr(api, "get_tracer_provider") else None


def _text_of(span: Span) -> str | None:
    """Return the context of a span as text; None for one that belongs to no trace."""
    from opentelemetry import trace  # noqa: PLC0415 - see the module's first line

    carrier: dict[str, str] = {}
    _propagator().inject(carrier, trace.set_span_in_context(span))
    return carrier.get(_HEADER)


def _context_of(text: str | None) -> Context | None:
    """Return the context that a text names; what makes no sense names a new trace."""
    from opentelemetry.context import Context  # noqa: PLC0415 - see the module's first line

    return None if text is None else _propagator().extract({_HEADER: text}, Context())


@cache
def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - see above
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator()
