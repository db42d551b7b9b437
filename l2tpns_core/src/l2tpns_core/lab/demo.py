"""The demo: an LNS with subscribers, traffic and RADIUS, all on this machine."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from l2tpns_core.lab.client import CallError, CallOptions
from l2tpns_core.lab.demo_cast import Subscriber, cast, radius_users
from l2tpns_core.lab.demo_place import (
    GARDEN,
    HOST_ADDRESS,
    LAC_ADDRESSES,
    LNS_ADDRESS,
    RADIUS_SECRET,
    SNOOP_PORT,
    TUNNEL_SECRET,
    DemoError,
    Place,
)
from l2tpns_core.lab.lac import Lac, LacOptions
from l2tpns_core.lab.ppp import PppOptions
from l2tpns_core.lab.radius_server import RadiusServer
from l2tpns_core.lab.snoop import SnoopReceiver
from l2tpns_core.lab.traffic import Traffic
from l2tpns_core.lab.tunnel import Tunnel, TunnelError, TunnelOptions, TunnelState

REDIAL_S: Final = 5.0
REDIAL_AFTER_REFUSAL_S: Final = 30.0
SETUP_TIMEOUT_S: Final = 20.0
GOODBYE_S: Final = 1.0
POLL_S: Final = 0.05
TABLES: Final = (
    "show tunnel",
    "show session",
    "show users",
    "show throttle",
    "show pool",
    "show plugins",
    "uptime",
)

INTRODUCTION: Final = """
You are at the prompt of the running LNS. Things to try:

  show session             who is online, with address and traffic; I T G: bob is throttled,
                           carol intercepted, mallory in the walled garden
  show session 1           one of them in detail
  show plugins             what does that, and what it costs
  throttle alice 64        slow somebody down; `no throttle alice`; `show throttle`
  show tunnel              the two LACs
  show users               by user name
  show pool                which addresses are taken
  drop session 1           throw a subscriber off (it dials again after 5 seconds)
  show counters            what the LNS has counted
  show running-config      what it runs with
  help, or ? at any place  what there is

mallory has a wrong password. With the garden plugin she gets in, but no farther than the garden;
without it she is refused, and dials again every half minute.
`exit` or Ctrl-D ends the demo and takes everything down again.
"""

Say = Callable[[str], None]


@dataclass(slots=True)
class DemoResult:
    subscribers: list[dict[str, Any]]
    tables: dict[str, str]
    violations: list[str]
    accounting_starts: int = 0
    accounting_stops: int = 0
    intercepted: int = 0
    """Copies of carol's packets that arrived."""

    @property
    def ok(self) -> bool:
        """Every subscriber is as it should be, traffic flows, and each Start has its Stop."""
        return (
            not self.violations
            and self.accounting_starts == self.accounting_stops > 0
            and all(one["refused"] or (one["up"] and one["answers"]) for one in self.subscribers)
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "subscribers": self.subscribers,
            "accounting": {"starts": self.accounting_starts, "stops": self.accounting_stops},
            "intercepted": self.intercepted,
            "violations": self.violations,
            "tables": self.tables,
        }


