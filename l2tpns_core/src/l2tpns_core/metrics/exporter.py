"""Joins the listener to the daemon: what is counted is collected on the loop, a slice at a time,
and turned into text beside it."""

import asyncio
import logging
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from l2tpns_core.metrics.census import count_sessions
from l2tpns_core.metrics.endpoint import Endpoint
from l2tpns_core.metrics.families import Sample, Subject, metrics_of
from l2tpns_core.metrics.lag import LoopLag

log = logging.getLogger("l2tpns.metrics")

NOT_LISTENING: Final = (IPv4Address(0), 0)


class Collected(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


class Exporter:
    """Listens where the directives say, from the first configure() to close()."""

    def __init__(self, subject: Subject, loop: asyncio.AbstractEventLoop) -> None:
        self._subject = subject
        self._lag = LoopLag(loop)
        self._process = ProcessCollector(registry=None)
        self._endpoint: Endpoint | None = None
        self._where = NOT_LISTENING
        self._lock = asyncio.Lock()

    async def configure(self, address: IPv4Address, port: int) -> None:
        """Listen there, or nowhere for port 0. What cannot be had is told, not raised."""
        async with self._lock:
            if (address, port) == self._where:
                return
            await self._stop()
            if not port:
                return
            endpoint = Endpoint(self.render)
            try:
                await endpoint.open(str(address), port)
            except OSError as error:
                log.error(
                    "no metrics on %s:%d: %s (see metrics_bind_address and metrics_port)",
                    *(address, port, error.strerror or error),
                )
                return
            self._endpoint, self._where = endpoint, (address, port)
            log.info("metrics on http://%s:%d/metrics", address, port)

    async def close(self) -> None:
        self._lag.close()
        async with self._lock:
            await self._stop()

    async def _stop(self) -> None:
        endpoint, self._endpoint = self._endpoint, None
        self._where = NOT_LISTENING
        if endpoint is not None:
            await endpoint.close()

    async def render(self, accept: str) -> tuple[str, bytes]:
        """A scrape: content type and text, in the form that `accept` asks for."""
        subject = self._subject
        census = await count_sessions(lambda: list(subject.lns.sessions.values()))
        sample = Sample(subject, census, self._lag.histogram, subject.counters.raw_values())
        metrics = metrics_of(sample)
        return await asyncio.to_thread(self._encode, metrics, accept)

    def _encode(self, metrics: list[Metric], accept: str) -> tuple[str, bytes]:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collected(metrics))
        registry.register(self._process)
        encode, content_type = choose_encoder(accept)
        return content_type, encode(registry)
