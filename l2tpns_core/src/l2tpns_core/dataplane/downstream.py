"""From the network to the LAC: IP packets of the TUN device in, L2TP datagrams out."""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.forwarding import Entry, ForwardingTable
from l2tpns_core.dataplane.icmp import fragmentation_needed, host_unreachable, may_answer
from l2tpns_core.dataplane.intercept import ENVELOPE, Interceptor
from l2tpns_core.dataplane.ipv4 import DONT_FRAGMENT, fragment, header_length
from l2tpns_core.dataplane.mss import clamp_mss
from l2tpns_core.dataplane.plane import Elsewhere, PacketHook, Peer
from l2tpns_core.dataplane.ratelimit import RateLimit
from l2tpns_core.dataplane.throttle import Shaper
from l2tpns_core.dataplane.udp import L2tpSocket

log = logging.getLogger("l2tpns.plane")

MAX_PACKET: Final = 65535
TCP: Final = 6
SYN: Final = 0x02
TCP_FLAGS_AT: Final = 33  # behind an IP header without options
PLAIN_HEADER: Final = 0x45
IPV4: Final = 4
COPY_OF_KERNEL: Final = b"\x05"
"""IP version 0: how the fast path marks copies that it leaves to us (ebpf/l2tp.bpf.c)."""
LCP_ECHO_REQUEST: Final = b"\xff\x03\xc0\x21\x09"