class Demo:
    """One run of the demo. `say` gets what a reader should know, in lines."""

    def __init__(self, say: Say, hold_s: float = 3.0, log_file: Path | None = None) -> None:
        self.say = say
        self.hold_s = hold_s
        self.place = Place(log_file)
        self.subscribers = cast(has_garden=GARDEN in self.place.plugins)
        self.lacs: dict[str, Lac] = {}
        self._tunnels: dict[str, Tunnel] = {}
        self._locks = {name: asyncio.Lock() for name in LAC_ADDRESSES}
        self._redials = True

    async def run(self, interactive: bool) -> DemoResult:
        """Everything from the namespaces to the last goodbye.

        Raises DemoError when the LNS does not work, LabError when the system does not allow it.
        """
        async with AsyncExitStack() as stack:
            place = stack.enter_context(self.place)
            self.say("three network namespaces: lac, lns, net")
            radius = self._start_radius(place)
            stack.callback(radius.stop)
            self.say(f"RADIUS server on {HOST_ADDRESS}, {len(radius.users)} users")
            copies = place.net.call(SnoopReceiver, HOST_ADDRESS, SNOOP_PORT)
            stack.callback(copies.close)
            await place.start_daemon()
            self.say(f"LNS on {LNS_ADDRESS}, plugins: {', '.join(place.plugins) or 'none'}")
            self._start_lacs(place, stack)
            dialling = [asyncio.create_task(self._live(one)) for one in self.subscribers]
            stack.callback(self._cancel, dialling)
            await self._wait_until_settled()
            for one in self.subscribers:
                self.say(_describe(one))
            tables = {}
            if interactive:
                await self._let_the_user_play(place)
            else:
                await asyncio.sleep(self.hold_s)
                tables = {command: await place.show(command) for command in TABLES}
            result = DemoResult([one.as_dict() for one in self.subscribers], tables, [])
            await self._take_down(place, dialling)
            result.violations = self._violations()
            result.accounting_starts = len(radius.records("Start"))
            result.accounting_stops = len(radius.records("Stop"))
            while copies.take():
                result.intercepted = copies.counters.packets
        return result

    def _start_radius(self, place: Place) -> RadiusServer:
        radius = RadiusServer(
            radius_users(self.subscribers),
            secret=RADIUS_SECRET.encode(),
            address=HOST_ADDRESS,
            make_socket=place.net.udp_socket,
        )
        radius.start()
        return radius

    def _start_lacs(self, place: Place, stack: AsyncExitStack) -> None:
        for name, address in LAC_ADDRESSES.items():
            tunnel = TunnelOptions(host_name=name, secret=TUNNEL_SECRET.encode())
            lac = Lac(
                LacOptions(
                    lns=LNS_ADDRESS,
                    bind=address,
                    bind_port=1701,
                    tunnel=tunnel,
                    make_socket=place.lac.udp_socket,
                )
            )
            stack.callback(lac.close)
            self.lacs[name] = lac

    # -- the subscribers ------------------------------------------------------------------------

    async def _live(self, one: Subscriber) -> None:
        """Dial, send traffic, and dial again whenever the line goes down."""
        while True:
            try:
                tunnel = await self._tunnel(one.lac)
                await self._dial(one, tunnel)
            except (TunnelError, CallError, OSError) as error:
                one.error = str(error)
            await asyncio.sleep(REDIAL_AFTER_REFUSAL_S if one.is_to_be_refused else REDIAL_S)

    async def _tunnel(self, name: str) -> Tunnel:
        async with self._locks[name]:
            tunnel = self._tunnels.get(name)
            if tunnel is None or tunnel.state is not TunnelState.ESTABLISHED:
                tunnel = self._tunnels[name] = await self.lacs[name].open_tunnel()
            return tunnel

    async def _dial(self, one: Subscriber, tunnel: Tunnel) -> None:
        ppp = PppOptions(one.name, one.password, auth=(one.auth,))
        client = tunnel.call(
            CallOptions(ppp, calling_number=f"555{len(one.name):02d}{one.size:04d}")
        )
        one.client = client
        try:
            await client.up
        except CallError:
            if client.ppp.refused:
                one.refused_count += 1
            raise
        one.error = ""
        traffic = Traffic(tunnel.lac.clock, HOST_ADDRESS, one.size)
        traffic.start([client], one.rate)
        try:
            end = await client.down
            one.error = str(end)
        finally:
            traffic.stop()

    async def _wait_until_settled(self) -> None:
        end = time.monotonic() + SETUP_TIMEOUT_S
        while not all(one.settled for one in self.subscribers):
            if not self.place.daemon_runs:
                raise DemoError(f"the LNS has ended:\n{self.place.log_tail()}")
            if time.monotonic() > end:
                return
            await asyncio.sleep(POLL_S)

    # -- the end --------------------------------------------------------------------------------

    async def _let_the_user_play(self, place: Place) -> None:
        self.say(INTRODUCTION)
        with _interrupts_ignored():
            shell = place.shell()
            try:
                await asyncio.to_thread(shell.wait)
            finally:
                if shell.poll() is None:
                    shell.terminate()
        self.say("taking everything down")

    async def _take_down(self, place: Place, dialling: list["asyncio.Task[None]"]) -> None:
        """Half the subscribers hang up; the LNS is stopped with the others online."""
        await self._cancel_and_wait(dialling)
        up = [one.client for one in self.subscribers if one.client and one.client.is_up]
        for client in up[::2]:
            client.hangup()
        await asyncio.wait([asyncio.ensure_future(c.down) for c in up[::2]] or [_soon()], timeout=5)
        await place.stop_daemon()
        await asyncio.sleep(POLL_S)

    async def _cancel_and_wait(self, tasks: list["asyncio.Task[None]"]) -> None:
        self._cancel(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _cancel(tasks: list["asyncio.Task[None]"]) -> None:
        for task in tasks:
            task.cancel()

    def _violations(self) -> list[str]:
        return [
            f"{name} {violation}"
            for name, lac in self.lacs.items()
            for violation in lac.violations.kept
        ]


def _soon() -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def _describe(one: Subscriber) -> str:
    if one.is_up and one.client is not None:
        how = f" ({one.policy})" if one.policy else ""
        return f"{one.name} is online by {one.auth.upper()} at {one.lac} with {one.client.ip}{how}"
    if one.refused_count:
        return f"{one.name} was refused (its password is wrong, as it should be here)"
    return f"{one.name} is NOT online: {one.error or 'no answer'}"


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ctrl-C belongs to the shell while it runs."""
    # A handler, not SIG_IGN: the shell would inherit that.
    previous = signal.signal(signal.SIGINT, lambda _signal, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
