"""From the LAC to the network: L2TP datagrams in, IP packets to the TUN device out.

The L2TPv2 header (RFC 2661 section 3.1); only flags, tunnel id and session id are always there:

    |T|L|x|x|S|x|O|P|x|x|x|x|  Ver  |         Length (opt)          |
    |           Tunnel ID           |           Session ID          |
    |             Ns (opt)          |             Nr (opt)          |
    |      Offset Size (opt)        |    Offset padding... (opt)    |
"""

import logging
import struct
from collections.abc import Callable, Iterable
from typing import Final

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.forwarding import SESSION_BITS, Entry, ForwardingTable
from l2tpns_core.dataplane.mss import clamp_mss
from l2tpns_core.dataplane.plane import Elsewhere, PacketHook, Peer, PlaneEvents
from l2tpns_core.dataplane.ratelimit import RateLimit
from l2tpns_core.dataplane.throttle import Shaper
from l2tpns_core.dataplane.udp import L2tpSocket
from l2tpns_core.l2tp.data import decode_data
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.sequencing import Sequencer
from l2tpns_core.timers import Timer, TimerQueue

log = logging.getLogger("l2tpns.plane")

MAX_DATAGRAM: Final = 65535
UNKNOWN_SESSION_REPORTS: Final = 20
"""Reports of data for unknown sessions per second; the rest is only counted."""

T_BIT: Final = 0x8000
L_BIT: Final = 0x4000
S_BIT: Final = 0x0800
O_BIT: Final = 0x0200
VERSION_MASK: Final = 0x000F
VERSION: Final = 2
FORM_MASK: Final = T_BIT | L_BIT | S_BIT | O_BIT | VERSION_MASK
"""What decides where things are; the priority bit and the reserved ones do not."""
SHORT_HEADER: Final = 6
LONG_HEADER: Final = 8

IP_PREFIX: Final = b"\xff\x03\x00\x21"
ADDRESS_CONTROL: Final = b"\xff\x03"
PPP_IPV4: Final = 0x21
IP_HEADER: Final = 20
TCP: Final = 6
SYN: Final = 0x02
TCP_FLAGS_AT: Final = 33  # behind an IP header without options

flags_and_key: Final[Callable[[bytes], tuple[int, int]]] = struct.Struct(">HI").unpack_from
length_and_key: Final[Callable[[bytes], tuple[int, int]]] = struct.Struct(">2xHI").unpack_from
ip_fields: Final[Callable[[bytes, int], tuple[int, int, int, bytes]]] = struct.Struct(
    ">BxH5xB2x4s"
).unpack_from
"""Version and header length, total length, protocol, source."""


