"""A site that traces: its provider keeps spans in memory, where a test looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.interface.conftest import until


class Traces:
    """What was exported, and a tracer of the site's own."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("site")

    def all(self) -> list[ReadableSpan]:
        """Return the spans that ended, in the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str, *, count: int = 1) -> list[ReadableSpan]:
        """Wait for some spans of a name, and return them."""
        until(lambda: len([s for s in self.all() if s.name == name]) >= count)
        found = [span for span in self.all() if span.name == name]
        assert len(found) == count
        return found

    def one(self, name: str) -> ReadableSpan:
        """Wait for the only span of a name, and return it."""
        return self.named(name)[0]

    def sent(self) -> list[ReadableSpan]:
        """Return the spans of who submitted."""
        return [span for span in self.all() if span.kind is SpanKind.PRODUCER]

    def performed(self) -> list[ReadableSpan]:
        """Return the spans of attempts."""
        return [span for span in self.all() if span.kind is SpanKind.CONSUMER]


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """Trace while the test runs. A process can set a provider once, so it is put in its place."""
    made = Traces()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made.provider)
    yield made
    made.provider.shutdown()
