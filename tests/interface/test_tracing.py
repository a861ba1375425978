"""OpenTelemetry: one trace a run, one span an attempt, whoever runs it and however it ends."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from cloaca_django import Context, DefaultRunner, tracing
from cloaca_django.engine import spans
from cloaca_django.models import PipelineExecution
from tests import workflows
from tests.interface.conftest import until
from tests.interface.schedules import overdue
from tests.interface.traces import Traces, traces

__all__ = ["traces"]


def parent_of(span):
    return span.parent and span.parent.span_id


def id_of(span):
    return span.context.span_id


class TestARun:
    def test_is_one_trace_that_begins_where_it_was_submitted(self, runner, traces):
        workflows.chain("w", workflows.nothing, workflows.nothing)
        with traces.tracer.start_as_current_span("request") as request:
            runner.execute("w", Context())
        sent = traces.one("send w")
        tasks = [traces.one("process w/a"), traces.one("process w/b")]
        assert parent_of(sent) == request.get_span_context().span_id
        assert [parent_of(task) for task in tasks] == [id_of(sent)] * 2
        assert {span.context.trace_id for span in (sent, *tasks)} == {
            request.get_span_context().trace_id
        }
        assert sent.kind is SpanKind.PRODUCER
        assert {task.kind for task in tasks} == {SpanKind.CONSUMER}

    def test_keeps_its_trace_on_its_way_through_the_database(self, runner, traces):
        workflows.single("w")
        handle = runner.enqueue("w")
        handle.wait(10)
        sent, kept = traces.one("send w"), PipelineExecution.objects.get().traceparent
        flags = f"{sent.context.trace_flags:02x}"
        assert kept == f"00-{sent.context.trace_id:032x}-{sent.context.span_id:016x}-{flags}"
        assert parent_of(traces.one("process w/a")) == id_of(sent)

    def test_says_what_it_is(self, runner, traces):
        workflows.single("w")
        handle = runner.enqueue("w")
        handle.wait(10)
        common = {
            "messaging.system": "cloaca",
            "messaging.destination.name": "default",
            "cloaca.workflow": "w",
            "cloaca.run_id": str(handle.id),
        }
        assert traces.one("send w").attributes == common | {
            "messaging.operation.name": "send", "messaging.operation.type": "send",
        }  # fmt: skip
        found = dict(traces.one("process w/a").attributes)
        assert len(found.pop("messaging.client.id")) == 36
        assert found == common | {
            "messaging.operation.name": "process", "messaging.operation.type": "process",
            "cloaca.task": "a", "cloaca.attempt": 1, "cloaca.outcome": "Completed",
        }  # fmt: skip

    def test_links_a_task_to_those_it_depends_on(self, runner, traces):
        workflows.diamond("w")
        runner.execute("w", Context())
        join = traces.one("process w/join")
        linked = {link.context.span_id for link in join.links}
        assert linked == {id_of(traces.one(f"process w/{side}")) for side in ("left", "right")}
        assert traces.one("process w/top").links == ()

    def test_does_not_say_what_it_works_on(self, runner, traces):
        workflows.single("w", workflows.writes("token", "S3CR3T-CANARY"))
        runner.execute("w", Context({"password": "S3CR3T-CANARY"}))
        assert traces.performed()
        assert not [span for span in traces.all() if "CANARY" in span.to_json()]

    def test_that_nobody_may_trace_stays_untraced(self, runner, traces, monkeypatch):
        """The site that submitted it decides, also for a worker that traces everything."""
        deaf = Traces(sampler=ParentBased(ALWAYS_OFF))
        workflows.single("w")
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", deaf.provider)
        with transaction.atomic():
            handle = runner.enqueue("w")
            flags = int(PipelineExecution.objects.get().traceparent[-2:], 16)
            monkeypatch.setattr(trace, "_TRACER_PROVIDER", traces.provider)
        assert handle.wait(10).status == "Completed"
        runner.enqueue("w").wait(10)
        assert not flags & trace.TraceFlags.SAMPLED
        assert [span.attributes["cloaca.run_id"] for span in traces.performed()] != [str(handle.id)]
        assert len(traces.performed()) == 1

    def test_whose_stored_trace_makes_no_sense_begins_another(self, runner, traces):
        workflows.single("w")
        with transaction.atomic():
            runner.enqueue("w")
            PipelineExecution.objects.update(traceparent="nonsense")
        assert traces.one("process w/a").parent is None


class TestABody:
    def test_runs_inside_its_span(self, runner, traces):
        def body(context):
            with traces.tracer.start_as_current_span("query"):
                pass

        workflows.single("w", body)
        runner.execute("w", Context())
        assert parent_of(traces.one("query")) == id_of(traces.one("process w/a"))

    def test_runs_inside_its_span_if_it_is_async(self, runner, traces):
        async def body(context):
            await asyncio.sleep(0)
            with traces.tracer.start_as_current_span("query"):
                pass

        workflows.fan("w", 3, body)
        runner.execute("w", Context())
        leaves = {id_of(traces.one(f"process w/leaf{at}")) for at in range(3)}
        assert {parent_of(span) for span in traces.named("query", count=3)} == leaves

    def test_runs_inside_its_span_if_it_is_atomic(self, runner, traces):
        def body(context):
            assert connection.in_atomic_block
            with traces.tracer.start_as_current_span("query"):
                pass

        workflows.single("w", body, atomic=True)
        runner.execute("w", Context())
        task = traces.one("process w/a")
        assert parent_of(traces.one("query")) == id_of(task)
        assert task.attributes["cloaca.outcome"] == "Completed"

    def test_leaves_no_span_on_its_thread(self, make_runner, traces):
        seen = []
        workflows.single("w", workflows.boom, retry_attempts=1)
        workflows.single("next", lambda context: seen.append(trace.get_current_span()))
        runner = make_runner(max_concurrent_tasks=1)
        runner.execute("w", Context())
        runner.execute("next", Context())
        assert seen[0].get_span_context().span_id == id_of(traces.one("process next/a"))

    def test_that_submits_continues_its_trace(self, runner, traces):
        workflows.single("inner")
        workflows.single("outer", lambda context: runner.execute("inner", Context()) and None)
        runner.execute("outer", Context())
        assert parent_of(traces.one("send inner")) == id_of(traces.one("process outer/a"))
        assert len({span.context.trace_id for span in traces.all()}) == 1


class TestAnAttempt:
    def test_that_fails_says_so_and_the_next_is_in_the_same_trace(self, runner, traces):
        calls = []

        def body(context):
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("boom")

        workflows.single("w", body, retry_attempts=2, retry_delay_ms=0)
        runner.execute("w", Context())
        first, second = traces.named("process w/a", count=2)
        assert (first.status.status_code, first.status.description) == (
            StatusCode.ERROR, "ValueError: boom",
        )  # fmt: skip
        assert first.attributes["error.type"] == "ValueError"
        assert first.attributes["cloaca.outcome"] == "Failed"
        assert first.attributes["cloaca.will_retry"] is True
        (event,) = first.events
        assert event.name == "exception"
        assert event.attributes["exception.type"] == "ValueError"
        assert 'raise ValueError("boom")' in event.attributes["exception.stacktrace"]
        assert second.status.status_code is StatusCode.UNSET
        assert second.attributes["cloaca.attempt"] == 2
        assert first.context.trace_id == second.context.trace_id

    def test_that_is_the_last_says_that_no_other_follows(self, runner, traces):
        workflows.single("w", workflows.boom, atomic=True, retry_attempts=1)
        runner.execute("w", Context())
        assert traces.one("process w/a").attributes["cloaca.will_retry"] is False

    def test_that_is_out_of_time_ends_its_span_while_the_body_hangs(self, runner, traces, gate):
        workflows.single(
            "w", lambda context: gate.pass_through(), timeout_seconds=1, retry_attempts=1
        )
        runner.execute("w", Context())
        span = traces.one("process w/a")
        assert span.attributes["cloaca.outcome"] == "Timed out"
        assert span.status.status_code is StatusCode.ERROR

    def test_that_was_cancelled_says_that_it_does_not_count(self, runner, traces, gate):
        workflows.single("w", lambda context: gate.pass_through())
        handle = runner.enqueue("w")
        gate.await_arrival()
        handle.cancel()
        until(lambda: runner._own_turn().running == {})
        gate.open()
        assert traces.one("process w/a").attributes["cloaca.outcome"] == spans.REFUSED


class TestSubmitting:
    def test_many_runs_is_one_span(self, runner, traces):
        workflows.single("w")
        handles = runner.enqueue_many("w", [Context({"n": n}) for n in range(3)])
        for handle in handles:
            handle.wait(10)
        sent = traces.one("send w")
        assert sent.attributes["messaging.batch.message_count"] == 3
        tasks = traces.named("process w/a", count=3)
        assert {parent_of(task) for task in tasks} == {id_of(sent)}

    def test_async_is_in_the_trace_of_its_caller(self, runner, traces):
        workflows.single("w")

        async def ask():
            with traces.tracer.start_as_current_span("request"):
                await runner.aenqueue("w")
                return await runner.aexecute("w", Context())

        assert async_to_sync(ask)().status == "Completed"
        request = traces.one("request")
        for sent in traces.named("send w", count=2):
            assert parent_of(sent) == id_of(request)

    def test_a_replay_is_a_span_of_who_asked_for_it(self, runner, traces):
        workflows.single("w", workflows.boom, retry_attempts=1)
        failed = runner.enqueue("w")
        failed.wait(10)
        with traces.tracer.start_as_current_span("request"):
            again = runner.handle(runner.replay(failed.id).id)
        again.wait(10)
        sent = traces.named("send w", count=2)[1]
        assert parent_of(sent) == id_of(traces.one("request"))
        assert parent_of(traces.named("process w/a", count=2)[1]) == id_of(sent)

    def test_what_a_schedule_fires_is_a_trace_of_its_own(self, make_runner, traces):
        workflows.single("w")
        runner = make_runner(scheduler_poll_interval_ms=50, cron_poll_interval_seconds=1)
        schedule = runner.register_cron_workflow("w", "* * * * *", "UTC")
        overdue(schedule)
        task = traces.one("process w/a")
        sent = traces.one("send w")
        assert (sent.parent, parent_of(task)) == (None, id_of(sent))
        assert sent.attributes["cloaca.schedule_id"] == str(schedule)
        assert sent.attributes["cloaca.scheduled_time"].endswith("+00:00")

    def test_that_is_refused_says_so(self, runner, traces):
        workflows.single("w")
        with pytest.raises(TypeError):
            runner.enqueue("w", {"not": "a Context"})
        assert traces.one("send w").status.status_code is StatusCode.ERROR


def test_eager_runs_are_traced_alike(settings, traces, db, workflows_of_test):
    settings.CLOACA = {"EAGER": True}

    async def body(context):
        with traces.tracer.start_as_current_span("query"):
            pass

    workflows.chain("w", workflows.nothing, body)
    with DefaultRunner() as runner:
        runner.execute("w", Context())
    sent, last = traces.one("send w"), traces.one("process w/b")
    assert parent_of(last) == id_of(sent)
    assert [link.context.span_id for link in last.links] == [id_of(traces.one("process w/a"))]
    assert parent_of(traces.one("query")) == id_of(last)


def test_what_is_buffered_leaves_before_a_process_ends_without_its_exit_handlers(monkeypatch):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
    tracing.flush(1.0)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    provider.get_tracer("site").start_span("last words").end()
    assert exporter.get_finished_spans() == ()
    tracing.flush(20.0)
    assert [span.name for span in exporter.get_finished_spans()] == ["last words"]
    provider.shutdown()


def test_only_so_many_spans_are_remembered(runner, traces, monkeypatch):
    monkeypatch.setattr(spans, "REMEMBERED", 5)
    workflows.fan("w", 10)
    runner.execute("w", Context())
    assert len(spans._ended) == 5


def test_what_the_engine_asks_by_itself_is_no_trace(runner, traces):
    from opentelemetry import context

    seen = {}
    workflows.single("w")
    runner.execute("w", Context())
    turn = runner._own_turn()
    turn.publish, before = (lambda effects: seen.setdefault("key", _key(context))), turn.publish
    runner.execute("w", Context())
    turn.publish = before
    assert seen == {"key": True}


def _key(context):
    return context.get_value("suppress_instrumentation")


class TestWithoutAProvider:
    def test_nothing_is_kept_and_no_block_is_made(self, runner, monkeypatch):
        monkeypatch.setattr(tracing, "begun", None)
        workflows.chain("w", workflows.nothing, workflows.nothing)
        assert runner.execute("w", Context()).status == "Completed"
        runner.enqueue_many("w", [None, None])
        assert {run.traceparent for run in PipelineExecution.objects.all()} == {None}

    def test_the_api_is_not_imported_by_the_package(self, run_alone, tmp_path):
        """Whoever set a provider has imported it; it need not even be installed."""
        script = """
import sys
from cloaca_django import Context, DefaultRunner, WorkflowBuilder, task
sys.modules["opentelemetry"] = None
with WorkflowBuilder("w"):
    @task(id="a")
    def a(context):
        pass
with DefaultRunner(f"sqlite:///{sys.argv[1]}") as runner:
    print(runner.execute("w", Context()).status)
    print([name for name in sys.modules if name.startswith("opentelemetry.")])
"""
        assert run_alone(script, tmp_path, str(tmp_path / "w.db")) == "Completed\n[]\n"

    def test_an_api_that_is_just_being_imported_is_not_asked(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("opentelemetry.trace"))
        assert not tracing.is_on()