class Upstream:
    """The upward half of the user-space plane. read() is the loop's reader for the socket."""

    __slots__ = (
        "_clock",
        "_copy",
        "_counters",
        "_reports",
        "_schedule",
        "_socket",
        "_table",
        "_timers",
        "_write",
        "batch",
        "elsewhere",
        "events",
        "hook",
        "shaper",
    )

    def __init__(
        self,
        table: ForwardingTable,
        counters: PlaneCounters,
        l2tp_socket: L2tpSocket,
        write: Callable[[bytes], int | None],
        events: PlaneEvents,
        clock: Callable[[], float],
        schedule: Callable[[float], None],
        copy: Callable[[bytes, Peer], None],
    ) -> None:
        """`write` puts a packet into the TUN device and returns None when it is full; `schedule`
        is told that handle_timers() has work at a monotonic time; `copy` sends a copy of a packet
        to who intercepts it."""
        self._table = table
        self._counters = counters
        self._socket = l2tp_socket
        self._write = write
        self._clock = clock
        self._schedule = schedule
        self._reports = RateLimit(UNKNOWN_SESSION_REPORTS)
        self._copy = copy
        self.shaper = Shaper(counters, self._write_waited, schedule)
        self._timers = TimerQueue()
        self.batch = 1
        self.events = events
        self.elsewhere: Elsewhere | None = None
        self.hook: PacketHook | None = None

    def read(self) -> None:
        """Take up to `batch` datagrams off the socket. The clock is asked once."""
        now = self._clock()
        counters, forward, find = self._counters, self._forward, self._table.sessions.get
        receive, space = self._socket.receive, self._socket.ancillary_space
        packets = octets = written = written_octets = 0
        for _ in range(self.batch):
            try:
                datagram, ancillary, _, peer = receive(MAX_DATAGRAM, space)
            except BlockingIOError:
                break
            except OSError:
                counters.socket_errors += 1
                continue
            end = len(datagram)
            packets += 1
            octets += end
            if end < LONG_HEADER:
                counters.header_errors += 1
                continue
            flags, key = flags_and_key(datagram)
            form = flags & FORM_MASK
            if form == VERSION:
                start = SHORT_HEADER
            elif form == L_BIT | VERSION and LONG_HEADER <= datagram[2] << 8 | datagram[3] <= end:
                end, key = length_and_key(datagram)
                start = LONG_HEADER
            else:
                self._receive_unusual(datagram, ancillary, peer, now)
                continue
            entry = find(key)
            if entry is None or entry.host != peer[0]:
                self._refuse(entry, key, datagram, peer, now)
                continue
            entry.heard_at = now
            size = forward(entry, datagram, start, end, now)
            if size:
                written += 1
                written_octets += size
        counters.socket_rx_packets += packets
        counters.socket_rx_octets += octets
        counters.tun_tx_packets += written
        counters.tun_tx_octets += written_octets

    def take(self, datagram: bytes, peer: Peer, now: float) -> None:
        """A data message that came to another node."""
        if len(datagram) >= LONG_HEADER and not datagram[0] & T_BIT >> 8:
            self._counters.socket_rx_packets += 1
            self._counters.socket_rx_octets += len(datagram)
            self._receive_unusual(datagram, [], peer, now)

    @property
    def next_deadline(self) -> float | None:
        """When handle_timers() has work."""
        return self._timers.next_deadline()

    def handle_timers(self, now: float) -> float | None:
        """Give up waiting for lost messages; return when to come again, or None."""
        self._timers.expire(now)
        return self._timers.next_deadline()

    def forget(self, entry: Entry) -> None:
        """Free what belongs to a session that was removed."""
        if entry.sequencer_timer is not None:
            self._timers.cancel(entry.sequencer_timer)
        if entry.sequencer is not None:
            self._count_sequencer(entry.sequencer)
        entry.sequencer = entry.sequencer_timer = None
        self.shaper.discard(entry.bucket_in)

    def _forward(self, entry: Entry, data: bytes, start: int, end: int, now: float) -> int:
        """Carry the PPP frame data[start:end] on; return the octets written to the TUN device."""
        packet_at = start + 4
        if data[start:packet_at] != IP_PREFIX:
            packet_at = packet_start(data, start, end)
            if not packet_at:
                self._report_frame(entry, data[start:end], now)
                return 0
        if end - packet_at < IP_HEADER:
            self._counters.packet_errors += 1
            return 0
        version_ihl, total, protocol, source = ip_fields(data, packet_at)
        if total > end - packet_at or (
            (version_ihl != 0x45 or total < IP_HEADER) and not has_options(version_ihl, total)
        ):
            self._counters.packet_errors += 1
            return 0
        if source != entry.ip and not self._accept_source(entry, source, data[start:end], now):
            return 0
        packet = data[packet_at : packet_at + total]
        if entry.special:
            return self._forward_special(entry, packet, now)
        if protocol == TCP and (
            version_ihl != 0x45 or (total > TCP_FLAGS_AT and packet[TCP_FLAGS_AT] & SYN)
        ):
            packet = self._clamp(entry, packet)
        try:
            if self._write(packet) is None:
                self._counters.tun_write_failures += 1
                return 0
        except OSError:
            self._counters.tun_write_failures += 1
            return 0
        entry.packets_in += 1
        entry.octets_in += total
        entry.data_at = now
        return total

    def _forward_special(self, entry: Entry, packet: bytes, now: float) -> int:
        """The same for a session that plugins watch, that is throttled, filtered or
        intercepted."""
        if entry.hooked and self.hook is not None:
            changed = self.hook(entry.key, packet)
            if not changed:
                self._counters.hook_drops_in += 1
                return 0
            packet = changed
            if self._table.sessions.get(entry.key) is not entry:
                return 0  # the plugin has ended the session
        if entry.filter_in is not None and not entry.filter_in.passes(packet):
            self._counters.filter_drops_in += 1
            return 0
        packet = self._clamp(entry, packet)
        bucket = entry.bucket_in
        if bucket is not None and not self.shaper.passes(entry, bucket, packet, now):
            return 0
        return self._write_packet(entry, packet, now)

    def _write_packet(self, entry: Entry, packet: bytes, now: float) -> int:
        try:
            if self._write(packet) is None:
                self._counters.tun_write_failures += 1
                return 0
        except OSError:
            self._counters.tun_write_failures += 1
            return 0
        size = len(packet)
        entry.packets_in += 1
        entry.octets_in += size
        entry.data_at = now
        if entry.snoop is not None:
            self._copy(packet, entry.snoop)
        return size

    def _write_waited(self, entry: Entry, packet: bytes, now: float) -> None:
        """A packet that had to wait for its credit."""
        size = self._write_packet(entry, packet, now)
        if size:
            self._counters.tun_tx_packets += 1
            self._counters.tun_tx_octets += size

    def _accept_source(self, entry: Entry, source: bytes, frame: bytes, now: float) -> bool:
        """Whether a packet that is not from the session's own address may pass."""
        if not entry.ip:
            self._counters.network_down += 1
            self._report_frame(entry, frame, now)
            return False
        if not entry.owns(source):
            self._counters.source_spoofed += 1
            return False
        return True

    def _clamp(self, entry: Entry, packet: bytes) -> bytes:
        if not entry.clamp_mss:
            return packet
        clamped = clamp_mss(packet, entry.clamp_mss)
        if clamped is not packet:
            self._counters.mss_clamped += 1
        return clamped

    def _receive_unusual(
        self, datagram: bytes, ancillary: list[tuple[int, int, bytes]], peer: Peer, now: float
    ) -> None:
        """A control message, a data message with sequence numbers or an offset, or neither."""
        if datagram[0] & T_BIT >> 8:
            self._counters.control_received += 1
            local = self._socket.local_of(ancillary)
            try:
                self.events.control_received(datagram, peer, local, now)
            except Exception:
                self._counters.handler_failures += 1
                log.exception("control message from %s port %d", *peer)
            return
        try:
            header = decode_data(datagram)
        except L2tpError:
            self._counters.header_errors += 1
            return
        key = header.tunnel_id << SESSION_BITS | header.session_id
        entry = self._table.sessions.get(key)
        if entry is None or entry.host != peer[0]:
            self._refuse(entry, key, datagram, peer, now)
            return
        entry.heard_at = now
        frame = datagram[header.payload_offset : header.payload_end]
        if header.ns is None:
            self._deliver(entry, frame, now)
        else:
            self._resequence(entry, header.ns, frame, now)

    def _deliver(self, entry: Entry, frame: bytes, now: float) -> None:
        size = self._forward(entry, frame, 0, len(frame), now)
        if size:
            self._counters.tun_tx_packets += 1
            self._counters.tun_tx_octets += size

    def _resequence(self, entry: Entry, ns: int, frame: bytes, now: float) -> None:
        """Pass a numbered message through the session's reordering window (section 5.4)."""
        sequencer = entry.sequencer
        if sequencer is None:
            sequencer = entry.sequencer = Sequencer()
            timer = Timer(lambda at: self._stop_waiting(entry, at))
            entry.sequencer_timer = timer
        self._deliver_all(entry, sequencer.receive(ns, frame, now), now)

    def _stop_waiting(self, entry: Entry, now: float) -> None:
        """What a session waited for did not come in time."""
        if entry.sequencer is None:
            return
        self._deliver_all(entry, entry.sequencer.handle_timer(now), now)

    def _deliver_all(self, entry: Entry, frames: Iterable[bytes], now: float) -> None:
        for frame in frames:
            if entry.sequencer is None:
                return  # what came before made the control plane remove the session
            self._deliver(entry, frame, now)
        if entry.sequencer is None or entry.sequencer_timer is None:
            return
        deadline = entry.sequencer.get_timer()
        self._timers.set(entry.sequencer_timer, deadline)
        if deadline is not None:
            self._schedule(deadline)

    def _count_sequencer(self, sequencer: Sequencer) -> None:
        self._counters.sequence_lost += sequencer.counters.lost
        self._counters.sequence_late += sequencer.counters.late
        self._counters.sequence_duplicates += sequencer.counters.duplicates
        self._counters.sequence_reordered += sequencer.counters.reordered
        self._counters.sequence_resynchronised += sequencer.counters.resynchronised

    def _refuse(
        self, entry: Entry | None, key: int, datagram: bytes, peer: Peer, now: float
    ) -> None:
        """Data for a session that is not there or is another LAC's."""
        if entry is not None:
            self._counters.wrong_peer += 1
            return
        if self.elsewhere is not None:
            self.elsewhere.from_lac(datagram, peer)
            return
        self._counters.unknown_session += 1
        if self._reports.allow(now):
            session_id = key & (1 << SESSION_BITS) - 1
            try:
                self.events.unknown_session(key >> SESSION_BITS, session_id, peer, now)
            except Exception:
                self._counters.handler_failures += 1
                log.exception("report of an unknown session")

    def _report_frame(self, entry: Entry, frame: bytes, now: float) -> None:
        """Hand a PPP frame to the control plane."""
        if not frame:
            self._counters.empty += 1
            return
        self._counters.frames_received += 1
        try:
            self.events.frame_received(entry.key, frame, now)
        except Exception:
            self._counters.handler_failures += 1
            log.exception("PPP frame of session %d", entry.key & (1 << SESSION_BITS) - 1)


def packet_start(data: bytes, start: int, end: int) -> int:
    """Where the IPv4 packet of the PPP frame data[start:end] begins, or 0 when it holds none.

    Address and control field may be left out, and so may the first byte of the protocol (RFC 1661
    sections 6.5 and 6.6).
    """
    if data[start : start + 2] == ADDRESS_CONTROL:
        start += 2
    if start >= end:
        return 0
    if data[start] == PPP_IPV4:
        return start + 1
    if data[start] == 0 and start + 1 < end and data[start + 1] == PPP_IPV4:
        return start + 2
    return 0


def has_options(version_ihl: int, total: int) -> bool:
    """Whether an IPv4 header with options is sound."""
    return version_ihl >> 4 == 4 and 5 < version_ihl & 0x0F <= total >> 2
