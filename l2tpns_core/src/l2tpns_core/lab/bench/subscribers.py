"""The LAC of a candidate: it brings up as many sessions as are wanted, and keeps them."""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

from l2tpns_core.lab.bench.load import L2TP_PORT, Subscriber
from l2tpns_core.lab.bench.place import LAC_ADDRESS, LNS_ADDRESS, Place
from l2tpns_core.lab.client import CallOptions, Client
from l2tpns_core.lab.lac import Lac, LacOptions
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.ppp import PppOptions
from l2tpns_core.lab.tunnel import Tunnel, TunnelError

TUNNELS: Final = 8
MAX_PENDING: Final = 256
SETUP_TIMEOUT_S: Final = 30.0
TRIES: Final = 3
TURN_S: Final = 0.01
PROGRESS_S: Final = 5.0

Say = Callable[[str], None]


class Subscribers:
    """Sessions over a few tunnels, which share one socket on the port of L2TP."""

    def __init__(self, place: Place) -> None:
        self.lac = Lac(
            LacOptions(
                lns=LNS_ADDRESS,
                bind=LAC_ADDRESS,
                bind_port=L2TP_PORT,
                make_socket=place.lac.udp_socket,
            )
        )
        self.clients: list[Client] = []
        self._tunnels: list[Tunnel] = []

    def close(self) -> None:
        self.lac.close()

    def load(self) -> list[Subscriber]:
        """All sessions, as the load needs them."""
        return [
            Subscriber(client.tunnel.peer_id, client.peer_session_id, client.ip)
            for client in self.clients
        ]

    async def grow(
        self, count: int, say: Say, user: str = "user%d", password: str = "secret"
    ) -> float:
        """Bring up sessions until there are so many; return how many came up a second.

        Raises LabError when the LNS does not let them all in.
        """
        wanted = count - len(self.clients)
        if wanted <= 0:
            return 0.0
        await self._open_tunnels(min(TUNNELS, count))
        started = time.monotonic()
        missing = list(range(len(self.clients), count))
        for _ in range(TRIES):
            missing = await self._dial(missing, user, password, say)
            if not missing:
                break
        if missing:
            raise LabError(f"{len(missing)} of {wanted} sessions did not come up")
        gc.collect()
        gc.freeze()  # these stay to the end: nothing is gained by looking at them again
        return wanted / (time.monotonic() - started)

    async def _open_tunnels(self, count: int) -> None:
        while len(self._tunnels) < count:
            try:
                self._tunnels.append(await self.lac.open_tunnel())
            except TunnelError as error:
                raise LabError(f"no tunnel to the LNS: {error}") from error

    async def _dial(self, numbers: list[int], user: str, password: str, say: Say) -> list[int]:
        """Call for each number; return those that did not come up."""
        waiting, failed = list(reversed(numbers)), []
        pending: dict[Client, int] = {}
        reported = time.monotonic()
        while waiting or pending:
            while waiting and len(pending) < MAX_PENDING:
                number = waiting.pop()
                pending[self._call(number, user, password)] = number
            await asyncio.sleep(TURN_S)
            now = self.lac.clock.now()
            for client, number in list(pending.items()):
                if client.is_up:
                    self.clients.append(client)
                    del pending[client]
                elif client.end or now - client.requested_at > SETUP_TIMEOUT_S:
                    client.disconnect(1, text="setup timed out")
                    failed.append(number)
                    del pending[client]
            if time.monotonic() - reported > PROGRESS_S:
                reported = time.monotonic()
                say(f"{len(self.clients)} sessions are up")
        return failed

    def _call(self, number: int, user: str, password: str) -> Client:
        tunnel = self._tunnels[number % len(self._tunnels)]
        ppp = PppOptions(user=user.replace("%d", str(number)), password=password, auth=("pap",))
        return tunnel.call(CallOptions(ppp=ppp))
