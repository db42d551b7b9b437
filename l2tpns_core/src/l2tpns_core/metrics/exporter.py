"""Joins the listener to the daemon: what is counted is collected on the loop, a slice at a time,
and turned into text beside it."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from l2tpns_core.metrics import neighbours  # noqa: F401  (declares its metrics)
from l2tpns_core.metrics.census import count_sessions
from l2tpns_core.metrics.endpoint import Endpoint
from l2tpns_core.metrics.families import Sample, Subject, metrics_of
from l2tpns_core.metrics.lag import LoopLag

log = logging.getLogger("l2tpns.metrics")

NOT_LISTENING: Final = (IPv4Address(0), 0)
OPEN_METRICS: Final = "application/openmetrics-text"
FRESH_S: Final = 1.0
"""Who asks so soon after another gets what that one got: many who ask cost no more than one."""


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
        self._loop = loop
        self._scrape = asyncio.Lock()
        self._answers: dict[str, bytes] = {}
        """The last text, by content type."""
        self._metrics: list[Metric] = []
        self._fresh_until = float("-inf")

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
        # Of what the client says only this is looked at: choose_encoder() takes all of it for good.
        is_open = OPEN_METRICS in accept
        encode, kind = choose_encoder(f"{OPEN_METRICS}; version=1.0.0" if is_open else "")
        async with self._scrape:
            if self._loop.time() >= self._fresh_until:
                self._answers.clear()
                self._metrics = await self._collect()
                self._fresh_until = self._loop.time() + FRESH_S
            if kind not in self._answers:
                self._answers[kind] = await asyncio.to_thread(self._encode, encode)
            return kind, self._answers[kind]

    async def _collect(self) -> list[Metric]:
        subject = self._subject
        census = await count_sessions(lambda: list(subject.lns.sessions.values()))
        return metrics_of(
            Sample(subject, census, self._lag.histogram, subject.counters.raw_values())
        )

    def _encode(self, encode: Callable[[Collector], bytes]) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collected(self._metrics))
        registry.register(self._process)
        return encode(registry)
