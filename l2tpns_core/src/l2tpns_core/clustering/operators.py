"""Commands of operators at a slave that the master carries out: both ends."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.cluster import events
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.clustering.host import Host

log = logging.getLogger("l2tpns.cluster")

ANSWER_S: Final = 10.0
"""How long an operator waits for the master."""
FAILED: Final = "The master could not do that: see its log"
CHANGING: Final = "The master is changing: try again in a moment"


class Operators:
    """What is asked of the master here, and of us as the master."""

    def __init__(
        self,
        node: ClusterNode,
        host: Host,
        decides: Callable[[], bool],
        kick: Callable[[], None],
    ) -> None:
        """`decides` says whether this node is a master at work; `kick` has sent what is to be."""
        self._node = node
        self._host = host
        self._decides = decides
        self._kick = kick
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, Future[tuple[str, bool]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def asking(
        self, line: str, *, privileged: bool, as_json: bool
    ) -> Callable[[], tuple[str, bool]]:
        """What waits for the master's answer to a command, to be called in a thread. Both raise
        LookupError."""
        now, master = self._loop.time(), IPv4Address(self._node.master)
        request = self._node.ask(line, now, privileged=privileged, as_json=as_json)
        future: Future[tuple[str, bool]] = Future()
        self._asked[request] = future
        self._kick()

        def wait() -> tuple[str, bool]:
            try:
                return future.result(ANSWER_S)
            except TimeoutError:
                self._loop.call_soon_threadsafe(self._forget, request)
                raise LookupError(f"The master {master} does not answer") from None

        return wait

    def answered(self, event: events.Answered) -> None:
        """The master has carried out a command."""
        waiting = self._asked.pop(event.outcome.request, None)
        if waiting is not None and not waiting.done():
            waiting.set_result((event.outcome.text, event.outcome.failed))

    def asked(self, event: events.Asked) -> None:
        """An operator at a slave wants something of us."""
        task = self._loop.create_task(self._answer(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, request: int) -> None:
        self._asked.pop(request, None)
        self._node.asking.forget(request)

    async def _answer(self, event: events.Asked) -> None:
        text, failed = CHANGING, True
        if self._decides():
            try:
                text, failed = await self._host.carry_out(
                    event.line, privileged=event.privileged, as_json=event.as_json
                )
            except Exception:
                log.exception("a command from %s was not carried out", IPv4Address(event.node))
                text = FAILED
        self._node.answer(event.node, event.request, text, self._loop.time(), failed=failed)
        self._kick()
