"""A simulated LAC in user space: tunnels, calls and PPP clients over UDP, without root.

It shares no protocol code with the LNS, so that it catches the LNS's own mistakes.
"""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from l2tpns_core.lab.channel import ChannelCounters
from l2tpns_core.lab.client import Client
from l2tpns_core.lab.frames import FaultError, decode_data
from l2tpns_core.lab.ppp import PppCounters
from l2tpns_core.lab.transport import (
    Address,
    Clock,
    Impairments,
    Port,
    SocketMaker,
    TransportCounters,
    make_udp_socket,
)
from l2tpns_core.lab.tunnel import Tunnel, TunnelOptions
from l2tpns_core.lab.violations import Violations


@dataclass(slots=True)
class LacOptions:
    lns: str = "127.0.0.1"
    lns_port: int = 1701
    bind: str = "0.0.0.0"
    bind_port: int = 0
    """0: any port. With source_ports the tunnels count up from it."""
    source_ports: bool = False
    """A UDP port of its own for each tunnel; otherwise all share one."""
    impairments: Impairments = field(default_factory=Impairments)
    tunnel: TunnelOptions = field(default_factory=TunnelOptions)
    make_socket: SocketMaker = make_udp_socket
    """For instance `Namespace.udp_socket`, so that the LAC lives in that namespace."""


class Lac:
    """One LAC. An async context manager; everything is sent from one event loop."""

    def __init__(self, options: LacOptions, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.options = options
        self.loop = loop or asyncio.get_running_loop()
        self.clock = Clock(self.loop)
        self.random = os.urandom
        self.tunnels: dict[int, Tunnel] = {}
        self.violations = Violations()
        self.transport_counters = TransportCounters()
        self.channel_counters = ChannelCounters()
        self.ppp_counters = PppCounters()
        self.late_data = 0
        """Data messages for calls that had just ended."""
        self.addresses: dict[int, Client] = {}
        """Who has which address now."""
        self._ports: list[Port] = []
        self._serial_number = 0
        self._next_tunnel_id = int.from_bytes(os.urandom(2), "big")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets and stop all timers, without a word to the LNS."""
        self.clock.close()
        for port in self._ports:
            port.close()
        self._ports.clear()

    @property
    def spoils_control(self) -> bool:
        return self.options.impairments.spoils(control=True)

    @property
    def results(self) -> Counter[str]:
        """CDN and StopCCN that came, by codes and text, over all tunnels."""
        total: Counter[str] = Counter()
        for tunnel in self.tunnels.values():
            total += tunnel.results
        return total

    def start_tunnel(self, options: TunnelOptions | None = None) -> Tunnel:
        """Send an SCCRQ; await the tunnel's `established`. Raises OSError (no such address)."""
        options = options or self.options.tunnel
        if self.spoils_control:
            options.channel.in_order = False
        peer = (self.options.lns, self.options.lns_port)
        tunnel_id = self._new_tunnel_id()
        tunnel = Tunnel(self, tunnel_id, self._port_for_tunnel(), peer, options)
        self.tunnels[tunnel_id] = tunnel
        return tunnel

    async def open_tunnel(self, options: TunnelOptions | None = None) -> Tunnel:
        """Open a tunnel. Raises TunnelError when the LNS refuses or does not answer."""
        tunnel = self.start_tunnel(options)
        await tunnel.established
        return tunnel

    def _port_for_tunnel(self) -> Port:
        if self._ports and not self.options.source_ports:
            return self._ports[0]
        number = self.options.bind_port and self.options.bind_port + len(self._ports)
        sock = self.options.make_socket(self.options.bind, number)
        port = Port(
            sock, self.clock, self.transport_counters, self.options.impairments, self._receive
        )
        self._ports.append(port)
        return port

    def _new_tunnel_id(self) -> int:
        for _ in range(0xFFFF):
            self._next_tunnel_id = self._next_tunnel_id % 0xFFFF + 1
            if self._next_tunnel_id not in self.tunnels:
                return self._next_tunnel_id
        raise RuntimeError("no tunnel id left")

    def next_serial_number(self) -> int:
        self._serial_number = (self._serial_number + 1) & 0xFFFFFFFF
        return self._serial_number

    def note_violation(self, where: str, text: str) -> None:
        """The LNS broke a rule."""
        self.violations.add(self.clock.now(), where, text)

    def check_tunnel_id(self, tunnel: Tunnel) -> None:
        """The LNS's id must be its own for each tunnel."""
        for other in self.tunnels.values():
            if other is not tunnel and other.end is None and other.peer_id == tunnel.peer_id:
                tunnel.fault(f"SCCRP with tunnel id {tunnel.peer_id}, which another tunnel has")

    def register_address(self, client: Client) -> None:
        """A client is up; its address must be its own."""
        other = self.addresses.get(client.ppp.ip)
        if other is not None and other is not client:
            client.ppp_fault(f"address {client.ip} is also the one of {other.where}")
        self.addresses[client.ppp.ip] = client

    def forget_address(self, client: Client) -> None:
        """A client no longer uses its address."""
        if self.addresses.get(client.ppp.ip) is client:
            del self.addresses[client.ppp.ip]

    def _receive(self, datagram: bytes, source: Address, port: Port) -> None:
        if len(datagram) < 6:
            self.note_violation("-", f"datagram of {len(datagram)} bytes")
            return
        if datagram[0] & 0x80:
            tunnel = self.tunnels.get(int.from_bytes(datagram[4:6], "big"))
            if tunnel is None:
                self._note_stranger(datagram, "control", 4)
            else:
                tunnel.receive_control(datagram, source)
            return
        try:
            message = decode_data(datagram)
        except FaultError as fault:
            self.note_violation("-", str(fault))
            return
        tunnel = self.tunnels.get(message.tunnel_id)
        if tunnel is None:
            self.note_violation("-", f"data for tunnel {message.tunnel_id}, which is not ours")
        else:
            tunnel.receive_data(message, source)

    def _note_stranger(self, datagram: bytes, what: str, at: int) -> None:
        tunnel_id = int.from_bytes(datagram[at : at + 2], "big")
        self.note_violation("-", f"{what} message for tunnel {tunnel_id}, which is not ours")
