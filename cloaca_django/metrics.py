"""Measures as Prometheus reads them. Its client library is imported when somebody asks, not before.

Two sources that never mix: how things stand, from the database, and what a worker process counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from django.db import connections

from cloaca_django import deadline, tenancy
from cloaca_django.core.measures import BUCKETS, Kind, Measure, Series, bounded
from cloaca_django.dialect import schemas
from cloaca_django.engine import gauges, meter
from cloaca_django.errors import MissingExtra, NotInTenant

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

MEASURES = (*gauges.MEASURES, *meter.MEASURES)


def require_library() -> None:
    """Raise MissingExtra unless the client library is installed."""
    try:
        import prometheus_client  # noqa: F401, PLC0415 - see the module's first line
    except ImportError as error:
        raise MissingExtra("metrics", "prometheus-client") from error


def read_gauges(alias: str, *, seconds: float) -> list[Series]:
    """Read how things stand in the tenant that this thread is in, in all if it is in none.

    Raises TimeoutError when that takes longer than some seconds.
    """
    schema = schemas.tenant_of(connections[alias])
    return deadline.within(seconds, ("metrics", alias, schema), partial(_read, alias, schema))


def _read(alias: str, schema: str) -> list[Series]:
    """Read it, on a thread of its own, which is in no tenant yet."""
    if not schema:
        return gauges.read(alias)
    is_of_all = schema == tenancy.public_schema()
    found: list[Series] = []
    for name in tenancy.tenant_schemas(alias) if is_of_all else [schema]:
        try:
            with tenancy.entered(alias, name):
                found += gauges.read(alias, schema=name)
        except NotInTenant:
            # Its schema is on its way in or out; the others are not to be silent for it.
            if not is_of_all:
                raise
    return bounded(found)


def exposition(series: Collection[Series], *, accept: str = "") -> tuple[bytes, str]:
    """Return gauges as text and the text's content type, as a scraper wants it."""
    require_library()
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - see above

    encoder, content_type = choose_encoder(accept)
    return encoder(_registry(gauges.MEASURES, lambda: series)), content_type


def serve(counts: meter.Meter, *, host: str, port: int) -> Callable[[], None]:
    """Serve what is counted in this process at an address; returns a function that ends it.

    Raises OSError for an address that cannot be had.
    """
    require_library()
    from prometheus_client import ProcessCollector, start_http_server  # noqa: PLC0415 - see above

    registry = _registry(meter.MEASURES, counts.series)
    ProcessCollector(registry=registry)
    server, thread = start_http_server(port, addr=host, registry=registry)

    def end() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return end


class _Collector:
    """What a registry asks. ``read`` is called for every scrape."""

    def __init__(self, measures: Iterable[Measure], read: Callable[[], Iterable[Series]]) -> None:
        self._measures = tuple(measures)
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        by_measure: dict[Measure, list[Series]] = {measure: [] for measure in self._measures}
        for one in self._read():
            by_measure[one.measure].append(one)
        for measure, found in by_measure.items():
            yield _family(measure, found)


def _registry(
    measures: Iterable[Measure], read: Callable[[], Iterable[Series]]
) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - see above

    registry = CollectorRegistry()
    registry.register(_Collector(measures, read))
    return registry


def _family(measure: Measure, found: Iterable[Series]) -> Metric:
    from prometheus_client import core  # noqa: PLC0415 - see above

    families: dict[Kind, Any] = {
        Kind.GAUGE: core.GaugeMetricFamily,
        Kind.COUNTER: core.CounterMetricFamily,
        Kind.HISTOGRAM: core.HistogramMetricFamily,
    }
    family: Metric = families[measure.kind](measure.name, measure.meaning, labels=measure.labels)
    for one in found:
        _add(family, one)
    return family


def _add(family: Any, one: Series) -> None:
    if one.measure.kind is not Kind.HISTOGRAM:
        family.add_metric(one.labels, one.values[0])
        return
    *counts, seconds = one.values
    bounds = [*map(str, BUCKETS), "+Inf"]
    buckets = list(zip(bounds, accumulate(counts), strict=True))
    family.add_metric(one.labels, buckets=buckets, sum_value=seconds)