class Downstream:
    """The downward half of the user-space plane. read() is the loop's reader for the device."""

    __slots__ = (
        "_answer",
        "_clock",
        "_counters",
        "_interceptor",
        "_read",
        "_socket",
        "_table",
        "address",
        "batch",
        "elsewhere",
        "hook",
        "icmp_limit",
        "shaper",
    )

    def __init__(
        self,
        table: ForwardingTable,
        counters: PlaneCounters,
        l2tp_socket: L2tpSocket,
        read: Callable[[int], bytes | None],
        answer: Callable[[bytes], object] | None,
        clock: Callable[[], float],
        schedule: Callable[[float], None],
        interceptor: Interceptor,
    ) -> None:
        """`read` takes a packet from the TUN device, None when there is none; `answer` sends an IP
        packet of our own into the network, None for no ICMP errors; `schedule` is told that
        shaper.release() has work at a monotonic time."""
        self._table = table
        self._counters = counters
        self._socket = l2tp_socket
        self._read = read
        self._answer = answer
        self._clock = clock
        self._interceptor = interceptor
        self.shaper = Shaper(counters, self._pass_on, schedule)
        self.batch = 1
        self.address = b""
        """The source of our ICMP errors, four bytes; empty for no errors."""
        self.icmp_limit = RateLimit(0)
        self.elsewhere: Elsewhere | None = None
        self.hook: PacketHook | None = None

    def read(self) -> None:
        """Take up to `batch` packets off the device. The clock is asked once.

        Raises OSError when the device is gone.
        """
        now = self._clock()
        counters, read, find = self._counters, self._read, self._table.hosts.get
        networks = self._table.prefixes
        send, send_from = self._socket.send, self._socket.send_from
        packets = octets = sent = sent_octets = 0
        for _ in range(self.batch):
            packet = read(MAX_PACKET)
            if packet is None:
                break
            size = len(packet)
            packets += 1
            octets += size
            entry = find(packet[16:20])
            if entry is None and networks:
                entry = self._table.find_network(packet[16:20])
            if entry is None or size > entry.mru or not entry.plain or packet[0] != PLAIN_HEADER:
                self._send_unusual(packet, now)
                continue
            if packet[9] == TCP and size > TCP_FLAGS_AT and packet[TCP_FLAGS_AT] & SYN:
                packet = self._clamp(entry, packet)
            datagram = entry.header + packet
            try:
                if entry.ancillary is None:
                    send(datagram, entry.peer)
                else:
                    send_from(datagram, entry.peer, entry.ancillary)
            except OSError:
                counters.socket_send_failures += 1
                continue
            entry.packets_out += 1
            entry.octets_out += size
            entry.data_at = now
            sent += 1
            sent_octets += len(datagram)
        counters.tun_rx_packets += packets
        counters.tun_rx_octets += octets
        counters.socket_tx_packets += sent
        counters.socket_tx_octets += sent_octets

    def take(self, packet: bytes, now: float) -> None:
        """A packet that came to another node."""
        self._counters.tun_rx_packets += 1
        self._counters.tun_rx_octets += len(packet)
        self._send_unusual(packet, now)

    def send_frames(self, entry: Entry, frames: Iterable[bytes]) -> None:
        """Send PPP frames in L2TP data messages. LCP Echo-Requests go with the priority bit, so
        that a full line does not look like a dead one (RFC 2661 section 3.1)."""
        for frame in frames:
            header = entry.header_for(priority=frame.startswith(LCP_ECHO_REQUEST))
            if self._transmit(entry, header + frame):
                self._counters.frames_sent += 1

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        """Send datagrams as they are, from the local address that is named with each."""
        for datagram, peer, local in datagrams:
            ancillary = self._socket.ancillary_for(local)
            try:
                if ancillary is None:
                    self._socket.send(datagram, peer)
                else:
                    self._socket.send_from(datagram, peer, ancillary)
            except OSError as error:
                self._counters.socket_send_failures += 1
                log.debug("control message to %s port %d not sent: %s", *peer, error)
                continue
            self._counters.socket_tx_packets += 1
            self._counters.socket_tx_octets += len(datagram)

    def _send_unusual(self, packet: bytes, now: float) -> None:
        """A packet that the loop does not send itself."""
        counters = self._counters
        if packet[:1] == COPY_OF_KERNEL and len(packet) > ENVELOPE:
            self._interceptor.forward(packet)
            return
        if not packet or packet[0] >> 4 != IPV4 or header_length(packet) is None:
            counters.not_ipv4 += 1
            return
        destination = packet[16:20]
        entry = self._table.hosts.get(destination) or self._table.find_network(destination)
        if entry is None:
            if self.elsewhere is not None and self.elsewhere.to_subscriber(packet):
                return
            counters.no_session += 1
            if self._may_answer(packet, now):
                self._send_icmp(host_unreachable(packet, self.address))
            return
        if entry.hooked and self.hook is not None:
            changed = self.hook(entry.key, packet)
            if not changed or header_length(changed) is None:
                counters.hook_drops_out += 1
                return
            packet = changed
            if self._table.sessions.get(entry.key) is not entry:
                return  # the plugin has ended the session
        if entry.filter_out is not None and not entry.filter_out.passes(packet):
            counters.filter_drops_out += 1
            return
        packet = self._clamp(entry, packet)
        pieces = [packet] if len(packet) <= entry.mru else self._cut(entry, packet, now)
        for piece in pieces:
            self._send_packet(entry, piece, now)

    def _cut(self, entry: Entry, packet: bytes, now: float) -> list[bytes]:
        """The fragments of a packet over the MRU; none when it must not be fragmented."""
        pieces = fragment(packet, entry.mru)
        if pieces is None:
            self._counters.too_big += 1
            if packet[6] & DONT_FRAGMENT >> 8 and self._may_answer(packet, now):
                self._send_icmp(fragmentation_needed(packet, self.address, entry.mru))
            return []
        if len(pieces) > 1:
            self._counters.packets_fragmented += 1
            self._counters.fragments_sent += len(pieces)
        return pieces

    def _send_packet(self, entry: Entry, packet: bytes, now: float) -> None:
        bucket = entry.bucket_out
        if bucket is None or self.shaper.passes(entry, bucket, packet, now):
            self._pass_on(entry, packet, now)

    def _pass_on(self, entry: Entry, packet: bytes, now: float) -> None:
        header = entry.header
        if entry.send_sequence:
            header = entry.header_for() + entry.route.ppp_prefix
        if self._transmit(entry, header + packet):
            entry.packets_out += 1
            entry.octets_out += len(packet)
            entry.data_at = now
            if entry.snoop is not None and not self._interceptor.is_own_copy(packet):
                self._interceptor.copy(packet, entry.snoop)

    def _transmit(self, entry: Entry, datagram: bytes) -> bool:
        try:
            if entry.ancillary is None:
                self._socket.send(datagram, entry.peer)
            else:
                self._socket.send_from(datagram, entry.peer, entry.ancillary)
        except OSError:
            self._counters.socket_send_failures += 1
            return False
        self._counters.socket_tx_packets += 1
        self._counters.socket_tx_octets += len(datagram)
        return True

    def _clamp(self, entry: Entry, packet: bytes) -> bytes:
        if not entry.clamp_mss:
            return packet
        clamped = clamp_mss(packet, entry.clamp_mss)
        if clamped is not packet:
            self._counters.mss_clamped += 1
        return clamped

    def _may_answer(self, packet: bytes, now: float) -> bool:
        if self.address and self._answer and may_answer(packet) and self.icmp_limit.allow(now):
            return True
        self._counters.icmp_suppressed += 1
        return False

    def _send_icmp(self, error: bytes | None) -> None:
        if error is None or self._answer is None:
            self._counters.icmp_suppressed += 1
            return
        try:
            self._answer(error)
        except OSError as failure:
            self._counters.icmp_suppressed += 1
            log.debug("ICMP error not sent: %s", failure)
            return
        self._counters.icmp_sent += 1
